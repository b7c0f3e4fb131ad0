package cube

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/graph"
)

// cellsOf cuts a box out of an array by looking at each cell: what copyBox has
// to agree with.
func cellsOf(l Layout, values []byte, box grid.Box) []byte {
	d := l.Domain()
	full, part, size := l.block(d), l.block(box), int64(l.Spec.DType.Size())
	var out []byte
	for t := range part[0] {
		for k := range part[1] {
			for y := range part[2] {
				for x := range part[3] {
					i := ((t+max(0, box.T.Lo-d.T.Lo))*full[1]+k)*full[2] + y + box.Y.Lo - d.Y.Lo
					i = (i*full[3] + x + box.X.Lo - d.X.Lo) * size
					out = append(out, values[i:i+size]...)
				}
			}
		}
	}
	return out
}

func randomRange(r *rand.Rand, in grid.Range) grid.Range {
	lo := in.Lo + r.Int64N(in.Len())
	return grid.Range{Lo: lo, Hi: lo + 1 + r.Int64N(in.Hi-lo)}
}

func TestEveryWindowHasTheCellsItNames(t *testing.T) {
	t.Parallel()
	fill := graph.Number("0")
	for _, spec := range []graph.VarSpec{
		{Name: "static"},
		{Name: "time", Kind: graph.Time, DType: graph.Float64},
		{Name: "level", Kind: graph.Time, DType: graph.Int16, Fill: &fill, Dims: []graph.Dim{{Name: "level", Size: 3}, {Name: "member", Size: 2}}},
		{Name: "flag", DType: graph.Bool},
	} {
		spec = spec.WithDefaults()
		c := newTestCube(t, Config{CacheBytes: 40 << 10}) // smaller than the array
		nt := int64(0)
		if spec.Kind == graph.Time {
			nt = 7
		}
		tiling := grid.Tiling{T: 4, Y: 16, X: 24}
		l := NewLayout(spec, testGrid(-13, 5, 50, 61, nt), tiling)
		if spec.Kind == graph.Time {
			l.Grid.Box.T = grid.Range{Lo: 3, Hi: 10}
		}
		l.Chunk = grid.Tiling{T: min(2, nt), Y: 8, X: 12}
		r := rand.New(rand.NewPCG(5, uint64(len(spec.Name))))
		values := make([]byte, l.Bytes(l.Domain()))
		for i := range values {
			values[i] = byte(r.IntN(2)) // half the small ints are fill
		}
		v := build(t, c, l, tiling, values)
		for range 200 {
			box := grid.Box{Y: randomRange(r, l.Grid.Box.Y), X: randomRange(r, l.Grid.Box.X)}
			if nt > 0 {
				box.T = randomRange(r, l.Grid.Box.T)
			}
			got, err := c.ReadWindow(t.Context(), v, box, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, cellsOf(l, values, box)) {
				t.Fatalf("%s: %s has other cells", spec.Name, box)
			}
		}
		outside := l.Domain()
		outside.X.Hi++
		if _, err := c.ReadWindow(t.Context(), v, outside, nil); !errors.Is(err, ErrOutside) {
			t.Errorf("%s: a box that leaves the domain gives %v", spec.Name, err)
		}
	}
}

func TestAnUncoveredCellIsAnError(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	tiling := grid.Tiling{Y: 8, X: 8}
	l := NewLayout(graph.VarSpec{Name: "dem"}.WithDefaults(), testGrid(0, 0, 16, 16, 0), tiling)
	b, err := c.NewBuilder(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	tile := tiling.Tile(0, 1, 0, l.Domain()).Box
	refs, err := c.PutTile(t.Context(), l, tile, floats(1, 64))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadWindow(t.Context(), b, tile, nil); !isUncovered(err) {
		t.Fatalf("before Set: %v", err)
	}
	if err := b.Set(t.Context(), tile, refs); err != nil {
		t.Fatal(err)
	}
	v, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]Array{"builder": b, "version": v} {
		if got, err := c.ReadWindow(t.Context(), a, tile, nil); err != nil || !bytes.Equal(got, floats(1, 64)) {
			t.Errorf("%s: the covered tile: %v", name, err)
		}
		wide := tile
		wide.X.Hi = 9
		if _, err := c.ReadWindow(t.Context(), a, wide, nil); !isUncovered(err) {
			t.Errorf("%s: one cell beyond: %v", name, err)
		}
		if _, err := c.CoverDigests(t.Context(), a, wide); !isUncovered(err) {
			t.Errorf("%s: CoverDigests beyond: %v", name, err)
		}
		if ok, err := Covers(t.Context(), a, tile); !ok || err != nil {
			t.Errorf("%s: Covers: %v, %v", name, ok, err)
		}
		if ok, err := Covers(t.Context(), a, wide); ok || err != nil {
			t.Errorf("%s: Covers beyond: %v, %v", name, ok, err)
		}
		ds, err := c.CoverDigests(t.Context(), a, tile)
		if err != nil || len(ds) != 1 || ds[0] != refs[0].Value {
			t.Errorf("%s: CoverDigests: %v, %v", name, ds, err)
		}
	}
	if cov := v.Coverage(); cov.Complete() || cov.Covered != 1 || cov.Chunks != 4 {
		t.Errorf("coverage %+v", cov)
	}
	err = c.MoveHeads(t.Context(), nil, []Head{{Variable: "dem", Version: v.Digest()}})
	if !errors.Is(err, ErrIncomplete) {
		t.Errorf("a partial version as head: %v", err)
	}
}

