// Package compare says where two versions of a variable differ, cell by cell,
// bit for bit or within a [Tolerance]. It reads chunk by chunk, several at
// once, and not those that have one digest: it needs memory for a few chunks,
// however large the versions are.
package compare

import (
	"bytes"
	"context"
	"math"
	"runtime"
	"sync"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"golang.org/x/sync/errgroup"
)

// Side is a version and the cube that holds it.
type Side struct {
	Cube    *cube.Cube
	Version *cube.Version
}

// Options say how versions are compared. The zero value compares bit for bit.
type Options struct {
	Tolerance Tolerance
	// Columns and Rows, where they are not 0, ask for a map of at most that size.
	Columns, Rows int
}

// Result is how two versions, a and b, differ.
type Result struct {
	// Meaning says what differs beside values: units, domain and so on.
	Meaning []string
	// Comparable is false where cells of one are not cells of the other: nothing
	// was counted then.
	Comparable bool

	Cells    int64 // that both have; of files: bytes
	Differ   int64 // beyond the tolerance
	Within   int64 // that differ and are within the tolerance
	OneSided int64 // of Differ: one has no data
	// Largest is the largest difference between two numbers, within the tolerance
	// or not; 0 where there is none, as between classes.
	Largest float64
	First   *Cell // that differs beyond the tolerance, in order of the array; nil of files
	Offset  int64 // of files: of the first byte that differs
	Map     *Map  // nil where it was not asked for, and of files
}

// Same reports whether both hold the same, give or take the tolerance.
func (r *Result) Same() bool { return r.Comparable && r.Differ == 0 && len(r.Meaning) == 0 }

// Cell is one cell and its value in both versions.
type Cell struct {
	Index []int64  // along the dimensions, from the corner of b's domain
	Box   grid.Box // the cell on the lattice; without time where the array has none
	Plane int64    // along the further dimensions, in C order
	Old   Value
	New   Value
}

// Tile is the tile that a cell lies in, of a domain that is cut into tiles. The
// cells of the array are refine times as fine as the domain's; 0 is 1.
func (c *Cell) Tile(t grid.Tiling, domain grid.Box, refine int64) grid.Tile {
	refine = max(1, refine)
	coarse := func(r grid.Range) grid.Range {
		i := r.Lo / refine
		if r.Lo%refine < 0 {
			i--
		}
		return grid.Range{Lo: i, Hi: i + 1}
	}
	s, at := t.Span(domain), t.Span(grid.Box{T: c.Box.T, Y: coarse(c.Box.Y), X: coarse(c.Box.X)})
	if c.Box.T.Len() > 0 && domain.T.Len() > 0 {
		s.T = at.T
	}
	return t.Tile(s.T.Lo, at.Y.Lo, at.X.Lo, domain)
}

// Map is a small picture of where versions differ, over all times and planes.
type Map struct {
	Columns, Rows int
	Box           grid.Box // the cells that it shows
	// Values are, for each pixel, the largest difference b − a within it, and 0
	// where there is none. It is +Inf where only b has data, and −Inf where only a
	// has. Between classes a difference is 1.
	Values []float64
}

// Versions compares two versions of a variable.
func Versions(ctx context.Context, a, b Side, o Options) (*Result, error) {
	la, lb := a.Version.Layout(), b.Version.Layout()
	r := &Result{}
	if la.Spec.Kind == graph.File || lb.Spec.Kind == graph.File {
		return r, r.files(ctx, a, b)
	}
	r.Comparable = r.means(la, lb)
	domain := la.Domain().Intersect(lb.Domain())
	if !r.Comparable || domain.Empty() || lb.Spec.Kind == graph.Time && domain.T.Len() == 0 {
		return r, nil
	}
	c, err := newComparison(source{a.Cube, a.Version}, source{b.Cube, b.Version}, domain, o.Tolerance, r)
	if err != nil {
		return nil, err
	}
	if o.Columns > 0 && o.Rows > 0 {
		r.Map = newMap(domain, o.Columns, o.Rows)
	}
	if a.Version.Digest() == b.Version.Digest() {
		return r, nil
	}
	return r, c.run(ctx)
}

