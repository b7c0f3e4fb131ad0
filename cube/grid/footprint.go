package grid

import (
	"fmt"
	"math"
)

// tap is a source cell, by its offset in the source's plane, and its weight.
type tap struct {
	at     int
	weight float64
}

// cells are the source cells that make a destination cell.
type cells struct {
	taps  []tap
	total float64 // weight of the whole footprint, also where there is no source
	under int     // offset of the cell under the centre, -1 for none
}

// whole reports whether all of the footprint lies in the source.
func (c *cells) whole() bool {
	w := 0.0
	for _, t := range c.taps {
		w += t.weight
	}
	return math.Abs(w-c.total) <= nearlyAll*math.Abs(c.total)
}

// footprint says which source cells make a destination cell. It is for one
// goroutine: its lists are used again for the next cell.
type footprint struct {
	m           *mapping
	method      Resampling
	dst         Box
	src, domain Box
	width       int64 // of the source's rows

	cells
	bilinear    cells // the same by the bilinear method, where it was asked for
	hasBilinear bool

	// Where both lattices share a CRS every column has its own list, made once.
	columns []axis
	line    axis // of the row, or of the cell where they do not
	other   axis

	// Corners of the row of cells, in source indices, where they do not.
	north, south [][2]float64
	scales       map[[2]int64][2]float64
}

// axis is the source indices and weights of one destination index along one
// axis.
type axis struct {
	lo      int64
	weights []float64
	total   float64
	under   int64 // the index under the centre
	ok      bool
}

func newFootprint(m *mapping, method Resampling, dst, src, domain Box) *footprint {
	f := &footprint{m: m, method: method, dst: dst, src: src, domain: domain, width: src.X.Len()}
	if m.same {
		f.columns = make([]axis, dst.X.Len())
		for i := range f.columns {
			f.fitColumn(&f.columns[i], dst.X.Lo+int64(i))
		}
		return f
	}
	f.scales = map[[2]int64][2]float64{}
	if f.onArea() {
		f.north = make([][2]float64, dst.X.Len()+1)
		f.south = make([][2]float64, dst.X.Len()+1)
		f.corners(f.south, dst.Y.Lo)
	}
	return f
}

// onArea reports whether the method works on the cell's area and not about
// its centre.
func (f *footprint) onArea() bool { return f.method.Radius() == 0 && f.method != Nearest }

func (f *footprint) corners(line [][2]float64, row int64) {
	for i := range line {
		line[i] = f.m.at(float64(row), float64(f.dst.X.Lo+int64(i)))
	}
}

// row makes ready for the cells of a row; rows come one after the other.
func (f *footprint) row(r int64) {
	switch {
	case f.m.same:
		f.fitRow(&f.line, r)
	case f.onArea():
		f.north, f.south = f.south, f.north
		f.corners(f.south, r+1)
	}
}

// cell finds the taps of a cell of the row. It reports whether the cell has
// an image in the source's CRS.
func (f *footprint) cell(r, c int64) (ok bool, err error) {
	f.reset(&f.cells)
	f.hasBilinear = false
	switch {
	case f.m.same:
		return f.product(&f.cells, &f.line, &f.columns[c-f.dst.X.Lo])
	case f.onArea():
		i := c - f.dst.X.Lo
		return f.quad([4][2]float64{f.north[i], f.north[i+1], f.south[i+1], f.south[i]})
	}
	return f.centred(&f.cells, r, c, f.method)
}

func (f *footprint) reset(to *cells) { to.taps, to.total, to.under = to.taps[:0], 0, -1 }

