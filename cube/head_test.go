package cube

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// smallVersion makes a version of 16 × 16 cells that differs by seed.
func smallVersion(t testing.TB, c *Cube, variable string, seed uint64) *Version {
	t.Helper()
	tiling := grid.Tiling{Y: 8, X: 8}
	l := NewLayout(graph.VarSpec{Name: variable}.WithDefaults(), testGrid(0, 0, 16, 16, 0), tiling)
	return build(t, c, l, tiling, floats(seed, 256))
}

func TestHeadsMoveByCompareAndSwap(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	other, err := Open(filepath.Dir(c.dir), Config{NoSync: true}) // as another process
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	a, b := smallVersion(t, c, "a", 1), smallVersion(t, c, "a", 2)
	none := map[string]graph.Digest{"a": {}}
	if err := c.MoveHeads(t.Context(), none, []Head{{Variable: "a", Version: a.Digest(), Native: 30, Run: "r1"}}); err != nil {
		t.Fatal(err)
	}
	err = other.MoveHeads(t.Context(), none, []Head{{Variable: "a", Version: b.Digest()}})
	var moved *HeadMovedError
	if !errors.As(err, &moved) || moved.Got != a.Digest() || moved.Variable != "a" {
		t.Fatalf("a head that moved meanwhile: %v", err)
	}
	if h, ok, err := other.Head(t.Context(), "a"); !ok || err != nil || h.Version != a.Digest() || h.Native != 30 || h.Run != "r1" {
		t.Fatalf("head %+v, %v", h, err)
	}
	if err := other.MoveHeads(t.Context(), map[string]graph.Digest{"a": a.Digest()}, []Head{{Variable: "a", Version: b.Digest()}, {Variable: "z", Version: a.Digest()}}); err != nil {
		t.Fatal(err)
	}
	heads, err := c.Heads(t.Context())
	if err != nil || len(heads) != 2 || heads["a"].Version != b.Digest() {
		t.Fatalf("heads %v, %v", heads, err)
	}
	history, err := c.History(t.Context(), "a")
	if err != nil || len(history) != 2 || history[0].Version != a.Digest() || history[1].Version != b.Digest() {
		t.Fatalf("history %v, %v", history, err)
	}
	for _, bad := range []string{"", ".x", "a/b", "..", "a\nb", strings.Repeat("x", 300)} {
		if err := c.MoveHeads(t.Context(), nil, []Head{{Variable: bad, Version: a.Digest()}}); !errors.Is(err, ErrFormat) {
			t.Errorf("a variable named %q: %v", bad, err)
		}
	}
	if err := c.MoveHeads(t.Context(), nil, []Head{{Variable: "a", Version: graph.Sum(nil)}}); !errors.Is(err, ErrNotExist) {
		t.Errorf("a version that is not there: %v", err)
	}
}

