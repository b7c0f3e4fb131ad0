package solve

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
)

var errNotNow = errors.New("not now")

func TestAnActionThatIsRefusedNeverRuns(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	r, err := e.run(ws, func(c *Config) { c.Admit = func(Candidate) error { return errNotNow } }, "two")
	var refused *RefusedError
	if !errors.As(err, &refused) || !errors.Is(err, errNotNow) || refused.Vertex.Name != "base" {
		t.Fatalf("%v: want a refusal of base", err)
	}
	if ran := e.backend.took(); len(ran) > 0 {
		t.Errorf("ran %v", ran)
	}
	if r.Count.Sum() != 0 || r.Untried != 48 || len(r.Versions) > 0 {
		t.Errorf("%+v, %d untried", r.Count, r.Untried)
	}
}

// What is open to a preview may come out as it was, or not: who is asked then is
// asked for exactly the actions that would run.
func TestOnlyActionsWithoutAResultAreAskedFor(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	var asked atomic.Int64
	count := func(c *Config) { c.Admit = func(Candidate) error { asked.Add(1); return nil } }
	for _, want := range []int64{48, 0} {
		asked.Store(0)
		if _, err := e.run(ws, count, "two"); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, asked.Load()); d != "" {
			t.Error(d)
		}
	}
}

func TestWhatWasAdmittedBeforeARefusalIsKept(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	var asked atomic.Int64
	_, err := e.run(ws, func(c *Config) {
		c.Admit = func(Candidate) error {
			if asked.Add(1) > 5 {
				return errNotNow
			}
			return nil
		}
	}, "base")
	if !errors.Is(err, errNotNow) {
		t.Fatal(err)
	}
	if got := len(e.backend.took()); got != 5 {
		t.Errorf("%d ran, want the 5 that were admitted", got)
	}
	if got := e.build(ws, "base").Count; got != (Count{Hit: 5, Ran: 11}) {
		t.Errorf("the next build: %+v", got)
	}
}

func TestAMergeIsAskedForToo(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	ws.Instances[0].Manifest.Produces[0].Merge = graph.MonotoneMax
	second := ws.Instances[0]
	second.Name = "base2"
	second.Params = []byte(`{"more":1}`)
	ws.Instances = append(ws.Instances, second)
	_, err := e.run(ws, func(c *Config) {
		c.Admit = func(c Candidate) error {
			if c.Vertex.IsMerge() {
				return errNotNow
			}
			return nil
		}
	}, "base")
	var refused *RefusedError
	if !errors.As(err, &refused) || !refused.Vertex.IsMerge() {
		t.Errorf("%v: want a refusal of the merge", err)
	}
}
