package cube

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/graph"
)

// smooth is a field with noise, as elevations are.
func smooth(n int64) []byte {
	r := rand.New(rand.NewPCG(1, 1))
	v := make([]float32, n*n)
	for i := range v {
		y, x := int64(i)/n, int64(i)%n
		v[i] = float32(1000 + 3*y + 2*x + int64(r.IntN(8)))
	}
	return zarr.Bytes(v)
}

func benchLayout(n int64) (Layout, grid.Tiling) {
	tiling := grid.Tiling{Y: 512, X: 512}
	return NewLayout(graph.VarSpec{Name: "dem"}.WithDefaults(), testGrid(0, 0, n, n, 0), tiling), tiling
}

func BenchmarkPutTile(b *testing.B) {
	c := newTestCube(b, Config{})
	l, tiling := benchLayout(2048)
	box := tiling.Tile(0, 0, 0, l.Domain()).Box
	values := smooth(512)
	b.SetBytes(int64(len(values)))
	i := 0
	for b.Loop() {
		i++
		putNumbers(values[:4], []float32{float32(i)})
		if _, err := c.PutTile(b.Context(), l, box, values); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadWindow reads a window with a halo of one cell around each tile:
// with no chunk at hand, and with all.
func BenchmarkReadWindow(b *testing.B) {
	for name, cache := range map[string]int64{"cold": 1, "cached": 1 << 30} {
		b.Run(name, func(b *testing.B) {
			c := newTestCube(b, Config{CacheBytes: cache})
			l, tiling := benchLayout(2048)
			v := build(b, c, l, tiling, smooth(2048))
			var buf []byte
			b.SetBytes(2048 * 2048 * 4)
			for b.Loop() {
				for tile := range tiling.Tiles(l.Domain()) {
					var err error
					if buf, err = c.ReadWindow(b.Context(), v, grid.Halo{Y: 1, X: 1}.Window(tile.Box, l.Domain()), buf); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkHeads(b *testing.B) {
	c := newTestCube(b, Config{})
	v := smallVersion(b, c, "a", 1)
	var moves []Head
	for i := range 100 {
		moves = append(moves, Head{Variable: fmt.Sprint("variable", i), Version: v.Digest(), Derivation: v.Digest(), Spec: v.Layout().Spec})
	}
	if err := c.MoveHeads(b.Context(), nil, moves); err != nil {
		b.Fatal(err)
	}
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			c.forgetHeads()
			if _, err := c.Heads(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			if _, ok, err := c.Head(b.Context(), "variable7"); !ok || err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("move", func(b *testing.B) {
		for b.Loop() {
			if err := c.MoveHeads(b.Context(), nil, moves[:1]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkView edits one chunk of ten thousand and shows it.
func BenchmarkView(b *testing.B) {
	c := newTestCube(b, Config{})
	l := Layout{Spec: graph.VarSpec{Name: "dem"}.WithDefaults(), Grid: testGrid(0, 0, 800, 800, 0), Chunk: grid.Tiling{Y: 8, X: 8}}
	w, err := c.NewBuilder(b.Context(), l)
	if err != nil {
		b.Fatal(err)
	}
	refs, err := c.PutTile(b.Context(), l, l.Domain(), smooth(800))
	if err == nil {
		err = w.Set(b.Context(), l.Domain(), refs)
	}
	if err != nil {
		b.Fatal(err)
	}
	v, err := w.Finish(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	show(b, c, v)
	i := 0
	for b.Loop() {
		i++
		box := grid.Box{Y: grid.Range{Lo: 80, Hi: 88}, X: grid.Range{Lo: 80, Hi: 88}}
		refs, err := c.PutTile(b.Context(), l, box, floats(uint64(i), 64))
		if err == nil {
			err = w.Set(b.Context(), box, refs)
		}
		if err != nil {
			b.Fatal(err)
		}
		if v, err = w.Finish(b.Context()); err != nil {
			b.Fatal(err)
		}
		show(b, c, v)
	}
}

func BenchmarkSatisfies(b *testing.B) {
	c := newTestCube(b, Config{})
	v := smallVersion(b, c, "a", 1)
	if err := c.MoveHeads(b.Context(), nil, []Head{{Variable: "a", Version: v.Digest(), Native: 30}}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if ok, _, err := c.Satisfies(b.Context(), Want{Variable: "a", Grid: v.Layout().Grid, MaxRes: 30}); !ok || err != nil {
			b.Fatal(err)
		}
	}
}
