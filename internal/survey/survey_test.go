package survey

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// utm is a grid of so many cells of 30 m.
func utm(t *testing.T, ny, nx int64) grid.Grid {
	t.Helper()
	g, err := grid.New("EPSG:32610", 30, 30, grid.Bounds{West: 300000, North: 4200000, East: 300000 + 30*float64(nx), South: 4200000 - 30*float64(ny)}, nil, grid.AlignExact)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// stored makes a version of values in small chunks.
func stored(t *testing.T, spec graph.VarSpec, g grid.Grid, values []byte) (*cube.Cube, *cube.Version) {
	t.Helper()
	dir := t.TempDir()
	if err := cube.Create(dir); err != nil {
		t.Fatal(err)
	}
	c, err := cube.Open(dir, cube.Config{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	l := cube.Layout{Spec: spec.WithDefaults(), Grid: g, Chunk: grid.Tiling{T: 1, Y: 16, X: 16}}
	b, err := c.NewBuilder(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	for i := range l.Chunks() {
		box := l.ChunkBox(l.At(i))
		refs, err := c.PutTile(t.Context(), l, box, cut(l, values, box))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Set(t.Context(), box, refs); err != nil {
			t.Fatal(err)
		}
	}
	v, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c, v
}

// cut copies a box out of the values of a whole array.
func cut(l cube.Layout, values []byte, box grid.Box) []byte {
	g, size := l.Grid.Box, int64(l.Spec.DType.Size())
	planes := int64(1)
	for _, d := range l.Spec.Dims {
		planes *= d.Size
	}
	nx, ny := g.X.Len(), g.Y.Len()
	var out []byte
	for ti := range max(1, box.T.Len()) {
		for p := range planes {
			for y := box.Y.Lo; y < box.Y.Hi; y++ {
				at := (((box.T.Lo-g.T.Lo+ti)*planes+p)*ny+y-g.Y.Lo)*nx + box.X.Lo - g.X.Lo
				out = append(out, values[at*size:][:box.X.Len()*size]...)
			}
		}
	}
	return out
}

func floats(v []float64) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(x)))
	}
	return b
}

