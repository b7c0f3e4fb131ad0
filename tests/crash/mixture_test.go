package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mixture is a workspace that has a vertex of each sort: tiles of a source that
// is fetched, with halos, and served in batches, by a program and by a fork
// server; a file; tiles of an indexed source; what two producers contribute to,
// and the engine merges; tiles that are tried again and go on from a checkpoint;
// and tiles of which one always fails.
type mixture struct {
	size
	python bool // its image takes long to make
}

// whole are its variables but the one that is never whole.
func (m mixture) whole() []string {
	all := []string{"first", "second", "third", "total", "spots", "peak", "patient"}
	if m.python {
		all = append(all, "forked")
	}
	return all
}

// edit is a state of the workspace: what the producer of a variable adds, which
// content the fetched source has, and how many rows the indexed one.
type edit struct {
	variable string
	add      int
	seed     byte
	rows     int
}

// edits are those that cubes go through. Each differs from the first in one
// thing, and so by none, few or all of its actions.
var edits = []edit{
	{seed: 1, rows: 60},
	{"third", 1, 1, 60},
	{"second", 2, 1, 60},
	{"first", 3, 1, 60},
	{"total", 4, 1, 60},
	{"high", 5, 1, 60},
	{"patient", 6, 1, 60},
	{seed: 2, rows: 60},
	{seed: 1, rows: 64},
}

// params are an instance's in cube.yaml; more are others.
func (e edit) params(instance string, more ...string) string {
	if e.variable == instance {
		more = append(more, fmt.Sprintf("add: %d", e.add))
	}
	return "params: {" + strings.Join(more, ", ") + "}"
}

// config is cube.yaml; producers is the folder of the producers, and from where
// the source is fetched.
func (m mixture) config(e edit, producers, from string, staging string) string {
	const resolution, west, north = 100, 400000, 4400000
	text := fmt.Sprintf(`name: crash
grid:
  crs: EPSG:32613
  resolution: %d
  bounds: [%d, %d, %d, %d]
tiles: %d
retry: {attempts: 5, backoff: 10ms, max_backoff: 100ms}
staging: {memory: %s}
sources:
  seed: {uri: "%s/seed-%d.bin", sha256: %x, max_size: 8MiB}
  marks: {uri: data/marks.txt}
producers:
`, resolution, west, north-m.rows*m.tile*resolution, west+m.cols*m.tile*resolution, north, m.tile, staging, from, e.seed, farSum(e.seed))
	lines := []string{
		"first: {image: %s/first, sources: {seed: seed}, " + e.params("first"),
		"second: {image: %s/second, " + e.params("second"),
		"third: {image: %s/third, " + e.params("third"),
		"total: {image: %s/total, " + e.params("total"),
		"spots: {image: %s/spots, sources: {marks: marks}, tiles: " + fmt.Sprint(2*m.tile) + ", " + e.params("spots"),
		"low: {image: %s/peak, tiles: " + fmt.Sprint(2*m.tile) + ", " + e.params("low"),
		"high: {image: %s/peak, tiles: " + fmt.Sprint(2*m.tile) + ", " + e.params("high"),
		"patient: {image: %s/patient, tiles: " + fmt.Sprint(4*m.tile) + ", " + e.params("patient", "again: 2"),
		"flawed: {image: %s/flawed, tiles: " + fmt.Sprint(4*m.tile) + ", " + e.params("flawed", "fail: true"),
	}
	if m.python {
		lines = append(lines, "forked: {image: %s/forked, "+e.params("forked"))
	}
	for _, line := range lines {
		text += fmt.Sprintf("  "+line+"}\n", producers)
	}
	return text
}

// marks are the rows of the indexed source.
func (m mixture) marks(rows int) []byte {
	rng := rand.New(rand.NewPCG(7, 7))
	var out []byte
	for range rows {
		x, y := 400000+rng.IntN(m.cols*m.tile*100), 4400000-1-rng.IntN(m.rows*m.tile*100)
		out = fmt.Appendln(out, x, y, rng.IntN(1000))
	}
	return out
}

// mixed is a workspace of a mixture, whose images are built already where
// another of the same depth was built.
type mixed struct {
	*workspace
	mix  mixture
	host *host
	now  edit
}

// newMixed makes one; mount is called with the folder of the workspace, of the
// user's cache and of temporary files before anything is in them. What its host
// leaves to chance is of rng; nil: it is never hostile.
func newMixed(t *testing.T, m mixture, rng *rand.Rand, mount func(dir string)) *mixed {
	t.Helper()
	shared, err := warm()
	if err != nil {
		t.Fatal(err)
	}
	w := makeWorkspace(t, m.size)
	for _, name := range []string{"cube", "cache", "tmp"} {
		dir := filepath.Join(w.root, ownMount+name)
		w.must(os.MkdirAll(dir, 0o755))
		mount(dir)
		if name != "cube" {
			w.must(os.RemoveAll(filepath.Join(w.root, name)))
			w.must(os.Symlink(ownMount+name, filepath.Join(w.root, name)))
		}
	}
	w.dir = filepath.Join(w.root, ownMount+"cube", "workspace")
	w.must(os.MkdirAll(w.path("data"), 0o755))
	w.must(os.MkdirAll(w.cache(), 0o755))
	w.must(os.Symlink(filepath.Join(shared, "cache", "cube", "images"), w.cache("images")))
	return &mixed{workspace: w, mix: m, host: newHost(t, rng)}
}

// set brings the workspace to a state.
func (w *mixed) set(e edit, staging string) {
	w.t.Helper()
	producers, err := filepath.Rel(w.dir, filepath.Join(warmed, "producers"))
	w.must(err)
	w.now = e
	w.must(os.WriteFile(w.path("data", "marks.txt"), w.mix.marks(e.rows), 0o644))
	w.must(os.WriteFile(w.path("cube.yaml"), []byte(w.mix.config(e, "./"+producers, w.host.URL, staging)), 0o644))
}

// calmly is what an undisturbed build of a mixture comes to, and how long that
// takes.
func (m mixture) calmly(t *testing.T, e edit) (result, time.Duration) {
	t.Helper()
	w := newMixed(t, m, nil, func(string) {})
	w.set(e, "1GiB")
	began := time.Now()
	b := w.start("build", "-k")
	if code := b.wait(); code != 3 {
		t.Fatalf("calm build: exit %d, want 3 for the one tile that fails\n%s", code, b.output())
	}
	took := time.Since(began)
	w.clean(b)
	w.sound()
	return w.result(), took
}

// writeMixture writes the producers that a mixture has beside all others, and
// one that serves tiles of a source.
func writeMixture(dir string) error {
	for _, p := range []string{"spots", "peak", "patient", "flawed", "served"} {
		for _, from := range []string{filepath.Join("producers", p), "field"} {
			if err := copyFiles(filepath.Join("testdata", from), filepath.Join(dir, p)); err != nil {
				return err
			}
		}
	}
	return copyFiles(filepath.Join("testdata", "forked"), filepath.Join(dir, "forked"))
}
