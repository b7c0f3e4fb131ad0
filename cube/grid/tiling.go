package grid

import (
	"fmt"
	"iter"
)

// Tiling is the size of a tile in steps and cells, along each axis cut at
// multiples from the origin. Zero means that the axis is not cut: its one
// tile, of index 0, is the whole range.
type Tiling struct {
	T int64 `json:"t,omitempty"`
	Y int64 `json:"y,omitempty"`
	X int64 `json:"x,omitempty"`
}

// Valid says which size is negative or beyond MaxIndex, or nil.
func (t Tiling) Valid() error {
	for _, n := range []int64{t.T, t.Y, t.X} {
		if n < 0 || n > MaxIndex {
			return fmt.Errorf("tiles of %d cells: must be from 0 to %d", n, int64(MaxIndex))
		}
	}
	return nil
}

// Tile is one cell block of a tiling: its index in multiples of the tile size
// from the lattice's origin, and its box, clipped to the domain.
type Tile struct {
	T   int64 `json:"t"`
	Y   int64 `json:"y"`
	X   int64 `json:"x"`
	Box Box   `json:"box"`
}

// Span is the range of tile indices that a domain, or a window, touches. A box
// without time, which holds for all of it, touches the one time tile 0.
type Span struct {
	T Range `json:"t"`
	Y Range `json:"y"`
	X Range `json:"x"`
}

// Len is the number of tiles.
func (s Span) Len() int64 { return s.T.Len() * s.Y.Len() * s.X.Len() }

// Span returns the tile indices that the domain touches.
func (t Tiling) Span(domain Box) Span {
	return Span{cuts(domain.T, t.T, true), cuts(domain.Y, t.Y, false), cuts(domain.X, t.X, false)}
}

// Tile returns the tile with these indices, clipped to the domain. The indices
// must lie in the domain's Span.
func (t Tiling) Tile(ti, yi, xi int64, domain Box) Tile {
	return Tile{ti, yi, xi, Box{cut(domain.T, t.T, ti), cut(domain.Y, t.Y, yi), cut(domain.X, t.X, xi)}}
}

// Tiles yields the tiles of a domain in order of time, row and column,
// without holding them.
func (t Tiling) Tiles(domain Box) iter.Seq[Tile] {
	return func(yield func(Tile) bool) {
		s := t.Span(domain)
		for ti := s.T.Lo; ti < s.T.Hi; ti++ {
			for yi := s.Y.Lo; yi < s.Y.Hi; yi++ {
				for xi := s.X.Lo; xi < s.X.Hi; xi++ {
					if !yield(t.Tile(ti, yi, xi, domain)) {
						return
					}
				}
			}
		}
	}
}

// cuts returns the indices of the blocks of the given size that r touches; an
// empty time range (a static domain) has one block.
func cuts(r Range, size int64, time bool) Range {
	if r.Len() == 0 {
		if time {
			return Range{0, 1}
		}
		return Range{}
	}
	if size == 0 {
		return Range{0, 1}
	}
	return r.Coarsen(size)
}

func cut(r Range, size, i int64) Range {
	if size == 0 || r.Len() == 0 {
		return r
	}
	return Range{i * size, (i + 1) * size}.Intersect(r)
}

// Coarsen is the range of blocks of n cells, or steps, that a range meets, which
// is not empty.
func (r Range) Coarsen(n int64) Range {
	return Range{Lo: FloorDiv(r.Lo, n), Hi: FloorDiv(r.Hi-1, n) + 1}
}

// FloorDiv is a / b, rounded towards minus infinity.
func FloorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}
