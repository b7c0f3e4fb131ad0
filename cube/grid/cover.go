package grid

import (
	"errors"
	"fmt"
	"math"
)

// ErrDisjoint says that no part of a destination has an image in the CRS of
// its source.
var ErrDisjoint = errors.New("outside the source's CRS")

// coverSamples is how many places along each side of a window are carried
// into the source's CRS to find what it covers there.
const coverSamples = 9

// Cover returns the cells of a source's grid that a window of a destination
// touches, grown by margin cells on every side and clipped to the source.
// Across CRSs it carries a net of points over, not corners alone, and grows
// the result by how far an edge may bulge between two of them. It is empty
// where source and window do not meet, and an ErrDisjoint where the source's
// CRS has no image of the window at all.
//
// Longitudes that differ by whole turns are one: a source from 0° to 360°
// serves a window in the west. A window that crosses the source's own seam
// gets its whole width.
func Cover(dst Lattice, box Box, src Grid, margin int64) (Box, error) {
	m, err := newMapping(dst, src.Lattice, src.Box)
	if err != nil {
		return Box{}, fmt.Errorf("cover %s: %w", box, err)
	}
	if box.Empty() || src.Box.Empty() {
		return Box{}, nil
	}
	if margin < 0 || margin > MaxIndex {
		return Box{}, fmt.Errorf("cover %s: margin of %d cells", box, margin)
	}
	e, seen := m.extent(box)
	if !seen {
		return Box{}, fmt.Errorf("cover %s of %s: %w %s", box, dst.CRS, ErrDisjoint, src.Lattice.CRS)
	}
	out := Box{Y: e.rows.outward(margin), X: e.cols.outward(margin)}.Intersect(src.Box.Static())
	if out.Empty() {
		return Box{}, nil
	}
	return out, nil
}

// Cover returns the cells of a source's grid that resampling a window of a
// destination by this method reads, clipped to the source: Cover with the
// method's own margin.
func (m Resampling) Cover(dst Lattice, box Box, src Grid) (Box, error) {
	margin, err := m.Margin(dst, box, src.Lattice)
	if err != nil {
		return Box{}, err
	}
	return Cover(dst, box, src, margin)
}

// interval is a range of fractional indices.
type interval struct{ lo, hi float64 }

func (v *interval) add(x float64) { v.lo, v.hi = min(v.lo, x), max(v.hi, x) }

// outward rounds an interval to whole cells and grows it.
func (v interval) outward(margin int64) Range {
	lo := math.Floor(max(-MaxIndex, min(MaxIndex, snap(v.lo))))
	hi := math.Ceil(max(-MaxIndex, min(MaxIndex, snap(v.hi))))
	return Range{int64(lo), int64(hi)}.Grow(margin, margin)
}

type extent struct{ rows, cols interval }

// extent returns the fractional source indices that a window spans, and
// whether any point of it has an image.
func (m *mapping) extent(box Box) (e extent, seen bool) {
	inf := math.Inf(1)
	all := interval{-inf, inf}
	e = extent{interval{inf, -inf}, interval{inf, -inf}}
	if m.same {
		e.rows.add(m.row(float64(box.Y.Lo)))
		e.rows.add(m.row(float64(box.Y.Hi)))
		e.cols = m.colsOf(box.X)
		return e, true
	}
	var bulge extent
	hidden := false
	net := m.net(box)
	for i := range net {
		var down [coverSamples][2]float64
		for j := range down {
			down[j] = net[j][i]
		}
		for _, line := range [][coverSamples][2]float64{net[i], down} {
			s, h := e.addLine(line, &bulge)
			seen, hidden = seen || s, hidden || h
		}
	}
	if hidden { // the edge of the projection lies between two points
		return extent{all, all}, seen
	}
	e.rows.lo, e.rows.hi = e.rows.lo-bulge.rows.hi, e.rows.hi+bulge.rows.hi
	e.cols.lo, e.cols.hi = e.cols.lo-bulge.cols.hi, e.cols.hi+bulge.cols.hi
	return e, seen
}

// net carries evenly spread points of a window over.
func (m *mapping) net(box Box) (net [coverSamples][coverSamples][2]float64) {
	rows, cols := samples(box.Y, coverSamples), samples(box.X, coverSamples)
	for i, r := range rows {
		for j, c := range cols {
			net[i][j] = m.at(r, c)
		}
	}
	return net
}

// colsOf returns the source columns of a range of columns, where both
// lattices share a CRS: all of them where the source's seam lies between.
func (m *mapping) colsOf(r Range) interval {
	first, last := m.col(float64(r.Lo)+0.5), m.col(float64(r.Hi)-0.5)
	half, width := float64(m.dst.DX/m.src.DX/2), float64(float64(r.Len()-1)*m.dst.DX/m.src.DX)
	if math.Abs(last-first-width) > wholeCells*max(1, width) {
		return interval{math.Inf(-1), math.Inf(1)}
	}
	return interval{first - half, last + half}
}

