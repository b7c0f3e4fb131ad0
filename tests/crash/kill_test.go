package crash

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cubebuild/cube/graph"
)

// moment is an instant of a build: so long after so many actions were on
// record. It means the same on a busy machine and on an idle one.
type moment struct {
	actions int
	after   time.Duration
}

func (m moment) String() string { return fmt.Sprintf("%v after action %d", m.after, m.actions) }

// timeline is a calm build by the clock.
type timeline struct {
	recorded []time.Duration // when each action was on record
	total    time.Duration
}

// at is the moment at a time.
func (l *timeline) at(d time.Duration) moment {
	n := 0
	for n < len(l.recorded) && l.recorded[n] <= d {
		n++
	}
	if n == 0 {
		return moment{0, d}
	}
	return moment{n, d - l.recorded[n-1]}
}

// tail is how long the build went on after its last action.
func (l *timeline) tail() time.Duration { return l.total - l.recorded[len(l.recorded)-1] }

// moments are n instants, one at random in each n-th part of the build, and
// some more in its shortest phases: before the first action, when images are
// built, and after the last one, when heads move.
func (l *timeline) moments(rng *rand.Rand, first, n, last int) (out []moment) {
	within := func(d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }
	for range first {
		out = append(out, moment{0, within(l.recorded[0])})
	}
	part := l.total / time.Duration(n)
	for i := range n {
		out = append(out, l.at(time.Duration(i)*part+within(part)))
	}
	for range last {
		out = append(out, moment{len(l.recorded), within(l.tail())})
	}
	return out
}

// watch follows a build to its end.
func (w *workspace) watch(e *engine, began time.Time) *timeline {
	var l timeline
	c := &counter{w: w}
	for !e.ended() {
		for n := c.count(); len(l.recorded) < n; {
			l.recorded = append(l.recorded, time.Since(began))
		}
		time.Sleep(2 * time.Millisecond)
	}
	l.total = time.Since(began)
	return &l
}

// await waits for the moment, or the engine's end.
func (m moment) await(w *workspace, e *engine) {
	c := &counter{w: w}
	for c.count() < m.actions && !e.ended() {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(m.after)
}

// killAt kills the engine and all that it started at a moment. It reports
// whether the engine was there to be killed.
func (w *workspace) killAt(e *engine, m moment) bool {
	m.await(w, e)
	alive := !e.ended()
	e.signal(syscall.SIGKILL)
	<-e.done
	return alive
}

func TestABuildKilledAtAnyMomentIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(*seed, 1))
	tiles := seventy
	if soak {
		tiles = fourHundred
	}
	w := newBareWorkspace(t, tiles)
	e := w.start("build")
	calm := w.watch(e, time.Now())
	if code := e.wait(); code != 0 {
		t.Fatalf("calm build: exit %d\n%s", code, e.output())
	}
	w.clean(e)
	w.wantsOnce(tiles.actions())
	want := w.result()
	for _, m := range calm.moments(rng, long(10, 1), long(30, 3), long(10, 1)) {
		t.Run(m.String(), func(t *testing.T) {
			make := newWorkspace
			if m.actions == 0 { // while images are built
				make = newBareWorkspace
			}
			w := make(t, tiles)
			again := rng.IntN(3) == 0
			engines := []*engine{w.start("build")}
			if !w.killAt(engines[0], m) {
				t.Log("it had ended by then")
			}
			if again { // the one that goes on is killed, too
				e := w.start("build")
				w.killAt(e, moment{0, time.Duration(rng.Int64N(int64(calm.total)))})
				engines = append(engines, e)
			}
			w.recovers(engines, want)
		})
	}
}

// recovers builds again after the engines were killed, and fails the test where
// that does not make all as if nothing had been.
func (w *workspace) recovers(killed []*engine, want result) {
	w.t.Helper()
	kept := w.kept()
	e := w.start("build")
	if code := e.wait(); code != 0 {
		w.t.Fatalf("build after a kill: exit %d\n%s", code, e.output())
	}
	w.clean(append(killed, e)...)
	w.wants(want)
	w.sound()
	done := w.doesOnlyTheRest(kept, len(killed))
	if len(done) != w.size.actions() {
		w.t.Errorf("%d actions are on record, want %d", len(done), w.size.actions())
	}
}

// kept is what killed engines left.
type kept struct {
	results  map[graph.ActionID]bool
	recorded map[string]int // how often each action is on record as done
}

// kept looks at what killed engines left, and fails the test where there is a
// result without a record.
func (w *workspace) kept() kept {
	w.t.Helper()
	k := kept{w.results(), w.succeeded()}
	for id := range k.results {
		if k.recorded[id.Hex()] == 0 {
			w.t.Errorf("result %s has no record", id.Short())
		}
	}
	return k
}

// doesOnlyTheRest fails the test where an action whose result was kept was done
// again, and returns the actions that are on record. An action may have been on
// record whose killed engine had no time to keep its result.
func (w *workspace) doesOnlyTheRest(k kept, killed int) map[string]int {
	w.t.Helper()
	done := w.succeeded()
	for id := range k.results {
		if id := id.Hex(); done[id] > k.recorded[id] {
			w.t.Errorf("action %s was done again though its result was there", id[:12])
		}
	}
	if n := len(k.recorded) - len(k.results); n > killed*(runtime.NumCPU()+1) {
		w.t.Errorf("%d actions were on record without a result", n)
	}
	return done
}

func TestABuildOfNobodyIsFinishedAfterAnyKill(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(*seed, 5))
	want := small.calm(t)
	for range long(20, 2) {
		m := moment{rng.IntN(small.actions()), time.Duration(rng.Int64N(int64(20 * time.Millisecond)))}
		t.Run(m.String(), func(t *testing.T) {
			w := newWorkspaceOfNobody(t, small)
			e := w.start("build")
			w.killAt(e, m)
			w.recovers([]*engine{e}, want)
		})
	}
}

func TestAContainerThatHangsDiesWithItsEngine(t *testing.T) {
	t.Parallel()
	want := sync.OnceValue(func() result { return small.calm(t) })
	for name, make := range map[string]func(*testing.T, size) *workspace{"": newWorkspace, " without root": newWorkspaceOfNobody} {
		t.Run("killed"+name, func(t *testing.T) {
			w := make(t, small)
			e := w.start("build", "--set", "producers.second.params.milliseconds=3600000")
			var below []process
			c := &counter{w: w}
			e.until(t, "a container hung", func() bool {
				below = descendantsOf(e.pid())
				return c.count() == 6 && hanging(below) // first is there, and second has begun
			})
			e.signalAlone(syscall.SIGKILL)
			<-e.done
			for _, p := range below {
				if !soon(2*time.Second, func() bool { return !p.lives() }) {
					t.Errorf("process %s outlived its engine", p)
				}
			}
			w.recovers([]*engine{e}, want())
		})
	}
}

// hanging reports whether one of the processes is a producer.
func hanging(below []process) bool {
	for _, p := range below {
		if p.name == "producer" {
			return true
		}
	}
	return false
}
