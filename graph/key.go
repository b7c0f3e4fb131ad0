package graph

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/cubebuild/cube/cube/grid"
)

// KeyVersion is the version of every key's preimage. It rises when the meaning
// of a field changes, and then nothing that was built before is hit.
const KeyVersion = 1

// Engine versions: each rises when the engine's own work of that name could
// change a value, and voids the keys that depend on it.
const (
	StagingVersion    = 1
	ResamplingVersion = grid.ResampleVersion
	MergingVersion    = 1
)

// ActionID is the digest of everything that one action's sandbox exposes.
type ActionID = Digest

// Shared is the part of an action that all tiles of a vertex share. Its
// digest enters every ActionID and the derivation key.
type Shared struct {
	KeyVersion int                  `json:"key_version"`
	Engine     EngineVersions       `json:"engine"`
	Image      *Image               `json:"image,omitempty"` // nil for a merge
	Params     json.RawMessage      `json:"params,omitempty"`
	CPUs       float64              `json:"cpus,omitempty"`
	CPUClass   string               `json:"cpu_class,omitempty"` // where the producer's results depend on it
	Sandbox    string               `json:"sandbox,omitempty"`   // "none" where nothing isolates the action
	Sources    map[string]SourceKey `json:"sources,omitempty"`   // by role
	Outputs    []VarSpec            `json:"outputs"`
	Salt       int                  `json:"salt,omitempty"`
	// Serves says that the container is told to serve one request after another,
	// which it is from capabilities.batch 2 on. How many it is given, and which
	// came before, it cannot know.
	Serves bool `json:"serves,omitempty"`
	// Checkpoint says that the container finds a folder that is kept from one
	// attempt to the next. What lies in it is the producer's own affair.
	Checkpoint bool `json:"checkpoint,omitempty"`
}

// EngineVersions are the versions of what the engine does to values itself.
type EngineVersions struct {
	Staging    int `json:"staging"`
	Resampling int `json:"resampling"`
	Merging    int `json:"merging"`
}

// SourceKey is what an action sees of a source: its bytes and its extension.
type SourceKey struct {
	SHA256 Digest `json:"sha256"`
	Ext    string `json:"ext,omitempty"`
	// Parts says that each action sees parts of the source, which it names
	// itself; then neither the whole nor its extension is seen.
	Parts bool `json:"parts,omitempty"`
	// Dir says that the directory of the parts is there also where a tile meets
	// none, as it always is: before, it was not.
	Dir bool `json:"dir,omitempty"`
}

// Host is what an ActionID may hold of the machine.
type Host struct {
	CPUClass string // keyed only where a producer asks for it
	Sandbox  string // keyed only where it is "none"
}

// Shared returns the part of the vertex's actions that all tiles share.
func (v *Vertex) Shared(ws *Workspace, host Host) (Shared, error) {
	s := Shared{KeyVersion: KeyVersion, Engine: EngineVersions{StagingVersion, ResamplingVersion, MergingVersion}}
	for _, o := range v.Outputs {
		s.Outputs = append(s.Outputs, keyed(o.Spec))
	}
	if v.IsMerge() {
		s.Outputs[0].Name = "" // of the first contributor's contract
		return s, nil
	}
	for i := range s.Outputs {
		s.Outputs[i].Merge = "" // the merge's affair
	}
	inst := v.Instance
	s.Image, s.Params, s.CPUs, s.Salt = &inst.Image, inst.Params, inst.Manifest.Capabilities.CPUs, inst.Salt
	s.Serves, s.Checkpoint = inst.Manifest.Capabilities.Serves(), inst.Manifest.Capabilities.Checkpoint
	if inst.Manifest.Capabilities.CPUClass {
		s.CPUClass = host.CPUClass
	}
	if host.Sandbox == "none" {
		s.Sandbox = host.Sandbox
	}
	s.Sources = map[string]SourceKey{}
	for role, name := range inst.Sources {
		if inst.Manifest.Indexes(role) {
			s.Sources[role] = SourceKey{Parts: true, Dir: true}
			continue
		}
		src := ws.Sources[name]
		if src.SHA256.IsZero() {
			return s, fmt.Errorf("%s: source %s is not pinned", v.Name, name)
		}
		s.Sources[role] = SourceKey{SHA256: src.SHA256, Ext: src.Ext}
	}
	return s, nil
}

// keyed is a spec as an action is told of it: the role's name and what changes
// a value, with the format that the producer writes.
func keyed(v VarSpec) VarSpec {
	format := v.Format
	v = v.Semantic()
	v.Format = format
	return v
}

// Digest returns the digest of the shared part, and its preimage.
func (s Shared) Digest() (Digest, []byte, error) { return hashCanonical("cube.shared", s) }

// Action is one container execution, fully described.
type Action struct {
	Shared  Digest            `json:"shared"`
	Request Digest            `json:"request"` // of the request's bytes
	Windows map[string]Digest `json:"windows"` // by role; of a merge by place
	Parts   Parts             `json:"parts,omitempty"`
}

