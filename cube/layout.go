package cube

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

const (
	// targetChunk is the size in bytes that default chunks stay within.
	targetChunk = 1 << 20
	// maxChunk bounds a chunk, decoded.
	maxChunk = 256 << 20
	// maxChunks bounds the chunks of an array.
	maxChunks = 1 << 32
	// leastEdge is the shortest edge in cells that a tile is cut into for the
	// sake of a small chunk.
	leastEdge = 32
	// defaultEdge is the edge in cells of a default chunk where tiles set none.
	defaultEdge = 512
)

// Layout says what an array is: what it means, where it lies and how it is cut.
// Chunk sizes are counted from the lattice's origin; 0 is the whole range.
type Layout struct {
	Spec  graph.VarSpec `json:"spec"`
	Grid  grid.Grid     `json:"grid"`
	Chunk grid.Tiling   `json:"chunk"`
}

// NewLayout returns the layout that a variable has on a grid that is built in
// tiles, with chunks of the default size. A static variable has no time.
func NewLayout(spec graph.VarSpec, g grid.Grid, tiling grid.Tiling) Layout {
	return Layout{spec, g, ChunksFor(spec, tiling, g)}.normal()
}

// normal returns the layout without time where the variable has none.
func (l Layout) normal() Layout {
	if l.Spec.Kind != graph.Time {
		l.Grid.Time, l.Grid.Box.T, l.Chunk.T = grid.TimeAxis{}, grid.Range{}, 0
	}
	return l
}

// ChunksFor chooses the size of chunks: tiles are whole chunks, and a chunk has
// at most about 1 MiB. It depends on the grid's extent only where the tiling
// does: where a tile is the whole range.
func ChunksFor(spec graph.VarSpec, tiling grid.Tiling, g grid.Grid) grid.Tiling {
	cell := int64(max(1, spec.DType.Size())) * furtherCells(spec)
	budget := max(1, targetChunk/cell)
	y, x := edge(tiling.Y, g.Box.Y.Len()), edge(tiling.X, g.Box.X.Len())
	for y*x > budget {
		if ny, nx := smaller(y, tiling.Y), smaller(x, tiling.X); y >= x && ny < y || nx == x {
			if ny == y {
				break
			}
			y = ny
		} else {
			x = nx
		}
	}
	c := grid.Tiling{Y: y, X: x}
	if spec.Kind == graph.Time {
		c.T = steps(tiling.T, g.Box.T.Len(), max(1, budget/(y*x)))
	}
	return c
}

// edge is the largest edge of a chunk that a tile of the given size allows.
func edge(tile, extent int64) int64 {
	if tile > 0 {
		return tile
	}
	return max(1, min(defaultEdge, extent))
}

// smaller is the next smaller chunk edge: the next divisor of the tile, or half;
// n where there is none.
func smaller(n, tile int64) int64 {
	if tile == 0 {
		return max(1, (n+1)/2)
	}
	for k := tile/n + 1; tile/k >= leastEdge; k++ {
		if tile%k == 0 {
			return tile / k
		}
	}
	return n
}

// steps is the number of time steps of a chunk, at most budget.
func steps(tile, extent, budget int64) int64 {
	if tile == 0 {
		return max(1, min(extent, budget))
	}
	n := min(tile, budget)
	for tile%n != 0 {
		n--
	}
	return n
}

func furtherCells(spec graph.VarSpec) int64 {
	n := int64(1)
	for _, d := range spec.Dims {
		n = saturate(n, max(1, d.Size))
	}
	return n
}

// saturate multiplies and stops at 2⁶².
func saturate(a, b int64) int64 {
	const most = 1 << 62
	if a > most/b {
		return most
	}
	return a * b
}