func isUncovered(err error) bool {
	var u *UncoveredError
	return errors.As(err, &u)
}

func TestTilesThatAreNotWholeChunksAreRefused(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	l := Layout{Spec: graph.VarSpec{Name: "dem"}.WithDefaults(), Grid: testGrid(0, 0, 20, 20, 0), Chunk: grid.Tiling{Y: 8, X: 8}}
	b, err := c.NewBuilder(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	r := func(lo, hi int64) grid.Range { return grid.Range{Lo: lo, Hi: hi} }
	for _, box := range []grid.Box{
		{Y: r(0, 8), X: r(0, 7)}, {Y: r(1, 8), X: r(0, 8)}, {Y: r(16, 24), X: r(0, 8)}, {Y: r(0, 0), X: r(0, 8)}, {T: r(0, 1), Y: r(0, 8), X: r(0, 8)},
	} {
		if _, err := c.PutTile(t.Context(), l, box, make([]byte, l.Bytes(box))); !errors.Is(err, ErrOutside) {
			t.Errorf("put %s: %v", box, err)
		}
		if err := b.Set(t.Context(), box, make([]ChunkRef, 1)); !errors.Is(err, ErrOutside) {
			t.Errorf("set %s: %v", box, err)
		}
	}
	edge := grid.Box{Y: r(16, 20), X: r(0, 20)}
	if _, err := c.PutTile(t.Context(), l, edge, make([]byte, 4*20*4-1)); !errors.Is(err, ErrOutside) {
		t.Errorf("a byte short: %v", err)
	}
	refs, err := c.PutTile(t.Context(), l, edge, make([]byte, 4*20*4))
	if err != nil || len(refs) != 3 {
		t.Fatalf("%d refs, %v", len(refs), err)
	}
	if err := b.Set(t.Context(), edge, refs[:2]); !errors.Is(err, ErrOutside) {
		t.Errorf("a ref short: %v", err)
	}
}

// TestManyPages has more chunks than a builder keeps in memory, set by many at
// once and read meanwhile.
func TestManyPages(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	const n = 700 // chunks along an edge
	l := Layout{Spec: graph.VarSpec{Name: "many", DType: graph.Uint8}.WithDefaults(), Grid: testGrid(0, 0, n, n, 0), Chunk: grid.Tiling{Y: 1, X: 1}}
	ref := func(y, x int64) ChunkRef {
		d := graph.Digest{1: byte(y), 2: byte(y >> 8), 3: byte(x), 4: byte(x >> 8)}
		d[0] = 1
		if x%3 == 0 {
			return ChunkRef{Value: d}
		}
		return ChunkRef{Value: d, Object: d, Size: y}
	}
	b, err := c.NewBuilder(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range int64(4) {
		wg.Go(func() {
			for y := w; y < n; y += 4 {
				refs := make([]ChunkRef, n)
				for x := range refs {
					refs[x] = ref(y, int64(x))
				}
				if err := b.Set(t.Context(), grid.Box{Y: grid.Range{Lo: y, Hi: y + 1}, X: grid.Range{Hi: n}}, refs); err != nil {
					t.Error(err)
					return
				}
				if got, ok, err := b.Ref(t.Context(), 0, y/2/4*4+w, 5); err != nil || ok && got != ref(y/2/4*4+w, 5) {
					t.Errorf("while it is being built: %v, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
	inMemory := 0
	for _, p := range b.pages {
		if p != nil {
			inMemory++
		}
	}
	if inMemory > maxPages+1 {
		t.Errorf("%d pages of %d are in memory", inMemory, len(b.pages))
	}
	v, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v, err = c.LoadVersion(t.Context(), v.Digest())
	if err != nil {
		t.Fatal(err)
	}
	if cov := v.Coverage(); !cov.Complete() || cov.Chunks != n*n {
		t.Fatalf("coverage %+v", cov)
	}
	count := 0
	err = v.Refs(t.Context(), func(_, y, x int64, r ChunkRef) error {
		count++
		if r != ref(y, x) {
			t.Fatalf("chunk (%d, %d) is %+v", y, x, r)
		}
		return nil
	})
	if err != nil || count != n*n {
		t.Fatalf("%d chunks, %v", count, err)
	}
	// An edit rewrites one page.
	edited := ref(3, 3)
	edited.Value[31] = 1
	if err := b.Set(t.Context(), grid.Box{Y: grid.Range{Lo: 3, Hi: 4}, X: grid.Range{Lo: 3, Hi: 4}}, []ChunkRef{edited}); err != nil {
		t.Fatal(err)
	}
	w, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for i := range w.pages {
		if w.pages[i] != v.pages[i] {
			changed++
		}
	}
	if changed != 1 || w.Digest() == v.Digest() {
		t.Errorf("%d pages changed", changed)
	}
}

func TestReadOntoAnotherGridDependsOnTheCellAlone(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	tiling := grid.Tiling{Y: 16, X: 16}
	l := NewLayout(graph.VarSpec{Name: "dem"}.WithDefaults(), testGrid(0, 0, 64, 64, 0), tiling)
	values := floats(9, 64*64)
	v := build(t, c, l, tiling, values)
	dst := l.Grid
	dst.Lattice.DX, dst.Lattice.DY = 1000, 1000
	dst.Box = grid.Box{Y: grid.Range{Lo: -2, Hi: 18}, X: grid.Range{Lo: 0, Hi: 16}}
	whole, err := c.ReadOnto(t.Context(), v, dst, dst.Box, "average", 0)
	if err != nil {
		t.Fatal(err)
	}
	out := l
	out.Grid = dst
	var sum float32
	for y := range 4 {
		for x := range 4 {
			sum += numbers[float32](values[(y*64+x)*4:][:4])[0]
		}
	}
	if got := numbers[float32](cellsOf(out, whole, grid.Box{Y: grid.Range{Hi: 1}, X: grid.Range{Hi: 1}}))[0]; got < sum/16-1e-3 || got > sum/16+1e-3 {
		t.Errorf("the mean of 16 cells is %v, want %v", got, sum/16)
	}
	if !allOf(whole[:2*16*4], zarr.Bytes(nans(1))) {
		t.Error("rows north of the domain have values")
	}
	for tile := range (grid.Tiling{Y: 5, X: 7}).Tiles(dst.Box) {
		got, err := c.ReadOnto(t.Context(), v, dst, tile.Box, "average", 0)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, cellsOf(out, whole, tile.Box)) {
			t.Fatalf("tile %s has other values than the whole", tile.Box)
		}
	}
	far := dst
	far.Box = grid.Box{Y: grid.Range{Lo: 900, Hi: 902}, X: grid.Range{Lo: 900, Hi: 902}}
	if got, err := c.ReadOnto(t.Context(), v, far, far.Box, "nearest", 0); err != nil || !allOf(got, zarr.Bytes(nans(1))) {
		t.Errorf("far away: %v", err)
	}
}

func TestFilesAreKeptAsTheyAre(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	spec := graph.VarSpec{Name: "perimeter", Kind: graph.File, MediaType: "application/geo+json"}.WithDefaults()
	f, err := c.PutFile(t.Context(), bytes.NewReader([]byte(`{"type":"Point"}`)), spec.MediaType, ".json")
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.NewFileVersion(t.Context(), spec, f)
	if err != nil {
		t.Fatal(err)
	}
	show(t, c, v)
	v, err = c.LoadVersion(t.Context(), v.Digest())
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := v.File(); !ok || got != f || got.Size != 16 {
		t.Fatalf("file %+v", got)
	}
	b, err := readFile(c.Path("files", "perimeter.json"), 100)
	if err != nil || string(b) != `{"type":"Point"}` {
		t.Fatalf("%q, %v", b, err)
	}
	if ok, _, err := c.Satisfies(t.Context(), Want{Variable: "perimeter", Kind: graph.File}); !ok || err != nil {
		t.Fatalf("satisfies: %v, %v", ok, err)
	}
}

// A payload is another user than the engine, and sees the mode of what it reads:
// that must not be the umask's of whoever made it.
func TestAFileIsReadableByAllWhateverTheUmaskWas(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	spec := graph.VarSpec{Name: "perimeter", Kind: graph.File}.WithDefaults()
	f, err := c.PutFile(t.Context(), bytes.NewReader([]byte(`{"type":"Point"}`)), "", ".json")
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.NewFileVersion(t.Context(), spec, f)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o400, 0o440, 0o444, 0o644} {
		if err := os.Chmod(c.Objects().Path(f.Object), mode); err != nil {
			t.Fatal(err)
		}
		path, err := c.FilePath(t.Context(), v, f)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o444 {
			t.Errorf("made with mode %v it is shown with %v, %v", mode, info.Mode(), err)
		}
	}
}
