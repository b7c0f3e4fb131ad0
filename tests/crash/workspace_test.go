package crash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/lineage"
	"github.com/cubebuild/cube/tests/program"
)

// The variables of the workspace: first is made of a source, second and third
// are the means of what comes before, tile by tile, and total is a file.
var variables = []string{"first", "second", "third", "total"}

// size is how large a workspace is.
type size struct {
	rows, cols int // of tiles
	tile       int // cells along each side of a tile
}

// actions is how many a build of the whole workspace has.
func (s size) actions() int { return 3*s.rows*s.cols + 1 }

var (
	fourHundred = size{7, 19, 16} // 400 actions
	seventy     = size{4, 6, 16}  // 73
	small       = size{2, 3, 16}  // 19
)

// config is cube.yaml; producers is the folder of the producers.
func (s size) config(producers string) string {
	const resolution, west, north = 100, 400000, 4400000
	return fmt.Sprintf(`name: crash
grid:
  crs: EPSG:32613
  resolution: %d
  bounds: [%d, %d, %d, %d]
tiles: %d
sources:
  seed: {uri: data/seed.bin}
producers:
  first: {image: %[7]s/first, sources: {seed: seed}}
  second: {image: %[7]s/second}
  third: {image: %[7]s/third}
  total: {image: %[7]s/total}
`, resolution, west, north-s.rows*s.tile*resolution, west+s.cols*s.tile*resolution, north, s.tile, producers)
}

// workspace is a workspace with a home of its own.
type workspace struct {
	t    *testing.T
	root string // of all that follows; nothing else is in it
	dir  string // of cube.yaml
	size size
	logs string // of what engines print
	home
}

// newWorkspace makes a workspace whose images are built already, out of
// producers that all tests share.
func newWorkspace(t *testing.T, s size) *workspace {
	t.Helper()
	shared, err := warm()
	if err != nil {
		t.Fatal(err)
	}
	w := makeWorkspace(t, s)
	w.must(writeWorkspace(w.dir, s, filepath.Join(shared, "producers")))
	w.must(os.Symlink(filepath.Join(shared, "cache", "cube", "images"), w.cache("images")))
	return w
}

// newWorkspaceOfNobody makes a workspace whose engines run without root's
// rights. Only root can do that; others have no other sort of workspace.
func newWorkspaceOfNobody(t *testing.T, s size) *workspace {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("every other test runs without root already")
	}
	// Images are known by the path that cube.yaml says, which is as long in every
	// workspace: root has them built under it, as nobody cannot compile.
	first := newWorkspace(t, size{1, 1, 16})
	if e := first.start("build"); e.wait() != 0 {
		t.Fatalf("build images:\n%s", e.output())
	}
	w := newWorkspace(t, s)
	images, err := os.Readlink(w.cache("images"))
	w.must(err)
	w.must(os.Remove(w.cache("images")))
	w.must(exec.Command("cp", "-a", images, w.cache("images")).Run())
	const nobody = 65534
	w.must(exec.Command("chown", "-R", fmt.Sprintf("%d:%d", nobody, nobody), w.root).Run())
	w.must(os.Chmod(filepath.Dir(w.root), 0o755)) // TempDir's own
	w.user = &syscall.Credential{Uid: nobody, Gid: nobody}
	w.program, err = readable()
	w.must(err)
	return w
}

// newBareWorkspace makes a workspace that has producers of its own, and a home
// that is empty.
func newBareWorkspace(t *testing.T, s size) *workspace {
	t.Helper()
	w := makeWorkspace(t, s)
	w.must(writeWorkspace(w.dir, s, w.path("producers")))
	w.must(writeProducers(w.path("producers")))
	return w
}

func makeWorkspace(t *testing.T, s size) *workspace {
	t.Helper()
	root := t.TempDir()
	env, err := environment(root)
	if err != nil {
		t.Fatal(err)
	}
	w := &workspace{t: t, root: root, dir: filepath.Join(root, "workspace"), size: s, logs: t.TempDir(), home: home{env: env}}
	w.must(os.MkdirAll(w.cache(), 0o755))
	return w
}

