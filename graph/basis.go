package graph

import (
	"fmt"

	"github.com/cubebuild/cube/cube/grid"
)

// Basis is what all actions of a vertex have in common, and enough to say of
// each what it was told: with a tile's box and the digests of its windows it
// gives the whole preimage of its [ActionID]. Unlike the preimage of a
// [Derivation] it can be read back from its JSON.
type Basis struct {
	Shared  Shared        `json:"shared"`
	Grid    grid.Grid     `json:"grid"`
	Box     grid.Box      `json:"box"` // that the tiles cover
	Tiling  grid.Tiling   `json:"tiling"`
	Inputs  []BasisInput  `json:"inputs,omitempty"`
	Outputs []BasisOutput `json:"outputs"`
}

// BasisInput is a bound need: what is asked for, and what it is read from.
type BasisInput struct {
	Role   string          `json:"role,omitempty"` // "" in a merge
	Need   DataNeed        `json:"need"`
	Method grid.Resampling `json:"method,omitempty"`
	Spec   VarSpec         `json:"spec"`
	Grid   grid.Grid       `json:"grid"`
}

// BasisOutput is an output as the actions are told of it.
type BasisOutput struct {
	Role string    `json:"role,omitempty"` // "" in a merge
	Spec VarSpec   `json:"spec"`
	Grid grid.Grid `json:"grid"`
}

// Basis returns what all actions of the vertex have in common. It holds no name
// of the workspace's but those that the contract gives.
func (v *Vertex) Basis(s Shared) Basis {
	b := Basis{Shared: s, Grid: v.Grid, Box: v.Box, Tiling: v.Tiling}
	for _, in := range v.Inputs {
		i := BasisInput{Role: in.Role, Need: in.Need, Method: in.Method, Spec: in.Spec().Semantic(), Grid: in.Grid()}
		if v.IsMerge() {
			i.Role = ""
		}
		b.Inputs = append(b.Inputs, i)
	}
	for _, o := range v.Outputs {
		out := BasisOutput{Role: o.Role, Spec: keyed(o.Spec), Grid: o.Grid}
		if v.IsMerge() {
			out.Role = ""
		}
		b.Outputs = append(b.Outputs, out)
	}
	return b
}

// vertex is the vertex as far as its requests go.
func (b Basis) vertex() *Vertex {
	v := &Vertex{Grid: b.Grid, Box: b.Box, Tiling: b.Tiling}
	if b.Shared.Image != nil {
		v.Instance = &Instance{Image: *b.Shared.Image}
	}
	for _, in := range b.Inputs {
		v.Inputs = append(v.Inputs, &Binding{Role: in.Role, Need: in.Need, Method: in.Method, Import: &Import{Spec: in.Spec, Grid: in.Grid}})
	}
	for _, o := range b.Outputs {
		v.Outputs = append(v.Outputs, &Output{Vertex: v, Role: o.Role, Spec: o.Spec, Grid: o.Grid})
	}
	return v
}

// Preimage is everything that one [ActionID] is the digest of.
type Preimage struct {
	Action  Action
	Bytes   []byte // of the action: their digest is the ActionID, with the domain prefix of one
	Shared  []byte // whose digest is Action.Shared, likewise
	Request []byte // whose digest is Action.Request
}

// Preimage rebuilds the preimage of the action of a tile that read these
// windows and parts, and checks that it is that of an id: it is [ErrPreimage] where it is
// not.
func (b Basis) Preimage(id ActionID, tile grid.Box, windows map[string]Digest, parts Parts) (*Preimage, error) {
	if err := b.valid(tile); err != nil {
		return nil, fmt.Errorf("action %s: %w: %w", id.Short(), err, ErrPreimage)
	}
	v := b.vertex()
	shared, raw, err := b.Shared.Digest()
	if err != nil {
		return nil, err
	}
	p := &Preimage{Shared: raw}
	t := grid.Tile{Box: tile}
	if _, p.Request, err = v.Request(b.Shared, shared, t, v.Windows(t), parts); err != nil {
		return nil, err
	}
	if windows == nil {
		windows = map[string]Digest{}
	}
	p.Action = Action{Shared: shared, Request: Sum(p.Request), Windows: windows, Parts: parts}
	got, bytes, err := p.Action.ID()
	if err != nil {
		return nil, err
	}
	if p.Bytes = bytes; got != id {
		return nil, fmt.Errorf("action %s: it comes to %s: %w", id.Short(), got.Short(), ErrPreimage)
	}
	return p, nil
}

// valid says why no plan can have come to the basis: it may have been read from
// anywhere.
func (b Basis) valid(tile grid.Box) error {
	grids := []grid.Grid{b.Grid}
	for _, in := range b.Inputs {
		if err := in.Need.Halo.Valid(); err != nil {
			return err
		}
		if in.Need.Kind != File {
			grids = append(grids, in.Grid)
		}
	}
	for _, o := range b.Outputs {
		if o.Spec.Kind != File {
			grids = append(grids, o.Grid)
		}
	}
	for _, g := range grids {
		if err := g.Valid(); err != nil {
			return err
		}
	}
	if !b.Box.Contains(tile) {
		return fmt.Errorf("tile %s lies outside of %s", tile, b.Box)
	}
	return nil
}
