package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

func fullLock() *Lock {
	fill := graph.Number("-9223372036854775808")
	sum := graph.Sum([]byte("x"))
	return &Lock{
		Images: map[string]LockedImage{
			"./producers/slope": {Platforms: map[string]PlatformPin{"linux/amd64": {sum.String(), sum.String(), []string{sum.String(), sum.String()}}}},
			"ghcr.io/a/b:1.2":   {Index: sum.String(), Platforms: map[string]PlatformPin{"linux/amd64": {sum.String(), sum.String(), []string{}}, "linux/arm64": {sum.String(), sum.String(), []string{}}}},
		},
		Sources: map[string]LockedSource{
			"dem":  {URI: "https://example.org/a b: #x?y=1", SHA256: sum, Size: 1 << 60},
			"fuel": {URI: "data/f.tif", SHA256: sum, Size: 7, Inspection: &graph.Inspection{CRS: "EPSG:5070", Transform: [6]float64{1e-17, 30, 0, -1.5e300, 0, -30}, Width: 3, Height: 4, NativeRes: 30.07}, Inspected: sum},
		},
		Fetches: map[string]LockedFetch{"scenes": {Asked: sum, Images: map[string]string{"linux/amd64": sum.String()},
			Fetched: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Recording: LockedRecording{sum, 100, 2, []string{"data.example.org"}},
			Sources: map[string]LockedFile{"scenes": {sum, 7, ".tar.gz"}}}},
		Imports: map[string]graph.Import{
			"cover": {Spec: graph.VarSpec{Name: "cover", Kind: graph.Static, DType: graph.Int64, Fill: &fill, Units: "1", LongName: "yes: \"no\"\n\ttab é \u2028"},
				Grid:    grid.Grid{Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 0.1, DY: 1.0 / 3, X0: 1e9}, Box: grid.Box{Y: grid.Range{Lo: -3, Hi: 5}, X: grid.Range{Hi: 1 << 39}}},
				Version: sum, Native: 12.5, Source: graph.Source{Name: "cover", URI: "~/a.tif", SHA256: sum, Ext: ".tif", Native: 12.5}},
		},
		Holds: map[string]graph.Import{"slope": {Spec: graph.VarSpec{Name: "slope", Kind: graph.Static, DType: graph.Float32, Units: "degree"},
			Grid:    grid.Grid{Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30}, Box: grid.Box{Y: grid.Range{Hi: 5}, X: grid.Range{Hi: 4}}},
			Version: sum, Native: 30, Held: true}},
		Salts: map[string]int{"slope": 3},
	}
}

func TestALockIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), LockName)
	if _, err := LoadLock(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing lock: %v", err)
	}
	for _, want := range []*Lock{fullLock(), NewLock()} {
		if err := want.Write(path); err != nil {
			t.Fatal(err)
		}
		got, err := LoadLock(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Lock{})); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	golden(t, "testdata/full.lock", string(encoded(t, fullLock())))
}

func encoded(t *testing.T, l *Lock) []byte {
	t.Helper()
	b, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnUnchangedLockIsNotWrittenAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, LockName)
	if err := fullLock().Write(path); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := fullLock().Write(path); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("the file was replaced")
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestWrongLocksAreRefused(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, text := range []string{
		"", "version: 2\nfuture: {}\n", "version: 0\n", "images: {}\n", "version: 1\nimage: {}\n",
		"version: 1\nimages: {a: {platforms: {}}}\n",
		"version: 1\nimages: {a: {platforms: {linux/amd64: {config: abc, manifest: x, diff_ids: []}}}}\n",
		"version: 1\nsources: {dem: {uri: a.tif, sha256: xyz, size: 1}}\n",
		"version: 1\nsources: {dem: {uri: a.tif, size: 1}}\n",
		"version: 1\nsources: {dem: {uri: a.tif, sha256: \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\", size: -1}}\n",
		"version: 1\nsources: {dem: {uri: a.tif, colour: red}}\n",
		"version: 1\nfetches: {f: {asked: \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\", recording: {}}}\n",
		"version: 1\nfetches: {f: {asked: \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\", images: {linux/amd64: latest}, fetched: \"2026-03-01T12:00:00Z\", recording: {sha256: \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}, sources: {a: {}}}}\n",
		"version: 1\nfetches: {f: {asked: \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\", images: {linux/amd64: \"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}, fetched: \"2026-03-01T12:00:00Z\", recording: {sha256: \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}, sources: {a: {ext: /../x, sha256: \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}}}}\n",
		"version: 1\nfetches: {f: {fetched: yesterday}}\n",
		"version: 1\nimports: {v: {version: \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\", spec: {variable: v, kind: static}, grid: {box: {}}}}\n",
		"version: 1\nsalts: {slope: 0, aspect: many}\n",
	} {
		_, err := ParseLock("cube.lock", []byte(text))
		if err == nil {
			t.Errorf("%q: accepted", text)
			continue
		}
		b.WriteString(err.Error() + "\n")
	}
	golden(t, "testdata/locks.err", b.String())
}

