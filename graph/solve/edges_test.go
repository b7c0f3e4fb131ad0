package solve

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
)

func TestABuildThatCannotBeginAVertexFailsForEachOfItsTiles(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	if err := os.Mkdir(filepath.Join(e.dir, ".cube", "lock"), 0o777); err != nil {
		t.Fatal(err)
	}
	ws := chain()
	plan, err := graph.Resolve(*ws, "two")
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBuild(ws, plan, Config{Cube: e.open()})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.begin(t.Context(), b.verts[plan.Vertices[0]]); err == nil {
			t.Error("no error")
		}
	}
}

// within fails the test where f takes longer than a build of the chain can.
func within(t *testing.T, f func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatal("the build hangs")
	}
}

func subgrid(ws *graph.Workspace, name string, y, x grid.Range) {
	g := ws.Grids[graph.DefaultGrid]
	g.Box.Y, g.Box.X = y, x
	ws.Grids[name] = g
}

func TestVerticesOnASmallerGridEndBeforeTheirInputsDo(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	subgrid(ws, "small", grid.Range{Hi: 10}, grid.Range{Hi: 10})
	ws.Instances[1].Grid, ws.Instances[2].Grid = "small", "small"
	within(t, func(ctx context.Context) {
		if _, err := e.run(ws, func(c *Config) { c.Workers = 1 }, "two"); err != nil {
			t.Error(err)
		}
	})
}

func TestATileOfAnotherTilingIsCutAnew(t *testing.T) {
	t.Parallel()
	e, clean := newEnv(t), newEnv(t)
	ws := chain()
	for _, size := range []int64{25, 50, 100, 0} { // the last ones all hold the whole domain
		ws.Tiling = grid.Tiling{Y: size, X: size}
		e.backend.took()
		e.build(ws, "two")
		if n := len(e.backend.took()); size > 50 && n != 0 {
			t.Errorf("tiles of %d: %d actions ran", size, n)
		}
	}
	ws.Tiling = grid.Tiling{Y: 100, X: 100}
	again, fresh := e.build(ws, "two"), clean.build(ws, "two")
	if d := cmp.Diff(fresh.Versions, again.Versions); d != "" {
		t.Error(d)
	}
	if !slices.Equal(e.values("two"), clean.values("two")) {
		t.Error("the values differ")
	}
}

func TestOtherChunksAreAnotherVersionAndRunNothing(t *testing.T) {
	t.Parallel()
	e, clean := newEnv(t), newEnv(t)
	ws := chain()
	first := e.build(ws, "two")
	e.backend.took()
	chunks := func(c *Config) { c.Chunks = grid.Tiling{Y: 5, X: 5} }
	r, err := e.run(ws, chunks, "two")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(e.backend.took()); n != 0 {
		t.Errorf("%d actions ran", n)
	}
	c, err := clean.run(ws, chunks, "two")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c.Versions, r.Versions); d != "" || r.Versions["two"] == first.Versions["two"] {
		t.Error(d)
	}
	if !slices.Equal(e.values("two"), clean.values("two")) {
		t.Error("the values differ")
	}
}

func TestRefinedContributionsAreMerged(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	ws.Instances[0].Manifest.Produces[0].Merge = graph.MonotoneMax
	ws.Instances[0].Manifest.Produces[0].Refine = 2
	second := ws.Instances[0]
	second.Name = "base2"
	second.Params = []byte(`{"more":1}`)
	ws.Instances = append(ws.Instances, second)
	e.build(ws, "base")
	if !slices.Equal(e.values("base"), e.values("base@base")) {
		t.Error("the maximum of twice the same is not the same")
	}
}

func TestATileOutsideOfAResampledInputSeesNodata(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	ws.Grids["coarse"] = grid.Grid{Lattice: ws.Grids[graph.DefaultGrid].Lattice,
		Box: grid.Box{Y: grid.Range{Lo: -40, Hi: 40}, X: grid.Range{Lo: -20, Hi: 80}}}
	g := ws.Grids["coarse"]
	g.Lattice.DX, g.Lattice.DY = 60, 60
	ws.Grids["coarse"] = g
	ws.Instances[1].Grid, ws.Instances[2].Grid = "coarse", "coarse"
	e.build(ws, "two")
}

