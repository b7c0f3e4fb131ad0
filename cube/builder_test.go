package cube

import (
	"context"
	"errors"
	"testing"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

func TestWhatIsCutShortIsNotTakenForWhole(t *testing.T) {
	t.Parallel()
	for _, parallel := range []int{1, 4} {
		c := newTestCube(t, Config{Parallel: parallel})
		tiling := grid.Tiling{Y: 8, X: 8}
		l := NewLayout(graph.VarSpec{Name: "dem"}.WithDefaults(), testGrid(0, 0, 16, 16, 0), tiling)
		l.Chunk = tiling
		fill, err := l.Fill()
		if err != nil {
			t.Fatal(err)
		}
		for _, values := range [][]byte{floats(1, 256), make([]byte, 1024)} {
			if values[1] == 0 {
				fillBytes(values, fill)
			}
			v := build(t, c, l, tiling, values)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := c.ReadWindow(ctx, v, l.Domain(), nil); !errors.Is(err, context.Canceled) {
				t.Errorf("%d at once: read: %v", parallel, err)
			}
			if _, err := c.PutTile(ctx, l, l.Domain(), values); !errors.Is(err, context.Canceled) {
				t.Errorf("%d at once: put: %v", parallel, err)
			}
		}
	}
}

func TestAChunkThatIsSetAgainIsReadAsItIsNow(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	l := Layout{Spec: graph.VarSpec{Name: "dem"}.WithDefaults(), Grid: testGrid(0, 0, 64*(maxPages+2), 64, 0), Chunk: grid.Tiling{Y: 1, X: 1}}
	b, err := c.NewBuilder(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	ref := func(n byte) ChunkRef { return ChunkRef{Value: graph.Digest{n, 1}} }
	const pages = maxPages + 2 // more than stay in memory
	for n := range byte(3) {
		// All chunks of each page, and then again its first.
		rows := []int64{64, 1, 1}[n]
		for page := range int64(pages) {
			refs := make([]ChunkRef, rows*64)
			for i := range refs {
				refs[i] = ref(0)
			}
			refs[0] = ref(n)
			box := grid.Box{Y: grid.Range{Lo: 64 * page, Hi: 64*page + rows}, X: grid.Range{Hi: 64}}
			if err := b.Set(t.Context(), box, refs); err != nil {
				t.Fatal(err)
			}
		}
		got, ok, err := b.Ref(t.Context(), 0, 0, 0)
		if err != nil || !ok || got != ref(n) {
			t.Fatalf("round %d: %v %v %v", n, got, ok, err)
		}
	}
}
