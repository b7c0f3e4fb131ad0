package crash

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// told is what an event says that does not depend on when and where it was.
type told struct {
	Type, Vertex, Action, Outcome, Error string
	Tile                                 json.RawMessage
	Attempt                              int
	Outputs                              map[string]string
	Lost                                 bool
}

// events are the lines of cube build --json, each as often as it came, in an
// order of their own.
func events(t *testing.T, output string) (all []string) {
	t.Helper()
	for line := range strings.Lines(output) {
		var e told
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if e.Type == "step" { // what was made ready before, and what was not needed to be
			continue
		}
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	slices.Sort(all)
	return all
}

// TestEveryBackendMakesAndTellsTheSame has each backend make the same cube: the
// same actions by their keys, the same versions, and events that differ in
// nothing but their order and their times.
func TestEveryBackendMakesAndTellsTheSame(t *testing.T) {
	t.Parallel()
	type outcome struct {
		Result    result
		Actions   map[string]int // by key
		Preimages map[string]string
		Events    []string
	}
	all := map[string]outcome{}
	for _, backend := range []string{"serial", "thread", "process"} {
		w := newWorkspace(t, small)
		e := w.start("build", "--json", "--backend", backend, "-j", "2")
		if code := e.wait(); code != 0 {
			t.Fatalf("%s: exit %d\n%s", backend, code, e.output())
		}
		w.clean(e)
		w.sound()
		o := outcome{w.result(), w.succeeded(), map[string]string{}, events(t, e.output())}
		for _, id := range slices.Sorted(maps.Keys(o.Actions))[:4] {
			_, o.Preimages[id], _ = strings.Cut(w.run("why", "--action", id), "\n") // the first line names the run
		}
		all[backend] = o
	}
	want := all["thread"]
	if len(want.Actions) != small.actions() || len(want.Events) < 2*small.actions() {
		t.Errorf("%d actions and %d events", len(want.Actions), len(want.Events))
	}
	for backend, got := range all {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s comes to something else than thread (-thread +%s):\n%s", backend, backend, diff)
		}
	}
}

// run runs the program, which must succeed, and returns what it printed.
func (w *workspace) run(args ...string) string {
	w.t.Helper()
	e := w.start(args...)
	if code := e.wait(); code != 0 {
		w.t.Fatalf("cube %v: exit %d\n%s", args, code, e.output())
	}
	return e.output()
}

// nodes are the workers below an engine.
func nodes(e *engine) []process {
	return slices.DeleteFunc(childrenOf(e.pid()), func(p process) bool { return !isWorker(p) })
}

// wantNoGroups fails the test where one of the processes has left a cgroup.
func wantNoGroups(t *testing.T, makers []process) {
	t.Helper()
	for _, g := range cgroupsBy(makers) {
		t.Errorf("left behind: cgroup %s", g)
	}
}

const endless = "producers.second.params.milliseconds=3600000"

// TestNothingOutlivesAnEngineWithWorkers kills an engine whose workers are at
// work: alone, as the machine does it for want of memory, and with all that the
// terminal started.
func TestNothingOutlivesAnEngineWithWorkers(t *testing.T) {
	t.Parallel()
	want := sync.OnceValue(func() result { return small.calm(t) })
	for name, make := range map[string]func(*testing.T, size) *workspace{"": newWorkspace, " without root": newWorkspaceOfNobody} {
		t.Run("killed"+name, func(t *testing.T) {
			w := make(t, small)
			e := w.start("build", "--backend", "process", "-j", "2", "--set", endless)
			var below []process
			e.until(t, "two workers ran a container each", func() bool {
				below = descendantsOf(e.pid())
				return len(nodes(e)) == 2 && hanging(below)
			})
			e.signalAlone(syscall.SIGKILL)
			<-e.done
			for _, p := range below {
				if !soon(2*time.Second, func() bool { return !p.lives() }) {
					t.Errorf("process %s outlived its engine", p)
				}
			}
			for _, m := range mountsBelow(w.root) {
				t.Errorf("mount %s outlived its engine", m)
			}
			w.recovers([]*engine{e}, want())
			wantNoGroups(t, below)
		})
	}
}

// TestAKilledWorkerTakesOneActionWithIt kills workers in the middle of an
// action. The first time the action is begun again and the build succeeds; where
// every worker that runs it ends it is given up, and kept.
func TestAKilledWorkerTakesOneActionWithIt(t *testing.T) {
	t.Parallel()
	want := small.calm(t)
	w := newWorkspace(t, small)
	e := w.start("build", "--json", "--backend", "process", "-j", "2", "--set", "producers.second.params.milliseconds=500")
	victim := killOne(t, e, "second")
	if code := e.wait(); code != 0 {
		t.Fatalf("exit %d\n%s", code, e.output())
	}
	if n := strings.Count(e.output(), `"lost":true`); n != 1 {
		t.Errorf("%d attempts are told lost, want 1:\n%s", n, e.output())
	}
	w.clean(e)
	wantNoGroups(t, []process{victim})
	w.wants(want)
	w.wantsOnce(small.actions())
}

func TestAnActionThatIsAlwaysLostIsKeptAndTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, small)
	slow := []string{"--set", endless}
	e := w.start(append([]string{"build", "second", "-k", "--json", "--backend", "process", "-j", "1"}, slow...)...)
	// Six tiles wait for ever: each is lost three times.
	for n := 0; !e.ended() && n < 3*6; n++ {
		killOne(t, e, "second")
		if n == 4 {
			logContains(t, w.run("ps"), "1 lost")
		}
	}
	if code := e.wait(); code != 3 {
		t.Fatalf("exit %d\n%s", code, e.output())
	}
	logContains(t, e.output(), `"outcome":"lost"`, `"lost":6`)
	list := w.run("failed", "ls")
	if n := strings.Count(list, "it was lost with worker"); n != 6 {
		t.Errorf("%d actions are listed as lost, want 6:\n%s", n, list)
	}
	var first struct{ Action string }
	line, _, _ := strings.Cut(w.run("failed", "ls", "--json"), "\n")
	w.must(json.Unmarshal([]byte(line), &first))
	id := strings.TrimPrefix(first.Action, "sha256:")[:12]
	logContains(t, w.run("failed", "show", id), "the last of 3 times", "cube failed retry "+id, "dmesg")
	w.clean(e)
	// They are as they were but for their limit of time, which no key holds.
	retry := w.start(append([]string{"failed", "retry", id, "--set", "producers.second.limits.timeout=1s", "--set", "retry.attempts=1"}, slow...)...)
	if code := retry.wait(); code != 1 {
		t.Fatalf("exit %d\n%s", code, retry.output())
	}
	logContains(t, retry.output(), "still running after its time limit of 1s", "1 failed, 5 lost")
	w.clean(retry)
}

// killOne kills a worker while it runs a container of an instance.
func killOne(t *testing.T, e *engine, instance string) (victim process) {
	t.Helper()
	e.until(t, "a worker ran "+instance, func() bool {
		for _, p := range nodes(e) {
			if hanging(descendantsOf(p.pid)) && strings.Contains(e.output(), `"started","vertex":"`+instance) {
				victim = p
				return true
			}
		}
		return false
	})
	if err := syscall.Kill(victim.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	e.until(t, "the worker was gone", func() bool { return !victim.lives() })
	return victim
}
