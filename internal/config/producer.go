package config

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/images"
	"github.com/cubebuild/cube/internal/yamlfile"
)

// ErrNoProducer is in the chain when a directory has no producer.yaml.
var ErrNoProducer = errors.New("no " + ProducerName)

// ProducerFile is a parsed producer.yaml.
type ProducerFile struct {
	Path     string
	Manifest graph.Manifest
	Recipe   images.Recipe

	doc *yamlfile.Document
}

// LoadProducer reads the producer.yaml of a producer directory. The name is
// what errors call the directory, such as "producers/slope".
func LoadProducer(dir fs.FS, name string) (*ProducerFile, error) {
	data, err := readProducer(dir, name)
	if err != nil {
		return nil, err
	}
	return ParseProducer(name+"/"+ProducerName, data)
}

func readProducer(dir fs.FS, name string) ([]byte, error) {
	data, err := readFS(dir, ProducerName, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, ErrNoProducer)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s/%s: %w", name, ProducerName, err)
	}
	return data, nil
}

// ParseProducer reads the text of a producer.yaml. Errors call it name.
func ParseProducer(name string, data []byte) (*ProducerFile, error) {
	doc, err := yamlfile.Parse(name, data, yamlfile.Limits{})
	if err != nil {
		return nil, err
	}
	p := &ProducerFile{Path: name, doc: doc}
	if err := p.decode(); err != nil {
		return nil, err
	}
	return p, nil
}

// At returns the place of a key; see [File.At].
func (p *ProducerFile) At(path ...string) yamlfile.Position { return p.doc.Root.At(path...).Pos() }
