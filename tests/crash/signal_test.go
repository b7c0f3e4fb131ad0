package crash

import (
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stop is how long an interrupted build may go on.
const stop = 2 * time.Second

// interruptions are where a build can be when it is asked to stop.
var interruptions = []struct {
	name    string
	sets    []string
	cold    bool // images are to be built
	reached func(*workspace, *engine) func() bool
}{
	{name: "compiling", cold: true, reached: func(_ *workspace, e *engine) func() bool {
		return func() bool { return strings.Contains(e.output(), "compile") }
	}},
	{name: "running many", reached: func(w *workspace, _ *engine) func() bool {
		c := &counter{w: w}
		return func() bool { return c.count() >= 5 }
	}},
	{name: "in a container that hangs", sets: []string{"--set", "producers.third.params.milliseconds=3600000"},
		reached: func(w *workspace, e *engine) func() bool {
			c := &counter{w: w}
			return func() bool { return c.count() == 12 && hanging(descendantsOf(e.pid())) }
		}},
}

func TestAnInterruptedBuildStopsAtOnceAndIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	want := sync.OnceValue(func() result { return small.calm(t) })
	for _, at := range interruptions {
		for _, how := range []struct {
			name string
			send func(*engine)
		}{
			{"SIGINT from the terminal", func(e *engine) { e.signal(syscall.SIGINT) }},
			{"SIGTERM to the program", func(e *engine) { e.signalAlone(syscall.SIGTERM) }},
		} {
			t.Run(how.name+" "+at.name, func(t *testing.T) {
				w := newWorkspace(t, small)
				if at.cold {
					w = newBareWorkspace(t, small)
				}
				e := w.start(append([]string{"build"}, at.sets...)...)
				e.until(t, "it was "+at.name, at.reached(w, e))
				sent := time.Now()
				how.send(e)
				w.stops(e, sent)
				w.recovers([]*engine{e}, want())
			})
		}
	}
}

func TestABuildInterruptedAtAnyMomentIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(*seed, 6))
	tiles := small
	if soak {
		tiles = fourHundred
	}
	want := tiles.calm(t)
	for range long(40, 4) {
		m := moment{rng.IntN(tiles.actions() + 1), time.Duration(rng.Int64N(int64(30 * time.Millisecond)))}
		t.Run(m.String(), func(t *testing.T) {
			w := newWorkspace(t, tiles)
			e := w.start("build")
			m.await(w, e)
			sent := time.Now()
			e.signal(syscall.SIGINT)
			switch code := e.wait(); {
			case code == 0: // it was done, or as good as done
				w.clean(e)
				w.wants(want)
				return
			case code < 0 && e.output() == "": // it had not come to listening for signals
			default:
				w.stops(e, sent)
			}
			w.recovers([]*engine{e}, want)
		})
	}
}

// stops fails the test where the engine does not end as an interrupted one has
// to: soon, saying so, and leaving nothing.
func (w *workspace) stops(e *engine, sent time.Time) {
	w.t.Helper()
	code, took := e.wait(), time.Since(sent)
	if took > stop {
		w.t.Errorf("it went on for %v", took)
	}
	if code != 130 {
		w.t.Errorf("exit %d, want 130", code)
	}
	out := e.output()
	logContains(w.t, out, "interrupted")
	if strings.Contains(out, "failed") || strings.Contains(out, "signal: killed") {
		w.t.Errorf("it speaks of failures that were none:\n%s", out)
	}
	w.stopped(e)
}

func TestABuildThatWaitsForAnotherStopsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t, small)
	args := []string{"build", "first", "-j", "1", "--set", "producers.first.params.milliseconds=3600000"}
	first := w.start(args...)
	first.until(t, "it hung", func() bool { return hanging(descendantsOf(first.pid())) })
	second := w.start("build", "first", "-j", "6", "--set", "producers.first.params.milliseconds=3600000")
	second.until(t, "it had begun, too", func() bool { return hanging(descendantsOf(second.pid())) })
	sent := time.Now()
	second.signal(syscall.SIGINT)
	code, took := second.wait(), time.Since(sent)
	if code != 130 || took > stop {
		t.Errorf("exit %d after %v, want 130 within %v\n%s", code, took, stop, second.output())
	}
	if first.ended() {
		t.Errorf("the other build ended with it:\n%s", first.output())
	}
	sent = time.Now()
	first.signal(syscall.SIGINT)
	w.stops(first, sent)
}