// addLine adds the points of a line and keeps the greatest distance between a
// point and the chord of its neighbours: a bound on what lies between points.
// It reports whether it saw points with an image, and points without.
func (e *extent) addLine(line [coverSamples][2]float64, bulge *extent) (seen, hidden bool) {
	for i, p := range line {
		if math.IsNaN(p[0]) {
			hidden = true
			continue
		}
		seen = true
		e.rows.add(p[0])
		e.cols.add(p[1])
		if i == 0 || i == len(line)-1 || math.IsNaN(line[i-1][0]) || math.IsNaN(line[i+1][0]) {
			continue
		}
		bulge.rows.add(math.Abs(p[0] - float64((line[i-1][0]+line[i+1][0])/2)))
		bulge.cols.add(math.Abs(p[1] - float64((line[i-1][1]+line[i+1][1])/2)))
	}
	return seen, hidden
}

// mapping takes fractional indices of one lattice to those of another: (r, c)
// is r rows south and c columns east of the corner of cell (0, 0).
type mapping struct {
	dst, src  Lattice
	same      bool // of one CRS, so that rows and columns go separately
	transform func(x, y float64) (float64, float64, error)
	// turn is a whole turn of longitude in source columns, 0 for none, and
	// from the column from which one turn is counted.
	turn, from float64
}

// newMapping makes a mapping to a source whose whole extent is the domain.
func newMapping(dst, src Lattice, domain Box) (*mapping, error) {
	if err := errors.Join(dst.Valid(), src.Valid()); err != nil {
		return nil, err
	}
	t, err := Transformer(dst.CRS, src.CRS)
	if err != nil {
		return nil, err
	}
	m := &mapping{dst: dst, src: src, transform: t}
	m.same = dst.CRS == src.CRS || dst.CRS.IsGeographic() && src.CRS.IsGeographic()
	if src.CRS.IsGeographic() {
		// The cut is opposite the domain's middle, as far from it as can be.
		m.turn = 360 / src.DX
		m.from = float64(float64(domain.X.Lo+domain.X.Hi)/2) - float64(m.turn/2)
	}
	return m, nil
}

// at returns the source's fractional row and column of a destination's, both
// NaN where the source's CRS has no image of it.
func (m *mapping) at(r, c float64) [2]float64 {
	x, y, err := m.transform(m.dst.X0+float64(c*m.dst.DX), m.dst.Y0-float64(r*m.dst.DY))
	if err != nil {
		return [2]float64{math.NaN(), math.NaN()}
	}
	return [2]float64{(m.src.Y0 - y) / m.src.DY, m.wrap((x - m.src.X0) / m.src.DX)}
}

// row maps a row where both lattices share a CRS.
func (m *mapping) row(r float64) float64 {
	return (m.src.Y0 - (m.dst.Y0 - float64(r*m.dst.DY))) / m.src.DY
}

// col maps a column where both lattices share a CRS.
func (m *mapping) col(c float64) float64 { return m.wrap(m.unwrapped(c)) }

// unwrapped is col with its turns of longitude.
func (m *mapping) unwrapped(c float64) float64 {
	return (m.dst.X0 + float64(c*m.dst.DX) - m.src.X0) / m.src.DX
}

// wrap takes whole turns of longitude off a column.
func (m *mapping) wrap(c float64) float64 {
	if m.turn == 0 {
		return c
	}
	return c - float64(math.Floor((c-m.from)/m.turn)*m.turn)
}

// turnOf is how many turns of longitude wrap takes off a column's centre, where
// both lattices share a CRS.
func (m *mapping) turnOf(col int64) float64 {
	if m.turn == 0 {
		return 0
	}
	return math.Floor((m.unwrapped(float64(col)+0.5) - m.from) / m.turn)
}

// turns cuts a range of columns where another turn of longitude begins. Between
// CRSs it does not: each place finds its own.
func (m *mapping) turns(r Range) []Range {
	if !m.same || m.turn == 0 {
		return []Range{r}
	}
	var out []Range
	for lo := r.Lo; lo < r.Hi; {
		hi, turn := lo+1, m.turnOf(lo)
		for hi < r.Hi && m.turnOf(hi) == turn {
			hi++
		}
		out = append(out, Range{lo, hi})
		lo = hi
	}
	return out
}

// beside returns the column a whole number of turns away from c that is
// nearest to another.
func (m *mapping) beside(c, other float64) float64 {
	if m.turn == 0 {
		return c
	}
	return c - float64(math.RoundToEven((c-other)/m.turn)*m.turn)
}

// scale returns how many source rows and columns a destination cell spans
// about a place, at least 1. Ratios within a twentieth of 1 are 1, so that
// grids of one resolution are interpolated and not smoothed.
func (m *mapping) scale(r, c float64) (rows, cols float64) {
	if m.same {
		return atLeastOne(m.dst.DY / m.src.DY), atLeastOne(m.dst.DX / m.src.DX)
	}
	o, south, east := m.at(r, c), m.at(r+1, c), m.at(r, c+1)
	return atLeastOne(length(south[0]-o[0], east[0]-o[0])),
		atLeastOne(length(m.beside(south[1], o[1])-o[1], m.beside(east[1], o[1])-o[1]))
}

func length(a, b float64) float64 { return math.Sqrt(float64(a*a) + float64(b*b)) }

func atLeastOne(ratio float64) float64 {
	if ratio > 1.05 { // false for NaN
		return ratio
	}
	return 1
}

// snap takes an index within a millionth of a whole one for it.
func snap(v float64) float64 {
	if n := math.RoundToEven(v); math.Abs(v-n) < wholeCells {
		return n
	}
	return v
}
