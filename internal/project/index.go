package project

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/source"
	"github.com/cubebuild/cube/internal/wholefile"
)

// indexes has the needed instances' drivers split the sources that they index.
func (pr *preparation) indexes(ctx context.Context) error {
	for _, name := range pr.needed {
		inst, made := pr.File.Producer(name), pr.producers[name]
		for _, need := range made.manifest.Sources {
			src := pr.File.Source(inst.Sources[need.Name])
			if !need.Index || src == nil {
				continue
			}
			parts, err := pr.index(ctx, inst, need.Name, src)
			if f := (*containers.Failure)(nil); errors.As(err, &f) {
				return pr.File.Errorf([]string{"sources", src.Name}, "", "source %s: %s cannot split it: %v", src.Name, inst.Image, err)
			}
			if err != nil {
				return fmt.Errorf("parts of source %s: %w", src.Name, err)
			}
			if made.parts == nil {
				made.parts = map[string]graph.Split{}
			}
			made.parts[need.Name] = parts
		}
	}
	return nil
}

// index returns the parts of a source, from the user's cache where the driver
// has split these bytes before.
func (pr *preparation) index(ctx context.Context, inst *config.Producer, role string, src *config.Source) (*split, error) {
	q, err := pr.question(inst, role)
	if err != nil {
		return nil, err
	}
	a, err := pr.asked(ctx, q, graph.SourceKey{SHA256: pr.Lock.Sources[src.Name].SHA256, Ext: config.Ext(src.URI)}, graph.IndexRequest)
	if err != nil {
		return nil, err
	}
	kept := filepath.Join(pr.cfg.Cache, "indexes", a.id.Hex()+".json")
	split := func(ctx context.Context) ([]byte, error) { return pr.split(ctx, q, a, kept) }
	pr.mu.Lock()
	pr.reindex[inst.Name+"/"+role] = func(ctx context.Context) error { _, err := split(ctx); return err }
	pr.mu.Unlock()
	if text, digest, ok := readKept(kept); ok {
		if known, err := newSplit(pr.File.Memo, text, digest); err == nil {
			return known, nil
		}
	}
	if pr.cfg.Known {
		return nil, ErrUnready
	}
	pr.step("split source %s", src.Name)
	text, err := split(ctx)
	if err != nil {
		return nil, err
	}
	return newSplit(pr.File.Memo, text, graph.Sum(text))
}

// split runs the driver, and brings the parts into the cache of sources. It returns
// what is kept: the parts, as JSON.
func (pr *preparation) split(ctx context.Context, q question, a asked, kept string) ([]byte, error) {
	result, err := pr.ask(ctx, q, a, "index", graph.IndexOutputs())
	if err != nil {
		return nil, err
	}
	defer result.Close()
	parts, err := pr.takeParts(ctx, result.Outputs[graph.IndexRole].File, result.Outputs[graph.PartsRole].File)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(parts)
	if err != nil {
		return nil, err
	}
	return b, writeFile(kept, wholefile.Seal(b))
}

// maxIndex bounds what a driver may say of a source's parts.
const maxIndex = 256 << 20

// takeParts cuts a file as its index says. Both are hostile: what is wrong with
// them is a *containers.Failure.
func (pr *preparation) takeParts(ctx context.Context, index, data io.ReadSeeker) ([]graph.Part, error) {
	x, err := readIndex(index, data)
	if err != nil {
		text := containers.Printable(fmt.Sprintf("index of the source: %v", err))
		return nil, &containers.Failure{Kind: containers.FailedOutput, Detail: text}
	}
	parts := make([]graph.Part, len(x.Parts))
	for i, p := range x.Parts {
		if _, err := data.Seek(p.Offset, io.SeekStart); err != nil {
			return nil, err
		}
		pin, err := pr.Sources.Take(ctx, io.LimitReader(data, p.Size))
		if err != nil {
			return nil, err
		}
		parts[i] = graph.Part{SHA256: pin.SHA256, Extent: p.Extent}
	}
	return parts, nil
}

func readIndex(index, data io.ReadSeeker) (*graph.Index, error) {
	var x graph.Index
	dec := json.NewDecoder(io.LimitReader(index, maxIndex))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&x); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	size, err := data.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	return &x, x.Check(size)
}

// Part implements solve.Provider. The bytes are verified; where the cache's copy
// is damaged or gone, the source is split again.
func (p *Project) Part(ctx context.Context, inst *graph.Instance, role string, d graph.Digest) (string, error) {
	path, err := p.Sources.Verified(ctx, d)
	if err == nil || !errors.Is(err, source.ErrDamaged) && !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	p.indexing.Lock()
	defer p.indexing.Unlock()
	if path, err = p.Sources.Verified(ctx, d); err == nil { // somebody else has split it meanwhile
		return path, nil
	}
	p.mu.Lock()
	again := p.reindex[inst.Name+"/"+role]
	p.mu.Unlock()
	if again == nil {
		return "", err
	}
	p.step("source %s: parts in the cache are damaged or gone; splitting it again", inst.Sources[role])
	if err := again(ctx); err != nil {
		return "", err
	}
	return p.Sources.Verified(ctx, d)
}
