package cube

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/graph"
)

func TestDigestsAreTheDocumentedPreimages(t *testing.T) {
	t.Parallel()
	pre := []byte("cube.chunk\x00float32\x00\x02" + "\x02\x00\x00\x00\x00\x00\x00\x00" + "\x01\x00\x00\x00\x00\x00\x00\x00")
	values := zarr.Bytes([]float32{1, -2})
	if got, want := ChunkDigest(graph.Float32, []int64{2, 1}, values), graph.Sum(append(pre, values...)); got != want {
		t.Errorf("chunk: %s, want %s", got, want)
	}
	if ChunkDigest(graph.Float32, []int64{2, 1}, values) == WindowDigest(graph.Float32, []int64{2, 1}, values) {
		t.Error("a chunk and a window have one digest")
	}
	if ChunkDigest(graph.Float32, []int64{2, 1}, values) == ChunkDigest(graph.Float32, []int64{1, 2}, values) {
		t.Error("two shapes have one digest")
	}
	if ChunkDigest(graph.Float32, []int64{2, 1}, values) == ChunkDigest(graph.Int32, []int64{2, 1}, values) {
		t.Error("two dtypes have one digest")
	}
	p := newPage(2)
	p.set(1, ChunkRef{Value: graph.Sum([]byte("v")), Object: graph.Sum([]byte("o")), Size: 3})
	d := graph.Sum([]byte("v"))
	if got, want := p.digest(), graph.Sum(append([]byte("cube.page\x00\x00\x01"), d[:]...)); got != want {
		t.Errorf("page: %s, want %s", got, want)
	}
}

func TestAChunkOfFillHasTheDigestOfItsValues(t *testing.T) {
	t.Parallel()
	fill := graph.Number("-9999")
	for _, spec := range []graph.VarSpec{{DType: graph.Float32}, {DType: graph.Float64}, {DType: graph.Int16, Fill: &fill}, {DType: graph.Uint8}, {DType: graph.Bool}} {
		b, err := FillOf(spec)
		if err != nil {
			t.Fatal(err)
		}
		for _, shape := range [][]int64{{1, 1}, {3, 5, 7}, {200, 300}} {
			n := len(b)
			for _, s := range shape {
				n *= int(s)
			}
			values := bytes.Repeat(b, n/len(b))
			if FillDigest(spec.DType, shape, b) != ChunkDigest(spec.DType, shape, values) {
				t.Errorf("%s %v: another digest", spec.DType, shape)
			}
		}
	}
}

func TestFillsAreExact(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		dtype graph.DType
		fill  graph.Number
		want  uint64
		bad   bool
	}{
		{graph.Uint64, "18446744073709551615", 1<<64 - 1, false},
		{graph.Int64, "-9223372036854775808", 1 << 63, false},
		{graph.Int64, "9223372036854775807", 1<<63 - 1, false},
		{graph.Int16, "-9999", 0xd8f1, false},
		{graph.Int16, "-1e4", 0xd8f0, false},
		{graph.Uint8, "255.0", 255, false},
		{graph.Uint8, "256", 0, true},
		{graph.Uint8, "-1", 0, true},
		{graph.Int8, "1.5", 0, true},
		{graph.Bool, "1", 1, false},
		{graph.Bool, "2", 0, true},
		{graph.Int64, "9223372036854775808", 0, true},
	} {
		b, err := FillOf(graph.VarSpec{DType: tc.dtype, Fill: &tc.fill})
		if (err != nil) != tc.bad {
			t.Errorf("%s %s: %v", tc.dtype, tc.fill, err)
			continue
		}
		if got := binary.LittleEndian.Uint64(append(b, make([]byte, 8)...)); !tc.bad && got != tc.want {
			t.Errorf("%s %s: %x, want %x", tc.dtype, tc.fill, got, tc.want)
		}
	}
}

func TestEveryNaNIsOne(t *testing.T) {
	t.Parallel()
	b := binary.LittleEndian.AppendUint32(nil, 0xffc00000)
	for _, v := range []uint32{0x7f800001, 0x7fc00000, 0x7fffffff, 0xff800001, 0x7f800000, 0xff800000, 0x80000000, 0} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	CanonicalNaN(graph.Float32, b)
	var got []uint32
	for i := 0; i < len(b); i += 4 {
		got = append(got, binary.LittleEndian.Uint32(b[i:]))
	}
	for i, want := range []uint32{nan32, nan32, nan32, nan32, nan32, 0x7f800000, 0xff800000, 0x80000000, 0} {
		if got[i] != want {
			t.Errorf("value %d: %08x, want %08x", i, got[i], want)
		}
	}
	b = binary.LittleEndian.AppendUint64(nil, 0xfff8000000000001)
	b = binary.LittleEndian.AppendUint64(b, 0x8000000000000000)
	CanonicalNaN(graph.Float64, b)
	if binary.LittleEndian.Uint64(b) != nan64 || binary.LittleEndian.Uint64(b[8:]) != 1<<63 {
		t.Errorf("float64: %x", b)
	}
}

