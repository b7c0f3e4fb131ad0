package crash

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestWhateverHappensACubeIsAsACalmBuildMakesIt has one, two or four builds at
// once, on any backends, with and without -k, and while they run strikes them:
// see strikes. Meanwhile the host of their source may be hostile, and its copies
// are thrown away from round to round. Builds that ended are started again, with
// the same command and nothing else done. Once all is quiet they must succeed,
// the cube must be what a calm build makes, bit for bit, no action may have been
// done twice whose result was there, all that was made must have its record, and
// nothing may be left behind.
//
// A round is one such time. Five rounds go over one cube, that is edited in
// between.
func TestWhateverHappensACubeIsAsACalmBuildMakesIt(t *testing.T) {
	t.Parallel()
	mix := mixture{size: size{3, 4, 16}}
	if soak {
		mix = mixture{size{8, 8, 16}, true} // 314 actions
	}
	rounds := long(5, 2)
	cubes := newCubes(t, mix)
	t.Cleanup(func() { t.Logf("%d rounds: %v", cubes.rounds, cubes.total) })
	for n := range long(*lives, 1) {
		t.Run(fmt.Sprint("cube ", n), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(*seed, uint64(1000+n)))
			l := newLife(t, rng, mix, cubes.took)
			states := slices.Clone(edits)
			rng.Shuffle(len(states), func(i, j int) { states[i], states[j] = states[j], states[i] })
			for _, e := range states[:rounds] {
				l.round(e, cubes.calm(t, e))
				if t.Failed() {
					t.FailNow()
				}
				cubes.add(l.trouble)
			}
			t.Log(cubes)
		})
	}
}

// cubes is what all rounds have in common.
type cubes struct {
	mix  mixture
	took time.Duration // by a calm build

	mu     sync.Mutex
	want   map[edit]result
	rounds int
	total  troubles
}

func newCubes(t *testing.T, m mixture) *cubes {
	c := &cubes{mix: m, want: map[edit]result{}, total: troubles{}}
	_, _ = m.calmly(t, edits[0]) // makes the images
	c.want[edits[0]], c.took = m.calmly(t, edits[0])
	return c
}

// calm is what a calm build comes to.
func (c *cubes) calm(t *testing.T, e edit) result {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.want[e]; !ok {
		c.want[e], _ = c.mix.calmly(t, e)
	}
	return c.want[e]
}

func (c *cubes) add(t troubles) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rounds++
	c.total.add(t)
}

func (c *cubes) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("after %d rounds: %v", c.rounds, c.total)
}

// troubles counts what was done to builds.
type troubles map[string]int

func (n troubles) add(m map[string]int) {
	for what, times := range m {
		n[what] += times
	}
}

func (n troubles) String() string {
	var all []string
	for _, what := range slices.Sorted(maps.Keys(n)) {
		all = append(all, fmt.Sprintf("%s: %d", what, n[what]))
	}
	return strings.Join(all, "; ")
}

// life is one cube on a disk of its own, with a user's cache and temporary files
// on two others.
type life struct {
	*mixed
	rng     *rand.Rand
	rooms   []*room // of the cube, of the cache and of temporary files; none without root
	slow    *slowDisk
	took    time.Duration // by a calm build
	engines []*engine     // of all rounds
	forgot  int           // how often results may have been taken away
	stopped int           // engines that ended before all was done

	mu      sync.Mutex
	log     []string
	trouble troubles // of the round
}

func newLife(t *testing.T, rng *rand.Rand, m mixture, took time.Duration) *life {
	l := &life{rng: rng, took: took}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what happened in the last round:\n%s", strings.Join(l.log, "\n"))
		}
	})
	slow := rng.IntN(3) == 0
	l.mixed = newMixed(t, m, rand.New(rand.NewPCG(rng.Uint64(), 8)), func(dir string) {
		if os.Getuid() != 0 { // only root can have a disk of a bounded size
			return
		}
		if slow && strings.HasSuffix(dir, "cube") {
			if l.slow = newSlowDisk(t, dir, 96<<10); l.slow != nil {
				l.rooms = append(l.rooms, l.slow.room)
				return
			}
		}
		l.rooms = append(l.rooms, newRoomAt(t, dir, 96<<10))
	})
	return l
}