// linear returns the cell's taps by the bilinear method.
func (f *footprint) linear(r, c int64) (*cells, error) {
	if f.hasBilinear {
		return &f.bilinear, nil
	}
	f.hasBilinear = true
	f.reset(&f.bilinear)
	if !f.m.same {
		_, err := f.centred(&f.bilinear, r, c, Bilinear)
		return &f.bilinear, err
	}
	var rows, cols axis
	sr, sc := f.m.scale(0, 0)
	rows.about(snap(f.m.row(float64(r)+0.5)), sr, Bilinear, f.domain.Y)
	cols.about(snap(f.m.col(float64(c)+0.5)), sc, Bilinear, f.domain.X)
	_, err := f.product(&f.bilinear, &rows, &cols)
	return &f.bilinear, err
}

// fitColumn makes the list of a column where the lattices share a CRS.
func (f *footprint) fitColumn(a *axis, c int64) {
	centre := f.m.col(float64(c) + 0.5)
	if f.onArea() {
		half := float64(f.m.dst.DX / f.m.src.DX / 2)
		a.overlap(snap(centre-half), snap(centre+half), f.domain.X)
		return
	}
	_, scale := f.m.scale(0, 0)
	a.about(snap(centre), scale, f.method, f.domain.X)
}

// fitRow makes the list of a row where the lattices share a CRS.
func (f *footprint) fitRow(a *axis, r int64) {
	if !f.onArea() {
		scale, _ := f.m.scale(0, 0)
		a.about(snap(f.m.row(float64(r)+0.5)), scale, f.method, f.domain.Y)
		return
	}
	lo, hi := snap(f.m.row(float64(r))), snap(f.m.row(float64(r)+1))
	a.overlap(lo, hi, f.domain.Y)
	if f.method == Conservative && f.m.src.CRS.IsGeographic() {
		f.byGroundArea(a, lo, hi)
	}
}

// byGroundArea weighs the rows lo to hi of degrees by their area on the
// ellipsoid.
func (f *footprint) byGroundArea(a *axis, lo, hi float64) {
	zone := func(row float64) float64 {
		lat := f.m.src.Y0 - float64(row*f.m.src.DY)
		return systems()[f.m.src.CRS].datum.ellipsoid.ZoneArea(max(-90, min(90, lat)))
	}
	a.total = zone(lo) - zone(hi)
	for i := range a.weights {
		r := float64(a.lo + int64(i))
		a.weights[i] = max(0, zone(max(lo, r))-zone(min(hi, r+1)))
	}
}

// overlap lists the indices of a domain that [lo, hi) meets, weighed by how
// much.
func (a *axis) overlap(lo, hi float64, domain Range) {
	a.begin(math.Floor(lo), math.Ceil(hi), domain)
	for i := range a.weights {
		k := float64(a.lo + int64(i))
		a.weights[i] = min(hi, k+1) - max(lo, k)
	}
	a.total = hi - lo
}

// about lists the indices of a domain whose centres the method's kernel
// reaches from u.
func (a *axis) about(u, scale float64, method Resampling, domain Range) {
	under := math.Floor(u)
	if method == Nearest {
		a.begin(under, under+1, domain)
		a.total = 1
		for i := range a.weights {
			a.weights[i] = 1
		}
		return
	}
	reach := float64(float64(method.Radius()) * scale)
	lo, hi := math.Floor(u-reach+0.5), math.Ceil(u+reach-0.5)
	if a.begin(lo, hi, domain); !a.ok {
		return
	}
	a.under, a.total = int64(under), 0
	for k := int64(lo); k < int64(hi); k++ {
		w := method.kernel(float64(k)+0.5-u, scale)
		a.total += w
		if i := k - a.lo; i >= 0 && i < int64(len(a.weights)) {
			a.weights[i] = w
		}
	}
	a.trim()
}

// maxTaps bounds the source cells along one axis of one cell: the cells of no
// two grids that belong together differ by more.
const maxTaps = 1 << 20

// begin makes room for the indices lo to hi that are in a domain.
func (a *axis) begin(lo, hi float64, domain Range) {
	a.weights = a.weights[:0]
	a.ok = lo >= -2*MaxIndex && hi <= 2*MaxIndex && hi-lo <= maxTaps && hi > lo // false for NaN
	if !a.ok {
		return
	}
	in := Range{int64(lo), int64(hi)}.Intersect(domain)
	a.lo = in.Lo
	if n := int(in.Len()); cap(a.weights) < n {
		a.weights = make([]float64, n)
	} else {
		a.weights = a.weights[:n]
	}
}

