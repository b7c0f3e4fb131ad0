package compare

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
)

var lattice = grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30, X0: 430000, Y0: 4490000}

func newCube(t testing.TB) *cube.Cube {
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
	return c
}

// put makes a version of values in a cube of its own.
func put(t testing.TB, l cube.Layout, values any) Side {
	t.Helper()
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, values); err != nil {
		t.Fatal(err)
	}
	c := newCube(t)
	builder, err := c.NewBuilder(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	refs, err := c.PutTile(t.Context(), l, l.Domain(), b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := builder.Set(t.Context(), l.Domain(), refs); err != nil {
		t.Fatal(err)
	}
	v, err := builder.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return Side{c, v}
}

func layout(spec graph.VarSpec, ny, nx, edge int64) cube.Layout {
	return cube.Layout{Spec: spec.WithDefaults(), Chunk: grid.Tiling{Y: edge, X: edge},
		Grid: grid.Grid{Lattice: lattice, Box: grid.Box{Y: grid.Range{Hi: ny}, X: grid.Range{Hi: nx}}}}
}

func versions(t *testing.T, a, b Side, o Options) *Result {
	t.Helper()
	r, err := Versions(t.Context(), a, b, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// floats are values that tell cells apart.
func floats(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(i) / 3
	}
	return out
}

func edited(values []float32, edits map[int]float32) []float32 {
	out := append([]float32(nil), values...)
	for i, v := range edits {
		out[i] = v
	}
	return out
}

func TestTheFirstCellThatDiffersIsNamed(t *testing.T) {
	t.Parallel()
	nan := float32(math.NaN())
	old := edited(floats(20*30), map[int]float32{7: nan, 8: nan})
	for _, edge := range []int64{4, 7, 30} { // whatever the chunks are, and where they are not the same
		a := put(t, layout(graph.VarSpec{Name: "a"}, 20, 30, 4), old)
		b := put(t, layout(graph.VarSpec{Name: "a"}, 20, 30, edge), edited(old, map[int]float32{8: 1, 30*19 + 29: -7, 30*3 + 2: 100, 40: nan}))
		r := versions(t, a, b, Options{})
		if !r.Comparable || r.Cells != 600 || r.Differ != 4 || r.OneSided != 2 || r.Within != 0 || r.Same() {
			t.Errorf("chunks of %d: %+v", edge, r)
		}
		if want := float64(old[599]) + 7; r.Largest != want {
			t.Errorf("largest %g, want %g", r.Largest, want)
		}
		want := grid.Box{Y: grid.Range{Hi: 1}, X: grid.Range{Lo: 8, Hi: 9}}
		if c := r.First; c == nil || c.Box != want || fmt.Sprint(c.Index) != "[0 8]" || c.Old.String() != "nodata" || c.New.String() != "1" {
			t.Errorf("chunks of %d: first %+v", edge, c)
		}
	}
}

func TestEqualVersionsAreTheSame(t *testing.T) {
	t.Parallel()
	nan := float32(math.NaN())
	values := edited(floats(100), map[int]float32{3: nan})
	for _, edge := range []int64{3, 10} {
		a, b := put(t, layout(graph.VarSpec{}, 10, 10, 3), values), put(t, layout(graph.VarSpec{}, 10, 10, edge), values)
		if r := versions(t, a, b, Options{Columns: 5, Rows: 5}); !r.Same() || r.Cells != 100 || r.First != nil || r.Largest != 0 || len(r.Map.Values) != 25 {
			t.Errorf("%+v", r)
		}
	}
}

func TestCellsInTimeAndFurtherDimensionsAreNamed(t *testing.T) {
	t.Parallel()
	l := layout(graph.VarSpec{Kind: graph.Time, Dims: []graph.Dim{{Name: "level", Size: 2}, {Name: "member", Size: 3}}}, 4, 5, 2)
	l.Grid.Time, l.Grid.Box.T, l.Chunk.T = grid.TimeAxis{Origin: 0, Step: 3600}, grid.Range{Lo: 10, Hi: 13}, 2
	values := floats(3 * 6 * 20)
	// t 1, level 1, member 2, y 3, x 4
	place := ((1*2+1)*3+2)*20 + 3*5 + 4
	a, b := put(t, l, values), put(t, l, edited(values, map[int]float32{place: 9, place + 20: 9, len(values) - 1: 4}))
	r := versions(t, a, b, Options{Columns: 5, Rows: 4})
	c := r.First
	if r.Differ != 3 || r.Cells != 360 || fmt.Sprint(c.Index) != "[1 1 2 3 4]" || c.Plane != 5 || c.Box.T.Lo != 11 {
		t.Errorf("%+v %+v", r, c)
	}
}

func TestVersionsOnAnotherDomainAreComparedWhereBothHaveCells(t *testing.T) {
	t.Parallel()
	small, large := layout(graph.VarSpec{}, 4, 4, 4), layout(graph.VarSpec{}, 8, 6, 4)
	large.Grid.Box.Y = grid.Range{Lo: -2, Hi: 6}
	small.Grid.Box.X = grid.Range{Lo: 2, Hi: 9}
	big := floats(48)
	var part []float32
	for y := range 4 {
		for x := range 7 {
			v := float32(-1)
			if x+2 < 6 {
				v = big[(y+2)*6+x+2]
			}
			part = append(part, v)
		}
	}
	part[7+1] += 5 // y 1, x 3
	r := versions(t, put(t, small, part), put(t, large, big), Options{})
	if r.Cells != 16 || r.Differ != 1 || r.Same() || fmt.Sprint(r.First.Index) != "[3 3]" {
		t.Errorf("%+v %+v", r, r.First)
	}
	if d := cmp.Diff([]string{"domain: y[0,4) x[2,9) → y[-2,6) x[0,6)"}, r.Meaning); d != "" {
		t.Error(d)
	}
}

func TestACellLiesInATile(t *testing.T) {
	t.Parallel()
	box := func(t, y, x int64) grid.Box {
		return grid.Box{T: grid.Range{Lo: t, Hi: t + 1}, Y: grid.Range{Lo: y, Hi: y + 1}, X: grid.Range{Lo: x, Hi: x + 1}}
	}
	domain := grid.Box{T: grid.Range{Lo: 4, Hi: 24}, Y: grid.Range{Lo: -10, Hi: 20}, X: grid.Range{Hi: 25}}
	tiling := grid.Tiling{T: 6, Y: 8, X: 10}
	for _, tc := range []struct {
		cell   grid.Box
		refine int64
		want   [3]int64
	}{
		{box(6, -10, 24), 0, [3]int64{1, -2, 2}},
		{box(5, -8, 9), 1, [3]int64{0, -1, 0}},
		{box(23, -17, 41), 2, [3]int64{3, -2, 2}},
		{box(23, -16, 39), 2, [3]int64{3, -1, 1}},
		{box(7, 31, 19).Static(), 2, [3]int64{0, 1, 0}},
	} {
		got := (&Cell{Box: tc.cell}).Tile(tiling, domain, tc.refine)
		if [3]int64{got.T, got.Y, got.X} != tc.want || got != tiling.Tile(got.T, got.Y, got.X, domain) {
			t.Errorf("%s, refined %d: %+v, want %v", tc.cell, tc.refine, got, tc.want)
		}
	}
}

func TestWhatIsNotComparableIsSaid(t *testing.T) {
	t.Parallel()
	a := put(t, layout(graph.VarSpec{Units: "m", Legend: nil}, 2, 2, 2), make([]float32, 4))
	other := layout(graph.VarSpec{Units: "km", DType: graph.Float64, Dims: []graph.Dim{{Name: "level", Size: 2}}}, 2, 2, 2)
	other.Grid.Lattice.DX = 60
	r := versions(t, a, put(t, other, make([]float64, 8)), Options{})
	want := []string{"dtype: float32 → float64", "dimensions: y, x → level 2, y, x",
		"cells: 30 × 30 from 430000, 4490000 → 60 × 30 from 430000, 4490000", "units: m → km"}
	if d := cmp.Diff(want, r.Meaning); d != "" || r.Comparable || r.Cells != 0 {
		t.Error(d, r)
	}
	legend := graph.VarSpec{DType: graph.Uint8, Legend: []graph.Class{{Value: 1, Name: "grass"}, {Value: 2, Name: "TU5"}}}
	changed := legend
	changed.Legend = []graph.Class{{Value: 2, Name: "TU2"}, {Value: 3, Name: "rock"}}
	r = versions(t, put(t, layout(legend, 1, 2, 2), []uint8{1, 2}), put(t, layout(changed, 1, 2, 2), []uint8{2, 2}), Options{Tolerance: Tolerance{Abs: 9}})
	if d := cmp.Diff([]string{"legend: 1: grass → none, 2: TU5 → TU2, 3: none → rock"}, r.Meaning); d != "" {
		t.Error(d)
	}
	if r.Differ != 1 || r.Largest != 0 || r.First.New.String() != "2 (TU2)" {
		t.Errorf("%+v", r)
	}
}

func TestATolerance(t *testing.T) {
	t.Parallel()
	nan, inf := math.NaN(), math.Inf(1)
	next := func(v float64, n int) float64 {
		for range n {
			v = math.Nextafter(v, inf)
		}
		return v
	}
	fill := graph.Number("-1")
	f64, i64 := graph.VarSpec{DType: graph.Float64}, graph.VarSpec{DType: graph.Int64, Fill: &fill}
	bits := func(v any) []byte {
		b, err := binary.Append(nil, binary.LittleEndian, v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, tc := range []struct {
		spec graph.VarSpec
		a, b any
		tol  string
		want bool
	}{
		{f64, 1.0, 1.5, "abs=0.5", true},
		{f64, 1.0, 1.5, "abs=0.4", false},
		{f64, 1.0, 1.5, "rel=0.34", true},
		{f64, -1.5, -1.0, "rel=0.34", true},
		{f64, 1.0, 1.5, "rel=0.33", false},
		{f64, 1.0, next(1, 4), "ulp=4", true},
		{f64, 1.0, next(1, 5), "ulp=4", false},
		{f64, -1e-323, 1e-323, "ulp=4", true},
		{f64, -1e-323, 1e-323, "ulp=3", false},
		{f64, math.Copysign(0, -1), 0.0, "ulp=1", true},
		{f64, math.Copysign(0, -1), 0.0, "rel=1e-9", true},
		{f64, math.Copysign(0, -1), 0.0, "", false},
		{f64, nan, 1.0, "abs=1e300,rel=1,ulp=9223372036854775807", false},
		{f64, 1.0, nan, "abs=1e300,rel=1,ulp=9223372036854775807", false},
		{f64, inf, math.MaxFloat64, "ulp=1", false},
		{f64, inf, -inf, "rel=1e300,abs=1e308", false},
		{f64, math.MaxFloat64, -math.MaxFloat64, "abs=1e308", false},
		{f64, 1.0, 2.0, "abs=1e-9,rel=1e-9,ulp=1", false},
		{f64, 1.0, 1.0 + 1e-10, "abs=1e-9,rel=1e-30,ulp=1", true},
		{graph.VarSpec{}, float32(1), math.Nextafter32(1, 2), "ulp=1", true},
		{graph.VarSpec{}, float32(-1), math.Nextafter32(-1, 2), "ulp=1", true},
		{graph.VarSpec{}, float32(-1), float32(1), "ulp=2130706431", false},
		{graph.VarSpec{}, float32(-1), float32(1), "ulp=2130706432", true},
		{i64, int64(5), int64(7), "abs=2", true},
		{i64, int64(5), int64(7), "ulp=1", false},
		{i64, int64(math.MinInt64), int64(math.MaxInt64), "abs=1e18", false},
		{i64, int64(math.MaxInt64), int64(math.MinInt64), "abs=2e19", true},
		{i64, int64(-1), int64(0), "abs=2", false}, // −1 is nodata
		{i64, int64(0), int64(-2), "abs=2", true},
		{graph.VarSpec{DType: graph.Uint64}, uint64(math.MaxUint64), uint64(math.MaxUint64 - 3), "ulp=3", true},
		{graph.VarSpec{DType: graph.Uint64}, uint64(0), uint64(math.MaxUint64), "ulp=3", false},
		{graph.VarSpec{DType: graph.Uint8}, uint8(255), uint8(0), "abs=254", false},
		{graph.VarSpec{DType: graph.Int8}, int8(-128), int8(127), "abs=255", true},
		{graph.VarSpec{DType: graph.Bool}, uint8(0), uint8(1), "abs=1", false},
		{graph.VarSpec{DType: graph.Uint8, Legend: []graph.Class{{Value: 1}}}, uint8(0), uint8(1), "abs=1", false},
	} {
		tol, err := ParseTolerance(tc.tol)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseTolerance(tol.String()); err != nil || back != tol {
			t.Errorf("%q is read as %+v and that as %+v", tc.tol, tol, back)
		}
		v, err := newValues(tc.spec.WithDefaults(), tol)
		if err != nil {
			t.Fatal(err)
		}
		if got := v.judge(bits(tc.a), bits(tc.b)); got.within != tc.want {
			t.Errorf("%s: %v and %v within %q: %+v", tc.spec.DType, tc.a, tc.b, tc.tol, got)
		}
		if x, y := v.judge(bits(tc.a), bits(tc.b)), v.judge(bits(tc.b), bits(tc.a)); x.within != y.within || x.difference != -y.difference && !tc.spec.Categorical() {
			t.Errorf("%v and %v: %+v, turned round %+v", tc.a, tc.b, x, y)
		}
	}
}

func TestEveryVariableHasTheToleranceThatIsWrittenForIt(t *testing.T) {
	t.Parallel()
	got, err := ParseTolerances([]string{"slope:abs=1e-6", "rel=0.001,ulp=4", "aspect:ulp=2"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Tolerance{"slope": {Abs: 1e-6}, "aspect": {ULP: 2}, "elevation": {Rel: 0.001, ULP: 4}} {
		if got.For(name) != want {
			t.Errorf("%s: %v, want %v", name, got.For(name), want)
		}
	}
	for _, texts := range [][]string{{"abs=1", "rel=1"}, {"slope:abs=1", "slope:rel=1"}, {":abs=1"}, {"slope:abs"}, {"slope:sigma=3"}} {
		if got, err := ParseTolerances(texts); err == nil {
			t.Errorf("%q: %v", texts, got)
		}
	}
}

func TestBadTolerancesAreRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"abs", "abs=", "abs=x", "abs=-1", "abs=NaN", "abs=Inf", "ulp=1.5", "ulp=-1", "abs=1,abs=2", "eps=1", "1e-6", ",", "abs=1,"} {
		if tol, err := ParseTolerance(s); err == nil {
			t.Errorf("%q is read as %+v", s, tol)
		}
	}
}

func TestValuesAreWrittenWithAllDigits(t *testing.T) {
	t.Parallel()
	spec := graph.VarSpec{DType: graph.Float32}
	for v, want := range map[float32][2]string{
		0.1: {"0.1", "0.1"}, math.Nextafter32(0.1, 1): {"0.10000001", "0.10000001"}, float32(math.Inf(-1)): {"-Inf", `"-Inf"`}} {
		x, err := newValues(spec, Tolerance{})
		if err != nil {
			t.Fatal(err)
		}
		b, _ := binary.Append(nil, binary.LittleEndian, v)
		got := x.named(b)
		text, err := json.Marshal(got)
		if err != nil || got.String() != want[0] || string(text) != want[1] {
			t.Errorf("%g is %s and %s: %v", v, got, text, err)
		}
	}
}

func TestAMapShowsTheLargestDifferenceOfEachPixel(t *testing.T) {
	t.Parallel()
	nan := float32(math.NaN())
	l := layout(graph.VarSpec{}, 8, 8, 3)
	values := edited(make([]float32, 64), map[int]float32{8*7 + 7: nan})
	b := edited(values, map[int]float32{0: 1, 9: -3, 8*4 + 1: 2, 8*7 + 7: 1, 8*7 + 6: 9, 8*0 + 4: nan})
	r := versions(t, put(t, l, values), put(t, l, b), Options{Columns: 2, Rows: 4, Tolerance: Tolerance{Abs: 2}})
	inf := math.Inf(1)
	if d := cmp.Diff([]float64{-3, -inf, 0, 0, 2, 0, 0, inf}, r.Map.Values); d != "" {
		t.Error(d)
	}
	if r.Differ != 4 || r.Within != 2 || r.Largest != 9 {
		t.Errorf("%+v", r)
	}
}

func TestFilesAreComparedByteByByte(t *testing.T) {
	t.Parallel()
	file := func(text, ext string) Side {
		c := newCube(t)
		f, err := c.PutFile(t.Context(), strings.NewReader(text), "text/plain", ext)
		if err != nil {
			t.Fatal(err)
		}
		v, err := c.NewFileVersion(t.Context(), graph.VarSpec{Name: "a", Kind: graph.File}, f)
		if err != nil {
			t.Fatal(err)
		}
		return Side{c, v}
	}
	if r := versions(t, file("abc", ".txt"), file("abc", ".txt"), Options{}); !r.Same() || r.Cells != 3 {
		t.Errorf("%+v", r)
	}
	if r := versions(t, file("abcdef", ".txt"), file("abXde", ".txt"), Options{}); r.Same() || r.Differ != 2 || r.Offset != 2 || r.Cells != 6 {
		t.Errorf("%+v", r)
	}
	if r := versions(t, file("abc", ".txt"), file("abc", ".csv"), Options{}); r.Same() || len(r.Meaning) != 1 {
		t.Errorf("%+v", r)
	}
	if r := versions(t, file("abc", ".txt"), put(t, layout(graph.VarSpec{}, 1, 1, 1), []float32{1}), Options{}); r.Comparable || len(r.Meaning) != 1 {
		t.Errorf("%+v", r)
	}
}

// Whatever the values, chunks and edits: as many cells differ as were edited,
// and the first of them is named.
func TestEveryEditIsFound(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		ny, nx := 1+r.Int64N(20), 1+r.Int64N(20)
		values := floats(int(ny * nx))
		edits, first := map[int]float32{}, -1
		for range r.IntN(5) {
			i := r.IntN(len(values))
			edits[i] = values[i] + 1
			if first < 0 || i < first {
				first = i
			}
		}
		a := put(t, layout(graph.VarSpec{}, ny, nx, 1+r.Int64N(8)), values)
		b := put(t, layout(graph.VarSpec{}, ny, nx, 1+r.Int64N(8)), edited(values, edits))
		got := versions(t, a, b, Options{})
		if got.Differ != int64(len(edits)) || (first < 0) != (got.First == nil) {
			t.Fatalf("%d edits, %+v", len(edits), got)
		}
		if first >= 0 && (got.First.Index[0]*nx+got.First.Index[1] != int64(first)) {
			t.Fatalf("first edit is %d of rows of %d: %+v", first, nx, got.First)
		}
	}
}

func TestAWindowIsComparedByItselfAlone(t *testing.T) {
	t.Parallel()
	l := layout(graph.VarSpec{Name: "a"}, 8, 8, 4)
	values := floats(64)
	a := put(t, l, values)
	values[8*1+2] = 100 // row 1, column 2
	b := put(t, l, values)
	for _, test := range []struct {
		name   string
		y, x   grid.Range
		differ int64
		chunks int
	}{
		{"with the cell", grid.Range{Lo: 0, Hi: 3}, grid.Range{Lo: 1, Hi: 6}, 1, 1},
		{"beside it, in its chunk", grid.Range{Lo: 2, Hi: 6}, grid.Range{Lo: 0, Hi: 8}, 0, 1},
		{"elsewhere", grid.Range{Lo: 4, Hi: 8}, grid.Range{Lo: 0, Hi: 8}, 0, 0},
	} {
		box := grid.Box{Y: test.y, X: test.x}
		r, err := Window(t.Context(), a.Cube, a.Version, b.Cube, b.Version, box)
		if err != nil {
			t.Fatal(err)
		}
		if r.Differ != test.differ || len(r.Chunks) != test.chunks || r.Cells != box.Cells() {
			t.Errorf("%s: %d of %d cells in %d chunks", test.name, r.Differ, r.Cells, len(r.Chunks))
		}
		if test.differ > 0 && !cmp.Equal(r.First.Index, []int64{1, 2}) {
			t.Errorf("%s: first %v", test.name, r.First.Index)
		}
	}
}
