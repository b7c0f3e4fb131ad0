package crash

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sample is what an engine holds at an instant, and what that of its workers
// does that holds most.
type sample struct {
	actions int
	memory  int // anonymous, in KiB
	files   int // descriptors
	threads int
	mounts  int // that it sees and the host has not
	cgroups int // leaves, its own and its workers'
	below   int // processes
	workers int
	worker  struct{ memory, files, threads int }
}

func (s sample) String() string {
	text := fmt.Sprintf("after %d actions: %d KiB, %d descriptors, %d threads, %d mounts, %d cgroups, %d processes",
		s.actions, s.memory, s.files, s.threads, s.mounts, s.cgroups, s.below)
	if s.workers > 0 {
		text += fmt.Sprintf("; %d workers with at most %d KiB, %d descriptors, %d threads", s.workers, s.worker.memory, s.worker.files, s.worker.threads)
	}
	return text
}

// sample takes one; false where the engine has ended.
func (e *engine) sample(actions int) (sample, bool) {
	s := sample{actions: actions}
	var ok bool
	if s.memory, s.files, s.threads, ok = held(e.pid()); !ok || e.ended() {
		return s, false
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", e.pid()))
	if err != nil || len(mounts) == 0 {
		return s, false
	}
	below, makers := descendantsOf(e.pid()), []process{e.self}
	for _, p := range below {
		if !isWorker(p) {
			continue
		}
		s.workers++
		makers = append(makers, p)
		memory, files, threads, _ := held(p.pid)
		s.worker.memory, s.worker.files, s.worker.threads = max(s.worker.memory, memory), max(s.worker.files, files), max(s.worker.threads, threads)
	}
	s.mounts, s.cgroups, s.below = max(0, strings.Count(string(mounts), "\n")-hostMounts()), len(cgroupsBy(makers)), len(below)
	return s, true
}

// held is what a process holds: KiB of anonymous memory, descriptors, threads.
func held(pid int) (memory, files, threads int, ok bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, 0, false
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return statusValue(status, "RssAnon"), len(fds), statusValue(status, "Threads"), err == nil
}

func statusValue(status []byte, name string) int {
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			return n
		}
	}
	return 0
}

// load is a workspace with so many actions in its first variable alone.
func load(actions int) size {
	side := int(math.Ceil(math.Sqrt(float64(actions))))
	return size{side, side, 8}
}

// loads are the ways in which many actions are run.
var loads = []struct {
	name              string
	soak, otherwise   int // actions
	variable, backend string
}{
	{"a container each", 100_000, 1_000, "first", "thread"},
	{"in batches", 100_000, 2_000, "served", "thread"},
	{"in batches by workers", 100_000, 2_000, "served", "process"},
}

func TestAnEngineDoesNotGrowWithItsActions(t *testing.T) {
	t.Parallel()
	for _, how := range loads {
		t.Run(how.name, func(t *testing.T) {
			n := long(how.soak, how.otherwise)
			tiles := load(n)
			w := newWorkspace(t, tiles)
			w.replace("producers:\n", "producers:\n  served: {image: "+w.producers(t)+"/served, sources: {seed: seed}}\n")
			e := w.start("build", how.variable, "--backend", how.backend)
			w.grows(w.sampleUntil(e, n*19/20), n)
			// The runtime prints every goroutine and ends.
			e.signalAlone(syscall.SIGQUIT)
			<-e.done
			if g := strings.Count(e.output(), "\ngoroutine "); g == 0 || g > 150 {
				t.Errorf("%d goroutines", g)
			} else {
				t.Logf("%d goroutines", g)
			}
			kept := w.kept()
			again := w.start("build", how.variable, "--backend", how.backend)
			if code := again.wait(); code != 0 {
				t.Fatalf("exit %d\n%s", code, again.output())
			}
			w.clean(e, again)
			w.doesOnlyTheRest(kept, 1)
		})
	}
}

// producers is the folder of the producers, as cube.yaml has it.
func (w *workspace) producers(t *testing.T) string {
	t.Helper()
	rel, err := filepath.Rel(w.dir, filepath.Join(warmed, "producers"))
	if err != nil {
		t.Fatal(err)
	}
	return "./" + rel
}

// sampleUntil takes samples until so many actions are on record: twenty of
// them, at even distances.
func (w *workspace) sampleUntil(e *engine, last int) (samples []sample) {
	w.t.Helper()
	c := &counter{w: w}
	for i := range 20 {
		at := last * (i + 1) / 20
		e.until(w.t, fmt.Sprintf("action %d", at), func() bool { time.Sleep(5 * time.Millisecond); return c.count() >= at })
		s, ok := e.sample(c.n)
		if !ok {
			w.t.Fatalf("it ended after %d actions:\n%s", c.n, e.output())
		}
		samples = append(samples, s)
	}
	return samples
}

// grows fails the test where the later half of the samples is above the
// earlier by more than a little, or by more than what n actions may take.
func (w *workspace) grows(samples []sample, n int) {
	w.t.Helper()
	early, late := peak(samples[:len(samples)/2]), peak(samples[len(samples)/2:])
	w.t.Logf("at most, first half:  %v", early)
	w.t.Logf("at most, second half: %v", late)
	for _, x := range []struct {
		what        string
		early, late int
		more        int
	}{
		{"KiB of memory", early.memory, late.memory, 24<<10 + n/4}, // 256 bytes an action: its chunk's digests and its key
		{"descriptors", early.files, late.files, 20},
		{"threads", early.threads, late.threads, 8},
		{"mounts", 0, late.mounts, 8}, // other tests mount something while they are counted
		{"cgroups", early.cgroups, late.cgroups, 12},
		{"processes", early.below, late.below, 8},
		{"KiB of a worker's memory", early.worker.memory, late.worker.memory, 16 << 10},
		{"a worker's descriptors", early.worker.files, late.worker.files, 20},
		{"a worker's threads", early.worker.threads, late.worker.threads, 8},
	} {
		if x.late > x.early+x.more {
			w.t.Errorf("%s grew from %d to %d", x.what, x.early, x.late)
		}
	}
}

// peak is the most of each thing.
func peak(samples []sample) (p sample) {
	for _, s := range samples {
		p.actions = max(p.actions, s.actions)
		p.memory = max(p.memory, s.memory)
		p.files = max(p.files, s.files)
		p.threads = max(p.threads, s.threads)
		p.mounts = max(p.mounts, s.mounts)
		p.cgroups = max(p.cgroups, s.cgroups)
		p.below = max(p.below, s.below)
		p.workers = max(p.workers, s.workers)
		p.worker.memory, p.worker.files, p.worker.threads = max(p.worker.memory, s.worker.memory), max(p.worker.files, s.worker.files), max(p.worker.threads, s.worker.threads)
	}
	return p
}

func hostMounts() int {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	return strings.Count(string(b), "\n")
}
