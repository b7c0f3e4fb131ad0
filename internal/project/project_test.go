//go:build linux

package project_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/project"
	"github.com/cubebuild/cube/internal/yamlfile"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// sandbox is one for all tests.
var sandbox struct {
	once   sync.Once
	runner *native.Runner
	dir    string
	err    error
}

func runner(context.Context) (containers.Runner, error) {
	sandbox.once.Do(func() {
		if sandbox.dir, sandbox.err = os.MkdirTemp("", "project-test-"); sandbox.err == nil {
			sandbox.runner, sandbox.err = native.New(native.Config{StateDir: sandbox.dir})
		}
	})
	return sandbox.runner, sandbox.err
}

func TestMain(m *testing.M) {
	code := m.Run()
	if sandbox.runner != nil {
		if err := sandbox.runner.Close(); err != nil {
			fmt.Println(err)
			code = 1
		}
	}
	os.RemoveAll(sandbox.dir)
	os.Exit(code)
}

// bench is a workspace with a cache of its own, but for images.
type bench struct {
	dir, cache string

	mu             sync.Mutex
	notices, steps []string
}

// newBench unpacks testdata/hills.txtar.
func newBench(t testing.TB) *bench {
	t.Helper()
	return unpackBench(t, "testdata/hills.txtar")
}

