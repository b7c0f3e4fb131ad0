package graph

import (
	"iter"

	"github.com/cubebuild/cube/cube/grid"
)

// Plan is the DAG of vertices that the targets need. Each vertex follows
// everything that it reads, and the order is the same for the same arguments.
type Plan struct {
	Targets  []string
	Vertices []*Vertex
}

// Vertex is one producer instance on its grid, or, where Instance is nil, the
// merge of what several instances contribute to one variable.
type Vertex struct {
	Name     string // of the instance, or MergePrefix and the variable
	Instance *Instance
	GridName string
	Grid     grid.Grid
	Box      grid.Box // the cells that the tiles cover: the grid's, without time where no output is in time
	Tiling   grid.Tiling
	Inputs   []*Binding
	Outputs  []*Output
}

// Output is one variable that a vertex makes. Where several instances
// contribute to one variable, each makes its own [Contribution].
type Output struct {
	Vertex   *Vertex
	Role     string
	Variable string
	Spec     VarSpec
	Grid     grid.Grid // the vertex's, refined where the spec says so; without time for a static variable
	Native   float64   // ground metres; 0: unknown
	Held     bool      // another version of the variable is held: no head moves to this one
}

// Binding is what satisfies one need: an output of an earlier vertex, or an
// import pinned in the lock. Exactly one of From and Import is set.
type Binding struct {
	Role     string
	Need     DataNeed
	Variable string
	From     *Output
	Import   *Import
	// Method is how windows are resampled where they are not on the
	// variable's own lattice: as the need says, or as its values ask for.
	Method grid.Resampling
}

// Spec is what the bound variable means.
func (b *Binding) Spec() VarSpec {
	if b.From != nil {
		return b.From.Spec
	}
	return b.Import.Spec
}

// Grid is the grid that the bound variable is stored on.
func (b *Binding) Grid() grid.Grid {
	if b.From != nil {
		return b.From.Grid
	}
	return b.Import.Grid
}

// Native is the bound variable's native resolution in ground metres, 0 where unknown.
func (b *Binding) Native() float64 {
	if b.From != nil {
		return b.From.Native
	}
	return b.Import.Native
}

// Contribution names what one instance adds to a merged variable.
func Contribution(variable, instance string) string { return variable + "@" + instance }

// Output returns the output that makes a variable, or nil.
func (p *Plan) Output(variable string) *Output {
	for _, v := range p.Vertices {
		for _, o := range v.Outputs {
			if o.Variable == variable {
				return o
			}
		}
	}
	return nil
}

// Len is the number of actions that the vertex expands into.
func (v *Vertex) Len() int64 { return v.Tiling.Span(v.Box).Len() }

// Tiles yields the vertex's tiles, one per action, without holding them.
func (v *Vertex) Tiles() iter.Seq[grid.Tile] { return v.Tiling.Tiles(v.Box) }

// MergePrefix begins the names of the vertices that the engine itself computes.
// No instance has a name with a colon in it.
const MergePrefix = "merge:"

// IsMerge reports whether the engine itself computes the vertex.
func (v *Vertex) IsMerge() bool { return v.Instance == nil }

// Window is what one action reads of one input.
type Window struct {
	Binding *Binding
	Grid    grid.Grid // the grid that the window is delivered on
	Box     grid.Box  // on Grid's lattice
	Clip    grid.Clip // what the domain's edge cut off
	Read    grid.Box  // on the variable's own lattice: the cells that the window's values depend on; empty where it lies outside
}

// Resampled reports whether the window's lattice is not the variable's own.
func (w Window) Resampled() bool { return w.Grid.Lattice != w.Binding.Grid().Lattice }

// Windows returns what the action of a tile reads, in the order of Inputs.
func (v *Vertex) Windows(tile grid.Tile) []Window {
	ws := make([]Window, len(v.Inputs))
	for i, b := range v.Inputs {
		ws[i] = v.window(b, tile.Box)
	}
	return ws
}

func (v *Vertex) window(b *Binding, tile grid.Box) Window {
	own := b.Grid()
	w := Window{Binding: b, Grid: v.Grid}
	if b.Need.Kind == File {
		return w
	}
	if b.Need.Kind == Static {
		tile = tile.Static()
	}
	domain := w.Grid.Box
	if b.Need.Grid == NativeGrid {
		w.Grid, domain = own, own.Box
		tile = v.onto(own, tile)
	}
	if b.Need.Kind == Static {
		domain = domain.Static()
		w.Grid.Time, w.Grid.Box = grid.TimeAxis{}, domain
	} else {
		tile.T = v.timeRange(b.Need, tile.T, domain.T)
	}
	if tile.Empty() {
		return w // a tile where the variable has no cells of its own
	}
	halo := b.Need.Halo
	halo.Before, halo.After = b.Need.Time.Before, b.Need.Time.After
	if b.Need.Time.All {
		halo.Before, halo.After = 0, 0
	}
	w.Box, w.Clip = halo.Window(tile, domain), halo.Clipped(tile, domain)
	w.Read = v.read(w, own)
	return w
}

// Readers returns the cells of the vertex's own grid whose tiles' windows of an
// input may meet a box of the input's cells, where both lie on one lattice; it
// is empty in space where none does.
func (v *Vertex) Readers(b *Binding, box grid.Box) grid.Box {
	halo := b.Need.Halo
	out := grid.Box{Y: box.Y.Grow(halo.Y, halo.Y), X: box.X.Grow(halo.X, halo.X), T: v.Box.T}
	if b.Need.Kind == Time && !b.Need.Time.All && v.Box.T.Len() > 0 {
		out.T = box.T.Grow(b.Need.Time.After, b.Need.Time.Before)
	}
	out = out.Intersect(v.Box)
	if v.Box.T.Len() > 0 && out.T.Len() == 0 {
		return grid.Box{}
	}
	return out
}

// timeRange is the range of steps that a need's tile covers before its halo: a
// vertex without time of its own sees all of it.
func (v *Vertex) timeRange(n DataNeed, tile, domain grid.Range) grid.Range {
	if n.Time.All || tile.Len() == 0 {
		return domain
	}
	return tile
}

// onto returns the cells of g that a tile of the vertex's grid meets.
func (v *Vertex) onto(g grid.Grid, tile grid.Box) grid.Box {
	if g.Lattice == v.Grid.Lattice {
		return tile
	}
	// Resolve has covered the whole domain, of which this is a part.
	box, err := grid.Cover(v.Grid.Lattice, tile, g, 0)
	if err != nil {
		return grid.Box{}
	}
	return withTime(box, tile.T)
}

// read is the part of the variable's own grid that a window's values depend
// on; it is empty where the window lies outside.
func (v *Vertex) read(w Window, own grid.Grid) grid.Box {
	if !w.Resampled() {
		return w.Box.Intersect(withTime(own.Box, w.Box.T))
	}
	box, err := w.Binding.Method.Cover(w.Grid.Lattice, w.Box, own)
	if err != nil {
		return grid.Box{}
	}
	return withTime(box, w.Box.T)
}

func withTime(b grid.Box, t grid.Range) grid.Box {
	b.T = t
	return b
}

// NativeGrid as a need's grid asks for the variable's own lattice.
const NativeGrid = "native"
