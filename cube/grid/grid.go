// Package grid holds the geometry of a cube: coordinate reference systems,
// lattices, grids, tiles, halos and resampling. It is pure: no I/O, no clock.
//
// A [Lattice] is an endless raster: a CRS, a cell size and an origin. Cell
// (row r, column c) covers x in [X0+c·DX, X0+(c+1)·DX) and y in
// (Y0−(r+1)·DY, Y0−r·DY]: columns go east and rows go south, and both may be
// negative. A [Grid] is a rectangle of whole cells of one lattice and,
// where it has one, a time axis. Everything else is integers: coordinates and
// times are derived from absolute indices and are never stored or compared.
//
// A [Box] is a half-open block of cells in (time, y, x) by absolute index. A
// [Tiling] cuts a grid's box at multiples of the tile size from the lattice's
// origin, so that a larger domain reuses every tile that it shares with a
// smaller one. A [Halo] makes a tile into the window that is read for it.
//
// [Resample] takes a [Raster] from one lattice to another, across CRSs where
// need be, and [Resampling.Cover] says which cells it reads for a window.
// Tile by tile it gives the very bytes that it gives for the whole, on every
// architecture: nothing depends on the window, and no product is fused with a
// sum. [ResolutionMetres] compares cells of any CRS on the ground.
package grid

import (
	"fmt"
	"math"
)

// Lattice is an endless raster: CRS, cell size and the corner of cell (0, 0).
// It is comparable; two lattices are one if they are equal.
type Lattice struct {
	CRS CRS `json:"crs"`
	// DX and DY are the cell's size in units of the CRS, both positive.
	DX float64 `json:"dx"`
	DY float64 `json:"dy"`
	// X0 and Y0 are the north-west corner of cell (0, 0).
	X0 float64 `json:"x0"`
	Y0 float64 `json:"y0"`
}

// X returns the x coordinate of the centre of column c.
func (l Lattice) X(c int64) float64 { return l.X0 + float64((float64(c)+0.5)*l.DX) }

// Y returns the y coordinate of the centre of row r.
func (l Lattice) Y(r int64) float64 { return l.Y0 - float64((float64(r)+0.5)*l.DY) }

// Cell returns the row and column of the cell that holds a point.
func (l Lattice) Cell(x, y float64) (row, col int64) {
	return int64(math.Floor((l.Y0 - y) / l.DY)), int64(math.Floor((x - l.X0) / l.DX))
}

// Edge returns the outer edges of a block of cells: west, south, east, north.
func (l Lattice) Edge(b Box) (west, south, east, north float64) {
	return l.X0 + float64(float64(b.X.Lo)*l.DX), l.Y0 - float64(float64(b.Y.Hi)*l.DY),
		l.X0 + float64(float64(b.X.Hi)*l.DX), l.Y0 - float64(float64(b.Y.Lo)*l.DY)
}

// GeoTransform returns the affine transform of a block's own array in GDAL's
// order: west edge, cell width, 0, north edge, 0, −cell height.
func (l Lattice) GeoTransform(b Box) [6]float64 {
	west, _, _, north := l.Edge(b)
	return [6]float64{west, l.DX, 0, north, 0, -l.DY}
}

// Refine returns the lattice with every cell split into n × n; n must be
// positive. Grid.Refine checks.
func (l Lattice) Refine(n int64) Lattice {
	l.DX /= float64(n)
	l.DY /= float64(n)
	return l
}

// Valid says what is wrong with the numbers of the lattice, or nil. It does
// not look at the CRS, for which see CRS.Valid.
func (l Lattice) Valid() error {
	for _, v := range []float64{l.DX, l.DY, l.X0, l.Y0} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("lattice: %v is no coordinate", v)
		}
	}
	if l.DX <= 0 || l.DY <= 0 {
		return fmt.Errorf("lattice: cell size %g × %g: must be positive", l.DX, l.DY)
	}
	return nil
}

// TimeAxis is an endless axis of equal steps: step i covers
// [Origin+i·Step, Origin+(i+1)·Step), in seconds since 1970-01-01T00:00Z
// without leap seconds. The zero value means no time.
type TimeAxis struct {
	Origin int64 `json:"origin"`
	Step   int64 `json:"step"`
}

// IsZero reports whether there is no time axis.
func (t TimeAxis) IsZero() bool { return t.Step == 0 }

// At returns the start of step i in Unix seconds.
func (t TimeAxis) At(i int64) int64 { return t.Origin + i*t.Step }

// Grid is a rectangle of whole cells of one lattice, with a time range where
// it has a time axis (otherwise Box.T is empty). New and Like make one. It is
// comparable.
type Grid struct {
	Lattice Lattice  `json:"lattice"`
	Time    TimeAxis `json:"time"`
	Box     Box      `json:"box"`
}

// Range is a half-open range of absolute indices.
type Range struct {
	Lo int64 `json:"lo"`
	Hi int64 `json:"hi"`
}

