package cube

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
)

// changeLayout has chunks of one cell and more than one page.
func changeLayout() Layout {
	return Layout{Spec: graph.VarSpec{Name: "dem"}.WithDefaults(), Grid: testGrid(-3, 5, 100, 100, 0), Chunk: grid.Tiling{Y: 1, X: 1}}
}

func TestAVersionBuiltOnAnotherIsWhatItWouldBeFromNothing(t *testing.T) {
	t.Parallel()
	c, l := newTestCube(t, Config{}), changeLayout()
	r := rand.New(rand.NewPCG(5, 6))
	values := floats(1, 100*100)
	base := build(t, c, l, grid.Tiling{Y: 50, X: 50}, values)
	for round := range 5 {
		b, err := c.NewBuilderOn(t.Context(), l, base)
		if err != nil {
			t.Fatal(err)
		}
		next := slices.Clone(values)
		var want []grid.Box
		for range round * 3 {
			y, x := r.Int64N(100), r.Int64N(100)
			box := l.ChunkBox(0, y-3, x+5)
			if err := b.Uncover(t.Context(), box); err != nil {
				t.Fatal(err)
			}
			if _, ok, err := b.Ref(t.Context(), 0, y-3, x+5); ok || err != nil {
				t.Fatalf("it is still covered (%v)", err)
			}
			cell := floats(uint64(100*y+x), 100)[4*99:]
			copy(next[4*(100*y+x):], cell)
			refs, err := c.PutTile(t.Context(), l, box, slices.Clone(cell))
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Set(t.Context(), box, refs); err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(want, box) {
				want = append(want, box)
			}
		}
		got, err := b.Finish(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fresh := build(t, c, l, grid.Tiling{Y: 50, X: 50}, next)
		if got.Digest() != fresh.Digest() || !got.Coverage().Complete() {
			t.Fatalf("round %d: %s, and from nothing %s", round, got.Digest(), fresh.Digest())
		}
		var changed []grid.Box
		if err := got.Changed(t.Context(), base, func(b grid.Box) error { changed = append(changed, b); return nil }); err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(want, func(a, b grid.Box) int { return int((a.Y.Lo-b.Y.Lo)*1000 + a.X.Lo - b.X.Lo) })
		if d := cmp.Diff(want, changed); d != "" {
			t.Error(d)
		}
	}
}

func TestWhatIsUncoveredAndNotMadeIsNotThere(t *testing.T) {
	t.Parallel()
	c, l := newTestCube(t, Config{}), changeLayout()
	base := build(t, c, l, grid.Tiling{Y: 50, X: 50}, floats(1, 100*100))
	b, err := c.NewBuilderOn(t.Context(), l, base)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Uncover(t.Context(), grid.Box{Y: grid.Range{Lo: 0, Hi: 2}, X: grid.Range{Lo: 5, Hi: 7}}); err != nil {
		t.Fatal(err)
	}
	v, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := v.Coverage(); n.Covered != 100*100-4 {
		t.Errorf("%d chunks are covered", n.Covered)
	}
	var uncovered *UncoveredError
	if _, err := c.ReadWindow(t.Context(), b, l.Domain(), nil); !errors.As(err, &uncovered) {
		t.Errorf("it can be read: %v", err)
	}
	n := 0
	if err := v.Changed(t.Context(), base, func(grid.Box) error { n++; return nil }); err != nil || n != 4 {
		t.Errorf("%d chunks changed (%v)", n, err)
	}
}

func TestOnlyWhatIsAlikeCanBeBuiltOn(t *testing.T) {
	t.Parallel()
	c, l := newTestCube(t, Config{}), changeLayout()
	base := build(t, c, l, grid.Tiling{Y: 50, X: 50}, floats(1, 100*100))
	for name, change := range map[string]func(*Layout){
		"units":  func(l *Layout) { l.Spec.Units = "m" },
		"dtype":  func(l *Layout) { l.Spec.DType = graph.Int32 },
		"grid":   func(l *Layout) { l.Grid.Box.Y.Hi++ },
		"chunks": func(l *Layout) { l.Chunk.Y = 2 },
	} {
		other := l
		change(&other)
		if _, err := c.NewBuilderOn(t.Context(), other, base); err == nil {
			t.Errorf("with other %s", name)
		}
	}
	named := l
	named.Spec.Name, named.Spec.LongName = "another", "name"
	if _, err := c.NewBuilderOn(t.Context(), named, base); err != nil {
		t.Error(err)
	}
}