func TestMeasureAgreesWithSorting(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() float64{
		"uniform":  func() float64 { return r.Float64()*200 - 100 },
		"skewed":   func() float64 { return math.Exp(r.NormFloat64() * 4) },
		"constant": func() float64 { return -2.5 },
		"negative": func() float64 { return -math.Exp(r.NormFloat64()) },
	} {
		g := utm(t, 50, 37)
		values := make([]float64, 50*37)
		var set []float64
		for i := range values {
			values[i] = math.NaN()
			if r.IntN(4) > 0 {
				values[i] = float64(float32(draw()))
				set = append(set, values[i])
			}
		}
		c, v := stored(t, graph.VarSpec{Name: "x", Kind: graph.Static, DType: graph.Float32}, g, floats(values))
		s, err := Measure(t.Context(), c, v)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(set)
		sum := 0.0
		for _, x := range set {
			sum += x
		}
		want := &Survey{Cells: int64(len(values)), Set: int64(len(set)), Area: float64(len(set)) * 900,
			Min: set[0], Max: set[len(set)-1], Mean: sum / float64(len(set)), Median: set[(len(set)-1)/2]}
		near := cmpopts.EquateApprox(1e-6, 1e-12)
		if diff := cmp.Diff(want, s, near, cmpopts.IgnoreFields(Survey{}, "Histogram")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		total := int64(0)
		for _, n := range s.Histogram {
			total += n
		}
		if total != s.Set || s.Histogram[0] == 0 {
			t.Errorf("%s: histogram %v of %d values", name, s.Histogram, s.Set)
		}
	}
}

func TestMeasureOfNothingIsNaN(t *testing.T) {
	t.Parallel()
	c, v := stored(t, graph.VarSpec{Name: "x", Kind: graph.Static, DType: graph.Float32}, utm(t, 3, 3), floats(slices.Repeat([]float64{math.NaN()}, 9)))
	s, err := Measure(t.Context(), c, v)
	if err != nil {
		t.Fatal(err)
	}
	if s.Set != 0 || s.Cells != 9 || !math.IsNaN(s.Min) || !math.IsNaN(s.Median) {
		t.Errorf("%+v", s)
	}
}

func TestMeasureCountsClasses(t *testing.T) {
	t.Parallel()
	fill := graph.Number("0")
	spec := graph.VarSpec{Name: "fuel", Kind: graph.Static, DType: graph.Uint8, Fill: &fill,
		Legend: []graph.Class{{Value: 1, Name: "grass", Color: "#00ff00"}, {Value: 2, Name: "shrub"}, {Value: 9, Name: "water"}}}
	c, v := stored(t, spec, utm(t, 2, 3), []byte{1, 1, 2, 0, 7, 1})
	s, err := Measure(t.Context(), c, v)
	if err != nil {
		t.Fatal(err)
	}
	want := []Class{{Class: spec.Legend[0], Cells: 3, Area: 2700}, {Class: spec.Legend[1], Cells: 1, Area: 900}, {Class: graph.Class{Value: 7}, Cells: 1, Area: 900}}
	if diff := cmp.Diff(want, s.Classes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s.Set != 5 || s.Cells != 6 {
		t.Errorf("%d of %d set", s.Set, s.Cells)
	}
}

func TestAreaOfDegreesIsThatOfTheGround(t *testing.T) {
	t.Parallel()
	g, err := grid.New("EPSG:4326", 1, 1, grid.Bounds{West: -180, South: -90, East: 180, North: 90}, nil, grid.AlignExact)
	if err != nil {
		t.Fatal(err)
	}
	c, v := stored(t, graph.VarSpec{Name: "x", Kind: graph.Static, DType: graph.Float32}, g, make([]byte, 4*180*360))
	s, err := Measure(t.Context(), c, v)
	if err != nil {
		t.Fatal(err)
	}
	const earth = 510.0656e12
	if math.Abs(s.Area/earth-1) > 1e-4 {
		t.Errorf("the Earth has %g m²", s.Area)
	}
}

// thinned is Thin done slowly.
func thinned(values []float64, ny, nx, rows, columns int, middle bool) []float64 {
	out := make([]float64, rows*columns)
	for r := range rows {
		for c := range columns {
			var in []float64
			var ys, xs []int
			for y := range ny {
				if y*rows/ny == r {
					ys = append(ys, y)
				}
			}
			for x := range nx {
				if x*columns/nx == c {
					xs = append(xs, x)
				}
			}
			if middle {
				ys, xs = ys[(len(ys)-1)/2:][:1], xs[(len(xs)-1)/2:][:1]
			}
			for _, y := range ys {
				for _, x := range xs {
					if v := values[y*nx+x]; v == v {
						in = append(in, v)
					}
				}
			}
			out[r*columns+c] = math.NaN()
			if len(in) > 0 {
				sum := 0.0
				for _, v := range in {
					sum += v
				}
				out[r*columns+c] = sum / float64(len(in))
			}
		}
	}
	return out
}

func TestThinAgreesWithDoingItSlowly(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	const ny, nx = 53, 70
	values := make([]float64, ny*nx)
	for i := range values {
		values[i] = math.NaN()
		if r.IntN(5) > 0 {
			values[i] = float64(r.IntN(100))
		}
	}
	c, v := stored(t, graph.VarSpec{Name: "x", Kind: graph.Static, DType: graph.Float32}, utm(t, ny, nx), floats(values))
	for _, size := range [][2]int{{1, 1}, {7, 5}, {53, 70}, {20, 70}, {1000, 1000}, {17, 31}} {
		for _, middle := range []bool{false, true} {
			got, err := Thin(t.Context(), c, v, View{Columns: size[1], Rows: size[0], Middle: middle})
			if err != nil {
				t.Fatal(err)
			}
			rows, columns := min(ny, size[0]), min(nx, size[1])
			want := thinned(values, ny, nx, rows, columns, middle)
			if diff := cmp.Diff(want, got.Values, cmpopts.EquateNaNs(), cmpopts.EquateApprox(1e-12, 0)); diff != "" {
				t.Errorf("%v, middle %v (-want +got):\n%s", size, middle, diff)
			}
		}
	}
}

func TestThinShowsOneStepAndPlane(t *testing.T) {
	t.Parallel()
	g, err := utm(t, 4, 5).WithTime(0, 3*3600, 3600)
	if err != nil {
		t.Fatal(err)
	}
	spec := graph.VarSpec{Name: "x", Kind: graph.Time, DType: graph.Float32, Dims: []graph.Dim{{Name: "level", Size: 2}}}
	values := make([]float64, 3*2*4*5)
	for i := range values {
		values[i] = float64(i)
	}
	c, v := stored(t, spec, g, floats(values))
	got, err := Thin(t.Context(), c, v, View{Columns: 5, Rows: 4, Step: 2, Plane: 1})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(values[100:], got.Values); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, view := range []View{{Columns: 5, Rows: 4, Step: 3}, {Columns: 5, Rows: 4, Plane: 2}, {Columns: 5, Rows: 4, Step: -1}, {Columns: 0, Rows: 4}} {
		if _, err := Thin(t.Context(), c, v, view); err == nil {
			t.Errorf("%+v is taken", view)
		}
	}
}

func TestIntegersAreDecodedWithTheirSign(t *testing.T) {
	t.Parallel()
	for dtype, c := range map[graph.DType]struct {
		bytes []byte
		want  float64
	}{
		graph.Bool: {[]byte{1}, 1}, graph.Int8: {[]byte{0xff}, -1}, graph.Uint8: {[]byte{0xff}, 255},
		graph.Int16: {[]byte{0xfe, 0xff}, -2}, graph.Uint16: {[]byte{0xfe, 0xff}, 65534},
		graph.Int32: {[]byte{0xfd, 0xff, 0xff, 0xff}, -3}, graph.Uint32: {[]byte{0xfd, 0xff, 0xff, 0xff}, 4294967293},
		graph.Int64:   {[]byte{0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, -4},
		graph.Uint64:  {[]byte{4, 0, 0, 0, 0, 0, 0, 0}, 4},
		graph.Float64: {[]byte{0, 0, 0, 0, 0, 0, 0xf8, 0x3f}, 1.5},
	} {
		d, err := newDecoder(graph.VarSpec{DType: dtype})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.decode(nil, c.bytes); !slices.Equal(got, []float64{c.want}) {
			t.Errorf("%s: %v, want %v", dtype, got, c.want)
		}
	}
}

func TestMeasureStopsWhenAsked(t *testing.T) {
	t.Parallel()
	c, v := stored(t, graph.VarSpec{Name: "x", Kind: graph.Static, DType: graph.Float32}, utm(t, 40, 40), make([]byte, 4*1600))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Measure(ctx, c, v); err == nil {
		t.Error("a survey that nobody waits for went on")
	}
}

func BenchmarkMeasure(b *testing.B) {
	benchmark(b, func(c *cube.Cube, v *cube.Version) error { _, err := Measure(b.Context(), c, v); return err })
}

func BenchmarkThin(b *testing.B) {
	benchmark(b, func(c *cube.Cube, v *cube.Version) error {
		_, err := Thin(b.Context(), c, v, View{Columns: 1000, Rows: 1000})
		return err
	})
}

func benchmark(b *testing.B, f func(*cube.Cube, *cube.Version) error) {
	const n = 4096
	dir := b.TempDir()
	if err := cube.Create(dir); err != nil {
		b.Fatal(err)
	}
	c, err := cube.Open(dir, cube.Config{NoSync: true, CacheBytes: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	g, err := grid.New("EPSG:32610", 30, 30, grid.Bounds{West: 300000, North: 4200000, East: 300000 + 30*n, South: 4200000 - 30*n}, nil, grid.AlignExact)
	if err != nil {
		b.Fatal(err)
	}
	l := cube.NewLayout(graph.VarSpec{Name: "x", Kind: graph.Static, DType: graph.Float32}.WithDefaults(), g, grid.Tiling{Y: 512, X: 512})
	builder, err := c.NewBuilder(b.Context(), l)
	if err != nil {
		b.Fatal(err)
	}
	for i := range l.Chunks() {
		box := l.ChunkBox(l.At(i))
		values := make([]float64, box.Cells())
		for k := range values {
			values[k] = math.Sin(float64(k)/1000) * 100
		}
		refs, err := c.PutTile(b.Context(), l, box, floats(values))
		if err != nil {
			b.Fatal(err)
		}
		if err := builder.Set(b.Context(), box, refs); err != nil {
			b.Fatal(err)
		}
	}
	v, err := builder.Finish(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(4 * n * n)
	b.ReportAllocs()
	for b.Loop() {
		if err := f(c, v); err != nil {
			b.Fatal(err)
		}
	}
}