// writeWorkspace writes cube.yaml and the source.
func writeWorkspace(dir string, s size, producers string) error {
	producers, err := filepath.Rel(dir, producers)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "seed.bin"), source(1), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cube.yaml"), []byte(s.config("./"+producers)), 0o644)
}

// writeProducers writes the producers of all variables: one program under
// several contracts.
func writeProducers(dir string) error {
	for _, v := range variables {
		for _, from := range []string{filepath.Join("producers", v), "field"} {
			if err := copyFiles(filepath.Join("testdata", from), filepath.Join(dir, v)); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyFiles(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, e.Name()), b, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// source is one of many contents that the source can have.
func source(number byte) []byte {
	b := make([]byte, 64<<10)
	_, _ = rand.NewChaCha8([32]byte{number}).Read(b)
	return b
}

// environment is that of a program whose home is below root.
func environment(root string) ([]string, error) {
	for _, d := range []string{"home", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return nil, err
		}
	}
	env, err := toolchain()
	return append(slices.Clone(env), "PATH="+os.Getenv("PATH"), "NO_COLOR=1", "HOME="+filepath.Join(root, "home"),
		"XDG_CACHE_HOME="+filepath.Join(root, "cache"), "TMPDIR="+filepath.Join(root, "tmp")), err
}

var toolchain = sync.OnceValues(program.Toolchain)

// warm is a folder with producers and a cache that holds their images. TestMain
// removes it.
var warm = sync.OnceValues(func() (string, error) {
	root, err := os.MkdirTemp("", "cube-crash-*")
	if err != nil {
		return "", err
	}
	warmed = root
	if err := os.Chmod(root, 0o755); err != nil {
		return root, err
	}
	env, err := environment(root)
	if err != nil {
		return root, err
	}
	producers, dir := filepath.Join(root, "producers"), filepath.Join(root, "workspace")
	if err := errors.Join(writeProducers(producers), writeMixture(producers), writeWorkspace(dir, size{1, 1, 16}, producers)); err != nil {
		return root, err
	}
	e, err := startEngine(home{env: env}, dir, filepath.Join(root, "log"), "build")
	if err != nil {
		return root, err
	}
	if code := e.wait(); code != 0 {
		return root, fmt.Errorf("build images: exit %d\n%s", code, e.output())
	}
	return root, nil
})

// warmed is the folder that warm made, for TestMain.
var warmed string

func (w *workspace) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *workspace) path(elem ...string) string {
	return filepath.Join(append([]string{w.dir}, elem...)...)
}

// cache is a path within the program's own cache.
func (w *workspace) cache(elem ...string) string {
	return filepath.Join(append([]string{w.root, "cache", "cube"}, elem...)...)
}

// replace changes cube.yaml.
func (w *workspace) replace(old, new string) {
	w.t.Helper()
	b, err := os.ReadFile(w.path("cube.yaml"))
	w.must(err)
	changed := bytes.ReplaceAll(b, []byte(old), []byte(new))
	if bytes.Equal(b, changed) {
		w.t.Fatalf("cube.yaml has no %q", old)
	}
	w.must(os.WriteFile(w.path("cube.yaml"), changed, 0o644))
}

// add has the producer of a variable add a number to every cell.
func (w *workspace) add(variable string, n int) {
	w.t.Helper()
	if variable != "" {
		w.replace("/"+variable, fmt.Sprintf("/%s, params: {add: %d}", variable, n))
	}
}

// build builds everything, which must succeed.
func (w *workspace) build(args ...string) string {
	w.t.Helper()
	e := w.start(append([]string{"build"}, args...)...)
	if code := e.wait(); code != 0 {
		w.t.Fatalf("build %v: exit %d\n%s", args, code, e.output())
	}
	return e.output()
}

// result is what a cube shows.
type result struct {
	Versions map[string]string // digests, by variable
	Values   map[string]string // SHA-256 of the decoded values
}

// result reads every head whole, without the program.
func (w *workspace) result() result {
	w.t.Helper()
	r, err := readResult(w.t.Context(), w.dir)
	w.must(err)
	return r
}

func readResult(ctx context.Context, dir string) (result, error) {
	r := result{map[string]string{}, map[string]string{}}
	c, err := cube.Open(dir, cube.Config{})
	if err != nil {
		return r, err
	}
	defer c.Close()
	heads, err := c.Heads(ctx)
	if err != nil {
		return r, err
	}
	for name, h := range heads {
		values, err := readValues(ctx, c, h)
		if err != nil {
			return r, fmt.Errorf("%s: %w", name, err)
		}
		r.Versions[name] = h.Version.String()
		r.Values[name] = fmt.Sprintf("%x", sha256.Sum256(values))
	}
	return r, nil
}

func readValues(ctx context.Context, c *cube.Cube, h cube.Head) ([]byte, error) {
	v, err := c.LoadVersion(ctx, h.Version)
	if err != nil {
		return nil, err
	}
	if f, ok := v.File(); ok {
		return c.Objects().Get(ctx, f.Object, nil)
	}
	return c.ReadWindow(ctx, v, v.Layout().Domain(), nil)
}

// wants fails the test where the cube does not show just this.
func (w *workspace) wants(want result) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.result()); diff != "" {
		w.t.Errorf("the cube does not show what it should (-want +got):\n%s", diff)
	}
}