// Parts are the parts of indexed sources that an action sees, by role and in
// order.
type Parts map[string][]Digest

// ID returns the action's identity, and its preimage.
func (a Action) ID() (ActionID, []byte, error) { return hashCanonical(actionDomain, a) }

// Key is ID for who needs no preimage.
func (a Action) Key() (ActionID, error) {
	return digestWritten(actionDomain, func(w *writer) { w.action(&a) })
}

const actionDomain = "cube.action"

// Cover is what can be known of an action without reading data: which chunks
// its windows touch. Its key is an alias of an [ActionID].
type Cover struct {
	Shared  Digest                 `json:"shared"`
	Request Digest                 `json:"request"`
	Windows map[string]CoverWindow `json:"windows"`
	Parts   Parts                  `json:"parts,omitempty"`
}

// CoverWindow names the chunks that a window touches, and how they lie.
type CoverWindow struct {
	Chunks   Digest          `json:"chunks"` // of the chunks' value digests, in order
	Lattice  grid.Lattice    `json:"lattice"`
	Read     grid.Box        `json:"read"`
	Cells    grid.Box        `json:"cells"` // that the chunks hold: all of them but what lies outside the domain
	Chunk    grid.Tiling     `json:"chunk"`
	Method   grid.Resampling `json:"method,omitempty"` // where the window is resampled
	MinValid float64         `json:"min_valid,omitempty"`
}

// Key returns the cover key.
func (c Cover) Key() (Digest, error) {
	return digestWritten("cube.cover", func(w *writer) { w.cover(&c) })
}

// Derivation is everything that decides a vertex's output versions: the shared
// part of its actions, how its domain is cut, and the versions that it reads.
type Derivation struct {
	Shared  Shared              `json:"shared"`
	Lattice grid.Lattice        `json:"lattice"`
	Time    grid.TimeAxis       `json:"time"`
	Box     grid.Box            `json:"box"`
	Domain  grid.Range          `json:"domain_time"` // what a static output sees of time
	Tiling  grid.Tiling         `json:"tiling"`
	Chunks  []grid.Tiling       `json:"chunks,omitempty"` // by output, of those that are arrays: how they are stored
	Inputs  []DerivationInput   `json:"inputs,omitempty"`
	Parts   map[string]PartsKey `json:"parts,omitempty"` // by role, of indexed sources
}

// DerivationInput is one bound need: its role, what is asked of the window,
// and the version that it reads. A merge's inputs count by their order.
type DerivationInput struct {
	Role    string    `json:"role,omitempty"`
	Need    *DataNeed `json:"need,omitempty"`
	Version Digest    `json:"version"`
}

// Key returns the derivation key, and its preimage.
func (d Derivation) Key() (Digest, []byte, error) { return hashCanonical("cube.derivation", d) }

// Derivation describes the vertex for the given input versions, in the order
// of Inputs.
func (v *Vertex) Derivation(s Shared, versions []Digest) Derivation {
	d := Derivation{Shared: s, Lattice: v.Grid.Lattice, Time: v.Grid.Time, Box: v.Box,
		Domain: v.Grid.Box.T, Tiling: v.Tiling}
	for i, b := range v.Inputs {
		in := DerivationInput{Version: versions[i]}
		if !v.IsMerge() {
			need := b.Need
			need.MaxRes, need.MaxStep = 0, 0 // they choose, and change no value
			in.Role, in.Need = b.Role, &need
		}
		d.Inputs = append(d.Inputs, in)
	}
	return d
}

// Request returns what the container of a tile's action is told, and the same
// as canonical JSON: the bytes that it finds.
func (v *Vertex) Request(s Shared, shared Digest, tile grid.Tile, windows []Window, parts Parts) (*Request, []byte, error) {
	box := tile.Box
	r := &Request{Version: RequestVersion, Operation: OpRun, Params: s.Params, Seed: seed(shared, box),
		Tile: &box, Grid: NewRequestGrid(v.Grid, box),
		Inputs: make(map[string]RequestInput, len(windows)), Outputs: make(map[string]RequestOutput, len(v.Outputs)), Sources: requestSources(s, parts)}
	if len(r.Params) == 0 {
		r.Params = json.RawMessage("{}")
	}
	for i, w := range windows {
		role := v.WindowKey(i)
		r.Inputs[role] = w.request(role)
	}
	for _, o := range v.Outputs {
		role := o.Role
		if v.IsMerge() {
			role = "merged" // its role is the variable's name
		}
		r.Outputs[role] = o.request(role, box)
	}
	b, err := written(r)
	return r, b, err
}

// InspectRequest returns what a producer is told that describes its source.
func InspectRequest(s Shared) ([]byte, error) {
	return Canonical(Request{Version: RequestVersion, Operation: OpInspect, Params: s.Params,
		Inputs: map[string]RequestInput{}, Sources: requestSources(s, nil),
		Outputs: InspectOutputs()})
}

