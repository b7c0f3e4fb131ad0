package solve

import (
	"os"
	"testing"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
)

// look looks at tile y, x of a vertex.
func (e *env) look(ws *graph.Workspace, name string, y, x int64) *TilePreview {
	e.t.Helper()
	plan, err := graph.Resolve(*ws, name)
	if err != nil {
		e.t.Fatal(err)
	}
	v := plan.Output(name).Vertex
	p, err := Look(e.t.Context(), ws, plan, Config{Cube: e.open()}, v, v.Tiling.Tile(0, y, x, v.Box))
	if err != nil {
		e.t.Fatal(err)
	}
	return p
}

// edit adds to one cell of the base, and returns the workspace that has it.
func (e *env) edit(ws *graph.Workspace, row, column int64) *graph.Workspace {
	plain := e.backend.base
	e.backend.base = func(t, y, x int64) float32 {
		if y == row && x == column {
			return plain(t, y, x) + 5000
		}
		return plain(t, y, x)
	}
	edited := *ws
	edited.Instances = append([]graph.Instance(nil), ws.Instances...)
	edited.Instances[0].Params = []byte(`{"edition":2}`)
	return &edited
}

func TestALookAtEachTileSaysWhatABuildDoesWithIt(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.build(chain(), "two")
	ws := e.edit(chain(), 15, 10)
	if p := e.look(ws, "two", 1, 1); p.Forecast != Open || p.Windows[0].Missing != 9 || len(p.Windows[0].Pending) != shownPending {
		t.Errorf("%s, %d missing", p.Forecast, p.Windows[0].Missing)
	}
	if p := e.look(ws, "base", 1, 1); p.Forecast != Miss || p.Action.IsZero() {
		t.Errorf("a changed param: %s", p.Forecast)
	}
	e.build(ws, "base")
	e.backend.took()
	want := map[[2]int64]Forecast{}
	for y := range int64(4) {
		for x := range int64(4) {
			want[[2]int64{y, x}] = Known
		}
	}
	want[[2]int64{1, 0}], want[[2]int64{1, 1}] = Miss, Miss
	got := map[[2]int64]Forecast{}
	actions := map[graph.ActionID]bool{}
	for at := range want {
		p := e.look(ws, "one", at[0], at[1])
		got[at] = p.Forecast
		if p.Forecast == Miss {
			actions[p.Action] = true
		}
		if w := p.Windows[0]; w.Now == nil || w.Was == nil || w.Version == w.Older || w.Missing != 0 {
			t.Errorf("window of %v: %+v", at, w)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(e.backend.took()) > 0 {
		t.Error("a look ran something")
	}
	e.build(ws, "one")
	for _, ev := range e.events {
		if done, ok := ev.(TileDone); ok && done.Outcome == Ran && !actions[done.Action] {
			t.Errorf("tile %s ran as %s, which no look foretold", done.Tile.Box, done.Action.Short())
		}
	}
}

// TestOneChangedCellAmongManyTilesReadsOnlyWindowsThatMeetItsChunk damages every
// chunk but those that such windows meet, those of its tile and its neighbours:
// whoever read another one would foretell another thing.
func TestOneChangedCellAmongManyTilesReadsOnlyWindowsThatMeetItsChunk(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	g := ws.Grids[graph.DefaultGrid]
	g.Box = grid.Box{Y: grid.Range{Hi: 100}, X: grid.Range{Hi: 100}}
	ws.Grids[graph.DefaultGrid], ws.Tiling = g, grid.Tiling{Y: 4, X: 4}
	e.backend.base = func(_, y, x int64) float32 { return float32(y*1000+x) + 0.5 }
	e.build(ws, "one")
	ws = e.edit(ws, 50, 50) // in the middle of tile 12,12
	e.build(ws, "base")
	c := e.open()
	heads, err := c.Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	near := func(i, at int64) bool { return i >= at-2 && i <= at+2 }
	damaged := 0
	for _, name := range []string{"base", "one"} {
		v, err := c.LoadVersion(t.Context(), heads[name].Version)
		if err != nil {
			t.Fatal(err)
		}
		err = v.Refs(t.Context(), func(_, yi, xi int64, r cube.ChunkRef) error {
			if name == "base" && near(yi, 12) && near(xi, 12) {
				return nil
			}
			damaged++
			path := c.Objects().Path(r.Object)
			if err := os.Chmod(path, 0o644); err != nil {
				return err
			}
			return os.WriteFile(path, []byte("damaged"), 0o644)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if damaged < 1200 {
		t.Fatalf("damaged %d chunks", damaged)
	}
	got, _ := e.preview(ws, "one")
	if d := cmp.Diff(map[string]foreseen{"base": {Known: true, Hits: 625}, "one": {Hits: 624, Misses: 1}}, got); d != "" {
		t.Error(d)
	}
	if p := e.look(ws, "one", 12, 12); p.Forecast != Miss {
		t.Errorf("the tile: %s", p.Forecast)
	}
	if p := e.look(ws, "one", 12, 14); p.Forecast != Known {
		t.Errorf("another tile: %s", p.Forecast)
	}
}
