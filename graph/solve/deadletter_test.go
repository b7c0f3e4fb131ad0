package solve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube/deadletter"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
)

func (e *env) letters() []*deadletter.Letter {
	e.t.Helper()
	var all []*deadletter.Letter
	for l, err := range DeadLetters(e.open()).All() {
		if err != nil {
			e.t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

func crash(containers.Action) error {
	return &containers.Failure{Kind: containers.FailedExit, Code: 3, Detail: "exited with code 3"}
}

func TestASpentActionIsKeptUntilItSucceeds(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	if _, err := e.run(ws, nil, "one"); err != nil {
		t.Fatal(err)
	}
	e.backend.fail = crash
	if _, err := e.run(ws, func(c *Config) { c.KeepGoing, c.RunID = true, "run" }, "two"); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	all := e.letters()
	if len(all) != 16 {
		t.Fatalf("%d letters of 16 failures", len(all))
	}
	l := all[0]
	one, _, err := e.open().Head(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	if l.Instance != "two" || l.Run != "run" || l.Failure != (deadletter.Failure{Kind: "exit", Code: 3, Detail: "exited with code 3"}) ||
		len(l.Attempts) != 1 || string(l.Log) != "computing two\n" || l.Windows[0].Version != one.Version {
		t.Errorf("%+v", l)
	}
	e.backend.fail = nil
	e.build(ws, "two")
	if left := e.letters(); len(left) != 0 {
		t.Errorf("all succeeded, and %d letters are left", len(left))
	}
}

// Two builds of one cube: what fails for the one comes to a result for the other,
// which had seen no letters by then.
func TestALetterOfAnotherBuildGoesWithTheResult(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.backend.fail = crash
	if _, err := e.run(chain(), func(c *Config) { c.KeepGoing = true }, "base"); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	others, store := e.letters(), DeadLetters(e.open())
	for _, l := range others {
		if _, err := store.Remove(l.Action); err != nil {
			t.Fatal(err)
		}
	}
	e.backend.fail = nil
	done := 0
	if _, err := e.run(chain(), func(c *Config) {
		c.Events = func(ev Event) (err error) {
			if _, ok := ev.(TileDone); ok {
				done++
			}
			if done == 1 {
				for _, l := range others {
					err = errors.Join(err, store.Put(l))
				}
			}
			return err
		}
	}, "base"); err != nil {
		t.Fatal(err)
	}
	if left := e.letters(); len(left) != 0 {
		t.Errorf("all succeeded, and %d letters are left", len(left))
	}
}

func TestAnActionThatFailsWhenItsResultIsLostIsKept(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	e.build(ws, "base")
	for _, gone := range []string{"objects", "actions/derivations"} {
		if err := os.RemoveAll(e.open().Path(gone)); err != nil {
			t.Fatal(err)
		}
	}
	e.backend.fail = crash
	if _, err := e.run(ws, func(c *Config) { c.KeepGoing = true }, "base"); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	if err := Settle(e.open()); err != nil {
		t.Fatal(err)
	}
	if all := e.letters(); len(all) != 16 {
		t.Errorf("%d letters of 16 failures", len(all))
	}
}

func TestOnlyTheChosenOnesAreTriedAgain(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	e.backend.fail = func(containers.Action) error {
		return &containers.Failure{Kind: containers.FailedBadInput, Code: 65, Detail: "its input is bad"}
	}
	run := func(change func(*Config)) *Result {
		t.Helper()
		r, err := e.run(ws, func(c *Config) {
			c.KeepGoing = true
			if change != nil {
				change(c)
			}
		}, "base")
		if err != nil && !errors.Is(err, ErrFailed) {
			t.Fatal(err)
		}
		return r
	}
	run(nil)
	e.backend.took()
	e.backend.fail = nil
	chosen := e.letters()[:2]
	r := run(func(c *Config) {
		c.RetryFailed, c.RetryOnly = true, map[graph.ActionID]bool{chosen[0].Action: true, chosen[1].Action: true}
	})
	if d := cmp.Diff(Count{Ran: 2, Failed: 14}, r.Count); d != "" || len(e.backend.took()) != 2 {
		t.Error(d)
	}
	if n := len(e.letters()); n != 14 {
		t.Errorf("%d letters", n)
	}
	if _, ok, _ := e.open().Head(t.Context(), "base"); ok {
		t.Error("a partial version became a head")
	}
	if r := run(func(c *Config) { c.RetryFailed = true }); r.Count.Ran != 14 || len(e.letters()) != 0 {
		t.Errorf("%+v", r.Count)
	}
}

func TestACheckpointIsTheActionsOwnAndEndsWithIt(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	ws.Instances[0].Manifest.Capabilities.Checkpoint = true
	plain, err := graph.Resolve(*chain(), "base")
	if err != nil {
		t.Fatal(err)
	}
	a, err := plain.Vertices[0].Shared(ws, graph.Host{})
	if err != nil {
		t.Fatal(err)
	}
	with, err := graph.Resolve(*ws, "base")
	if err != nil {
		t.Fatal(err)
	}
	b, err := with.Vertices[0].Shared(ws, graph.Host{})
	if err != nil {
		t.Fatal(err)
	}
	if a.Checkpoint || !b.Checkpoint {
		t.Error("the key does not say that there is a folder for it")
	}
	b.Checkpoint = false
	if d := cmp.Diff(a, b); d != "" {
		t.Errorf("something else of it is in the key: %s", d)
	}
	e.backend.fail = func(a containers.Action) error {
		if a.Checkpoint == "" {
			t.Error("no checkpoint")
			return nil
		}
		left, err := os.ReadDir(a.Checkpoint)
		if err != nil {
			return err
		}
		if len(left) < 2 {
			if err := os.WriteFile(filepath.Join(a.Checkpoint, string(rune('a'+len(left)))), nil, 0o644); err != nil {
				return err
			}
			return &containers.Failure{Kind: containers.FailedSignal, Code: 137, Detail: "killed by signal 9"}
		}
		return nil
	}
	never := func(c *Config) { c.KeepGoing, c.Retry = true, graph.Retry{Attempts: 1} }
	for i := range 3 { // builds
		r, err := e.run(ws, never, "base")
		if want := (Count{Failed: 16}); i < 2 && (!errors.Is(err, ErrFailed) || r.Count != want) || i == 2 && err != nil {
			t.Fatalf("build %d: %v %+v", i, err, r.Count)
		}
	}
	left, err := os.ReadDir(e.open().Path("checkpoints"))
	if err != nil || len(left) != 0 {
		t.Errorf("all succeeded, and %v is left, %v", left, err)
	}
}

// In a diamond base → left, right → join, and in a merge of two, what needs a
// failed tile is not tried, what does not is built, and no variable that is not
// whole becomes a head.
func TestKeepGoingBuildsAroundFailuresAndShowsNothingPartial(t *testing.T) {
	t.Parallel()
	need := func(names ...string) (all []graph.DataNeed) {
		for _, n := range names {
			all = append(all, graph.DataNeed{Variable: n})
		}
		return all
	}
	tiles := graph.Capabilities{Tiles: true}
	instance := func(name, out string, needs ...string) graph.Instance {
		return graph.Instance{Name: name, Out: map[string]string{name: out},
			Manifest: graph.Manifest{Name: name, Capabilities: tiles, Needs: need(needs...), Produces: []graph.VarSpec{{Name: name, Merge: graph.MonotoneMax}}}}
	}
	ws := chain()
	ws.Instances = []graph.Instance{
		instance("base", "base"), instance("left", "left", "base"), instance("right", "right", "base"),
		instance("join", "join", "left", "right"), instance("alone", "alone", "base"),
		instance("more", "both", "left"), instance("other", "both", "right"),
	}
	e := newEnv(t)
	failed := ""
	e.backend.fail = func(a containers.Action) error {
		for role, o := range a.Outputs {
			if role == "left" && o.Box.Y.Lo == 10 && o.Box.X.Lo == 20 {
				failed = a.Name
				return crash(a)
			}
		}
		return nil
	}
	targets := []string{"join", "alone", "both"}
	r, err := e.run(ws, func(c *Config) { c.KeepGoing = true }, targets...)
	if !errors.Is(err, ErrFailed) || failed == "" {
		t.Fatal(err)
	}
	// One tile of left; then that tile of join, of more, and of the merge.
	if d := cmp.Diff(Count{Ran: 7*16 + 16 - 4, Failed: 1, Blocked: 3}, r.Count); d != "" {
		t.Error(d)
	}
	heads, err := e.open().Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for name := range heads {
		shown = append(shown, name)
	}
	slices.Sort(shown)
	want := []string{"alone", "base", "both@other", "right"}
	if d := cmp.Diff(want, shown); d != "" {
		t.Errorf("heads: %s", d)
	}
	e.backend.fail = nil
	e.backend.took()
	if r, err := e.run(ws, nil, targets...); err != nil || r.Count.Ran != 4 || r.Count.Failed+r.Count.Blocked != 0 {
		t.Errorf("%v %+v", err, r.Count)
	}
}

func TestALostActionIsKeptUntilItsEndIsSeen(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	ws.Tiling = grid.Tiling{Y: 40, X: 40}
	e.backend.fail = func(containers.Action) error { return &LostError{Where: "worker 7", Why: "signal: killed"} }
	if _, err := e.run(ws, nil, "base"); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	all := e.letters()
	if len(all) != 1 || all[0].Failure.Kind != deadletter.Lost || all[0].Losses != maxLosses || len(all[0].Attempts) != 1 {
		t.Fatalf("%+v", all)
	}
	// A build that tries others again reports it, as what it was.
	r, err := e.run(ws, func(c *Config) { c.RetryOnly = map[graph.ActionID]bool{} }, "base")
	if !errors.Is(err, ErrFailed) || r.Count != (Count{Lost: 1}) {
		t.Errorf("%v, %+v", err, r.Count)
	}
	e.backend.fail = nil
	e.build(ws, "base")
	if left := e.letters(); len(left) != 0 {
		t.Errorf("it succeeded, and %d letters are left", len(left))
	}
}

// spoiled has one instance compute another value in the first cell of each tile.
type spoiled struct {
	*arithmetic
	instance string
}

func (s spoiled) Run(ctx context.Context, a containers.Action) (*containers.Result, error) {
	r, err := s.arithmetic.Run(ctx, a)
	if name, _, _ := cutLast(a.Name); err == nil && name == s.instance {
		for _, o := range r.Outputs {
			o.Values[0] ^= 1
		}
	}
	return r, err
}

func TestAMergeThatFailsIsKeptAndSaysWhere(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	ws.Instances[0].Manifest.Produces[0].Merge = graph.ErrorOn
	second := ws.Instances[0]
	second.Name, second.Params = "other", []byte(`{"more":1}`)
	ws.Instances = append(ws.Instances, second)
	r, err := e.run(ws, func(c *Config) { c.KeepGoing, c.Backend = true, spoiled{e.backend, "other"} }, "two")
	if !errors.Is(err, ErrFailed) || r.Count.Failed != 16 {
		t.Fatalf("%v, %+v", err, r.Count)
	}
	all := e.letters()
	if len(all) != 16 {
		t.Fatalf("%d letters of 16 merges that failed", len(all))
	}
	for _, l := range all {
		if l.Instance != graph.MergePrefix+"base" || l.Failure.Kind != deadletter.Merge || len(l.Windows) != 2 || len(l.Attempts) != 1 || l.Command != nil {
			t.Errorf("%+v", l)
		}
		if want := fmt.Sprintf("at y %d, x %d base@base is ", l.Tile.Y.Lo, l.Tile.X.Lo); !strings.HasPrefix(l.Failure.Detail, want) {
			t.Errorf("it says %q, want %q first", l.Failure.Detail, want)
		}
	}
	ws.Instances[3].Params = []byte(`{"more":2}`)
	e.build(ws, "two")
}
