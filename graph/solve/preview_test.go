package solve

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
)

// foreseen is what a preview says of a vertex.
type foreseen struct {
	Known                       bool
	Hits, Misses, Failing, Open int64
}

func (e *env) preview(ws *graph.Workspace, targets ...string) (map[string]foreseen, []VertexPreview) {
	e.t.Helper()
	plan, err := graph.Resolve(*ws, targets...)
	if err != nil {
		e.t.Fatal(err)
	}
	all, err := Preview(e.t.Context(), ws, plan, Config{Cube: e.open()})
	if err != nil {
		e.t.Fatal(err)
	}
	out := map[string]foreseen{}
	for _, p := range all {
		out[p.Vertex.Name] = foreseen{p.Known, p.Hits, p.Misses, p.Failing, p.Open}
		if sum := p.Hits + p.Misses + p.Failing + p.Open; sum != p.Vertex.Len() {
			e.t.Errorf("%s: %d tiles of %d", p.Vertex.Name, sum, p.Vertex.Len())
		}
	}
	return out, all
}

// files lists everything on disk with its size.
func (e *env) files() map[string]int64 {
	e.t.Helper()
	out := map[string]int64{}
	err := filepath.WalkDir(e.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		out[path] = info.Size()
		return err
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return out
}

func TestAPreviewSaysWhatABuildThenDoes(t *testing.T) {
	t.Parallel()
	larger := func(ws *graph.Workspace) {
		g := ws.Grids[graph.DefaultGrid]
		g.Box.Y.Hi = 50
		ws.Grids[graph.DefaultGrid] = g
	}
	smaller := func(ws *graph.Workspace) {
		g := ws.Grids[graph.DefaultGrid]
		g.Box.Y.Hi = 30
		ws.Grids[graph.DefaultGrid] = g
	}
	for _, test := range []struct {
		name   string
		change func(*graph.Workspace)
		want   map[string]foreseen
	}{
		{"nothing changed", func(*graph.Workspace) {}, map[string]foreseen{
			"base": {Known: true, Hits: 16}, "one": {Known: true, Hits: 16}, "two": {Known: true, Hits: 16}}},
		{"a limit changed", func(ws *graph.Workspace) { ws.Instances[1].Resources.Memory = 1 << 20 }, map[string]foreseen{
			"base": {Known: true, Hits: 16}, "one": {Known: true, Hits: 16}, "two": {Known: true, Hits: 16}}},
		{"the base changed", func(ws *graph.Workspace) { ws.Instances[0].Params = []byte(`{"a":1}`) }, map[string]foreseen{
			"base": {Misses: 16}, "one": {Open: 16}, "two": {Open: 16}}},
		{"the middle changed", func(ws *graph.Workspace) { ws.Instances[1].Image.DiffIDs = []string{"sha256:x"} }, map[string]foreseen{
			"base": {Known: true, Hits: 16}, "one": {Misses: 16}, "two": {Open: 16}}},
		{"a row of tiles more", larger, map[string]foreseen{
			"base": {Hits: 16, Misses: 4}, "one": {Hits: 12, Open: 8}, "two": {Hits: 8, Open: 12}}},
		{"a row of tiles less", smaller, map[string]foreseen{
			"base": {Hits: 12}, "one": {Hits: 8, Misses: 4}, "two": {Hits: 4, Open: 8}}},
		{"other tiles", func(ws *graph.Workspace) { ws.Tiling = grid.Tiling{Y: 20, X: 20} }, map[string]foreseen{
			"base": {Misses: 4}, "one": {Open: 4}, "two": {Open: 4}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.build(chain(), "two")
			e.backend.took()
			ws := chain()
			test.change(ws)
			before := e.files()
			got, all := e.preview(ws, "two")
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
			if len(e.backend.took()) > 0 {
				t.Error("a preview ran something")
			}
			if d := cmp.Diff(before, e.files()); d != "" {
				t.Errorf("a preview wrote: %s", d)
			}
			r := e.build(ws, "two")
			var least, most int64
			for _, p := range all {
				least += p.Misses
				most += p.Misses + p.Open
			}
			if r.Count.Ran < least || r.Count.Ran > most {
				t.Errorf("%d ran, the preview said %d to %d", r.Count.Ran, least, most)
			}
		})
	}
}

func TestAPreviewCountsExactlyWhereOnlyTheWindowsTell(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.build(chain(), "two")
	plain := e.backend.base
	e.backend.base = func(tt, y, x int64) float32 {
		if y == 15 && x == 15 {
			return plain(tt, y, x) + 5000
		}
		return plain(tt, y, x)
	}
	ws := chain()
	ws.Instances[0].Params = []byte(`{"edition":2}`)
	e.build(ws, "base")
	e.backend.took()
	got, _ := e.preview(ws, "one")
	// Chunks of 10 × 10: only the tile of the changed cell reads it.
	want := map[string]foreseen{"base": {Known: true, Hits: 16}, "one": {Hits: 15, Misses: 1}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestAPreviewKnowsWhatIsKnownToFail(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.backend.fail = func(a containers.Action) error {
		if a.Outputs["one"].Box != nil && a.Outputs["one"].Box.Y.Lo == 10 {
			return &containers.Failure{Kind: containers.FailedBadInput, Code: 65}
		}
		return nil
	}
	if _, err := e.run(chain(), func(c *Config) { c.KeepGoing = true }, "one"); err == nil {
		t.Fatal("a build succeeded that has to fail")
	}
	got, _ := e.preview(chain(), "one")
	want := map[string]foreseen{"base": {Known: true, Hits: 16}, "one": {Hits: 12, Failing: 4}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestAPreviewRemembersWhatTheHeadWasMadeOf(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	_, all := e.preview(chain(), "two")
	for _, p := range all {
		if p.Head != nil || p.Before != nil {
			t.Errorf("%s has a head before it was built", p.Vertex.Name)
		}
	}
	e.build(chain(), "two")
	ws := chain()
	ws.Instances[0].Params = []byte(`{"a":1}`)
	_, all = e.preview(ws, "two")
	if string(all[0].Before) == string(all[0].Preimage) {
		t.Error("the changed vertex has the preimage that it had")
	}
	two := all[2]
	if d := cmp.Diff(string(two.Before), string(two.Preimage)); d != "" {
		t.Errorf("only the inputs of two are pending, and its preimage differs: %s", d)
	}
	if d := cmp.Diff([]int{0}, two.Pending); d != "" || !two.Derivation.IsZero() {
		t.Errorf("pending %v, derivation %v", two.Pending, two.Derivation)
	}
	e.backend.base = func(_, y, x int64) float32 { return float32(y - x) }
	e.build(ws, "two")
	_, all = e.preview(chain(), "two")
	if !all[0].HeadElsewhere() {
		t.Error("changed back: the result is known and the head is elsewhere")
	}
}

func TestWhatIsSettledNeedsNoLookAtTiles(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.build(chain(), "two")
	ws := chain()
	ws.Instances[1].Params = []byte(`{"a":1}`)
	plan, err := graph.Resolve(*ws, "two")
	if err != nil {
		t.Fatal(err)
	}
	all, err := Settled(t.Context(), ws, plan, Config{Cube: e.open()})
	if err != nil {
		t.Fatal(err)
	}
	if !all[0].Known || all[0].Hits != 16 || all[1].Known || all[1].Unseen != 16 || all[1].Open != 16 || all[2].Open != 16 {
		t.Errorf("%+v", all)
	}
}

func TestOfManyTilesASampleIsLookedAt(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	e.build(ws, "two")
	ws.Instances[1].Params = []byte(`{"a":1}`)
	plan, err := graph.Resolve(*ws, "two")
	if err != nil {
		t.Fatal(err)
	}
	all, err := preview(t.Context(), ws, plan, Config{Cube: e.open()}, glance{tiles: 15, sample: 5})
	if err != nil {
		t.Fatal(err)
	}
	if one := all[1]; one.Unseen != 11 || one.Misses != 5 || one.Open != 11 || one.Hits != 0 {
		t.Errorf("%+v", one)
	}
	if two := all[2]; two.Unseen != 11 || two.Open != 16 { // those that were looked at read what is not there yet
		t.Errorf("%+v", two)
	}
	for _, test := range []struct{ k, total, looked, want int64 }{{0, 10, 3, 0}, {1, 10, 3, 3}, {2, 10, 3, 6}, {4, 5, 5, 4}, {1 << 40, 1 << 60, 1 << 41, 1 << 59}} {
		if got := spread(test.k, test.total, test.looked); got != test.want {
			t.Errorf("%d of %d of %d: %d, want %d", test.k, test.looked, test.total, got, test.want)
		}
	}
}

func TestWithoutACubeNothingIsKnown(t *testing.T) {
	t.Parallel()
	ws := chain()
	plan, err := graph.Resolve(*ws, "one")
	if err != nil {
		t.Fatal(err)
	}
	all, err := Preview(t.Context(), ws, plan, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if all[0].Misses != 16 || all[1].Open != 16 {
		t.Errorf("%+v", all)
	}
}