func TestATileOutsideOfANativeInputFails(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	g := ws.Grids[graph.DefaultGrid]
	g.Lattice.DX, g.Lattice.DY = 60, 60
	g.Box = grid.Box{Y: grid.Range{Lo: -40, Hi: 40}, X: grid.Range{Lo: -20, Hi: 80}}
	ws.Grids["coarse"] = g
	ws.Instances[1].Grid = "coarse"
	ws.Instances[1].Manifest.Needs[0].Grid = graph.NativeGrid
	r, err := e.run(ws, func(c *Config) { c.KeepGoing = true }, "one")
	if !errors.Is(err, ErrFailed) || r.Count.Failed != 80-4 {
		t.Errorf("%v %+v", err, r.Count)
	}
}

func TestEqualChunksElsewhereAreAnotherWindow(t *testing.T) {
	t.Parallel()
	e, clean := newEnv(t), newEnv(t)
	for i, lo := range []int64{1, 2} {
		ws := chain()
		subgrid(ws, graph.DefaultGrid, grid.Range{Lo: lo, Hi: lo + 3}, grid.Range{Hi: 10})
		subgrid(ws, "small", grid.Range{Lo: 2, Hi: 3}, grid.Range{Hi: 10})
		ws.Instances[1].Grid = "small"
		ws.Instances[1].Manifest.Needs[0].Halo = grid.Halo{}
		base := func(_, y, x int64) float32 { return float32((y-lo)*100 + x) }
		e.backend.base, clean.backend.base = base, base
		e.build(ws, "one")
		if i == 0 {
			continue
		}
		clean.build(ws, "one")
		if !slices.Equal(e.values("one"), clean.values("one")) {
			t.Error("a window of another place was hit")
		}
	}
}

// forgetDerivations has the next build look at every tile.
func forgetDerivations(t *testing.T, e *env) {
	t.Helper()
	if err := os.Remove(filepath.Join(e.dir, ".cube", "actions", "derivations")); err != nil {
		t.Fatal(err)
	}
}

func TestRenamingAnInstanceRunsNoMerge(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	ws.Instances[0].Manifest.Produces[0].Merge = graph.MonotoneMax
	second := ws.Instances[0]
	second.Name = "base2"
	second.Params = []byte(`{"more":1}`)
	ws.Instances = append(ws.Instances, second)
	e.build(ws, "two")
	ws.Instances[3].Name = "base3"
	forgetDerivations(t, e)
	if r := e.build(ws, "two"); r.Count.Ran != 0 {
		t.Errorf("%+v", r.Count)
	}
}