func TestConcurrentMovesLoseNothing(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	v := smallVersion(t, c, "a", 1)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			mine, err := Open(filepath.Dir(c.dir), Config{NoSync: true})
			if err != nil {
				t.Error(err)
				return
			}
			defer mine.Close()
			for i := range 20 {
				h := Head{Variable: fmt.Sprintf("v%d-%d", w, i), Version: v.Digest()}
				if err := mine.MoveHeads(t.Context(), map[string]graph.Digest{h.Variable: {}}, []Head{h}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if heads, err := c.Heads(t.Context()); err != nil || len(heads) != 80 {
		t.Errorf("%d heads, %v", len(heads), err)
	}
}

func TestDamagedHeadsAndManifestsAreRefused(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	v := smallVersion(t, c, "a", 1)
	show(t, c, v)
	for _, file := range []string{c.Path("heads"), c.Path("versions", v.Digest().Hex())} {
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		read := func() error {
			fresh, err := Open(filepath.Dir(c.dir), Config{})
			if err != nil {
				return err
			}
			defer fresh.Close()
			_, err = fresh.Heads(t.Context())
			_, err2 := fresh.LoadVersion(t.Context(), v.Digest())
			return errors.Join(err, err2)
		}
		if err := read(); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(whole); i += 1 + len(whole)/200 {
			b := bytes.Clone(whole)
			b[i] ^= 1
			if err := os.WriteFile(file, b, 0o644); err != nil {
				t.Fatal(err)
			}
			// A name that no digest covers may change; nothing else may.
			if err := read(); err == nil && filepath.Base(file) == "heads" {
				t.Fatalf("%s: byte %d flipped, and read", file, i)
			} else if err != nil && !errors.Is(err, ErrFormat) {
				t.Fatalf("%s: byte %d flipped: %v", file, i, err)
			}
		}
		if err := os.WriteFile(file, whole[:len(whole)/2], 0o644); err != nil {
			t.Fatal(err)
		}
		if err := read(); !errors.Is(err, ErrFormat) {
			t.Fatalf("%s: half of it: %v", file, err)
		}
		if err := os.WriteFile(file, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenSaysWhatIsNoCube(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := Open(dir, Config{}); !errors.Is(err, ErrNotCube) {
		t.Errorf("an empty folder: %v", err)
	}
	if err := Create(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Config{Compressor: "lzma"}); err == nil {
		t.Error("an unknown compressor was accepted")
	}
	if err := os.WriteFile(filepath.Join(dir, Dir, "format"), []byte("cube 2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Config{}); !errors.Is(err, ErrFormat) {
		t.Errorf("a later format: %v", err)
	}
}

func TestACubeCanBeMoved(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	v := smallVersion(t, c, "a", 1)
	show(t, c, v)
	to := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.CopyFS(to, os.DirFS(filepath.Dir(c.dir))); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(filepath.Dir(c.dir))) {
			t.Errorf("%s holds an absolute path", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	moved, err := Open(to, Config{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer moved.Close()
	w, err := moved.LoadVersion(t.Context(), v.Digest())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := moved.ReadWindow(t.Context(), w, w.Layout().Domain(), nil); err != nil || !bytes.Equal(got, floats(1, 256)) {
		t.Fatalf("moved: %v", err)
	}
}

func TestSweepRemovesWhatTheDeadLeft(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	mine, err := c.Stage()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := c.Stage()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(theirs.Dir, "sub"), 0o777); err != nil {
		t.Fatal(err)
	}
	theirs.lock.Close() // as its process's end does
	orphan := c.Path("staging", "orphan")
	temp := c.Path(tempPrefix + "123")
	view := c.Path("zarr", tempPrefix+"view")
	log, index := c.Path("actions", "results.new"), c.Path("actions", "derivations.index.new")
	for _, d := range []string{orphan, view, c.Path("actions")} {
		if err := os.MkdirAll(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{temp, log, index} {
		if err := os.WriteFile(f, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := c.Sweep(t.Context()); err != nil || r.Unclean {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, gone := range []string{theirs.Dir, theirs.Dir + lockSuffix, orphan, temp, view, log, index} {
		if _, err := os.Lstat(gone); !os.IsNotExist(err) {
			t.Errorf("%s is still there", gone)
		}
	}
	if err := os.WriteFile(filepath.Join(mine.Dir, "x"), nil, 0o644); err != nil {
		t.Errorf("a living process's staging was swept: %v", err)
	}
	if err := mine.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(c.Path("staging")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// reopened opens the cube anew, as a process that has written nothing.
func reopened(t testing.TB, c *Cube) *Cube {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := Open(filepath.Dir(c.dir), Config{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { next.Close() })
	return next
}

func TestGCFreesWhatNothingReaches(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	old, kept, now := smallVersion(t, c, "a", 1), smallVersion(t, c, "a", 2), smallVersion(t, c, "a", 3)
	loose, err := c.Objects().Put(t.Context(), []byte("of no version"))
	if err != nil {
		t.Fatal(err)
	}
	show(t, c, now)
	for i, v := range []*Version{old, now} {
		var refs []ChunkRef
		if err := v.Refs(t.Context(), func(_, _, _ int64, r ChunkRef) error { refs = append(refs, r); return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Results().Put(t.Context(), graph.Sum([]byte{byte(i)}), EncodeRefs(refs)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := reopenedBeside(t, c).GC(t.Context(), GCConfig{}); !errors.Is(err, ErrBusy) {
		t.Fatalf("gc beside a build: %v", err)
	}
	c = reopened(t, c)
	conf := GCConfig{Versions: []graph.Digest{kept.Digest()}, Result: refObjects}
	conf.DryRun = true
	would, err := c.GC(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	if !c.HasVersion(old.Digest()) || !c.Objects().Has(loose) {
		t.Fatal("a dry run freed something")
	}
	conf.DryRun = false
	freed, err := c.GC(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	if freed.Versions != 1 || freed.Results != 1 || freed.Objects != 4+1+1 || freed.Objects != would.Objects || freed.Bytes == 0 {
		t.Errorf("freed %+v, would have %+v", freed, would)
	}
	if c.HasVersion(old.Digest()) || c.Objects().Has(loose) {
		t.Error("what nothing reaches is still there")
	}
	for _, v := range []graph.Digest{kept.Digest(), now.Digest()} {
		w, err := c.LoadVersion(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.ReadWindow(t.Context(), w, w.Layout().Domain(), nil); err != nil {
			t.Errorf("a kept version: %v", err)
		}
	}
	if _, ok, _ := c.Results().Get(graph.Sum([]byte{0})); ok {
		t.Error("a result of which the objects are gone is still there")
	}
	if _, ok, _ := c.Results().Get(graph.Sum([]byte{1})); !ok {
		t.Error("a result of which the objects are there is gone")
	}
	if n, err := c.Fsck(t.Context(), []graph.Digest{kept.Digest()}, func(p Problem) { t.Error(p) }); n != 0 || err != nil {
		t.Errorf("fsck: %d, %v", n, err)
	}
}

// What a page names nobody knows once it is gone: until it is made again gc frees
// nothing, however often it is asked.
func TestGCFreesNothingWhereItCannotTellWhatIsKept(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(path string) error{
		"gone": os.Remove,
		"damaged": func(path string) error {
			return errors.Join(os.Chmod(path, 0o644), os.Truncate(path, 20))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newTestCube(t, Config{})
			v := smallVersion(t, c, "a", 1)
			show(t, c, v)
			ref, _, err := v.Ref(t.Context(), 0, 1, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := harm(c.Objects().Path(v.pages[0].Object)); err != nil {
				t.Fatal(err)
			}
			c = reopened(t, c)
			for range 3 {
				if freed, err := c.GC(t.Context(), GCConfig{}); err == nil || freed != (Freed{}) {
					t.Fatalf("it freed %+v, %v", freed, err)
				}
			}
			if !c.Objects().Has(ref.Object) {
				t.Error("a chunk is gone that a kept version needs")
			}
			show(t, c, smallVersion(t, c, "a", 1))
			c = reopened(t, c)
			if _, err := c.GC(t.Context(), GCConfig{}); err != nil {
				t.Errorf("after the next build: %v", err)
			}
		})
	}
}

// refObjects are the objects that a list of refs names.
func refObjects(_ graph.Digest, value []byte) (out []graph.Digest, err error) {
	refs, err := DecodeRefs(value)
	for _, r := range refs {
		if !r.Object.IsZero() {
			out = append(out, r.Object)
		}
	}
	return out, err
}

func reopenedBeside(t testing.TB, c *Cube) *Cube {
	t.Helper()
	next, err := Open(filepath.Dir(c.dir), Config{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { next.Close() })
	return next
}

func TestFsckFindsDamageAndTheNextBuildMendsIt(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	v := smallVersion(t, c, "a", 1)
	show(t, c, v)
	ref, _, err := v.Ref(t.Context(), 0, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	path := c.Objects().Path(ref.Object)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 5); err != nil {
		t.Fatal(err)
	}
	var found []Problem
	n, err := c.Fsck(t.Context(), nil, func(p Problem) { found = append(found, p) })
	if err != nil || n != 2 || found[0].Digest != ref.Object || found[1].Digest != v.Digest() {
		t.Fatalf("%d problems, %v: %v", n, err, found)
	}
	if c.HasVersion(v.Digest()) {
		t.Error("the version still counts as whole")
	}
	again := smallVersion(t, c, "a", 1)
	show(t, c, again)
	if n, err := c.Fsck(t.Context(), nil, func(p Problem) { t.Error(p) }); n != 0 || err != nil {
		t.Fatalf("after the next build: %d, %v", n, err)
	}
	if !bytes.Equal(readView(t, c, "a"), floats(1, 256)) {
		t.Error("the view was not mended")
	}
}

func TestDiskUseTellsSharedFromUnique(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	v := smallVersion(t, c, "a", 1)
	ref, _, err := v.Ref(t.Context(), 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	half := v.Layout()
	half.Grid.Box.X.Hi = 8 // shares two chunks
	half.Spec.Name = "b"
	values := cellsOf(v.Layout(), floats(1, 256), half.Domain())
	w := build(t, c, half, grid.Tiling{Y: 8, X: 8}, values)
	show(t, c, v)
	show(t, c, w)
	use, err := c.DiskUse(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if use["a"].Apparent != 1024 || use["b"].Apparent != 512 {
		t.Errorf("apparent: %+v", use)
	}
	if use["a"].Stored <= use["b"].Stored || use["b"].Unique != 0 || use["a"].Unique != use["a"].Stored-use["b"].Stored || ref.Size == 0 {
		t.Errorf("use: %+v", use)
	}
}

func TestSyncLeavesNothingInDoubt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Create(dir); err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	v := smallVersion(t, c, "a", 1)
	if _, err := c.Results().Put(t.Context(), graph.Sum(nil), nil); err != nil {
		t.Fatal(err)
	}
	if marks, _ := os.ReadDir(c.Path("objects", "marks")); len(marks) != 1 {
		t.Fatalf("while objects are not durable: marks %v", marks)
	}
	show(t, c, v)
	if marks, _ := os.ReadDir(c.Path("objects", "marks")); len(marks) != 0 {
		t.Fatalf("after Sync: marks %v", marks)
	}
	if len(c.manifests) > 0 {
		t.Fatalf("after Sync: manifests %v", c.manifests)
	}
}

func TestDamagedHeadsAreMendedFromTheHistory(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	a, b := smallVersion(t, c, "a", 1), smallVersion(t, c, "a", 2)
	moves := []Head{{Variable: "a", Version: a.Digest()}, {Variable: "a", Version: b.Digest(), Native: 30, Run: "r2"}}
	expect := map[string]graph.Digest{"a": {}}
	for _, h := range moves {
		if err := c.MoveHeads(t.Context(), expect, []Head{h}); err != nil {
			t.Fatal(err)
		}
		expect = map[string]graph.Digest{"a": h.Version}
	}
	if mended, err := c.MendHeads(t.Context()); mended || err != nil {
		t.Errorf("mended whole heads: %v, %v", mended, err)
	}
	text, err := os.ReadFile(c.Path("heads"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]bool{len(text) - 9: true, len(headsFormat) + 12: true, 3: false} {
		damaged := bytes.Clone(text)
		damaged[i] ^= 4
		if err := os.WriteFile(c.Path("heads"), damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		mended, err := c.MendHeads(t.Context())
		if mended != want || !want && !errors.Is(err, ErrFormat) {
			t.Errorf("byte %d: mended: %v (%v), want %v", i, mended, err, want)
		}
		if !want {
			continue
		}
		h, ok, err := c.Head(t.Context(), "a")
		if err != nil || !ok || h.Version != b.Digest() || h.Native != 30 || h.Spec.Name != "a" {
			t.Errorf("byte %d: the head is %+v, %v, %v", i, h, ok, err)
		}
		if _, err := os.Stat(c.Path("heads.damaged")); err != nil {
			t.Error(err)
		}
	}
}

func TestADamagedManifestIsNotCountedUntilItIsMadeAgain(t *testing.T) {
	t.Parallel()
	for text, counts := range map[string]bool{"cube-version/1": true, "cube%version/1": false, "cube-version/2": true} {
		c := newTestCube(t, Config{})
		v := smallVersion(t, c, "a", 1)
		path := c.Path("versions", v.Digest().Hex())
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b = bytes.Replace(b, []byte(manifestFormat), []byte(text), 1)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err = c.LoadVersion(t.Context(), v.Digest())
		if (err == nil) != (text == manifestFormat) || err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", text, err)
		}
		if got := c.HasVersion(v.Digest()); got != counts {
			t.Errorf("%s: counted: %v, want %v", text, got, counts)
		}
		again := smallVersion(t, c, "a", 1)
		if _, err := c.LoadVersion(t.Context(), again.Digest()); err != nil || !c.HasVersion(v.Digest()) {
			t.Errorf("%s: made again: %v", text, err)
		}
	}
}
