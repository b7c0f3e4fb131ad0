package graph

import (
	"encoding/json"
	"time"

	"github.com/cubebuild/cube/cube/grid"
)

// Workspace is everything that a plan depends on: what cube.yaml says, with
// the contracts of its producers' images and the pins of cube.lock filled in.
type Workspace struct {
	Name      string
	Grids     map[string]grid.Grid // by name; [DefaultGrid] is the one that an instance has if it names none
	Sources   map[string]Source
	Instances []Instance        // in the order of cube.yaml, which is the order of merges
	Imports   map[string]Import // variables that were imported, by name
	Tiling    grid.Tiling       // where an instance names none
}

// DefaultGrid is the name of the grid that an instance has if it names none.
const DefaultGrid = "default"

// Source is outside data, pinned.
type Source struct {
	Name     string
	URI      string
	SHA256   Digest // zero: not pinned
	Size     int64
	Ext      string // the file name's extension, as ".tif": formats are told by it
	License  string
	Citation string
	Native   float64 // ground metres; 0: unknown

	Fetched *Fetched // how its producer brought it in; nil: the engine did
}

// Fetched says what a source stands on that a producer brought in itself.
type Fetched struct {
	Recording Digest    // of all that it was answered
	At        time.Time // when the last of it was; no key holds it
}

// Image is what a container is made of, as far as an ActionID knows it.
type Image struct {
	Platform string   `json:"platform"`
	DiffIDs  []string `json:"diff_ids"`
	Env      []string `json:"env,omitempty"`
	User     string   `json:"user,omitempty"`
	Dir      string   `json:"dir,omitempty"`
	Command  []string `json:"command"`

	Ref      string `json:"-"` // as cube.yaml has it
	Config   string `json:"-"` // config digest, for lineage
	Manifest string `json:"-"` // manifest digest, for lineage
}

// Instance is a producer as the workspace uses it.
type Instance struct {
	Name      string
	Image     Image
	Manifest  Manifest
	Params    json.RawMessage   // an object, defaults of the schema applied
	Sources   map[string]string // role → source name
	Parts     map[string]Split  // role → an indexed source
	Secrets   map[string]string // role → secret name; what a secret is enters no key
	In        map[string]string // role → variable, where they differ
	Out       map[string]string // role → variable, where they differ
	Grid      string            // "": DefaultGrid
	Tiling    *grid.Tiling      // nil: the workspace's
	Resources Resources         // overrides
	Retry     Retry             // overrides
	Scarce    Scarce            // overrides
	Salt      int               // raised by `cube bump`
}

// Input returns the variable that a role reads.
func (i *Instance) Input(role string) string { return renamed(i.In, role) }

// Output returns the variable that a role makes.
func (i *Instance) Output(role string) string { return renamed(i.Out, role) }

// Makes are the variables that the instance makes.
func (i *Instance) Makes() (out []string) {
	for _, spec := range i.Manifest.Produces {
		out = append(out, i.Output(spec.Name))
	}
	return out
}

// Limits returns the instance's limits: its own, the manifest's, the defaults.
func (i *Instance) Limits() Resources {
	return i.Resources.Or(i.Manifest.Capabilities.Resources).WithDefaults()
}

func renamed(m map[string]string, role string) string {
	if v, ok := m[role]; ok {
		return v
	}
	return role
}

// Import is a version of a variable that is pinned in the lock: one that was
// brought in from a file or, where it is held, one that was built and is used as
// it is whatever its producer would make now.
type Import struct {
	Spec    VarSpec
	Grid    grid.Grid
	Version Digest
	Native  float64
	Source  Source
	Held    bool
}