func TestWhatFsckFoundDamagedIsMadeAgain(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	e.build(ws, "two")
	want := e.values("one")
	c := e.open()
	h, _, err := c.Head(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.LoadVersion(t.Context(), h.Version)
	if err != nil {
		t.Fatal(err)
	}
	ref, _, err := v.Ref(t.Context(), 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := c.Objects().Path(ref.Object)
	if err := os.Chmod(p, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, make([]byte, ref.Size), 0o644); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Fsck(t.Context(), nil, func(cube.Problem) {}); n == 0 || err != nil {
		t.Fatal(n, err)
	}
	e.backend.took()
	e.build(ws, "two")
	if n := len(e.backend.took()); n != 1 {
		t.Errorf("%d actions ran, want the one", n)
	}
	if !slices.Equal(want, e.values("one")) {
		t.Error("the values differ")
	}
}

func TestAFileWithoutAVersionBlocksItsReaders(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	subgrid(ws, "small", grid.Range{Hi: 10}, grid.Range{Hi: 10})
	ws.Instances[1].Grid, ws.Instances[2].Grid = "small", "small"
	ws.Instances[1].Manifest.Needs[0].Halo = grid.Halo{}
	ws.Instances[1].Manifest.Produces[0] = graph.VarSpec{Name: "one", Kind: graph.File}
	ws.Instances[2].Manifest.Needs[0] = graph.DataNeed{Variable: "one", Kind: graph.File}
	// The file reads none of the tiles that fail.
	e.backend.fail = func(a containers.Action) error {
		if o, ok := a.Outputs["base"]; ok && o.Box.Y.Lo == 30 {
			return &containers.Failure{Kind: containers.FailedExit, Code: 1, Detail: "exited with code 1"}
		}
		return nil
	}
	r, err := e.run(ws, func(c *Config) { c.KeepGoing = true }, "two")
	if !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	if d := cmp.Diff(Count{Ran: 12 + 1, Failed: 4, Blocked: 1}, r.Count); d != "" {
		t.Error(d)
	}
	e.backend.fail = nil
	e.build(ws, "two")
}

func TestNoTileIsHandedOutWhileADerivationIsLookedUp(t *testing.T) {
	t.Parallel()
	plan, err := graph.Resolve(*chain(), "base")
	if err != nil {
		t.Fatal(err)
	}
	s := newScheduler(plan, 0, 1)
	n := s.nodes[0]
	first, ok := n.take(false, 64)
	if !ok || first.what != probe {
		t.Fatalf("%+v %v", first, ok)
	}
	if second, ok := n.take(false, 64); ok {
		t.Errorf("meanwhile %+v", second)
	}
	s.active++
	s.probed(first, false)
	if next, ok := n.take(false, 64); !ok || next.what != making {
		t.Errorf("%+v %v", next, ok)
	}
}

func TestAnotherMergePolicyRunsTheMergeAlone(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	ws.Instances[0].Manifest.Produces[0].Merge = graph.MonotoneMax
	second := ws.Instances[0]
	second.Name = "base2"
	second.Params = []byte(`{"more":1}`)
	second.Manifest.Produces = slices.Clone(second.Manifest.Produces)
	ws.Instances = append(ws.Instances, second)
	e.build(ws, "base")
	e.backend.took()
	ws.Instances[0].Manifest.Produces[0].Merge, ws.Instances[3].Manifest.Produces[0].Merge = graph.MonotoneMin, graph.MonotoneMin
	r := e.build(ws, "base")
	if n := len(e.backend.took()); n != 0 || r.Count.Ran != 16 {
		t.Errorf("%d actions ran, and in all %+v", n, r.Count)
	}
}

func TestAnImportIsWhatItIsSaidToBe(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	made := e.build(chain(), "base")
	ws := chain()
	base := ws.Instances[0].Manifest.Produces[0]
	pin := graph.Import{Spec: base, Grid: ws.Grids[graph.DefaultGrid], Version: made.Versions["base"], Native: 30}
	ws.Instances, ws.Imports = ws.Instances[1:], map[string]graph.Import{"base": pin}
	e.build(ws, "one")
	e.build(ws, "one") // its derivation is known
	for name, change := range map[string]func(*graph.Import){
		"units": func(i *graph.Import) { i.Spec.Units = "m" },
		"dtype": func(i *graph.Import) { i.Spec.DType = graph.Int32 },
		"grid":  func(i *graph.Import) { i.Grid.Box.Y.Hi++ },
	} {
		other := pin
		change(&other)
		ws.Imports["base"] = other
		if _, err := e.run(ws, nil, "one"); err == nil {
			t.Errorf("other %s than the version's are believed", name)
		}
	}
	pin.Spec.LongName = "what people call it"
	ws.Imports["base"] = pin
	e.build(ws, "one")
}

// TestAStepThatLooksBackRunsAfterAChangeBeforeIt holds that a vertex which begins with
// what its head has looks at the steps behind a change, too, as far as it looks back.
func TestAStepThatLooksBackRunsAfterAChangeBeforeIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		need graph.TimeNeed
		want map[string]int
	}{
		{graph.TimeNeed{}, map[string]int{"one t[3,4) y[0,40) x[0,40)": 1}},
		{graph.TimeNeed{Before: 1}, map[string]int{"one t[3,4) y[0,40) x[0,40)": 1, "one t[4,5) y[0,40) x[0,40)": 1}},
		{graph.TimeNeed{After: 2}, map[string]int{"one t[1,2) y[0,40) x[0,40)": 1, "one t[2,3) y[0,40) x[0,40)": 1, "one t[3,4) y[0,40) x[0,40)": 1}},
	} {
		e, ws := newEnv(t), chain()
		g := ws.Grids[graph.DefaultGrid]
		g.Time, g.Box.T = grid.TimeAxis{Origin: 1600000000, Step: 3600}, grid.Range{Hi: 8}
		ws.Grids[graph.DefaultGrid], ws.Tiling = g, grid.Tiling{T: 1, Y: 40, X: 40}
		for i := range ws.Instances {
			ws.Instances[i].Manifest.Produces[0].Kind = graph.Time
		}
		ws.Instances[1].Manifest.Needs[0].Kind, ws.Instances[1].Manifest.Needs[0].Time = graph.Time, c.need
		ws.Instances = ws.Instances[:2]
		e.build(ws, "one")
		e.backend.base = func(t, y, x int64) float32 {
			v := float32(y*7+x*3) / 5
			if t == 3 && y == 20 && x == 20 {
				v++
			}
			return v
		}
		ws.Instances[0].Params = []byte(`{"edition":1}`)
		e.build(ws, "base")
		e.backend.took()
		e.build(ws, "one")
		if d := cmp.Diff(c.want, e.backend.took()); d != "" {
			t.Errorf("%+v: ran (-want +got):\n%s", c.need, d)
		}
	}
}

