package graph

import "github.com/cubebuild/cube/cube/grid"

// Pinned returns a copy of the vertex that reads the given versions, in the
// order of Inputs, whatever makes them: alone it is a whole plan. Its actions
// are those of the vertex, where that reads these versions.
func (v *Vertex) Pinned(versions []Digest) *Vertex {
	p := *v
	p.Inputs = make([]*Binding, len(v.Inputs))
	for i, b := range v.Inputs {
		pinned := *b
		pinned.From = nil
		pinned.Import = &Import{Spec: b.Spec(), Grid: b.Grid(), Version: versions[i], Native: b.Native()}
		p.Inputs[i] = &pinned
	}
	p.adopt(v.Outputs)
	return &p
}

// Only returns a copy of the vertex that has a single tile, given by its box:
// the action is that of the whole vertex, and its outputs cover no more.
func (v *Vertex) Only(tile grid.Box) *Vertex {
	p := *v
	p.Box = tile
	p.adopt(v.Outputs)
	for _, o := range p.Outputs {
		if o.Spec.Kind != File {
			o.Grid.Box = o.OutputBox(tile)
		}
	}
	return &p
}

// adopt makes copies of outputs the vertex's own.
func (v *Vertex) adopt(outputs []*Output) {
	v.Outputs = make([]*Output, len(outputs))
	for i, o := range outputs {
		own := *o
		own.Vertex = v
		v.Outputs[i] = &own
	}
}