// TestOneContentHasOneDigest is what identity promises: the codec, the order in
// which tiles come, how large they are, NaN payloads and whether a chunk of fill
// is stored change nothing.
func TestOneContentHasOneDigest(t *testing.T) {
	t.Parallel()
	spec := graph.VarSpec{Name: "dem", LongName: "height", Units: "m"}.WithDefaults()
	l := NewLayout(spec, testGrid(-13, 5, 70, 90, 0), grid.Tiling{Y: 16, X: 16})
	values := floats(7, 70*90)
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < len(values); i += 4 {
		if i/4%90 < 40 && i/4/90 < 40 || r.IntN(50) == 0 {
			binary.LittleEndian.PutUint32(values[i:], nan32)
		}
	}
	c := newTestCube(t, Config{})
	want := build(t, c, l, grid.Tiling{Y: 16, X: 16}, values).Digest()
	payloads := bytes.Clone(values)
	for i := 0; i < len(payloads); i += 4 {
		if binary.LittleEndian.Uint32(payloads[i:]) == nan32 {
			binary.LittleEndian.PutUint32(payloads[i:], 0x7f800000|(1+r.Uint32N(1<<22))|r.Uint32()&(1<<31))
		}
	}
	for name, conf := range map[string]Config{"lz4": {Compressor: "lz4", Level: 5}, "zlib": {Compressor: "zlib"}, "zstd 7": {Level: 7, Parallel: 1}} {
		other := newTestCube(t, conf)
		for _, tiling := range []grid.Tiling{{Y: 16, X: 16}, {Y: 32, X: 48}, {}} {
			if got := build(t, other, l, tiling, payloads).Digest(); got != want {
				t.Errorf("%s, tiles of %+v: digest %s, want %s", name, tiling, got, want)
			}
		}
	}
	var tiles []grid.Tile
	for tile := range (grid.Tiling{Y: 16, X: 16}).Tiles(l.Domain()) {
		tiles = append(tiles, tile)
	}
	for range 5 {
		b, err := c.NewBuilder(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		r.Shuffle(len(tiles), func(i, j int) { tiles[i], tiles[j] = tiles[j], tiles[i] })
		for _, tile := range tiles {
			buf := make([]byte, l.Bytes(tile.Box))
			l.copyBox(buf, tile.Box, payloads, l.Domain(), tile.Box)
			refs, err := c.PutTile(t.Context(), l, tile.Box, buf)
			if err == nil {
				err = b.Set(t.Context(), tile.Box, refs)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if v, err := b.Finish(t.Context()); err != nil || v.Digest() != want {
			t.Fatalf("shuffled: %v, %v", v.Digest(), err)
		}
	}
}

func TestADigestCoversWhatAReaderSees(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	fill := graph.Number("7")
	base := Layout{Spec: graph.VarSpec{Name: "a", DType: graph.Uint8, Units: "m"}.WithDefaults(), Grid: testGrid(0, 0, 8, 8, 0), Chunk: grid.Tiling{Y: 4, X: 4}}
	digest := func(edit func(*Layout)) graph.Digest {
		l := base
		edit(&l)
		return build(t, c, l, grid.Tiling{}, make([]byte, l.Bytes(l.Domain()))).Digest()
	}
	want := digest(func(*Layout) {})
	for name, edit := range map[string]func(*Layout){
		"its name":      func(l *Layout) { l.Spec.Name = "b" },
		"its long name": func(l *Layout) { l.Spec.LongName = "b" },
		"its merge":     func(l *Layout) { l.Spec.Merge = graph.First },
		"its time axis": func(l *Layout) { l.Grid.Time = grid.TimeAxis{Step: 3600}; l.Grid.Box.T = grid.Range{Hi: 3} },
	} {
		if digest(edit) != want {
			t.Errorf("%s of a static variable changes its digest", name)
		}
	}
	for name, edit := range map[string]func(*Layout){
		"units":  func(l *Layout) { l.Spec.Units = "km" },
		"dtype":  func(l *Layout) { l.Spec.DType = graph.Int8 },
		"fill":   func(l *Layout) { l.Spec.Fill = &fill },
		"schema": func(l *Layout) { l.Spec.Schema = 2 },
		"legend": func(l *Layout) { l.Spec.Legend = []graph.Class{{Value: 1, Name: "x"}} },
		"origin": func(l *Layout) { l.Grid.Lattice.X0++ },
		"bounds": func(l *Layout) { l.Grid.Box.X.Hi = 9 },
		"place":  func(l *Layout) { l.Grid.Box.X = grid.Range{Lo: 4, Hi: 12} },
		"chunks": func(l *Layout) { l.Chunk.Y = 8 },
		"dims":   func(l *Layout) { l.Spec.Dims = []graph.Dim{{Name: "level", Size: 1}} },
	} {
		if digest(edit) == want {
			t.Errorf("another %s has the same digest", name)
		}
	}
	b, err := c.NewBuilder(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	part, err := b.Finish(t.Context())
	if err != nil || part.Digest() == want {
		t.Errorf("coverage is not in the digest: %v", err)
	}
}

func TestAWindowTellsItsFillInOneWay(t *testing.T) {
	t.Parallel()
	group := func(dtype graph.DType, fill graph.Number) []byte {
		d, err := windowDocs(Layout{Spec: graph.VarSpec{Name: "v", Kind: graph.Static, DType: dtype, Fill: &fill}, Grid: testGrid(0, 0, 3, 3, 0)}, "v", testGrid(0, 0, 3, 3, 0).Box)
		if err != nil {
			t.Fatal(err)
		}
		return d.group
	}
	for _, c := range []struct {
		dtype graph.DType
		fills []graph.Number
	}{{graph.Int16, []graph.Number{"-1000", "-1e3", "-1000.0"}}, {graph.Uint64, []graph.Number{"18446744073709551615"}}, {graph.Uint8, []graph.Number{"255", "2.55e2"}}} {
		want := group(c.dtype, c.fills[0])
		if !bytes.Contains(want, fmt.Appendf(nil, `"_FillValue":%s`, c.fills[0])) && !bytes.Contains(want, fmt.Appendf(nil, `"_FillValue": %s`, c.fills[0])) {
			t.Errorf("%s %s: %s", c.dtype, c.fills[0], want)
		}
		for _, f := range c.fills {
			if got := group(c.dtype, f); !bytes.Equal(got, want) {
				t.Errorf("%s: %s and %s are told apart", c.dtype, f, c.fills[0])
			}
		}
	}
}