// Valid says what is wrong with the layout, or nil. What it accepts has sizes
// that can be multiplied.
func (l Layout) Valid() error {
	if l.Spec.DType.Size() == 0 || l.Spec.Kind == graph.File {
		return fmt.Errorf("layout of %s: kind %q, dtype %q: is no array", l.Spec.Name, l.Spec.Kind, l.Spec.DType)
	}
	if l.Spec.Kind != graph.Static && l.Spec.Kind != graph.Time {
		return fmt.Errorf("layout of %s: unknown kind %q", l.Spec.Name, l.Spec.Kind)
	}
	if err := l.Grid.Valid(); err != nil {
		return fmt.Errorf("layout of %s: %w", l.Spec.Name, err)
	}
	if (l.Spec.Kind == graph.Time) != (l.Grid.Box.T.Len() > 0) {
		return fmt.Errorf("layout of %s: kind %s on %s", l.Spec.Name, l.Spec.Kind, l.Grid.Box)
	}
	for _, d := range l.Spec.Dims {
		if d.Size < 1 || d.Size > 1<<31 {
			return fmt.Errorf("layout of %s: dimension %s has size %d", l.Spec.Name, d.Name, d.Size)
		}
	}
	if c := l.Chunk; c.T < 0 || c.Y < 0 || c.X < 0 || max(c.T, c.Y, c.X) > grid.MaxIndex {
		return fmt.Errorf("layout of %s: chunk %+v", l.Spec.Name, c)
	}
	return l.validSizes()
}

func (l Layout) validSizes() error {
	n := int64(l.Spec.DType.Size())
	for _, s := range l.ChunkShape() {
		n = saturate(n, s)
	}
	if n > maxChunk {
		return fmt.Errorf("layout of %s: chunks of %d bytes, at most %d are allowed", l.Spec.Name, n, maxChunk)
	}
	s := l.Span()
	if saturate(saturate(s.T.Len(), s.Y.Len()), s.X.Len()) > maxChunks {
		return fmt.Errorf("layout of %s: more than %d chunks", l.Spec.Name, int64(maxChunks))
	}
	_, err := l.Fill()
	return err
}

// Fits says why tiles of the given size are not whole chunks, or nil.
func (l Layout) Fits(t grid.Tiling) error {
	for _, p := range [][2]int64{{t.T, l.Chunk.T}, {t.Y, l.Chunk.Y}, {t.X, l.Chunk.X}} {
		if tile, chunk := p[0], p[1]; tile != 0 && (chunk == 0 || tile%chunk != 0) {
			return fmt.Errorf("layout of %s: tiles of %d cells are not whole chunks of %d: %w", l.Spec.Name, tile, chunk, ErrOutside)
		}
	}
	return nil
}

// Domain is the box of all the array's cells.
func (l Layout) Domain() grid.Box {
	if l.Spec.Kind != graph.Time {
		return l.Grid.Box.Static()
	}
	return l.Grid.Box
}

// Span is the range of chunk indices.
func (l Layout) Span() grid.Span { return l.Chunk.Span(l.Domain()) }

// Touched is the range of the chunks that a box meets.
func (l Layout) Touched(b grid.Box) grid.Span {
	if l.Spec.Kind != graph.Time {
		b = b.Static()
	}
	return l.Chunk.Span(b)
}

// Chunks is the number of chunks.
func (l Layout) Chunks() int64 { return l.Span().Len() }

// Index numbers the chunk (ti, yi, xi) in C order, from 0; −1 where the array
// has no such chunk.
func (l Layout) Index(ti, yi, xi int64) int64 { return indexIn(l.Span(), ti, yi, xi) }

func indexIn(s grid.Span, ti, yi, xi int64) int64 {
	if ti < s.T.Lo || ti >= s.T.Hi || yi < s.Y.Lo || yi >= s.Y.Hi || xi < s.X.Lo || xi >= s.X.Hi {
		return -1
	}
	return ((ti-s.T.Lo)*s.Y.Len()+yi-s.Y.Lo)*s.X.Len() + xi - s.X.Lo
}

// At is the inverse of Index.
func (l Layout) At(i int64) (ti, yi, xi int64) {
	s := l.Span()
	ny, nx := s.Y.Len(), s.X.Len()
	return s.T.Lo + i/nx/ny, s.Y.Lo + i/nx%ny, s.X.Lo + i%nx
}

// ChunkBox is the part of a chunk that lies within the domain.
func (l Layout) ChunkBox(ti, yi, xi int64) grid.Box {
	return l.Chunk.Tile(ti, yi, xi, l.Domain()).Box
}