// TestHowItIsResampledIsPartOfAWindow holds that the chunks of a window alone do not
// say what it holds where it is resampled.
func TestHowItIsResampledIsPartOfAWindow(t *testing.T) {
	t.Parallel()
	base := func(_, y, x int64) float32 { // half of each coarse cell is there
		if x%2 == 0 {
			return float32(math.NaN())
		}
		return float32(5*y + x*x)
	}
	for name, change := range map[string]func(ws *graph.Workspace, need *graph.DataNeed){
		"how much must be valid": func(_ *graph.Workspace, need *graph.DataNeed) { need.MinValid = 0.9 },
		"the method":             func(_ *graph.Workspace, need *graph.DataNeed) { need.Resample = grid.Max },
		"where the cells lie": func(ws *graph.Workspace, _ *graph.DataNeed) {
			g := ws.Grids[graph.DefaultGrid]
			g.Lattice.X0 += 3 // and the windows are of the same cells
			ws.Grids[graph.DefaultGrid] = g
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, clean := newEnv(t), newEnv(t)
			e.backend.base, clean.backend.base = base, base
			ws := chain()
			g := ws.Grids[graph.DefaultGrid]
			g.Lattice.DX, g.Lattice.DY = 60, 60
			g.Lattice.X0 += 33 // so that no edges of cells meet
			g.Box = grid.Box{Y: grid.Range{Hi: 19}, X: grid.Range{Hi: 19}}
			ws.Grids["coarse"], ws.Instances[1].Grid = g, "coarse"
			need := &ws.Instances[1].Manifest.Needs[0]
			need.Resample = grid.Average
			e.build(ws, "one")
			before := e.values("one")
			change(ws, need)
			e.build(ws, "one")
			clean.build(ws, "one")
			if slices.Equal(before, clean.values("one")) {
				t.Fatal("it changes nothing")
			}
			if !slices.Equal(e.values("one"), clean.values("one")) {
				t.Error("a window that was resampled otherwise was hit")
			}
		})
	}
}

