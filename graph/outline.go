package graph

import (
	"encoding/json"
	"fmt"

	"github.com/cubebuild/cube/cube/grid"
)

// Outline is what a derivation's preimage tells of how its tiles lie and what
// they read. A [Derivation] itself cannot be read back from a preimage, in
// which large integers are strings.
type Outline struct {
	Shared  Digest // of the part that all its actions share
	Lattice grid.Lattice
	Box     grid.Box
	Tiling  grid.Tiling
	Chunks  []grid.Tiling // by output, of those that are arrays
	Inputs  []OutlineInput
	Parts   map[string]PartsKey // by role, of indexed sources
}

// OutlineInput is an input of an [Outline]: its role, "" in a merge, and the
// version that was read.
type OutlineInput struct {
	Role    string `json:"role"`
	Version Digest `json:"version"`
}

// ReadOutline reads the outline of a derivation from its preimage.
func ReadOutline(preimage []byte) (Outline, error) {
	var d struct {
		Shared  json.RawMessage     `json:"shared"`
		Lattice grid.Lattice        `json:"lattice"`
		Box     grid.Box            `json:"box"`
		Tiling  grid.Tiling         `json:"tiling"`
		Chunks  []grid.Tiling       `json:"chunks"`
		Inputs  []OutlineInput      `json:"inputs"`
		Parts   map[string]PartsKey `json:"parts"`
	}
	if err := json.Unmarshal(preimage, &d); err != nil {
		return Outline{}, fmt.Errorf("preimage of a derivation: %w", err)
	}
	o := Outline{Lattice: d.Lattice, Box: d.Box, Tiling: d.Tiling, Chunks: d.Chunks, Inputs: d.Inputs, Parts: d.Parts}
	if len(d.Shared) == 0 {
		return o, fmt.Errorf("preimage of a derivation: nothing is shared")
	}
	var err error
	o.Shared, _, err = hashCanonical("cube.shared", d.Shared)
	return o, err
}

// Versions are the versions that the outline's derivation read, by the inputs
// of a vertex; false where that reads something else.
func (o Outline) Versions(v *Vertex) ([]Digest, bool) {
	out := make([]Digest, len(v.Inputs))
	for i := range v.Inputs {
		if out[i] = o.Version(v, i); out[i].IsZero() {
			return nil, false
		}
	}
	return out, len(o.Inputs) == len(v.Inputs)
}

// Version is the version that the outline's derivation read as input i of a
// vertex: by its role, in a merge by its place. It is zero where it read none.
func (o Outline) Version(v *Vertex, i int) Digest {
	if v.IsMerge() {
		if i < len(o.Inputs) {
			return o.Inputs[i].Version
		}
		return Digest{}
	}
	for _, in := range o.Inputs {
		if in.Role == v.Inputs[i].Role {
			return in.Version
		}
	}
	return Digest{}
}
