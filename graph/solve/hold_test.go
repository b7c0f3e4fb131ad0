package solve

import (
	"testing"

	"github.com/cubebuild/cube/graph"
)

func TestWhatIsHeldIsUsedAsItIsAndItsHeadStays(t *testing.T) {
	t.Parallel()
	e, ws := newEnv(t), chain()
	ws.Instances[0].Manifest.Produces = append(ws.Instances[0].Manifest.Produces, graph.VarSpec{Name: "beside"})
	first := e.build(ws, "two", "beside")
	e.backend.took()

	base := ws.Instances[0].Manifest.Produces[0].WithDefaults()
	ws.Imports = map[string]graph.Import{"base": {Spec: base, Grid: ws.Grids[graph.DefaultGrid], Version: first.Versions["base"], Native: 30, Held: true}}
	ws.Instances[0].Params = []byte(`{"other":1}`)
	e.backend.base = func(_, y, x int64) float32 { return float32(y + 100*x) }
	held := e.build(ws, "two")
	if n := len(e.backend.took()); n != 0 || held.Versions["two"] != first.Versions["two"] {
		t.Errorf("%d actions ran though what changed is held", n)
	}

	// Its producer runs for the sake of what else it makes.
	e.build(ws, "beside", "two")
	heads, err := e.open().Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if heads["base"].Version != first.Versions["base"] || heads["two"].Version != first.Versions["two"] {
		t.Error("the head of what is held has moved, or that of what is made of it")
	}
	if heads["beside"].Version == first.Versions["beside"] {
		t.Error("what is made beside it was not made anew")
	}

	ws.Imports = nil
	if r := e.build(ws, "two"); r.Versions["base"] == first.Versions["base"] {
		t.Error("it is still held")
	}
}

func TestWhatOnlyAHeldVariableNeedsNeedNotBeThere(t *testing.T) {
	t.Parallel()
	ws := chain()
	ws.Instances[0].Manifest.Needs = []graph.DataNeed{{Variable: "nowhere"}}
	if _, err := graph.Closure(ws, "two"); err == nil {
		t.Error("a variable that nobody makes is not missed")
	}
	ws.Imports = map[string]graph.Import{"base": {Spec: graph.VarSpec{Name: "base"}.WithDefaults(), Grid: ws.Grids[graph.DefaultGrid], Version: graph.Sum(nil), Held: true}}
	needed, err := graph.Closure(ws, "two", "base")
	if err != nil || len(needed) != 2 {
		t.Errorf("%v %v", needed, err)
	}
	if _, err := graph.Resolve(*ws, "two", "base"); err != nil {
		t.Error(err)
	}
}
