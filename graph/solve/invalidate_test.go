package solve

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
)

// invalidate voids tiles of variables of a workspace that was built.
func (e *env) invalidate(ws *graph.Workspace, target, variable string, in Invalidation, boxes ...grid.Box) Voided {
	e.t.Helper()
	plan, err := graph.Resolve(*ws, target)
	if err != nil {
		e.t.Fatal(err)
	}
	in.Selections = append(in.Selections, Selection{plan.Output(variable).Vertex, boxes})
	c, err := cube.Open(e.dir, cube.Config{NoSync: true})
	if err != nil {
		e.t.Fatal(err)
	}
	defer c.Close()
	n, err := Invalidate(e.t.Context(), ws, plan, Config{Cube: c}, in)
	if err != nil {
		e.t.Fatal(err)
	}
	return n
}

// ran builds and closes the cube, and returns how many actions each instance ran.
func (e *env) ran(ws *graph.Workspace, targets ...string) map[string]int {
	e.t.Helper()
	e.backend.took()
	plan, err := graph.Resolve(*ws, targets...)
	if err != nil {
		e.t.Fatal(err)
	}
	c, err := cube.Open(e.dir, cube.Config{NoSync: true})
	if err != nil {
		e.t.Fatal(err)
	}
	defer c.Close()
	e.last, err = Run(e.t.Context(), ws, plan, Config{Cube: c, Backend: e.backend, Provider: nothing{}, Workers: 2})
	if err != nil {
		e.t.Fatal(err)
	}
	out := map[string]int{}
	for tile, n := range e.backend.took() {
		var name string
		fmt.Sscan(tile, &name)
		out[name] += n
	}
	return out
}

// copyOf is a copy of a folder.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func cell(y, x int64) grid.Box {
	return grid.Box{Y: grid.Range{Lo: y, Hi: y + 1}, X: grid.Range{Lo: x, Hi: x + 1}}
}

func TestInvalidatedTilesRunAgainAndStopTheChange(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	e.ran(ws, "two")
	want := e.last.Versions
	n := e.invalidate(ws, "two", "base", Invalidation{}, cell(15, 15), cell(15, 16), cell(39, 0))
	if n != (Voided{Results: 2, Aliases: 2, Derivations: 1}) {
		t.Errorf("%+v", n)
	}
	if d := cmp.Diff(map[string]foreseen{"base": {Hits: 14, Misses: 2}, "one": {Hits: 5, Open: 11}, "two": {Open: 16}}, previewed(e, ws)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]int{"base": 2}, e.ran(ws, "two")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want, e.last.Versions); d != "" {
		t.Error(d)
	}
	if ran := e.ran(ws, "two"); len(ran) > 0 || e.last.Known != 3 {
		t.Errorf("a third build runs %v and knows %d", ran, e.last.Known)
	}
}

func previewed(e *env, ws *graph.Workspace) map[string]foreseen {
	e.t.Helper()
	got, _ := e.preview(ws, "two")
	return got
}

func TestAllTilesOfAVariableCanBeInvalidated(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	e.ran(ws, "two")
	if n := e.invalidate(ws, "two", "one", Invalidation{DryRun: true}); n != (Voided{Results: 16, Aliases: 16, Derivations: 1}) {
		t.Errorf("%+v", n)
	}
	if ran := e.ran(ws, "two"); len(ran) > 0 {
		t.Errorf("a dry run voids %v", ran)
	}
	e.invalidate(ws, "two", "one", Invalidation{})
	if n := e.invalidate(ws, "two", "one", Invalidation{}); n != (Voided{}) {
		t.Errorf("twice voids %+v", n)
	}
	if d := cmp.Diff(map[string]int{"one": 16}, e.ran(ws, "two")); d != "" {
		t.Error(d)
	}
}

func TestAnInvalidatedTileIsMadeAnewForEveryDerivationThatHoldsIt(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	small, large := chain(), chain()
	g := large.Grids[graph.DefaultGrid]
	g.Box.Y.Hi = 50
	large.Grids[graph.DefaultGrid] = g
	e.ran(small, "base")
	e.ran(large, "base")
	// Both domains have tile (0, 0); void it through the smaller one.
	e.invalidate(small, "base", "base", Invalidation{}, cell(0, 0))
	if d := cmp.Diff(map[string]int{"base": 1}, e.ran(large, "base")); d != "" {
		t.Error(d)
	}
	if ran := e.ran(small, "base"); len(ran) > 0 || e.last.Count.Hit != 16 {
		t.Errorf("the smaller domain then runs %v: %+v", ran, e.last)
	}
}