// trim drops outer weights of zero, so that an exact hit reads one cell.
func (a *axis) trim() {
	for len(a.weights) > 1 && a.weights[0] == 0 {
		a.weights = a.weights[1:]
		a.lo++
	}
	for n := len(a.weights); n > 1 && a.weights[n-1] == 0; n-- {
		a.weights = a.weights[:n-1]
	}
}

func (a *axis) span() Range { return Range{a.lo, a.lo + int64(len(a.weights))} }

// product makes the taps of a row's list and a column's.
func (f *footprint) product(to *cells, rows, cols *axis) (bool, error) {
	if !rows.ok || !cols.ok {
		return false, nil
	}
	to.total = float64(rows.total * cols.total)
	have, err := f.have(rows.span(), cols.span())
	if err != nil {
		return false, err
	}
	for r := have.Y.Lo; r < have.Y.Hi; r++ {
		w, at := rows.weights[r-rows.lo], f.offset(r, 0)
		for c := have.X.Lo; c < have.X.Hi; c++ {
			to.taps = append(to.taps, tap{at + int(c), float64(w * cols.weights[c-cols.lo])})
		}
	}
	if r, c := rows.under, cols.under; r >= f.src.Y.Lo && r < f.src.Y.Hi && c >= f.src.X.Lo && c < f.src.X.Hi {
		to.under = f.offset(r, c)
	}
	return true, nil
}

// offset returns the place of a cell in the source's plane.
func (f *footprint) offset(r, c int64) int {
	return int((r-f.src.Y.Lo)*f.width + c - f.src.X.Lo)
}

// have returns the part of a block of source cells that the window holds; it
// is an error if the source has more of it than the window.
func (f *footprint) have(rows, cols Range) (Box, error) {
	want := Box{Y: rows, X: cols}
	have := want.Intersect(f.src.Static())
	if need := want.Intersect(f.domain.Static()); !need.Empty() && have != need && !f.src.Static().Contains(need) {
		return Box{}, fmt.Errorf("%w: needs %s, has %s", ErrWindow, need, f.src.Static())
	}
	return have, nil
}

// scaleBlock is the side, in destination cells, of the blocks that share one
// kernel scale. Blocks are cut by absolute index, so that no window matters.
const scaleBlock = 16

func (f *footprint) scale(r, c int64) (rows, cols float64) {
	key := [2]int64{FloorDiv(r, scaleBlock), FloorDiv(c, scaleBlock)}
	s, ok := f.scales[key]
	if !ok {
		s[0], s[1] = f.m.scale(float64(key[0]*scaleBlock+scaleBlock/2), float64(key[1]*scaleBlock+scaleBlock/2))
		f.scales[key] = s
	}
	return s[0], s[1]
}

// centred finds the taps about a cell's centre in another CRS.
func (f *footprint) centred(to *cells, r, c int64, method Resampling) (bool, error) {
	at := f.m.at(float64(r)+0.5, float64(c)+0.5)
	if math.IsNaN(at[0]) {
		return false, nil
	}
	rows, cols := 1.0, 1.0
	if method != Nearest {
		rows, cols = f.scale(r, c)
	}
	f.line.about(snap(at[0]), rows, method, f.domain.Y)
	f.other.about(snap(at[1]), cols, method, f.domain.X)
	return f.product(to, &f.line, &f.other)
}