// source is an array and the cube that holds its chunks.
type source struct {
	cube  *cube.Cube
	array cube.Array
}

// comparison is one call of Versions or Window.
type comparison struct {
	a, b   source
	la, lb cube.Layout
	domain grid.Box // that both have
	shape  shape
	values *values

	mu     sync.Mutex
	result *Result
	first  int64 // place of result.First
}

// newComparison begins to compare the cells of a domain that both sides have.
func newComparison(a, b source, domain grid.Box, t Tolerance, r *Result) (*comparison, error) {
	c := &comparison{a: a, b: b, la: a.array.Layout(), lb: b.array.Layout(), domain: domain, result: r}
	c.shape = newShape(c.lb, domain)
	r.Cells = c.shape.cells()
	var err error
	c.values, err = newValues(c.lb.Spec, t)
	return c, err
}

func (c *comparison) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	s := c.lb.Touched(c.domain)
	var spare sync.Pool
	for t := s.T.Lo; t < s.T.Hi; t++ {
		for y := s.Y.Lo; y < s.Y.Hi; y++ {
			for x := s.X.Lo; x < s.X.Hi; x++ {
				same, err := c.sameChunk(ctx, t, y, x)
				if err != nil || ctx.Err() != nil {
					return firstError(err, g.Wait(), ctx.Err())
				}
				if same {
					continue
				}
				box := c.lb.ChunkBox(t, y, x).Intersect(c.domain)
				g.Go(func() error {
					buf, _ := spare.Get().(*[2][]byte)
					if buf == nil {
						buf = new([2][]byte)
					}
					defer spare.Put(buf)
					return c.chunk(ctx, box, buf)
				})
			}
		}
	}
	return g.Wait()
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// sameChunk reports whether both sides have the same chunk, by its digest.
func (c *comparison) sameChunk(ctx context.Context, t, y, x int64) (bool, error) {
	if c.la.Chunk != c.lb.Chunk || c.la.Index(t, y, x) < 0 || c.la.ChunkBox(t, y, x) != c.lb.ChunkBox(t, y, x) {
		return false, nil
	}
	ra, okA, err := c.a.array.Ref(ctx, t, y, x)
	if err != nil {
		return false, err
	}
	rb, okB, err := c.b.array.Ref(ctx, t, y, x)
	return err == nil && okA && okB && ra.Value == rb.Value, err
}

// chunk compares the cells of a box.
func (c *comparison) chunk(ctx context.Context, box grid.Box, buf *[2][]byte) error {
	var err error
	if buf[0], err = c.a.cube.ReadWindow(ctx, c.a.array, box, buf[0][:0]); err != nil {
		return err
	}
	if buf[1], err = c.b.cube.ReadWindow(ctx, c.b.array, box, buf[1][:0]); err != nil {
		return err
	}
	a, b := buf[0], buf[1]
	if bytes.Equal(a, b) {
		return nil
	}
	part := partial{first: -1, shape: newShape(c.lb, box)}
	size := c.lb.Spec.DType.Size()
	m := c.result.Map
	if m != nil {
		c.mu.Lock() // for the whole chunk: the map is one
		defer c.mu.Unlock()
	}
	for i := 0; i < len(b); i += size {
		if string(a[i:i+size]) == string(b[i:i+size]) {
			continue
		}
		place := int64(i / size)
		j := c.values.judge(a[i:i+size], b[i:i+size])
		part.add(place, j)
		if m != nil {
			_, _, y, x := part.shape.at(place)
			m.add(y, x, j)
		}
	}
	if m == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
	}
	c.merge(part, a, b, size)
	return nil
}

