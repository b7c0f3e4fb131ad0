package crash

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// clean fails the test where the engines, which have all ended, left anything
// behind: mounts, processes, cgroups, or files that were never completed.
func (w *workspace) clean(engines ...*engine) {
	w.t.Helper()
	w.stopped(engines...)
	for _, f := range w.unfinished() {
		w.t.Errorf("left behind: %s", f)
	}
}

// stopped is clean without the files, which the next build sweeps.
func (w *workspace) stopped(engines ...*engine) {
	w.t.Helper()
	for _, m := range mountsBelow(w.root) {
		w.t.Errorf("left behind: mount %s", m)
	}
	for _, p := range strays() {
		w.t.Errorf("left behind: process %s", p)
	}
	for _, g := range cgroupsOf(engines) {
		w.t.Errorf("left behind: cgroup %s", g)
	}
}

// mountsBelow lists what is mounted below a folder, but for whole file systems
// at its top, which are the test's own.
func mountsBelow(dir string) (out []string) {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		below, ok := strings.CutPrefix(f[4], dir+"/")
		if own := strings.HasPrefix(below, ownMount) && !strings.Contains(below, "/"); ok && !own {
			out = append(out, f[4])
		}
	}
	return out
}

// ownMount begins the names of the folders that tests mount something at.
const ownMount = "tmpfs-"

// strays lists the processes that engines which have ended left behind, whoever
// started these: they have become children of this process, and stay.
func strays() (left []process) {
	before := childrenOf(os.Getpid())
	soon(2*time.Second, func() bool {
		left = slices.DeleteFunc(slices.Clone(before), func(p process) bool { return !p.lives() || isEngine(p) })
		return len(left) == 0
	})
	return left
}

// isEngine reports whether this process started it as an engine.
func isEngine(p process) bool {
	_, known := started.Load(p.pid)
	return known
}

// cgroupsOf lists the leaf cgroups that engines made, in all hierarchies.
func cgroupsOf(engines []*engine) []string {
	var makers []process
	for _, e := range engines {
		makers = append(makers, e.self)
	}
	return cgroupsBy(makers)
}

// cgroupsBy lists the leaf cgroups that processes made.
func cgroupsBy(makers []process) (out []string) {
	if len(makers) == 0 {
		return nil
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		if isLeafOf(d.Name(), makers) {
			out = append(out, path)
		}
		return nil
	})
	return out
}

// isLeafOf reports whether a cgroup's name, cube-<namespace>-<process>-<its
// start>-…, says that one of the processes made it. Their numbers come round
// again.
func isLeafOf(name string, makers []process) bool {
	f := strings.Split(name, "-")
	if len(f) < 4 || f[0] != "cube" {
		return false
	}
	return slices.ContainsFunc(makers, func(p process) bool { return f[2] == fmt.Sprint(p.pid) && f[3] == p.start })
}

// unfinished lists files and folders that were never completed.
func (w *workspace) unfinished() (out []string) {
	for _, dir := range []string{w.path(".cube", "staging"), w.path(".cube", "objects", "temp"), w.path(".cube", "objects", "marks"),
		w.cache("images", "tmp"), w.cache("sources", "temp"), w.root + "/tmp"} {
		if link, err := os.Lstat(filepath.Dir(dir)); err != nil || link.Mode()&fs.ModeSymlink != 0 {
			continue // not there, or shared with tests that are under way
		}
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			w.t.Fatal(err)
		}
		for _, e := range entries {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return append(out, w.temporary()...)
}

// temporary lists the files whose names say that they are not complete.
func (w *workspace) temporary() (out []string) {
	err := filepath.WalkDir(w.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		switch {
		case path == w.path("producers"), name == "objects" && d.IsDir():
			return filepath.SkipDir
		case strings.HasPrefix(name, ".tmp-"), strings.HasPrefix(name, ".cube.lock-"), strings.HasPrefix(name, ".run.json-"),
			strings.HasPrefix(name, "skeleton-"), strings.HasSuffix(name, ".new"):
			out = append(out, path)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func TestALeftoverIsSeen(t *testing.T) {
	t.Parallel()
	w := newBareWorkspace(t, small)
	for _, f := range []string{w.path(".cube", "staging", "x"), w.path(".cube", "objects", "temp", "x"), w.path(".cube", "versions", ".tmp-1"), w.cache("images", "tmp", "x")} {
		w.must(os.MkdirAll(filepath.Dir(f), 0o755))
		w.must(os.WriteFile(f, nil, 0o644))
	}
	if got := w.unfinished(); len(got) != 4 {
		t.Errorf("of four leftovers these are seen: %v", got)
	}
}

func TestABuildThatEndsWithAFailureLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newMixed(t, mixture{size: size{3, 8, 16}}, nil, func(string) {})
	// The second time one tile is made, and no variable comes of it.
	for _, e := range []edit{edits[0], {"flawed", 7, 1, 60}} {
		w.set(e, "1GiB")
		b := w.start("build", "-k", "flawed")
		if code := b.wait(); code != 3 {
			t.Fatalf("exit %d, want 3\n%s", code, b.output())
		}
		w.clean(b)
	}
}