// unpackBench unpacks an archive of a workspace.
func unpackBench(t testing.TB, archived string) *bench {
	t.Helper()
	shared, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{dir: t.TempDir(), cache: t.TempDir()}
	images := filepath.Join(shared, "cube-test", "images")
	if err := os.MkdirAll(images, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(images, filepath.Join(b.cache, "images")); err != nil {
		t.Fatal(err)
	}
	archive, err := txtar.ParseFile(archived)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		b.write(t, f.Name, string(f.Data))
	}
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(b.path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.path(name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(b.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// edit replaces a piece of text that must be there.
func (b *bench) edit(t testing.TB, name, old, new string) {
	t.Helper()
	text := b.read(t, name)
	if !strings.Contains(text, old) {
		t.Fatalf("%s holds no %q:\n%s", name, old, text)
	}
	b.write(t, name, strings.ReplaceAll(text, old, new))
}

// open opens the workspace as change has it.
func (b *bench) open(t testing.TB, change func(*project.Config)) *project.Project {
	t.Helper()
	p, err := b.tryOpen(t, change)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (b *bench) tryOpen(t testing.TB, change func(*project.Config)) (*project.Project, error) {
	note := func(to *[]string) func(string) {
		return func(text string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			*to = append(*to, text)
		}
	}
	c := project.Config{Dir: b.dir, Cache: b.cache, Notice: note(&b.notices), Step: note(&b.steps),
		Runner: runner}
	if change != nil {
		change(&c)
	}
	p, err := project.Open(c)
	if err == nil {
		t.Cleanup(func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return p, err
}

// try prepares all variables.
func (b *bench) try(t testing.TB, change func(*project.Config), targets ...string) (*project.Prepared, error) {
	t.Helper()
	p, err := b.tryOpen(t, change)
	if err != nil {
		return nil, err
	}
	return p.Prepare(t.Context(), targets...)
}

// prepare is try where it must work.
func (b *bench) prepare(t testing.TB, targets ...string) *project.Prepared {
	t.Helper()
	p, err := b.try(t, nil, targets...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// count is how many steps or notices hold the text.
func (b *bench) count(lines *[]string, text string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range *lines {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}

func locked(c *project.Config) { c.Locked = true }

func TestAPreparedWorkspaceIsPinnedAndPlanned(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.prepare(t)
	var names []string
	for _, v := range p.Plan.Vertices {
		names = append(names, v.Name)
	}
	if d := cmp.Diff([]string{"heights", "double"}, names); d != "" {
		t.Errorf("vertices: -want +got:\n%s", d)
	}
	lock, err := config.LoadLock(b.path("cube.lock"))
	if err != nil {
		t.Fatal(err)
	}
	src := lock.Sources["survey"]
	if src.SHA256 != graph.Sum([]byte(b.read(t, "data/heights.txt"))) || src.Inspection == nil || src.Inspection.Width != 4 || len(lock.Images) != 2 {
		t.Errorf("lock: %+v", lock)
	}
	before := b.read(t, "cube.lock")
	if _, err := b.try(t, locked); err != nil {
		t.Errorf("locked: %v", err)
	}
	if after := b.read(t, "cube.lock"); after != before {
		t.Errorf("the lock changed: %s", cmp.Diff(before, after))
	}
}

func TestOnlyWhatTheTargetNeedsIsMadeReady(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.edit(t, "cube.yaml", "double: ./producers/double", "double: ./producers/double\n  broken: {image: ./producers/broken, in: {height: doubled}}")
	b.write(t, "producers/broken/producer.yaml", "name: broken\nneeds: [height]\nproduces: [{variable: other}]\nimage: {go: {}}\n")
	b.edit(t, "producers/broken/producer.yaml", "[height]", "[{variable: height}]")
	p := b.prepare(t, "height")
	if len(p.Plan.Vertices) != 1 || b.count(&b.steps, "double") > 0 {
		t.Errorf("made: %v", b.steps)
	}
}

func TestLockedTakesNothingThatIsNotPinned(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, b *bench)
		what   string
	}{
		"no lock at all": {func(t *testing.T, b *bench) { os.Remove(b.path("cube.lock")) }, "image ./producers/heights"},
		"image changed": {func(t *testing.T, b *bench) {
			b.edit(t, "producers/double/main.go", "main() {}", "main() { println() }")
		}, "image ./producers/double"},
		"contract changed": {func(t *testing.T, b *bench) {
			b.edit(t, "producers/double/producer.yaml", "256MiB", "128MiB")
		}, "image ./producers/double"},
		"image not pinned": {func(t *testing.T, b *bench) {
			b.relock(t, func(l *config.Lock) { delete(l.Images, "./producers/heights") })
		}, "image ./producers/heights"},
		"image pinned elsewhere": {func(t *testing.T, b *bench) {
			b.relock(t, func(l *config.Lock) {
				for _, im := range l.Images {
					for platform, pin := range im.Platforms {
						delete(im.Platforms, platform)
						im.Platforms["plan9/mips"] = pin
					}
				}
			})
		}, "image ./producers/heights"},
		"source changed": {func(t *testing.T, b *bench) { b.edit(t, "data/heights.txt", "1 2 3 4", "1 2 3 5") }, "source survey"},
		"source not pinned": {func(t *testing.T, b *bench) {
			b.relock(t, func(l *config.Lock) { delete(l.Sources, "survey") })
		}, "source survey"},
		"source moved": {func(t *testing.T, b *bench) {
			b.edit(t, "cube.yaml", "data/heights.txt", "./data/heights.txt")
		}, "source survey"},
		"source pinned twice": {func(t *testing.T, b *bench) {
			b.edit(t, "data/heights.txt", "1 2 3 4", "1 2 3 5")
			b.edit(t, "cube.yaml", "survey: data/heights.txt", "survey: {uri: data/heights.txt, sha256: "+graph.Sum([]byte(b.read(t, "data/heights.txt"))).Hex()+"}")
		}, "source survey"},
		"source not described": {func(t *testing.T, b *bench) {
			b.relock(t, func(l *config.Lock) {
				s := l.Sources["survey"]
				s.Inspection = nil
				l.Sources["survey"] = s
			})
		}, "description of source survey"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.prepare(t)
			c.change(t, b)
			before, _ := os.ReadFile(b.path("cube.lock"))
			_, err := b.try(t, locked)
			var e *project.LockError
			if !errors.As(err, &e) || e.What != c.what || !strings.Contains(err.Error(), "cube.lock") {
				t.Errorf("got %v, want a LockError of %s", err, c.what)
			}
			if after, _ := os.ReadFile(b.path("cube.lock")); string(before) != string(after) {
				t.Errorf("the lock changed: %s", cmp.Diff(string(before), string(after)))
			}
			b.prepare(t)
			if _, err := b.try(t, locked); err != nil {
				t.Errorf("locked anew: %v", err)
			}
		})
	}
}

// relock writes the lock anew, changed.
func (b *bench) relock(t testing.TB, change func(*config.Lock)) {
	t.Helper()
	l, err := config.LoadLock(b.path("cube.lock"))
	if err != nil {
		t.Fatal(err)
	}
	change(l)
	if err := l.Write(b.path("cube.lock")); err != nil {
		t.Fatal(err)
	}
}

func TestAChangedSourceIsSaid(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	old := graph.Sum([]byte(b.read(t, "data/heights.txt")))
	b.prepare(t)
	if len(b.notices) > 0 {
		t.Errorf("notices of the first time: %v", b.notices)
	}
	b.edit(t, "data/heights.txt", "1 2 3 4", "1 2 3 5")
	b.prepare(t)
	now := graph.Sum([]byte(b.read(t, "data/heights.txt")))
	want := fmt.Sprintf("source survey changed: %s → %s", old.Short(), now.Short())
	if d := cmp.Diff([]string{want}, b.notices); d != "" {
		t.Errorf("notices: -want +got:\n%s", d)
	}
}

func TestADriverDescribesEachContentOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	described := func() int { return b.count(&b.steps, "describe source survey") }
	kept := func() int {
		files, err := os.ReadDir(filepath.Join(b.cache, "inspections"))
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	check := func(when string, want int) {
		t.Helper()
		if described() != want || kept() != want {
			t.Errorf("%s: described %d times, %d kept, want %d", when, described(), kept(), want)
		}
	}
	b.prepare(t)
	check("at first", 1)
	b.prepare(t)
	check("again", 1)
	os.Remove(b.path("cube.lock"))
	b.prepare(t)
	check("without a lock", 1)
	text := b.read(t, "data/heights.txt")
	b.edit(t, "data/heights.txt", "5 6 7 8", "5 6 7 9")
	b.prepare(t)
	check("with other content", 2)
	b.write(t, "data/heights.txt", text)
	b.prepare(t)
	check("changed back", 2)
	other := newBench(t)
	other.cache = b.cache
	other.prepare(t)
	if n := other.count(&other.steps, "describe"); n > 0 || kept() != 2 {
		t.Errorf("another workspace described it again")
	}
}

// newBenchLikeItsSource is newBench with the grid of its source, which is 4 wide.
func newBenchLikeItsSource(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.edit(t, "cube.yaml", "grid: {crs: \"EPSG:32613\", resolution: 10, bounds: [400000, 4400000, 400040, 4400020]}", "grid: {like: survey}")
	if w := width(b.prepare(t)); w != 4 {
		t.Fatalf("the grid is %d wide", w)
	}
	return b
}

// width is how many cells the default grid has from west to east.
func width(p *project.Prepared) int64 { return p.Workspace.Grids["default"].Box.X.Len() }

// A driver that is mended describes its sources anew: what it said before is
// pinned, and so would decide the grid for ever. Where it says the same, nothing
// comes of it.
func TestAChangedDriverIsAskedAgain(t *testing.T) {
	t.Parallel()
	b := newBenchLikeItsSource(t)
	b.edit(t, "producers/heights/main.go", "check(os.WriteFile(r.Outputs", "head = bytes.Replace(head, []byte(`\"width\": 4`), []byte(`\"width\": 3`), 1)\n\tcheck(os.WriteFile(r.Outputs")
	if w := width(b.prepare(t)); w != 3 {
		t.Errorf("with the mended driver the grid is %d wide", w)
	}
	if w := width(b.prepare(t)); w != 3 {
		t.Errorf("and then %d", w)
	}
	lock := b.read(t, "cube.lock")
	pins := func(s string) string { _, rest, _ := strings.Cut(s, "sources:"); return rest }
	b.edit(t, "producers/heights/main.go", "// Heights", "// Again: heights")
	b.prepare(t)
	if d := cmp.Diff(pins(lock), pins(b.read(t, "cube.lock"))); d != "" {
		t.Errorf("what it says is the same: -before +after:\n%s", d)
	}
}

// What is kept for the sake of speed decides nothing once a disk has lost a bit of
// it: the driver is asked again.
func TestADamagedDescriptionIsNotBelieved(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.prepare(t)
	want := b.read(t, "cube.lock")
	found, err := filepath.Glob(filepath.Join(b.cache, "inspections", "*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("kept: %v, %v", found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(text, []byte(`"width":`)) + len(`"width": `)
	text[i] ^= 1 // another digit
	if err := os.WriteFile(found[0], text, 0o644); err != nil {
		t.Fatal(err)
	}
	os.Remove(b.path("cube.lock"))
	b.prepare(t)
	if d := cmp.Diff(want, b.read(t, "cube.lock")); d != "" {
		t.Errorf("the lock: -before +after:\n%s", d)
	}
	if n := b.count(&b.steps, "describe source survey"); n != 2 {
		t.Errorf("described %d times", n)
	}
}

func TestADescriptionIsOfTheParamsItWasAskedWith(t *testing.T) {
	t.Parallel()
	b := newBenchLikeItsSource(t)
	says := strings.Replace(strings.SplitN(b.read(t, "data/heights.txt"), "\n", 2)[0], `"width": 4`, `"width": 3`, 1)
	text := b.read(t, "cube.yaml")
	b.edit(t, "cube.yaml", "sources: {table: survey}", "sources: {table: survey}, params: {says: '"+says+"'}")
	if w := width(b.prepare(t)); w != 3 {
		t.Errorf("with other params the grid is %d wide", w)
	}
	if _, err := b.try(t, locked); err != nil {
		t.Errorf("locked: %v", err)
	}
	b.write(t, "cube.yaml", text)
	if p, err := b.try(t, locked); err != nil || width(p) != 4 {
		t.Errorf("locked, with the params that were first: %v", err)
	}
	if w := width(b.prepare(t)); w != 4 {
		t.Errorf("with the first params again the grid is %d wide", w)
	}
}

func TestAHostileDescriptionIsTheDriversFault(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ says, want string }{
		"no JSON":         {"\x1b[31mhello", "invalid character"},
		"another field":   {`{"widht": 4}`, "unknown field"},
		"more behind":     {`{"width": 4} {}`, "more than one"},
		"not an object":   {`[1]`, "description of the source"},
		"a flood of logs": {"FLOOD", `all is lost`},
		"empty":           {" ", "description of the source"},
		"no size":         {`{"crs": "EPSG:32613", "transform": [0, 1, 0, 0, 0, -1], "width": -4, "height": 2}`, "negative width"},
		"infinite size":   {`{"crs": "EPSG:32613", "transform": [0, 1, 0, 0, 0, -1], "width": 9223372036854775807, "height": 9223372036854775807}`, "rows and columns must be"},
		"bent":            {`{"transform": [0, 1e999, 0, 0, 0, -1]}`, "1e999"},
		"escapes":         {`{"crs": "EPSG:\u001b[2J", "transform": [0, 1, 0, 0, 0, -1], "width": 4, "height": 2}`, `\x1b`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			_, rest, _ := strings.Cut(b.read(t, "data/heights.txt"), "\n")
			b.write(t, "data/heights.txt", c.says+"\n"+rest)
			b.edit(t, "cube.yaml", "grid: {crs: \"EPSG:32613\", resolution: 10, bounds: [400000, 4400000, 400040, 4400020]}", "grid: {like: survey}")
			_, err := b.try(t, nil)
			var y *yamlfile.Error
			if !errors.As(err, &y) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "survey") {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }) || len(err.Error()) > 8192 {
				t.Errorf("not fit to print: %.500q", err)
			}
			if _, err := os.Stat(b.path("cube.lock")); err == nil {
				t.Error("a lock was written")
			}
		})
	}
}

func TestMistakesAreShownWhereTheyStand(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, b *bench)
		wants  []string
	}{
		"unknown builtin": {func(t *testing.T, b *bench) {
			b.edit(t, "cube.yaml", "double: ./producers/double", "double: builtin:dme")
		},
			[]string{"cube.yaml:7", "there is no builtin producer dme", "builtin: ", "dem"}},
		"missing folder": {func(t *testing.T, b *bench) {
			b.edit(t, "cube.yaml", "double: ./producers/double", "double: ./producers/duoble")
		},
			[]string{"cube.yaml:7", "./producers/duoble holds no producer.yaml"}},
		"folder without a contract": {func(t *testing.T, b *bench) { os.Remove(b.path("producers/double/producer.yaml")) },
			[]string{"cube.yaml:7", "./producers/double holds no producer.yaml"}},
		"file instead of a folder": {func(t *testing.T, b *bench) {
			b.edit(t, "cube.yaml", "double: ./producers/double", "double: ./cube.yaml")
		},
			[]string{"cube.yaml:7", "./cube.yaml holds no producer.yaml"}},
		"image that is not here": {func(t *testing.T, b *bench) {
			b.edit(t, "cube.yaml", "double: ./producers/double", "double: ghcr.example/double:1")
		},
			[]string{"cube.yaml:7", "image ghcr.example/double:1", "cube image ls"}},
		"missing source": {func(t *testing.T, b *bench) { os.Remove(b.path("data/heights.txt")) },
			[]string{"cube.yaml:4", "source survey", "data/heights.txt", "no such file"}},
		"folder as source": {func(t *testing.T, b *bench) { b.edit(t, "cube.yaml", "data/heights.txt", "data") },
			[]string{"cube.yaml:4", "source survey", "is no regular file"}},
		"source of another scheme": {func(t *testing.T, b *bench) { b.edit(t, "cube.yaml", "data/heights.txt", "ftp://data.invalid/x") },
			[]string{"cube.yaml:4", "ftp"}},
		"source not what it should be": {func(t *testing.T, b *bench) {
			b.edit(t, "cube.yaml", "survey: data/heights.txt", "survey: {uri: data/heights.txt, sha256: "+strings.Repeat("ab", 32)+"}")
		}, []string{"cube.yaml:4", "source survey", "abab"}},
		"grid beside the data": {func(t *testing.T, b *bench) {
			b.edit(t, "cube.yaml", "[400000, 4400000, 400040, 4400020]", "[500000, 4400000, 500040, 4400020]")
		}, []string{"cube.yaml:2", "grid default (500000, 4.4e+06 to 500040, 4.40002e+06 in EPSG:32613) lies outside source survey", "source survey covers 400000"}},
		"grid of another zone": {func(t *testing.T, b *bench) { b.edit(t, "cube.yaml", "crs: \"EPSG:32613\"", "crs: \"EPSG:32633\"") },
			[]string{"cube.yaml:2", "lies outside source survey"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			c.change(t, b)
			_, err := b.try(t, nil)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in:\n%v", want, err)
				}
			}
		})
	}
}

func TestAnUnknownTargetIsNamedBeforeAnythingIsMade(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := b.try(t, nil, "hieght")
	var missing *graph.MissingError
	if !errors.As(err, &missing) || missing.Nearest != "height" || len(b.steps) > 0 {
		t.Errorf("got %v after %v", err, b.steps)
	}
}

func TestSourcesOfTheNetworkComeFromAFolderOrTheNetworkOrNot(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	text := b.read(t, "data/heights.txt")
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked++; fmt.Fprint(w, text) }))
	defer srv.Close()
	uri := srv.URL + "/heights.txt"
	b.edit(t, "cube.yaml", "survey: data/heights.txt", "survey: {uri: "+uri+", sha256: "+graph.Sum([]byte(text)).Hex()+"}")
	_, err := b.try(t, func(c *project.Config) { c.Offline = true })
	if err == nil || !strings.Contains(err.Error(), "not on this machine") || !strings.Contains(err.Error(), "CUBE_SOURCES") || !strings.Contains(err.Error(), "cube.yaml:4") {
		t.Errorf("offline: %v", err)
	}
	folder := b.path("elsewhere")
	if err := os.Rename(b.path("data"), folder); err != nil {
		t.Fatal(err)
	}
	if _, err := b.try(t, func(c *project.Config) { c.Offline, c.Folders = true, []string{folder} }); err != nil {
		t.Errorf("with a folder: %v", err)
	}
	if asked > 0 {
		t.Errorf("offline, the network was asked %d times", asked)
	}
	b.cache = t.TempDir()
	shared, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(shared, "cube-test", "images"), filepath.Join(b.cache, "images")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.try(t, locked); err != nil || asked != 1 {
		t.Errorf("from the network: %v, asked %d times", err, asked)
	}
	if _, err := b.try(t, func(c *project.Config) { c.Locked, c.Offline = true, true }); err != nil || asked != 1 {
		t.Errorf("from the cache: %v, asked %d times", err, asked)
	}
}

