package cube

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/graph"
)

// newTestCube makes a cube of its own for a test.
func newTestCube(t testing.TB, conf Config) *Cube {
	t.Helper()
	dir := t.TempDir()
	if err := Create(dir); err != nil {
		t.Fatal(err)
	}
	conf.NoSync = true
	c, err := Open(dir, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// testGrid is a grid of ny × nx cells whose first has the index (y0, x0).
func testGrid(y0, x0, ny, nx, nt int64) grid.Grid {
	g := grid.Grid{
		Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 250, DY: 250, X0: 430000, Y0: 4480000},
		Box:     grid.Box{Y: grid.Range{Lo: y0, Hi: y0 + ny}, X: grid.Range{Lo: x0, Hi: x0 + nx}},
	}
	if nt > 0 {
		g.Time, g.Box.T = grid.TimeAxis{Origin: 1600000000, Step: 3600}, grid.Range{Lo: 0, Hi: nt}
	}
	return g
}

func floats(seed uint64, n int64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i%97) + r.Float32()/8
	}
	return zarr.Bytes(v)
}

// build makes a version of values over the layout's domain, tile by tile.
func build(t testing.TB, c *Cube, l Layout, tiling grid.Tiling, values []byte) *Version {
	t.Helper()
	b, err := c.NewBuilder(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	for tile := range tiling.Tiles(l.Domain()) {
		buf := make([]byte, l.Bytes(tile.Box))
		l.copyBox(buf, tile.Box, values, l.Domain(), tile.Box)
		refs, err := c.PutTile(t.Context(), l, tile.Box, buf)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Set(t.Context(), tile.Box, refs); err != nil {
			t.Fatal(err)
		}
	}
	v, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestWhatIsPutIsRead(t *testing.T) {
	t.Parallel()
	elevation := graph.VarSpec{Name: "elevation", DType: graph.Float32}.WithDefaults()
	c := newTestCube(t, Config{})
	tiling := grid.Tiling{Y: 64, X: 64}
	l := NewLayout(elevation, testGrid(-10, 37, 200, 150, 0), tiling)
	l.Chunk = grid.Tiling{Y: 32, X: 32}
	values := floats(1, 200*150)
	v := build(t, c, l, tiling, values)
	got, err := c.ReadWindow(t.Context(), v, l.Domain(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, values) {
		t.Fatal("read other values than were put")
	}
	again, err := c.LoadVersion(t.Context(), v.Digest())
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	if got, err = c.ReadWindow(t.Context(), again, l.Domain(), got); err != nil || !bytes.Equal(got, values) {
		t.Fatalf("after loading: %v", err)
	}
}

func TestACubeThatIsUsedIsNobodysAlone(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	for range 2 {
		if err := c.Use(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	other := reopenedBeside(t, c)
	if _, err := other.Exclusive(); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	if err := reopenedBeside(t, c).Use(t.Context()); err != nil {
		t.Errorf("two at once: %v", err)
	}
}

func TestWhoUsesACubeWaitsForWhoHasItAlone(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	unlock, err := reopenedBeside(t, c).Exclusive()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Use(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it waited until its context ended", err)
	}
	unlock()
	if err := c.Use(ctx); err != nil {
		t.Errorf("once the other is done: %v", err)
	}
}

// What the kernel lets nobody write to stands for a cube that may only be read.
func TestACubeThatCannotBeWrittenToCanBeUsed(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("it has no such files")
	}
	f, err := openLock("/proc/sys/kernel/ostype")
	if f == nil || err != nil {
		t.Fatalf("a lock that may only be read: %v, %v", f, err)
	}
	f.Close()
	if f, err := openLock("/sys/kernel/nothing"); f != nil || err != nil {
		t.Errorf("no lock, and none to be made: %v, %v", f, err)
	}
	if _, err := openLock(filepath.Join(t.TempDir(), "nothing", "lock")); err == nil {
		t.Error("a lock in a folder that is not there was opened")
	}
}