// sound fails the test where something in the cube is damaged or missing.
func (w *workspace) sound() {
	w.t.Helper()
	c, err := cube.Open(w.dir, cube.Config{})
	w.must(err)
	defer c.Close()
	_, err = c.Fsck(w.t.Context(), nil, func(p cube.Problem) { w.t.Errorf("fsck: %s", p) })
	w.must(err)
}

// calm is what undisturbed builds of workspaces of a size come to.
func (s size) calm(t *testing.T) result {
	t.Helper()
	return s.calmWith(t, nil)
}

// calmWith is calm with a change of the workspace before the build.
func (s size) calmWith(t *testing.T, change func(*workspace)) result {
	t.Helper()
	w := newWorkspace(t, s)
	if change != nil {
		change(w)
	}
	w.build()
	w.sound()
	return w.result()
}

// succeeded counts, for each action, the runs that recorded it as done.
func (w *workspace) succeeded() map[string]int {
	w.t.Helper()
	count := map[string]int{}
	files, err := filepath.Glob(w.path(".cube", "runs", "*", "actions.ndjson"))
	w.must(err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		w.must(err)
		for line := range bytes.Lines(b) {
			var record struct{ Action lineage.Action }
			if !bytes.HasSuffix(line, []byte("\n")) {
				continue // its writer was killed
			}
			w.must(json.Unmarshal(line, &record))
			if record.Action.Status == lineage.Succeeded {
				count[record.Action.ID.Hex()]++
			}
		}
	}
	return count
}

// results are the actions that the cube has a result of, as far as there is a cube.
func (w *workspace) results() map[graph.ActionID]bool {
	w.t.Helper()
	found := map[graph.ActionID]bool{}
	c, err := cube.Open(w.dir, cube.Config{})
	if errors.Is(err, cube.ErrNotCube) {
		return found
	}
	w.must(err)
	defer c.Close()
	w.must(c.Results().Range(w.t.Context(), func(id graph.Digest, value []byte) error {
		var result struct{ V int }
		if len(value) > len(id) && json.Unmarshal(value, &result) == nil && result.V > 0 { // no alias, no failure
			found[id] = true
		}
		return nil
	}))
	return found
}

// wantsOnce fails the test where an action was done twice, or another number
// of actions was done than there are.
func (w *workspace) wantsOnce(actions int) {
	w.t.Helper()
	done := w.succeeded()
	for id, n := range done {
		if n != 1 {
			w.t.Errorf("action %s was done %d times", id[:12], n)
		}
	}
	if len(done) != actions {
		w.t.Errorf("%d actions are on record, want %d", len(done), actions)
	}
}

// logContains fails the test where output does not hold all the words.
func logContains(t *testing.T, output string, words ...string) {
	t.Helper()
	for _, s := range words {
		if !strings.Contains(output, s) {
			t.Errorf("the output does not say %q:\n%s", s, output)
		}
	}
}
