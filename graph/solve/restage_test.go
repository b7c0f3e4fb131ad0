package solve

import (
	"errors"
	"io"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph"
)

// An action that read tiles of a variable that never became whole is laid out
// from their results; it comes to the same ActionID, and to nothing that stays
// unless that is asked for.
func TestAnActionIsLaidOutAnewFromResultsAlone(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	e.backend.fail = func(a containers.Action) error {
		for role, o := range a.Outputs {
			if role == "one" && o.Box.Y.Lo == 0 && o.Box.X.Lo == 0 || role == "two" && o.Box.Y.Lo == 30 && o.Box.X.Lo == 30 {
				return crash(a)
			}
		}
		return nil
	}
	if _, err := e.run(ws, func(c *Config) { c.KeepGoing = true }, "two"); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	e.backend.fail = nil
	plan, err := graph.Resolve(*ws, "two")
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Cube: e.open(), Backend: e.backend, Provider: nothing{}}
	tried := 0
	for _, l := range e.letters() {
		at := Place{Instance: l.Instance, Grid: l.Grid, Tile: l.Tile}
		restage := func(ws *graph.Workspace, plan *graph.Plan) (*Restaged, error) {
			return Restage(t.Context(), ws, plan, c, l.Action, at)
		}
		r, err := restage(ws, plan)
		if err != nil {
			t.Fatal(err)
		}
		if string(r.Action.Request) != string(l.Request) {
			t.Errorf("%s: another request", l.Instance)
		}
		tried++
		for _, keep := range []bool{false, true} {
			release, ok, err := r.Hold(t.Context())
			if err != nil || !ok {
				t.Fatalf("%v %v", ok, err)
			}
			if _, again, _ := r.Hold(t.Context()); again {
				t.Error("held twice")
			}
			out, err := r.Repeat(t.Context(), io.Discard, keep)
			release()
			if err != nil || out.Failure != nil || out.Recorded != nil || out.Kept != keep {
				t.Fatalf("keep %v: %+v %v", keep, out, err)
			}
			if known, err := HasResult(c.Cube, l.Action); err != nil || known != keep {
				t.Errorf("keep %v: a result is there: %v, %v", keep, known, err)
			}
		}
		edited := chain()
		edited.Instances[2].Params, edited.Instances[1].Params = []byte(`{"edition":2}`), []byte(`{"edition":2}`)
		other, err := graph.Resolve(*edited, "two")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := restage(edited, other); !errors.Is(err, ErrGone) {
			t.Errorf("of an edited workspace: %v", err)
		}
	}
	if tried != 2 || len(e.letters()) != 0 {
		t.Errorf("%d tried, %d letters left", tried, len(e.letters()))
	}
	e.backend.took()
	if r := e.build(ws, "two"); r.Count.Failed+r.Count.Blocked != 0 || r.Count.Ran > 4 {
		t.Errorf("%+v", r.Count)
	}
}
