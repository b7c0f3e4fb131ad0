package crash

import (
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cubebuild/cube/lineage"
)

// Also where an edit takes a variable back to what it was, and where another
// instance is told just the same.
func TestAfterEachEditEveryVersionHasARecord(t *testing.T) {
	t.Parallel()
	m := mixture{size: size{3, 4, 16}}
	l := &life{mixed: newMixed(t, m, nil, func(string) {}), trouble: troubles{}}
	for _, e := range []edit{edits[0], {"high", 5, 1, 60}, edits[0], {seed: 1, rows: 64}} {
		l.set(e, "1GiB")
		b := l.start("build", "-k")
		if code := b.wait(); code != 3 {
			t.Fatalf("%v: exit %d, want 3\n%s", e, code, b.output())
		}
		l.quiet()
		l.traced()
		if t.Failed() {
			t.Fatal(e)
		}
	}
}

// The engine is killed just after a result was stored, which is when its record
// would not be there if it came later.
func TestWhatAKilledEngineMadeCanBeExplained(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(*seed, 9))
	tiles := seventy
	if soak {
		tiles = fourHundred
	}
	w := newWorkspace(t, tiles)
	for range long(40, 6) {
		e := w.start("build")
		w.stored(e, 1+rng.IntN(6))
		e.signal(syscall.SIGKILL)
		<-e.done
		w.kept()
	}
	last := w.lastRecord()
	for _, c := range []struct{ args, says string }{
		{"log", "interrupted"},
		{"log " + last.ID.Short(), last.Instance},
		{"repeat " + last.ID.Short(), "the same"},
		{"build", "first, second, third, total"},
		{"lineage third", "seed.bin"},
		{"why third", "third"},
	} {
		e := w.start(strings.Fields(c.args)...)
		if code := e.wait(); code != 0 {
			t.Errorf("cube %s: exit %d\n%s", c.args, code, e.output())
		}
		logContains(t, e.output(), c.says)
	}
}

// lastRecord is the action that was recorded last.
func (w *workspace) lastRecord() (last lineage.Action) {
	w.t.Helper()
	runs := lineage.Open(w.path(".cube", "runs"))
	ids, err := runs.IDs()
	w.must(err)
	for _, id := range ids {
		for a, err := range runs.Actions(id) {
			w.must(err)
			last = a
		}
	}
	return last
}

// stored waits until so many results more are there, or the engine has ended.
func (w *workspace) stored(e *engine, n int) {
	var size int64
	for end := time.Now().Add(time.Minute); n > 0 && !e.ended() && time.Now().Before(end); {
		if info, err := os.Stat(w.path(".cube", "actions", "results")); err == nil && info.Size() > size {
			size = info.Size()
			n--
		}
	}
}
