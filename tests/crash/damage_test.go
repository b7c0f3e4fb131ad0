package crash

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// flip changes one bit of a file behind everybody's back: neither its size nor
// its times tell.
func flip(rng *rand.Rand, path string) error { return flipAfter(rng, path, 0) }

// flipAfter is flip, of a bit that does not lie in the file's first bytes.
func flipAfter(rng *rand.Rand, path string, first int) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[first+rng.IntN(len(b)-first)] ^= 1 << rng.IntN(8)
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return err
	}
	if err := os.Chmod(path, info.Mode()); err != nil {
		return err
	}
	return os.Chtimes(path, info.ModTime(), info.ModTime())
}

// filesBelow lists the files below a folder that hold anything and that a
// predicate wants.
func (w *workspace) filesBelow(dir string, want func(rel string) bool) (out []string) {
	w.t.Helper()
	w.must(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err == nil && info.Size() > 0 && want(rel) {
			out = append(out, path)
		}
		return err
	}))
	return out
}

func TestADamagedCopyOfASourceIsReplaced(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(*seed, 2))
	w := newWorkspace(t, small)
	time.Sleep(2100 * time.Millisecond) // until the file's times say that it has not changed
	w.build()
	w.must(flip(rng, w.copyOfSource()))
	w.add("first", 1)
	logContains(t, w.build(), "damaged")
	w.wants(small.calmWith(t, func(w *workspace) { w.add("first", 1) }))
}

func TestADamagedCopyOfAFarSourceIsFetchedAgainOrAnError(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(*seed, 4))
	var gone atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if gone.Load() {
			http.NotFound(rw, r)
			return
		}
		_, _ = rw.Write(source(1))
	}))
	defer server.Close()
	w := newWorkspace(t, small)
	w.replace("data/seed.bin", server.URL+"/seed.bin")
	w.build()
	before := w.result()
	w.must(flip(rng, w.copyOfSource()))
	w.add("first", 1)
	gone.Store(true)
	e := w.start("build")
	if code := e.wait(); code != 1 {
		t.Errorf("exit %d, want 1", code)
	}
	logContains(t, e.output(), "damaged", "404", server.URL)
	w.wants(before)
	gone.Store(false)
	w.build()
	w.wants(small.calmWith(t, func(w *workspace) { w.add("first", 1) }))
}

// copyOfSource is the one file in the cache of sources.
func (w *workspace) copyOfSource() string {
	w.t.Helper()
	copies := w.filesBelow(w.cache("sources", "objects"), func(string) bool { return true })
	if len(copies) != 1 {
		w.t.Fatalf("copies of one source: %v", copies)
	}
	return copies[0]
}

// part is a sort of file of a cube.
type part struct {
	name  string
	of    func(rel string) bool
	first int // bytes that are spared: they name the format, and a newer one is no damage
}

func below(folder string) func(string) bool {
	return func(rel string) bool { return strings.HasPrefix(rel, folder+"/") }
}

func file(name string) func(string) bool { return func(rel string) bool { return rel == name } }

var parts = []part{
	{"an object", below("objects"), 0},
	{"an object", below("objects"), 0},
	{"a manifest", below("versions"), len(`{"format":"cube-version/1"`)},
	{"the results", file("actions/results"), 16},
	{"the derivations", file("actions/derivations"), 16},
	{"the heads", file("heads"), len("cube-heads/1 ")},
	{"the history", file("history"), 0},
	{"a view", below("zarr"), 0},
	{"a run", below("runs"), 0},
}

func TestADamagedCubeNeverShowsAWrongValue(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(*seed, 3))
	// What is built after the damage reads what was built before it.
	changes := []string{"", "second", "third"}
	want := map[string]result{}
	for _, v := range changes {
		want[v] = small.calmWith(t, func(w *workspace) { w.add(v, 1) })
	}
	whole := newWorkspace(t, small)
	whole.build()
	for round := range long(40, 1) {
		for i, part := range parts {
			change := changes[(round+i)%len(changes)]
			t.Run(strings.TrimSpace(fmt.Sprintf("%d, %s, %s", round, part.name, change)), func(t *testing.T) {
				w := newWorkspace(t, small)
				w.must(exec.Command("cp", "-a", whole.path(".cube"), w.path(".cube")).Run())
				files := w.filesBelow(w.path(".cube"), part.of)
				if len(files) == 0 {
					t.Fatalf("the cube has no such file")
				}
				victim := files[rng.IntN(len(files))]
				w.must(flipAfter(rng, victim, part.first))
				w.add(change, 1)
				w.survives(victim, want[change])
			})
		}
	}
}

// survives builds after damage: each build either comes to what it should or
// ends with an error, and after the first error the advice that it gives makes
// the next one succeed.
func (w *workspace) survives(victim string, want result) {
	w.t.Helper()
	e := w.start("build")
	code := e.wait()
	if strings.Contains(e.output(), "goroutine ") {
		w.t.Errorf("it panicked:\n%s", e.output())
	}
	if code == 0 {
		w.showsOrRefuses(victim, want)
		return
	}
	w.t.Logf("exit %d: %s", code, e.output())
	if code != 1 {
		w.t.Errorf("exit %d, want 1", code)
	}
	w.repairs(victim, want)
}

// repairs does what the program's errors say.
func (w *workspace) repairs(victim string, want result) {
	w.t.Helper()
	e := w.start("fsck", "--repair")
	if code := e.wait(); code > 1 || strings.Contains(e.output(), "error:") { // 1: it found something
		w.t.Errorf("fsck after damage to %s: exit %d\n%s", victim, code, e.output())
	}
	w.build()
	w.wants(want)
	w.sound()
}

// showsOrRefuses fails the test where reading the cube gives wrong values. What
// no build has read may be damaged still: then reading it is an error, and
// repairing it and building makes all well.
func (w *workspace) showsOrRefuses(victim string, want result) {
	w.t.Helper()
	got, err := readResult(w.t.Context(), w.dir)
	if err == nil {
		if diff := cmp.Diff(want, got); diff != "" {
			w.t.Errorf("the cube shows wrong values (-want +got):\n%s", diff)
		}
		return
	}
	w.t.Logf("reading it says: %v", err)
	w.repairs(victim, want)
}