// Cells are the cells of the chunks that a box meets, as far as they lie within
// the domain.
func (l Layout) Cells(b grid.Box) grid.Box {
	s := l.Touched(b)
	first, last := l.ChunkBox(s.T.Lo, s.Y.Lo, s.X.Lo), l.ChunkBox(s.T.Hi-1, s.Y.Hi-1, s.X.Hi-1)
	return grid.Box{T: grid.Range{Lo: first.T.Lo, Hi: last.T.Hi}, Y: grid.Range{Lo: first.Y.Lo, Hi: last.Y.Hi}, X: grid.Range{Lo: first.X.Lo, Hi: last.X.Hi}}
}

// fullBox is the whole chunk, the domain left or not.
func (l Layout) fullBox(ti, yi, xi int64) grid.Box {
	d := l.Domain()
	return grid.Box{T: whole(d.T, l.Chunk.T, ti), Y: whole(d.Y, l.Chunk.Y, yi), X: whole(d.X, l.Chunk.X, xi)}
}

func whole(r grid.Range, size, i int64) grid.Range {
	if size == 0 || r.Len() == 0 {
		return r
	}
	return grid.Range{Lo: i * size, Hi: (i + 1) * size}
}

// Stored is the box of the stored array: the domain, begun at a chunk's edge.
func (l Layout) Stored() grid.Box {
	s, d := l.Span(), l.Domain()
	first := l.fullBox(s.T.Lo, s.Y.Lo, s.X.Lo)
	d.T.Lo, d.Y.Lo, d.X.Lo = first.T.Lo, first.Y.Lo, first.X.Lo
	return d
}

// Dims names the array's dimensions in order.
func (l Layout) Dims() []string { return graph.DimsOf(l.Spec) }

// Shape is the shape of a box of the array: (time, further dims, y, x), without
// time for a static variable.
func (l Layout) Shape(b grid.Box) []int64 { return graph.ShapeOf(l.Spec, b) }

// ChunkShape is the shape of a whole chunk.
func (l Layout) ChunkShape() []int64 {
	s := l.Span()
	return l.Shape(l.fullBox(s.T.Lo, s.Y.Lo, s.X.Lo))
}

// Bytes is the size of a box of the array.
func (l Layout) Bytes(b grid.Box) int64 {
	n := int64(l.Spec.DType.Size())
	for _, s := range l.Shape(b) {
		if s == 0 {
			return 0
		}
		n = saturate(n, s)
	}
	return n
}

// block is the shape of a box with all further dimensions as one: (t, k, y, x).
func (l Layout) block(b grid.Box) [4]int64 {
	t := int64(1)
	if l.Spec.Kind == graph.Time {
		t = b.T.Len()
	}
	return [4]int64{t, furtherCells(l.Spec), b.Y.Len(), b.X.Len()}
}

// Fill is the fill value of a spec's array as the bytes of one value: NaN for
// floats, and what the spec says, or 0, for the rest.
func (l Layout) Fill() ([]byte, error) { return FillOf(l.Spec) }

// FillOf is Fill of a spec.
func FillOf(spec graph.VarSpec) ([]byte, error) {
	size := spec.DType.Size()
	b := make([]byte, 8)
	switch {
	case spec.DType == graph.Float32:
		binary.LittleEndian.PutUint32(b, nan32)
	case spec.DType == graph.Float64:
		binary.LittleEndian.PutUint64(b, nan64)
	case size == 0:
		return nil, fmt.Errorf("fill of %s: unknown dtype %q", spec.Name, spec.DType)
	case spec.Fill != nil:
		v, err := parseInt(spec.DType, string(*spec.Fill))
		if err != nil {
			return nil, fmt.Errorf("fill of %s: %w", spec.Name, err)
		}
		binary.LittleEndian.PutUint64(b, v)
	}
	return b[:size], nil
}

// parseInt reads an integer of a dtype as its bits.
func parseInt(d graph.DType, s string) (uint64, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		s = strconv.FormatInt(int64(f), 10) // written as 1e3 or 5.0
	}
	bits := 8 * d.Size()
	switch d {
	case graph.Bool:
		bits = 1
		fallthrough
	case graph.Uint8, graph.Uint16, graph.Uint32, graph.Uint64:
		v, err := strconv.ParseUint(s, 10, bits)
		if err != nil {
			return 0, fmt.Errorf("%s is no %s", s, d)
		}
		return v, nil
	}
	v, err := strconv.ParseInt(s, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%s is no %s", s, d)
	}
	return uint64(v), nil
}
