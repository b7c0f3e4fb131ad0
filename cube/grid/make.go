package grid

import (
	"errors"
	"fmt"
	"math"
)

// MaxIndex bounds every absolute index of a valid grid, so that coordinates
// stay exact and products of lengths do not overflow.
const MaxIndex = 1 << 40

// MaxCells bounds the cells of a valid grid, over all its time steps.
const MaxCells = 1 << 50

// wholeCells is how far, in cells, a bound may lie from a cell's edge and
// still be taken for it: decimals such as 0.000833333333 are never exact.
const wholeCells = 1e-6

// Point is a position in units of a CRS.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// Bounds is the outline of a grid in units of its CRS.
type Bounds struct {
	West  float64 `json:"west"`
	South float64 `json:"south"`
	East  float64 `json:"east"`
	North float64 `json:"north"`
}

// Align says what New does with bounds that are not whole cells.
type Align string

const (
	// AlignExact refuses them. It is the default.
	AlignExact Align = ""
	// AlignOut moves them outwards to the next cell's edge.
	AlignOut Align = "out"
)

// BoundError says that a bound does not lie on a cell's edge.
type BoundError struct {
	Side    string  // west, south, east or north
	Value   float64 // as it was given
	Nearest float64 // the nearest bound that fits
	Cell    float64 // the cell's size along that axis
}

func (e *BoundError) Error() string {
	return fmt.Sprintf("grid: %s bound %v is not a whole number of cells of %v from the origin: the nearest that fits is %v",
		e.Side, e.Value, e.Cell, e.Nearest)
}

// New makes a grid of cells of dx × dy that fills the bounds. The lattice's
// origin is the corner that all tiles are counted from: by default the
// bounds' own north-west corner; with one origin, grids of different bounds
// share their tiles. A bound that is not a whole number of cells from the
// origin is a *BoundError, unless align says otherwise.
func New(crs CRS, dx, dy float64, b Bounds, origin *Point, align Align) (Grid, error) {
	if align != AlignExact && align != AlignOut {
		return Grid{}, fmt.Errorf("grid: align %q: must be empty or %q", string(align), string(AlignOut))
	}
	if origin == nil {
		origin = &Point{b.West, b.North}
	}
	l := Lattice{CRS: crs, DX: dx, DY: dy, X0: origin.X, Y0: origin.Y}
	if err := checkExtent(l, b); err != nil {
		return Grid{}, err
	}
	box, err := l.fit(b, align)
	if err != nil {
		return Grid{}, err
	}
	g := Grid{Lattice: l, Box: box}
	return g, g.Valid()
}

// checkExtent says what is wrong with a lattice or bounds before any index is
// derived from them.
func checkExtent(l Lattice, b Bounds) error {
	if err := l.Valid(); err != nil {
		return fmt.Errorf("grid: %w", err)
	}
	for _, v := range []float64{b.West, b.South, b.East, b.North} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("grid: bound %v is no coordinate", v)
		}
	}
	if b.East <= b.West {
		return fmt.Errorf("grid: east bound %v must be greater than west bound %v", b.East, b.West)
	}
	if b.North <= b.South {
		return fmt.Errorf("grid: north bound %v must be greater than south bound %v", b.North, b.South)
	}
	if l.CRS.IsGeographic() && (b.North > 90+wholeCells || b.South < -90-wholeCells) {
		return fmt.Errorf("grid: %s is in degrees: bounds %v to %v leave the latitudes", l.CRS, b.South, b.North)
	}
	return nil
}

// fit returns the box of cells that the bounds enclose.
func (l Lattice) fit(b Bounds, align Align) (Box, error) {
	sides := []struct {
		side          string
		value, offset float64 // offset in cells from the origin
		cell, sign    float64 // nearest = origin + sign·cell·index
		origin        float64
		out           func(float64) float64
	}{
		{"west", b.West, (b.West - l.X0) / l.DX, l.DX, 1, l.X0, math.Floor},
		{"east", b.East, (b.East - l.X0) / l.DX, l.DX, 1, l.X0, math.Ceil},
		{"north", b.North, (l.Y0 - b.North) / l.DY, l.DY, -1, l.Y0, math.Floor},
		{"south", b.South, (l.Y0 - b.South) / l.DY, l.DY, -1, l.Y0, math.Ceil},
	}
	var index [4]int64
	for i, s := range sides {
		if math.Abs(s.offset) > MaxIndex {
			return Box{}, fmt.Errorf("grid: %s bound %v is more than %d cells from the origin", s.side, s.value, int64(MaxIndex))
		}
		n := math.RoundToEven(s.offset)
		if math.Abs(s.offset-n) > wholeCells {
			if align == AlignExact {
				return Box{}, &BoundError{s.side, s.value, s.origin + float64(s.sign*float64(s.cell*n)), s.cell}
			}
			n = s.out(s.offset)
		}
		index[i] = int64(n)
	}
	box := Box{X: Range{index[0], index[1]}, Y: Range{index[2], index[3]}}
	if box.X.Len() == 0 || box.Y.Len() == 0 {
		return Box{}, errors.New("grid: the bounds hold no whole cell")
	}
	return box, nil
}