func TestWhatTheHeadWasMadeOfIsInvalidatedToo(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	e.ran(ws, "two")
	// The base is about to be made anew: of what "one" will read nothing is known.
	changed := chain()
	changed.Instances[0].Params = []byte(`{"a":1}`)
	if n := e.invalidate(changed, "two", "one", Invalidation{}, cell(0, 0)); n.Results != 1 || n.Derivations != 1 {
		t.Errorf("%+v", n)
	}
	if d := cmp.Diff(map[string]int{"one": 1}, e.ran(ws, "two")); d != "" {
		t.Error(d)
	}
}

func TestWhatRecordsNameIsInvalidated(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	old, now := chain(), chain()
	now.Instances[0].Params = []byte(`{"a":1}`)
	e.build(old, "base")
	var in Invalidation
	for _, ev := range e.events {
		switch ev := ev.(type) {
		case TileDone:
			in.Actions = append(in.Actions, ev.Action)
		case VertexDone:
			in.Derivations = append(in.Derivations, ev.Derivation)
		}
	}
	e = &env{t: t, dir: copyOf(t, e.dir), backend: e.backend} // whose cube nobody holds open
	e.ran(now, "base")
	e.invalidate(now, "base", "base", in, cell(0, 0))
	if d := cmp.Diff(map[string]int{"base": 1}, e.ran(now, "base")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]int{"base": 16}, e.ran(old, "base")); d != "" {
		t.Error(d)
	}
}

func TestAKnownFailureIsInvalidated(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	e.backend.fail = func(a containers.Action) error {
		if a.Outputs["base"].Box.Y.Lo == 0 {
			return &containers.Failure{Kind: containers.FailedBadInput, Code: containers.ExitBadInput}
		}
		return nil
	}
	if _, err := e.run(ws, func(c *Config) { c.KeepGoing = true }, "base"); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	e.backend.fail = nil
	e = &env{t: t, dir: copyOf(t, e.dir), backend: e.backend}
	if n := e.invalidate(ws, "base", "base", Invalidation{}, cell(0, 0)); n != (Voided{Failures: 1}) {
		t.Errorf("%+v", n)
	}
}

func TestNothingIsInvalidatedWhileABuildUsesTheCube(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	plan, err := graph.Resolve(*ws, "base")
	if err != nil {
		t.Fatal(err)
	}
	e.build(ws, "base") // holds the cube until the test ends
	_, err = Invalidate(t.Context(), ws, plan, Config{Cube: e.open()}, Invalidation{Selections: []Selection{{Vertex: plan.Vertices[0]}}})
	if !errors.Is(err, cube.ErrBusy) {
		t.Error(err)
	}
}

func TestAnyInvalidationRunsExactlyItsTilesAndChangesNoVersion(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	e.ran(ws, "two")
	want := e.last.Versions
	r := rand.New(rand.NewPCG(1, 2))
	for range 12 {
		expect := map[string]int{}
		for _, name := range []string{"base", "one", "two"} {
			tiles := map[[2]int64]bool{}
			var boxes []grid.Box
			for range r.IntN(4) {
				y, x := r.Int64N(40), r.Int64N(40)
				tiles[[2]int64{y / 10, x / 10}] = true
				boxes = append(boxes, cell(y, x))
			}
			if len(boxes) == 0 {
				continue
			}
			e.invalidate(ws, "two", name, Invalidation{}, boxes...)
			expect[name] = len(tiles)
		}
		if d := cmp.Diff(expect, e.ran(ws, "two")); d != "" {
			t.Fatal(d)
		}
		if d := cmp.Diff(want, e.last.Versions); d != "" {
			t.Fatal(d)
		}
	}
}

func TestAVertexIsFoundByAnyOfItsHeads(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	ws.Instances[1].Manifest.Produces = append(ws.Instances[1].Manifest.Produces, graph.VarSpec{Name: "more"})
	e.ran(ws, "more")
	plan, err := graph.Resolve(*ws, "more")
	if err != nil {
		t.Fatal(err)
	}
	c := e.open()
	v := plan.Output("more").Vertex
	found := func() *graph.Vertex {
		t.Helper()
		v, err := HeadVertex(t.Context(), c, ws, graph.Host{}, v)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	base, _, err := c.Head(t.Context(), "base")
	if err != nil {
		t.Fatal(err)
	}
	for _, remove := range []string{"", "one"} {
		if remove != "" {
			if err := c.RemoveVariable(t.Context(), remove); err != nil {
				t.Fatal(err)
			}
		}
		if f := found(); f == nil || f.Inputs[0].Import.Version != base.Version || f.Inputs[0].From != nil {
			t.Errorf("without %q: %+v", remove, f)
		}
	}
	v.Instance.Params = []byte(`{"a":1}`)
	if f := found(); f != nil {
		t.Errorf("another recipe made %+v", f)
	}
}