func TestTwoInstancesShareImageAndSource(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.edit(t, "cube.yaml", "double: ./producers/double", "more: {image: ./producers/heights, sources: {table: survey}, out: {height: more}, params: {add: 1}}")
	p := b.prepare(t)
	if len(p.Plan.Vertices) != 2 || p.Workspace.Instances[0].Image.Config != p.Workspace.Instances[1].Image.Config {
		t.Errorf("plan: %v", p.Plan.Vertices)
	}
	if n := b.count(&b.steps, "image ./producers/heights: "); n != 1 {
		t.Errorf("the image was made in %d steps: %v", n, b.steps)
	}
	if n := b.count(&b.steps, "describe source"); n != 1 {
		t.Errorf("the source was described %d times", n)
	}
	lock, err := config.LoadLock(b.path("cube.lock"))
	if err != nil || len(lock.Images) != 1 || len(lock.Sources) != 1 {
		t.Errorf("lock: %+v %v", lock, err)
	}
}

func TestAnUnchangedImageIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.prepare(t)
	made := b.count(&b.steps, "image ")
	b.prepare(t)
	if n := b.count(&b.steps, "image "); n != made {
		t.Errorf("again: %v", b.steps[made:])
	}
}

func TestAnImportStandsForAProducer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.edit(t, "cube.yaml", "  heights: {image: ./producers/heights, sources: {table: survey}}\n", "")
	b.edit(t, "cube.yaml", "sources:\n  survey: data/heights.txt\n", "")
	_, err := b.try(t, nil, "doubled")
	var missing *graph.MissingError
	if !errors.As(err, &missing) || missing.Variable != "height" {
		t.Errorf("without an import: %v", err)
	}
	crs, err := grid.ParseCRS("EPSG:32613")
	if err != nil {
		t.Fatal(err)
	}
	g, err := grid.New(crs, 10, 10, grid.Bounds{West: 400000, South: 4400000, East: 400040, North: 4400020}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	lock := config.NewLock()
	lock.Imports["height"] = graph.Import{Spec: graph.VarSpec{Name: "height", DType: graph.Int32, Units: "m"}.WithDefaults(), Grid: g,
		Version: graph.Sum([]byte("v")), Native: 10, Source: graph.Source{URI: "heights.tif", SHA256: graph.Sum([]byte("s"))}}
	if err := lock.Write(b.path("cube.lock")); err != nil {
		t.Fatal(err)
	}
	p := b.prepare(t, "doubled")
	in := p.Plan.Vertices[0].Inputs[0]
	if in.Import == nil || in.Import.Version != graph.Sum([]byte("v")) {
		t.Errorf("bound to %+v", in)
	}
	names, err := b.open(t, nil).Variables(t.Context())
	if d := cmp.Diff([]string{"doubled", "height"}, names); d != "" || err != nil {
		t.Errorf("variables: %v\n%s", err, d)
	}
}

func TestALookMakesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	look := func(c *project.Config) { c.DryRun, c.Known = true, true }
	_, err := b.try(t, look)
	if !errors.Is(err, project.ErrUnready) {
		t.Errorf("got %v, want ErrUnready", err)
	}
	ws, err := b.open(t, look).Outline(t.Context())
	if err != nil || len(ws.Instances) != 2 {
		t.Errorf("outline: %v %v", ws, err)
	}
	if _, err := b.try(t, func(c *project.Config) { c.DryRun = true }); err != nil {
		t.Errorf("dry run: %v", err)
	}
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains([]string{"cube.yaml", "data", "producers"}, e.Name()) {
			t.Errorf("it made %s", e.Name())
		}
	}
	if _, err := b.try(t, look); err != nil {
		t.Errorf("with all at hand: %v", err)
	}
}

func TestAWorkspaceIsFoundFromWithin(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.open(t, func(c *project.Config) { c.Dir = b.path("producers/double") })
	if p.File.Path != b.path("cube.yaml") {
		t.Errorf("found %s", p.File.Path)
	}
	if _, err := project.Open(project.Config{Dir: t.TempDir(), Cache: b.cache}); !errors.Is(err, config.ErrNoWorkspace) {
		t.Errorf("got %v, want ErrNoWorkspace", err)
	}
}