// Like returns the grid of a raster of ny rows and nx columns with this
// affine transform (GDAL's order; the corner of the first cell, not its
// centre): the raster's own lattice, with the origin at its north-west
// corner. Rotated, sheared and south-up rasters are refused.
func Like(crs CRS, geotransform [6]float64, nx, ny int64) (Grid, error) {
	gt := geotransform
	for _, v := range gt {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return Grid{}, fmt.Errorf("raster's transform %v: %v is no coordinate", gt, v)
		}
	}
	if nx <= 0 || ny <= 0 || nx > MaxIndex || ny > MaxIndex {
		return Grid{}, fmt.Errorf("raster of %d × %d cells: rows and columns must be from 1 to %d", ny, nx, int64(MaxIndex))
	}
	if math.Abs(gt[2])*float64(ny) > wholeCells*math.Abs(gt[1]) || math.Abs(gt[4])*float64(nx) > wholeCells*math.Abs(gt[5]) {
		return Grid{}, fmt.Errorf("raster's transform %v is rotated or sheared: warp it to a north-up grid first", gt)
	}
	if gt[5] > 0 {
		return Grid{}, fmt.Errorf("raster's transform %v is south-up: flip its rows so that the first is the northernmost", gt)
	}
	if gt[1] <= 0 || gt[5] == 0 {
		return Grid{}, fmt.Errorf("raster's transform %v: columns must go east and rows south", gt)
	}
	g := Grid{
		Lattice: Lattice{CRS: crs, DX: gt[1], DY: -gt[5], X0: gt[0], Y0: gt[3]},
		Box:     Box{Y: Range{0, ny}, X: Range{0, nx}},
	}
	return g, g.Valid()
}

// WithTime returns the grid with the time range [start, end) in steps, all in
// seconds; step 0 begins at start.
func (g Grid) WithTime(start, end, step int64) (Grid, error) {
	return g.WithTimeAxis(TimeAxis{Origin: start, Step: step}, start, end)
}

// WithTimeAxis returns the grid with the time range [start, end) on an axis
// that may begin elsewhere: grids on one axis share their time tiles. Both
// ends must be whole steps from the axis' origin.
func (g Grid) WithTimeAxis(axis TimeAxis, start, end int64) (Grid, error) {
	if axis.Step <= 0 {
		return Grid{}, fmt.Errorf("grid: time step of %d s: must be positive", axis.Step)
	}
	if end <= start {
		return Grid{}, fmt.Errorf("grid: time ends at %s, which is not after its start %s", FormatTime(end), FormatTime(start))
	}
	lo, err := axis.index("start", start)
	if err != nil {
		return Grid{}, err
	}
	hi, err := axis.index("end", end)
	if err != nil {
		return Grid{}, err
	}
	g.Time, g.Box.T = axis, Range{lo, hi}
	return g, g.Valid()
}

// maxSecond bounds times to some thirty thousand years, so that differences
// do not overflow.
const maxSecond = 1 << 40

// index returns the step that begins at t.
func (a TimeAxis) index(side string, t int64) (int64, error) {
	if t > maxSecond || t < -maxSecond || a.Origin > maxSecond || a.Origin < -maxSecond {
		return 0, fmt.Errorf("grid: time %s is out of range", side)
	}
	i := FloorDiv(t-a.Origin, a.Step)
	if a.At(i) != t {
		return 0, fmt.Errorf("grid: time %s %s is not a whole number of steps of %s from %s: the nearest before it is %s",
			side, FormatTime(t), FormatStep(a.Step), FormatTime(a.Origin), FormatTime(a.At(i)))
	}
	return i, nil
}

// Refine returns the grid with every cell split into n × n.
func (g Grid) Refine(n int64) (Grid, error) {
	if n < 1 || n > 1<<20 {
		return Grid{}, fmt.Errorf("grid: refine by %d: must be from 1 to %d", n, 1<<20)
	}
	if err := g.Valid(); err != nil {
		return Grid{}, err
	}
	g.Lattice = g.Lattice.Refine(n)
	g.Box.Y = Range{g.Box.Y.Lo * n, g.Box.Y.Hi * n}
	g.Box.X = Range{g.Box.X.Lo * n, g.Box.X.Hi * n}
	return g, g.Valid()
}

// Valid says what is wrong with the grid, or nil: a lattice that is one, at
// least one cell, and no index beyond MaxIndex or size beyond MaxCells.
func (g Grid) Valid() error {
	if err := g.Lattice.Valid(); err != nil {
		return fmt.Errorf("grid: %w", err)
	}
	for _, r := range []Range{g.Box.T, g.Box.Y, g.Box.X} {
		if r.Lo < -MaxIndex || r.Hi > MaxIndex || r.Lo > MaxIndex || r.Hi < -MaxIndex {
			return fmt.Errorf("grid: %s is more than %d cells from the origin", g.Box, int64(MaxIndex))
		}
	}
	if g.Box.Y.Len() == 0 || g.Box.X.Len() == 0 {
		return fmt.Errorf("grid: %s is empty", g.Box)
	}
	if g.Time.Step < 0 || g.Time.IsZero() != (g.Box.T.Len() == 0) {
		return fmt.Errorf("grid: %d steps of %d s: a time axis needs both, a static grid neither", g.Box.T.Len(), g.Time.Step)
	}
	if n := float64(g.Box.Y.Len()) * float64(g.Box.X.Len()) * float64(max(1, g.Box.T.Len())); n > MaxCells {
		return fmt.Errorf("grid: %.3g cells: at most %d", n, int64(MaxCells))
	}
	return nil
}

// Bounds returns the grid's outline.
func (g Grid) Bounds() Bounds {
	w, s, e, n := g.Lattice.Edge(g.Box)
	return Bounds{West: w, South: s, East: e, North: n}
}