// InspectOutputs is what operation inspect asks for: one file that holds an
// [Inspection] as JSON.
func InspectOutputs() map[string]RequestOutput {
	dir := OutputDir + "/" + InspectionRole
	return map[string]RequestOutput{InspectionRole: {Path: dir, File: dir + "/" + InspectionFile, Kind: File}}
}

// IndexRequest returns what a producer is told that splits its source.
func IndexRequest(s Shared) ([]byte, error) {
	return Canonical(Request{Version: RequestVersion, Operation: OpIndex, Params: s.Params,
		Inputs: map[string]RequestInput{}, Sources: requestSources(s, nil),
		Outputs: IndexOutputs()})
}

// IndexOutputs is what operation index asks for: a file that holds an [Index]
// as JSON, and one that holds the parts.
func IndexOutputs() map[string]RequestOutput {
	index, parts := OutputDir+"/"+IndexRole, OutputDir+"/"+PartsRole
	return map[string]RequestOutput{
		IndexRole: {Path: index, File: index + "/" + InspectionFile, Kind: File},
		PartsRole: {Path: parts, File: parts + "/data", Kind: File},
	}
}

func requestSources(s Shared, parts Parts) map[string]RequestSource {
	out := map[string]RequestSource{}
	if len(s.Sources) == 0 {
		return out
	}
	for _, role := range slices.Sorted(maps.Keys(s.Sources)) {
		dir := SourceDir + "/" + role
		if s.Sources[role].Parts {
			files := make([]string, len(parts[role]))
			for i := range files {
				files[i] = fmt.Sprintf("%s/%04d", dir, i)
			}
			out[role] = RequestSource{Path: dir, Parts: files}
			continue
		}
		out[role] = RequestSource{Path: dir, File: dir + "/data" + s.Sources[role].Ext}
	}
	return out
}

// WindowKey is how an input's window is named in keys: by its role; in a merge,
// whose roles are names of the workspace, by its place.
func (v *Vertex) WindowKey(i int) string {
	if v.IsMerge() {
		return strconv.Itoa(i)
	}
	return v.Inputs[i].Role
}

func (w Window) request(role string) RequestInput {
	spec, need := w.Binding.Spec(), w.Binding.Need
	dir := InputDir + "/" + role
	in := RequestInput{Path: dir, Format: need.Format, Kind: spec.Kind}
	if spec.Kind == File {
		in.File = dir + "/data"
		return in
	}
	if need.Format == NPY {
		in.File = dir + "/" + ArrayFile
	}
	box, clip := w.Box, w.Clip
	in.Dims, in.DType, in.Shape = DimsOf(spec), spec.DType, ShapeOf(spec, box)
	in.Units, in.Fill, in.Legend = spec.Units, spec.Fill, spec.Semantic().Legend
	in.Method, in.Further = spec.CellMethod, spec.Dims
	in.Window, in.Clipped, in.Grid = &box, &clip, NewRequestGrid(w.Grid, box)
	return in
}

// OutputBox is the block of an output's own grid that a tile makes.
func (o *Output) OutputBox(tile grid.Box) grid.Box {
	n := orDefault(o.Spec.Refine, 1)
	tile.Y = grid.Range{Lo: tile.Y.Lo * n, Hi: tile.Y.Hi * n}
	tile.X = grid.Range{Lo: tile.X.Lo * n, Hi: tile.X.Hi * n}
	if o.Spec.Kind != Time {
		tile = tile.Static()
	}
	return tile
}

func (o *Output) request(role string, tile grid.Box) RequestOutput {
	dir := OutputDir + "/" + role
	out := RequestOutput{Path: dir, Format: o.Spec.Format, Kind: o.Spec.Kind}
	if o.Spec.Kind == File {
		return out
	}
	if o.Spec.Format == NPY {
		out.File = dir + "/" + ArrayFile
	}
	box := o.OutputBox(tile)
	out.Dims, out.DType, out.Shape = DimsOf(o.Spec), o.Spec.DType, ShapeOf(o.Spec, box)
	out.Units, out.Fill, out.Legend = o.Spec.Units, o.Spec.Fill, o.Spec.Semantic().Legend
	out.Method, out.Further = o.Spec.CellMethod, o.Spec.Dims
	out.Box, out.Grid = &box, NewRequestGrid(o.Grid, box)
	return out
}

// seed gives every tile its own random seed, the same on every run.
func seed(shared Digest, tile grid.Box) uint32 {
	b := slices.Clone(shared[:])
	for _, r := range []grid.Range{tile.T, tile.Y, tile.X} {
		b = binary.LittleEndian.AppendUint64(b, uint64(r.Lo))
	}
	d := Sum(b)
	return binary.LittleEndian.Uint32(d[:])
}