// TestATileKnowsTheVeryPartsThatItMeets holds that a tile of a source that is read
// by parts runs again where one of its parts is another, also where it is told
// the same of them, and that no other tile does.
func TestATileKnowsTheVeryPartsThatItMeets(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	part := func(content string, y, x float64) graph.Part { // within a cell
		g := chain().Grids[graph.DefaultGrid].Lattice
		west, north := g.X0+x*g.DX, g.Y0-y*g.DY
		return graph.Part{SHA256: graph.Sum([]byte(content)),
			Extent: graph.Extent{CRS: string(g.CRS), Bounds: &[4]float64{west + 1, north - 9, west + 9, north - 1}}}
	}
	build := func(parts ...graph.Part) map[string]int {
		t.Helper()
		ws := chain()
		ws.Sources = map[string]graph.Source{"fires": {Name: "fires", SHA256: graph.Sum([]byte("all"))}}
		base := &ws.Instances[0]
		base.Sources = map[string]string{"rows": "fires"}
		base.Manifest.Sources = []graph.SourceNeed{{Name: "rows", Index: true}}
		base.Parts = map[string]graph.Split{"rows": graph.PartList(parts)}
		e.build(ws, "base")
		return e.backend.took()
	}
	build(part("a", 5, 5), part("b", 35, 35))
	if took := build(part("a", 5, 5), part("b", 35, 35)); len(took) != 0 {
		t.Errorf("nothing changed, and %v ran", took)
	}
	want := map[string]int{"base y[30,40) x[30,40)": 1}
	if d := cmp.Diff(want, build(part("a", 5, 5), part("c", 35, 35))); d != "" {
		t.Errorf("one part is another (-want +got):\n%s", d)
	}
	if took := build(part("b", 35, 35), part("a", 5, 5)); len(took) != 0 {
		t.Errorf("changed back, and in another order, %v ran", took)
	}
}

// TestAChangeElsewhereReachesEveryTileThatReadsIt holds that of what changed on
// another lattice nothing is lost, however many places that are.
func TestAChangeElsewhereReachesEveryTileThatReadsIt(t *testing.T) {
	t.Parallel()
	ws := chain()
	g := ws.Grids[graph.DefaultGrid]
	g.Lattice.DX, g.Lattice.DY, g.Lattice.X0 = 70, 70, g.Lattice.X0+13
	g.Box = grid.Box{Y: grid.Range{Hi: 16}, X: grid.Range{Hi: 16}}
	ws.Grids["coarse"], ws.Instances[1].Grid, ws.Instances[1].Tiling = g, "coarse", &grid.Tiling{Y: 1, X: 1}
	plan, err := graph.Resolve(*ws, "one")
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBuild(ws, plan, Config{})
	if err != nil {
		t.Fatal(err)
	}
	n := b.sched.nodes[1]
	r := rand.New(rand.NewPCG(7, 7))
	for _, places := range []int{1, 10, 64, 65, 66, 200} {
		c := &change{node: n, most: n.total, tiles: map[int64]struct{}{}}
		var boxes []grid.Box
		for range places {
			y, x := r.Int64N(40), r.Int64N(40)
			boxes = append(boxes, grid.Box{Y: grid.Range{Lo: y, Hi: y + 1}, X: grid.Range{Lo: x, Hi: x + 1}})
			if !c.reach(0, boxes[len(boxes)-1]) {
				t.Fatal("too many")
			}
		}
		if !c.rest() {
			t.Fatal("too many")
		}
		for index := range n.total {
			read := n.vertex.Windows(n.tile(index))[0].Read
			_, looked := c.tiles[index]
			if slices.ContainsFunc(boxes, read.Meets) && !looked {
				t.Fatalf("%d places: tile %s reads one, and is not looked at", places, n.tile(index).Box)
			}
		}
		if places == 1 && len(c.tiles) > 9 {
			t.Errorf("one cell reaches %d tiles", len(c.tiles))
		}
	}
}
