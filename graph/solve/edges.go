package solve

import (
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// Edges between tiles are not held anywhere: they follow from where the tiles
// of two vertices lie.

// tile returns the tile with this index.
func (n *node) tile(index int64) grid.Tile {
	nx, ny := n.span.X.Len(), n.span.Y.Len()
	x, y, t := index%nx, index/nx%ny, index/nx/ny
	return n.vertex.Tiling.Tile(n.span.T.Lo+t, n.span.Y.Lo+y, n.span.X.Lo+x, n.vertex.Box)
}

func (n *node) index(t, y, x int64) int64 {
	return ((t-n.span.T.Lo)*n.span.Y.Len()+(y-n.span.Y.Lo))*n.span.X.Len() + (x - n.span.X.Lo)
}

// cut returns the node's tiles that a block of one of its outputs meets.
func (n *node) cut(o *graph.Output, read grid.Box) grid.Span {
	if r := max(1, o.Spec.Refine); r > 1 {
		read.Y, read.X = read.Y.Coarsen(r), read.X.Coarsen(r)
	}
	s := n.vertex.Tiling.Span(read)
	if o.Spec.Kind != graph.Time {
		s.T = n.span.T
	}
	return s
}

// touched yields the indices of the tiles that a block meets, from the last to
// the first.
func (n *node) touched(o *graph.Output, read grid.Box) func(func(int64) bool) {
	return func(yield func(int64) bool) {
		if o.Spec.Kind == graph.File {
			yield(n.total - 1)
			return
		}
		if read.Empty() {
			return
		}
		s := n.cut(o, read)
		for t := s.T.Hi - 1; t >= s.T.Lo; t-- {
			for y := s.Y.Hi - 1; y >= s.Y.Lo; y-- {
				for x := s.X.Hi - 1; x >= s.X.Lo; x-- {
					if !yield(n.index(t, y, x)) {
						return
					}
				}
			}
		}
	}
}

// missing returns the last tile of those that a block meets that is not done;
// false where all are. It looks no further than to the first that is not.
func (n *node) missing(o *graph.Output, read grid.Box) (tile int64, ok bool) {
	for i := range n.touched(o, read) {
		if i < n.done.prefix { // and so are all before it
			return 0, false
		}
		if !n.done.has(i) {
			return i, true
		}
	}
	return 0, false
}

// fails reports whether a block meets a tile that is not there.
func (n *node) fails(o *graph.Output, read grid.Box) bool {
	if len(n.failed) == 0 {
		return false
	}
	for i := range n.touched(o, read) {
		if _, ok := n.failed[i]; ok {
			return true
		}
	}
	return false
}
