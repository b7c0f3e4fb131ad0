package crash

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sample is what an engine holds at an instant.
type sample struct {
	actions int
	memory  int // anonymous, in KiB
	files   int // descriptors
	threads int
	mounts  int // that it sees
	cgroups int // leaves
	below   int // processes
}

func (s sample) String() string {
	return fmt.Sprintf("after %d actions: %d KiB, %d descriptors, %d threads, %d mounts, %d cgroups, %d processes",
		s.actions, s.memory, s.files, s.threads, s.mounts, s.cgroups, s.below)
}

// sample takes one; false where the engine has ended.
func (e *engine) sample(actions int) (sample, bool) {
	proc := fmt.Sprintf("/proc/%d/", e.pid())
	status, err := os.ReadFile(proc + "status")
	if err != nil || e.ended() {
		return sample{}, false
	}
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		return sample{}, false
	}
	mounts, err := os.ReadFile(proc + "mountinfo")
	if err != nil || len(mounts) == 0 {
		return sample{}, false
	}
	return sample{actions, statusValue(status, "RssAnon"), len(fds), statusValue(status, "Threads"),
		strings.Count(string(mounts), "\n"), len(cgroupsOf([]*engine{e})), len(descendantsOf(e.pid()))}, true
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

func TestAnEngineDoesNotGrowWithItsActions(t *testing.T) {
	t.Parallel()
	tiles := load(long(100_000, 2_000))
	n := tiles.rows * tiles.cols
	w := newWorkspace(t, tiles)
	e := w.start("build", "first")
	samples := w.sampleUntil(e, n*19/20)
	w.grows(samples, n)
	// The runtime prints every goroutine and ends.
	e.signalAlone(syscall.SIGQUIT)
	<-e.done
	if g := strings.Count(e.output(), "\ngoroutine "); g == 0 || g > 150 {
		t.Errorf("%d goroutines", g)
	} else {
		t.Logf("%d goroutines", g)
	}
	again := w.start("build", "first")
	if code := again.wait(); code != 0 {
		t.Fatalf("exit %d\n%s", code, again.output())
	}
	w.clean(e, again)
	for id, times := range w.succeeded() {
		if times > 1 {
			t.Errorf("action %s was done %d times", id, times)
		}
	}
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
		{"mounts", early.mounts, late.mounts, 4}, // other tests mount something
		{"cgroups", early.cgroups, late.cgroups, 12},
		{"processes", early.below, late.below, 8},
	} {
		if x.late > x.early+x.more {
			w.t.Errorf("%s grew from %d to %d", x.what, x.early, x.late)
		}
	}
	if late.mounts > hostMounts()+8 {
		w.t.Errorf("the engine sees %d mounts, the host %d", late.mounts, hostMounts())
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
	}
	return p
}

func hostMounts() int {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	return strings.Count(string(b), "\n")
}
