package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/yamlfile"
)

// The names of the files of a workspace.
const (
	FileName     = "cube.yaml"
	LockName     = "cube.lock"
	ProducerName = "producer.yaml"
)

// ErrNoWorkspace is in the chain when there is no cube.yaml.
var ErrNoWorkspace = errors.New("no " + FileName)

// File is a parsed cube.yaml.
type File struct {
	Path      string // as errors show it
	Name      string // of the workspace; "" if it has none
	Grids     []Grid
	Sources   []Source
	Secrets   []Secret
	Producers []Producer // in the order of the file, which is the order of merges
	Tiles     grid.Tiling
	Storage   Storage
	Staging   Staging
	Backend   Backend
	Retry     graph.Retry // of all instances, where theirs says nothing

	// Memo saves work where it is set.
	Memo *Memo

	doc  *yamlfile.Document
	sets []string
}

// Grid is a grid as cube.yaml declares it, by exactly one of a CRS, a source
// to be like, or a grid to refine.
type Grid struct {
	Name   string
	CRS    grid.CRS
	DX, DY float64
	Bounds *grid.Bounds
	Origin *grid.Point
	Align  grid.Align
	Time   *TimeRange

	Like string // a source, whose lattice it takes; Bounds crop it

	Refine int64  // splits each cell of Of into Refine × Refine
	Of     string // a grid
}

// TimeRange is [Start, End) in steps of Step, all in Unix seconds. Origin is
// where step 0 begins.
type TimeRange struct {
	Start, End, Step, Origin int64
}

// Source is a source as cube.yaml declares it.
type Source struct {
	Name     string
	URI      string       // a path relative to the workspace, file:, https:, http: or s3:; params are filled in, secrets are not
	SHA256   graph.Digest // zero: pinned by the lock
	License  string
	Citation string
	Native   float64 // ground metres; 0: not said
	MaxSize  int64   // bytes that are taken at most; 0: no limit of its own
}

// Secret says where the value of a secret is: in exactly one of a variable of
// the environment and a file. A file's path is relative to the workspace, or
// begins with ~/.
type Secret struct {
	Name string
	Env  string
	File string
}

// Producer is an instance of a producer as cube.yaml declares it.
type Producer struct {
	Name      string
	Image     string            // a path (./producers/slope), builtin:<name>, or a reference
	Sources   map[string]string // role → source
	Secrets   map[string]string // role → secret
	Network   []string          // hosts that it may reach, where its contract asks for them
	Grid      string            // "": the default one
	In        map[string]string // role → variable
	Out       map[string]string // role → variable
	Tiles     *grid.Tiling      // nil: the workspace's
	Resources graph.Resources   // overrides
	Scarce    graph.Scarce      // overrides
	CPUs      float64           // overrides; 0: the manifest's
	Retry     graph.Retry       // overrides
}

// Storage says how arrays are stored. It changes no digest but that of the
// chunk grid.
type Storage struct {
	Codec  string // zstd, lz4 or none
	Level  int
	Chunks grid.Tiling // zero: chosen by the cube
}

// Staging bounds what the windows and outputs of actions that run take, in bytes.
type Staging struct {
	Memory int64 // beyond, they go to disk; 0: 1 GiB
	Disk   int64 // beyond, actions wait; 0: what there is
}

// Backend says where actions run, and what they share. What is zero is the
// machine's own.
type Backend struct {
	Kind    string // serial, thread or process
	Workers int    // 0: one per core
	CPUs    float64
	Memory  int64 // bytes
	GPUs    *int
	Tokens  map[string]int // by name; a token that is not in it is not to be had
}

// Default values of cube.yaml.
var (
	defaultStorage = Storage{Codec: "zstd", Level: 1}
	defaultBackend = Backend{Kind: "thread"}
)

// Load reads the cube.yaml of that path. It is ErrNoWorkspace where there is
// none.
func Load(path string) (*File, error) {
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, ErrNoWorkspace)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return Parse(path, data)
}

// maxFile bounds what is read of a file; the parser's own limit is as large.
const maxFile = 1 << 20

// readFile reads a file of at most maxFile bytes and one more, so that the
// parser sees that it is too large.
func readFile(path string) ([]byte, error) { return readAtMost(path, maxFile) }

// Parse reads the text of a cube.yaml. Errors call it name.
func Parse(name string, data []byte) (*File, error) {
	doc, err := yamlfile.Parse(name, data, yamlfile.Limits{})
	if err != nil {
		return nil, err
	}
	f := &File{Path: name, doc: doc}
	if err := f.decode(); err != nil {
		return nil, err
	}
	return f, nil
}

// Dir is the workspace's directory.
func (f *File) Dir() string { return filepath.Dir(f.Path) }

// At returns the place of a key, such as At("producers", "slope", "in"): that
// of its value, or of the deepest part of the path that is there.
func (f *File) At(path ...string) yamlfile.Position { return f.doc.Root.At(path...).Pos() }

// Errorf returns a mistake at the place of a key, for errors that only show
// when the workspace is resolved.
func (f *File) Errorf(path []string, hint, format string, args ...any) *yamlfile.Error {
	return &yamlfile.Error{Position: f.At(path...), Message: fmt.Sprintf(format, args...), Hint: hint}
}

// Producer returns an instance by name, or nil.
func (f *File) Producer(name string) *Producer {
	for i := range f.Producers {
		if f.Producers[i].Name == name {
			return &f.Producers[i]
		}
	}
	return nil
}

// Source returns a source by name, or nil.
func (f *File) Source(name string) *Source {
	for i := range f.Sources {
		if f.Sources[i].Name == name {
			return &f.Sources[i]
		}
	}
	return nil
}

// Secret returns a secret by name, or nil.
func (f *File) Secret(name string) *Secret {
	for i := range f.Secrets {
		if f.Secrets[i].Name == name {
			return &f.Secrets[i]
		}
	}
	return nil
}

// Grid returns a grid by name, or nil.
func (f *File) Grid(name string) *Grid {
	for i := range f.Grids {
		if f.Grids[i].Name == name {
			return &f.Grids[i]
		}
	}
	return nil
}

// Find returns the path of the cube.yaml of the workspace that holds dir: in
// it, or in the nearest directory above it.
func Find(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for d := abs; ; d = filepath.Dir(d) {
		path := filepath.Join(d, FileName)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("%s and above: %w", dir, ErrNoWorkspace)
		}
	}
}