func (l *life) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log = append(l.log, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

// round edits the workspace and builds it, whatever happens.
func (l *life) round(e edit, want result) {
	l.t.Helper()
	l.log, l.trouble = nil, troubles{}
	l.set(e, []string{"1GiB", "1KiB"}[l.rng.IntN(2)]) // that of windows and outputs in memory: with 1 KiB all are on disk
	fetches := l.rng.IntN(3) > 0
	if fetches {
		l.note("no copies of sources")
		l.must(os.RemoveAll(l.cache("sources")))
	}
	l.host.set(l.rng.IntN(2) == 0)
	builds := []int{1, 1, 2, 4}[l.rng.IntN(4)]
	l.note("%d builds of %v", builds, e)
	running := make([]*building, builds)
	for i := range running {
		running[i] = l.begin(l.command())
	}
	for fetches && l.rng.IntN(3) == 0 { // until it is let through
		l.killWithinFetch(running)
		l.wait(running, 30*time.Millisecond)
	}
	times := 1 + l.rng.IntN(5)
	for n := 0; n < times && !done(running); n++ {
		l.wait(running, time.Duration(l.rng.Int64N(int64(l.took)))/time.Duration(times))
		l.strike(running)
	}
	l.host.set(false)
	l.settle(running)
	l.trouble.add(l.host.took())
	l.judge(want)
}

// building is a build that was begun.
type building struct {
	*engine
	args []string
	good int // exit code
}

// command is one of the commands that build all that can be whole.
func (l *life) command() []string {
	args := []string{"build"}
	if how := backends[l.rng.IntN(len(backends))]; how != "" {
		args = append(args, "--backend", how)
	}
	if l.rng.IntN(3) == 0 {
		return append(args, "-k")
	}
	return append(args, l.mix.whole()...)
}

// backends are those that builds are begun with; "" is the default one.
var backends = []string{"", "", "process", "process", "serial"}

func (l *life) begin(args []string) *building {
	b := &building{engine: l.start(args...), args: args}
	if slices.Contains(args, "-k") {
		b.good = 3 // one tile always fails
	}
	l.engines = append(l.engines, b.engine)
	if l.slow != nil {
		l.slow.hold(b.pid())
	}
	l.trouble["builds started"]++
	l.note("%d: %s", b.pid(), strings.Join(args, " "))
	return b
}

// done reports whether all builds have ended, and well.
func done(running []*building) bool {
	return !slices.ContainsFunc(running, func(b *building) bool { return !b.ended() || b.wait() != b.good })
}

// wait lets time pass while there are builds, and begins those again that have
// failed.
func (l *life) wait(running []*building, d time.Duration) {
	for end := time.Now().Add(d); ; time.Sleep(time.Millisecond) {
		if !time.Now().Before(end) || done(running) {
			return
		}
		for i, b := range running {
			if b.ended() && b.wait() != b.good {
				l.over(b)
				running[i] = l.begin(b.args)
			}
		}
	}
}

// over looks at how a build ended.
func (l *life) over(b *building) {
	l.note("%d ended: %v", b.pid(), b.cmd.ProcessState)
	if b.cmd.ProcessState.ExitCode() != b.good {
		l.stopped++
	}
	if out := b.output(); strings.Contains(out, "goroutine ") {
		l.t.Errorf("it panicked:\n%s", out)
	}
}

// settle waits for the builds, once nothing happens to them any more. Those
// that fail still, for what happened before, are begun again, once. So are those
// that go on past failures: one of what happened may be among these.
func (l *life) settle(running []*building) {
	l.t.Helper()
	for _, b := range running {
		if l.ends(b.engine) == b.good && b.good == 0 {
			continue
		}
		l.over(b)
		again := l.begin(b.args)
		if code := l.ends(again.engine); code != again.good {
			l.t.Fatalf("exit %d, want %d\n%s", code, again.good, again.output())
		}
	}
}

// ends is wait, but for builds that hang: those are made to say where.
func (l *life) ends(e *engine) int {
	l.t.Helper()
	if !soon(5*time.Minute, e.ended) {
		e.signalAlone(syscall.SIGQUIT)
		e.wait()
		l.t.Fatalf("it did not end\n%s", e.output())
	}
	return e.wait()
}

// ballast is a file that leaves next to no room on a disk.
func (r *room) ballast() string { return filepath.Join(r.dir, "ballast") }