// quad finds the taps of a cell's outline in source indices: every source
// cell by the area that they share.
func (f *footprint) quad(q [4][2]float64) (bool, error) {
	p, ok := f.outline(q)
	if !ok {
		return false, nil
	}
	f.total = p.area()
	rows, cols := p.bounds()
	have, err := f.have(rows.outward(0), cols.outward(0))
	if err != nil || f.total == 0 {
		return false, err
	}
	if rows.outward(0).Len() == 1 && cols.outward(0).Len() == 1 {
		if !have.Empty() {
			f.taps = append(f.taps, tap{f.offset(have.Y.Lo, have.X.Lo), f.total})
		}
		return true, nil
	}
	for r := have.Y.Lo; r < have.Y.Hi; r++ {
		strip := p.clip(0, float64(r), 1).clip(0, float64(r+1), -1)
		f.strip(&strip, r, have.X)
	}
	return true, nil
}

// outline makes a polygon of a cell's corners: on one turn of longitude, and
// snapped to whole indices. It fails where a corner has no image or the
// outline has no sane size.
func (f *footprint) outline(q [4][2]float64) (p polygon, ok bool) {
	mean := 0.0
	for i := range q {
		q[i][1] = f.m.beside(q[i][1], q[0][1])
		mean += float64(q[i][1] / 4)
	}
	turn := f.m.wrap(mean) - mean
	for _, v := range q {
		if !(math.Abs(v[0]) <= MaxIndex && math.Abs(v[1]) <= MaxIndex) { // NaN
			return p, false
		}
		p.push([2]float64{snap(v[0]), snap(v[1] + turn)})
	}
	rows, cols := p.bounds()
	return p, rows.hi-rows.lo <= maxTaps && cols.hi-cols.lo <= maxTaps
}

// strip adds the taps of a row's part of an outline.
func (f *footprint) strip(p *polygon, r int64, cols Range) {
	if p.n < 3 {
		return
	}
	_, span := p.bounds()
	for c := max(cols.Lo, int64(math.Floor(span.lo))); c < min(cols.Hi, int64(math.Ceil(span.hi))); c++ {
		part := p.clip(1, float64(c), 1).clip(1, float64(c+1), -1)
		if a := part.area(); a > 0 {
			f.taps = append(f.taps, tap{f.offset(r, c), a})
		}
	}
}

// polygon is a convex outline in (row, column): a quadrangle that at most four
// straight cuts were made through.
type polygon struct {
	n int
	v [12][2]float64
}

func (p *polygon) push(v [2]float64) {
	if p.n < len(p.v) {
		p.v[p.n] = v
		p.n++
	}
}

// bounds returns the rows and columns that the outline spans.
func (p *polygon) bounds() (rows, cols interval) {
	rows, cols = interval{p.v[0][0], p.v[0][0]}, interval{p.v[0][1], p.v[0][1]}
	for _, v := range p.v[1:p.n] {
		rows.add(v[0])
		cols.add(v[1])
	}
	return rows, cols
}

// area is the outline's, by the shoelace formula about its first corner, which
// keeps the products small.
func (p *polygon) area() float64 {
	sum := 0.0
	for i := 2; i < p.n; i++ {
		ar, ac := p.v[i-1][0]-p.v[0][0], p.v[i-1][1]-p.v[0][1]
		br, bc := p.v[i][0]-p.v[0][0], p.v[i][1]-p.v[0][1]
		sum += float64(ar*bc) - float64(br*ac)
	}
	return math.Abs(sum) / 2
}

// clip keeps the part where sign·(coordinate − at) ≥ 0.
func (p polygon) clip(axis int, at, sign float64) (out polygon) {
	for i := range p.n {
		a, b := p.v[i], p.v[(i+1)%p.n]
		da, db := float64(sign*(a[axis]-at)), float64(sign*(b[axis]-at))
		if da >= 0 {
			out.push(a)
		}
		if da >= 0 != (db >= 0) && da != 0 {
			t := da / (da - db)
			cut := [2]float64{a[0] + float64(t*(b[0]-a[0])), a[1] + float64(t*(b[1]-a[1]))}
			cut[axis] = at
			out.push(cut)
		}
	}
	return out
}