func TestOverridesHoldForTheProducersToo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p, err := b.try(t, func(c *project.Config) { c.Sets = []string{"producers.heights.params.add=7"} }, "height")
	if err != nil || string(p.Workspace.Instances[0].Params) != `{"add":7,"says":""}` {
		t.Errorf("params %s: %v", p.Workspace.Instances[0].Params, err)
	}
	if _, err := b.tryOpen(t, func(c *project.Config) { c.Sets = []string{"producers.hights.params.add=7"} }); err == nil || !strings.Contains(err.Error(), "heights") {
		t.Errorf("got %v, want the nearest name", err)
	}
}

func TestABorrowedImageIsNotPinned(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.open(t, nil)
	manifest, image, err := p.Borrow(t.Context(), "./producers/double")
	if err != nil || manifest.Name != "double" || p.ImageByConfig(image.Config) == nil {
		t.Fatalf("%v %v", manifest, err)
	}
	if layers, err := p.Layers(t.Context(), &graph.Instance{Name: "x", Image: image}); err != nil || len(layers) != 1 {
		t.Errorf("layers: %v %v", layers, err)
	}
	if len(p.Lock.Images) > 0 {
		t.Errorf("lock: %v", p.Lock.Images)
	}
	if _, err := p.Layers(t.Context(), &graph.Instance{Name: "x", Image: graph.Image{Ref: "y", Config: "sha256:0"}}); err == nil || !strings.Contains(err.Error(), "y of x is not at hand") {
		t.Errorf("got %v", err)
	}
}

func TestADamagedCopyOfASourceIsBroughtInAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	prep := b.prepare(t)
	p := b.open(t, nil)
	src := prep.Workspace.Sources["survey"]
	path, err := p.Source(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func() error{
		"changed": func() error { os.Chmod(path, 0o644); return os.WriteFile(path, []byte("x"), 0o644) },
		"gone":    func() error { return os.Remove(path) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		again, err := b.open(t, nil).Source(t.Context(), src)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if text, err := os.ReadFile(again); err != nil || graph.Sum(text) != src.SHA256 {
			t.Errorf("%s: %q %v", name, text, err)
		}
	}
	b.edit(t, "data/heights.txt", "1 2 3 4", "1 2 3 5")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := b.open(t, nil).Source(t.Context(), src); err == nil {
		t.Error("another content was taken in its place")
	}
}

func BenchmarkPrepareWithNothingNew(b *testing.B) {
	w := newBench(b)
	w.prepare(b)
	for b.Loop() {
		w.prepare(b)
	}
}