// partial is what a chunk adds to a result.
type partial struct {
	shape                    shape
	differ, within, oneSided int64
	largest                  float64
	first                    int64 // place within the chunk; −1: none
}

func (p *partial) add(place int64, j judgement) {
	if j.number {
		p.largest = math.Max(p.largest, math.Abs(j.difference))
	}
	if j.within {
		p.within++
		return
	}
	p.differ++
	if j.oneSided {
		p.oneSided++
	}
	if p.first < 0 {
		p.first = place
	}
}

// merge adds a chunk to the result. The lock is held.
func (c *comparison) merge(p partial, a, b []byte, size int) {
	r := c.result
	r.Differ, r.Within, r.OneSided = r.Differ+p.differ, r.Within+p.within, r.OneSided+p.oneSided
	r.Largest = math.Max(r.Largest, p.largest)
	if p.first < 0 {
		return
	}
	t, plane, y, x := p.shape.at(p.first)
	place := c.shape.place(t, plane, y, x)
	if r.First != nil && place >= c.first {
		return
	}
	i := int(p.first) * size
	c.first, r.First = place, c.cell(t, plane, y, x, a[i:i+size], b[i:i+size])
}

// cell describes a cell by its place on the lattice.
func (c *comparison) cell(t, plane, y, x int64, a, b []byte) *Cell {
	spec, d := c.lb.Spec, c.lb.Domain()
	out := &Cell{Plane: plane, Old: c.values.named(a), New: c.values.named(b),
		Box: grid.Box{Y: grid.Range{Lo: y, Hi: y + 1}, X: grid.Range{Lo: x, Hi: x + 1}}}
	if spec.Kind == graph.Time {
		out.Box.T = grid.Range{Lo: t, Hi: t + 1}
		out.Index = append(out.Index, t-d.T.Lo)
	}
	rest := make([]int64, len(spec.Dims))
	for i := len(rest) - 1; i >= 0; i-- {
		rest[i], plane = plane%spec.Dims[i].Size, plane/spec.Dims[i].Size
	}
	out.Index = append(append(out.Index, rest...), y-d.Y.Lo, x-d.X.Lo)
	return out
}

// shape numbers the cells of a box of an array in C order.
type shape struct {
	box    grid.Box
	planes int64
}

func newShape(l cube.Layout, box grid.Box) shape {
	s := shape{box, 1}
	for _, d := range l.Spec.Dims {
		s.planes *= d.Size
	}
	return s
}

func (s shape) cells() int64 { return max(1, s.box.T.Len()) * s.planes * s.box.Cells() }

// at is the cell with a number, by its place on the lattice.
func (s shape) at(i int64) (t, plane, y, x int64) {
	nx, ny := s.box.X.Len(), s.box.Y.Len()
	x, i = i%nx, i/nx
	y, i = i%ny, i/ny
	return s.box.T.Lo + i/s.planes, i % s.planes, s.box.Y.Lo + y, s.box.X.Lo + x
}

// place is the inverse of at.
func (s shape) place(t, plane, y, x int64) int64 {
	return (((t-s.box.T.Lo)*s.planes+plane)*s.box.Y.Len()+y-s.box.Y.Lo)*s.box.X.Len() + x - s.box.X.Lo
}

func newMap(box grid.Box, columns, rows int) *Map {
	m := &Map{Columns: int(min(int64(columns), box.X.Len())), Rows: int(min(int64(rows), box.Y.Len())), Box: box}
	m.Values = make([]float64, m.Columns*m.Rows)
	return m
}

// add shows a difference at a cell of the lattice.
func (m *Map) add(y, x int64, j judgement) {
	row := (y - m.Box.Y.Lo) * int64(m.Rows) / m.Box.Y.Len()
	column := (x - m.Box.X.Lo) * int64(m.Columns) / m.Box.X.Len()
	v := &m.Values[int(row)*m.Columns+int(column)]
	if math.Abs(j.difference) > math.Abs(*v) {
		*v = j.difference
	}
}