// A build that fetches or makes images for minutes writes the lock that it
// loaded at first. What was bumped, held or imported meanwhile stays.
func TestWritingALockKeepsWhatOthersWroteMeanwhile(t *testing.T) {
	t.Parallel()
	full := fullLock()
	blur := full.Holds["slope"]
	blur.Spec.Name = "blur"
	for name, c := range map[string]struct {
		before         *Lock
		others, change func(*Lock)
		want           func(*Lock)
	}{
		"a bump beside a pin": {full,
			func(l *Lock) { l.Salts["slope"]++ },
			func(l *Lock) { l.Sources["new"] = full.Sources["dem"] },
			func(l *Lock) { l.Salts["slope"]++; l.Sources["new"] = full.Sources["dem"] }},
		"a hold and an import beside nothing": {full,
			func(l *Lock) { l.Holds["blur"] = blur; delete(l.Imports, "cover") },
			func(l *Lock) {},
			func(l *Lock) { l.Holds["blur"] = blur; delete(l.Imports, "cover") }},
		"the first pins of two": {nil,
			func(l *Lock) { l.Salts["slope"] = 1 },
			func(l *Lock) { l.Holds["slope"] = full.Holds["slope"] },
			func(l *Lock) { l.Salts["slope"], l.Holds["slope"] = 1, full.Holds["slope"] }},
		"one entry that both change": {full,
			func(l *Lock) { l.Salts["slope"] = 9 },
			func(l *Lock) { delete(l.Salts, "slope") },
			func(l *Lock) { delete(l.Salts, "slope") }},
		"another platform of an image": {full,
			func(l *Lock) { l.Salts["blur"] = 1 },
			func(l *Lock) { pinAnother(l) },
			func(l *Lock) { l.Salts["blur"] = 1; pinAnother(l) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), LockName)
			want := NewLock()
			if c.before != nil {
				if err := c.before.Write(path); err != nil {
					t.Fatal(err)
				}
				want = loaded(t, path)
			}
			mine, theirs := loaded(t, path), loaded(t, path)
			c.others(theirs)
			c.change(mine)
			c.want(want)
			for range 2 { // writing again changes nothing
				for _, l := range []*Lock{theirs, mine} {
					if err := l.Write(path); err != nil {
						t.Fatal(err)
					}
				}
			}
			if diff := cmp.Diff(string(encoded(t, want)), string(encoded(t, loaded(t, path)))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func loaded(t *testing.T, path string) *Lock {
	t.Helper()
	l, err := LoadLockOrNew(path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// pinAnother pins an image where it is pinned already, as Prepare does.
func pinAnother(l *Lock) {
	for _, im := range l.Images {
		for _, pin := range im.Platforms {
			im.Platforms["linux/riscv64"] = pin
			return
		}
	}
}

// Somebody may start the program with a lock on the workspace.
func TestALockOfTheFolderKeepsNobodyFromWritingForLong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, LockName)
	l := loaded(t, path)
	l.Salts["slope"] = 1
	if err := l.Write(path); err != nil {
		t.Fatal(err)
	}
	if got := loaded(t, path).Salts["slope"]; got != 1 {
		t.Errorf("salt %d", got)
	}
}