// Len is the number of indices, 0 for an empty or reversed range.
func (r Range) Len() int64 { return max(0, r.Hi-r.Lo) }

// Intersect returns what both ranges share.
func (r Range) Intersect(o Range) Range { return Range{max(r.Lo, o.Lo), min(r.Hi, o.Hi)} }

// Contains reports whether o lies in r. An empty o lies in every range.
func (r Range) Contains(o Range) bool { return o.Len() == 0 || o.Lo >= r.Lo && o.Hi <= r.Hi }

// Grow returns the range with lo more indices before and hi more after.
func (r Range) Grow(lo, hi int64) Range { return Range{r.Lo - lo, r.Hi + hi} }

// Box is a block of cells by absolute index: time, row, column.
type Box struct {
	T Range `json:"t"`
	Y Range `json:"y"`
	X Range `json:"x"`
}

// Static returns the box without its time range.
func (b Box) Static() Box { b.T = Range{}; return b }

// Cells is the number of cells in space.
func (b Box) Cells() int64 { return b.Y.Len() * b.X.Len() }

// Empty reports whether the box has no cells in space.
func (b Box) Empty() bool { return b.Cells() == 0 }

// Intersect returns the cells that both boxes share.
func (b Box) Intersect(o Box) Box {
	return Box{b.T.Intersect(o.T), b.Y.Intersect(o.Y), b.X.Intersect(o.X)}
}

// Meets reports whether both boxes share a cell, at some time where both have
// one.
func (b Box) Meets(o Box) bool {
	timeless := b.T.Len() == 0 || o.T.Len() == 0
	return !b.Intersect(o).Empty() && (timeless || b.T.Intersect(o.T).Len() > 0)
}

// Union returns the smallest box that holds both, neither of which is empty.
func (b Box) Union(o Box) Box {
	return Box{b.T.union(o.T), b.Y.union(o.Y), b.X.union(o.X)}
}

func (r Range) union(o Range) Range { return Range{min(r.Lo, o.Lo), max(r.Hi, o.Hi)} }

// Contains reports whether o lies wholly in b.
func (b Box) Contains(o Box) bool {
	return b.T.Contains(o.T) && b.Y.Contains(o.Y) && b.X.Contains(o.X)
}

// String prints the box as t[lo,hi) y[lo,hi) x[lo,hi).
func (b Box) String() string {
	s := fmt.Sprintf("y[%d,%d) x[%d,%d)", b.Y.Lo, b.Y.Hi, b.X.Lo, b.X.Hi)
	if b.T.Len() > 0 {
		s = fmt.Sprintf("t[%d,%d) ", b.T.Lo, b.T.Hi) + s
	}
	return s
}

// Halo is the margin that a window has around its tile, in cells and steps:
// Y rows to the north and the south, X columns to the west and the east,
// Before steps earlier and After later. None may be negative.
type Halo struct {
	Y      int64 `json:"y,omitempty"`
	X      int64 `json:"x,omitempty"`
	Before int64 `json:"before,omitempty"`
	After  int64 `json:"after,omitempty"`
}

// IsZero reports whether there is no halo.
func (h Halo) IsZero() bool { return h == Halo{} }

// Valid says which size is negative or beyond MaxIndex, or nil.
func (h Halo) Valid() error {
	for _, n := range []int64{h.Y, h.X, h.Before, h.After} {
		if n < 0 || n > MaxIndex {
			return fmt.Errorf("halo of %d cells: must be from 0 to %d", n, int64(MaxIndex))
		}
	}
	return nil
}

// Window returns the tile grown by the halo and clipped to the domain.
func (h Halo) Window(tile, domain Box) Box {
	return Box{tile.T.Grow(h.Before, h.After), tile.Y.Grow(h.Y, h.Y), tile.X.Grow(h.X, h.X)}.Intersect(domain)
}

// Clip says how many cells the domain's edge took from each side of a window,
// and how many steps from its start and end. The zero Clip is a whole window.
type Clip struct {
	North int64 `json:"north,omitempty"`
	South int64 `json:"south,omitempty"`
	West  int64 `json:"west,omitempty"`
	East  int64 `json:"east,omitempty"`
	Start int64 `json:"start,omitempty"`
	End   int64 `json:"end,omitempty"`
}

// Clipped returns what Window cut off.
func (h Halo) Clipped(tile, domain Box) Clip {
	w := h.Window(tile, domain)
	c := Clip{North: h.Y - (tile.Y.Lo - w.Y.Lo), South: h.Y - (w.Y.Hi - tile.Y.Hi),
		West: h.X - (tile.X.Lo - w.X.Lo), East: h.X - (w.X.Hi - tile.X.Hi)}
	if tile.T.Len() > 0 {
		c.Start, c.End = h.Before-(tile.T.Lo-w.T.Lo), h.After-(w.T.Hi-tile.T.Hi)
	}
	return c
}
