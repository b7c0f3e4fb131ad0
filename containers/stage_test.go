//go:build linux

package containers_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/peers"
	"github.com/google/go-cmp/cmp"
)

// view is what the payload's step "look" prints.
type view struct {
	Env, Args []string
	Dir       string
	Files     []file
}

type file struct {
	Path, Mode   string
	Time         int64
	SHA256, Data string
}

func (b *bench) look(t testing.TB, a containers.Action) view {
	t.Helper()
	_, out := b.run(t, a)
	var v view
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return v
}

// paths are the files below /cube, directories with a slash at their end.
func (v *view) paths() []string {
	out := []string{}
	for _, f := range v.Files {
		if strings.HasPrefix(f.Mode, "d") {
			f.Path += "/"
		}
		out = append(out, f.Path)
	}
	return out
}

// data is the SHA-256 of a file, or "".
func (v *view) sum(path string) string {
	for _, f := range v.Files {
		if f.Path == path {
			return f.SHA256
		}
	}
	return ""
}

func sumOf(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }

// testGrid has 8 × 6 cells, with three hours from 2020-09-27T11:00Z.
func testGrid(t testing.TB) grid.Grid {
	t.Helper()
	crs, err := grid.ParseCRS("EPSG:32613")
	if err != nil {
		t.Fatal(err)
	}
	g, err := grid.New(crs, 250, 250, grid.Bounds{West: 422750, South: 4445750, East: 422750 + 8*250, North: 4445750 + 6*250}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	g.Time, g.Box.T = grid.TimeAxis{Origin: 1601204400, Step: 3600}, grid.Range{Hi: 3}
	return g
}

// window is a window of a variable over the whole test grid.
func window(t testing.TB, role string, spec graph.VarSpec, format graph.Format, values []byte) containers.Input {
	spec = spec.WithDefaults()
	g := testGrid(t)
	box := g.Box
	if spec.Kind == graph.Static {
		box = box.Static()
	}
	dir := graph.InputDir + "/" + role
	w := graph.RequestInput{Path: dir, Format: format, Kind: spec.Kind, DType: spec.DType, Shape: graph.ShapeOf(spec, box)}
	if format == graph.NPY {
		w.File = dir + "/" + graph.ArrayFile
	}
	return containers.Input{Role: role, Window: w, Spec: spec, Grid: g, Box: box, Values: values}
}

// ramp is n bytes that differ.
func ramp(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func TestAContainerSeesWhatItIsGivenAndNothingElse(t *testing.T) {
	t.Parallel()
	for name, inMemory := range map[string]int64{"in memory": 0, "on disk": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values := ramp(8 * 6 * 4)
			file := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(file, []byte("a file"), 0o644); err != nil {
				t.Fatal(err)
			}
			a := action(t, step{Do: "look"}, step{Do: "write", Path: "report/r.txt", Data: []byte("done")})
			a.Request = []byte(`{"version":1,"operation":"run"}` + "\n ")
			a.Image.Env = []string{"PATH=/bin", "GREETING=hello world", "TZ=Mars"}
			a.CPUs = 2.5
			a.Outputs = map[string]graph.RequestOutput{"report": {Kind: graph.File}}
			text := window(t, "text", graph.VarSpec{Kind: graph.File}, "", nil)
			text.Window.File, text.File = "/cube/in/text/data", file
			a.Inputs = []containers.Input{window(t, "elevation", graph.VarSpec{}, graph.NPY, values), text}

			got := newBench(t, inMemory).look(t, a)
			want := []string{"/cube/", "/cube/in/", "/cube/in/elevation/", "/cube/in/elevation/data.npy", "/cube/in/text/", "/cube/in/text/data",
				"/cube/out/", "/cube/out/report/", "/cube/request.json", "/cube/scratch/", "/cube/sources/", "/cube/sources/script/", "/cube/sources/script/data.json"}
			if d := cmp.Diff(want, got.paths()); d != "" {
				t.Errorf("below /cube: -want +got:\n%s", d)
			}
			for path, content := range map[string][]byte{
				"/cube/request.json": a.Request, "/cube/in/text/data": []byte("a file"),
				"/cube/in/elevation/data.npy": array(t, "float32", values, 6, 8),
			} {
				if got.sum(path) != sumOf(content) {
					t.Errorf("%s has other bytes than it was given", path)
				}
			}
			if d := cmp.Diff(containers.Environment(a.Image.Env, 2.5), got.Env); d != "" {
				t.Errorf("environment: -want +got:\n%s", d)
			}
			if d := cmp.Diff([]string{"/payload"}, got.Args); d != "" || got.Dir != "/cube/scratch" {
				t.Errorf("arguments %v in %s", got.Args, got.Dir)
			}
		})
	}
}

func TestEnvironmentFixesWhatDiffers(t *testing.T) {
	t.Parallel()
	env := containers.Environment([]string{"A=1", "TZ=Mars", "OMP_NUM_THREADS=64"}, 3.7)
	if !slices.IsSorted(env) {
		t.Errorf("not sorted: %v", env)
	}
	for _, kv := range []string{"A=1", "TZ=UTC", "LC_ALL=C.UTF-8", "SOURCE_DATE_EPOCH=0", "OMP_NUM_THREADS=3", "GOMAXPROCS=3", "HOME=/cube/scratch", "PATH=/usr/local/bin:/usr/bin:/bin"} {
		name, _, _ := strings.Cut(kv, "=")
		if n := len(slices.DeleteFunc(slices.Clone(env), func(e string) bool { return !strings.HasPrefix(e, name+"=") })); n != 1 || !slices.Contains(env, kv) {
			t.Errorf("%d times %s, want once %s in %v", n, name, kv, env)
		}
	}
	if slices.Contains(containers.Environment([]string{"PATH=/opt"}, 0), "GOMAXPROCS=0") {
		t.Error("no thread at all")
	}
}

// manyWindows are as many small windows as no model has.
func manyWindows(t testing.TB) []containers.Input {
	var inputs []containers.Input
	for i := range 90 {
		spec := graph.VarSpec{DType: graph.Uint8, Units: "m"}
		n := 8 * 6
		if i%2 == 1 {
			spec.Kind, n = graph.Time, 3*8*6
			spec.Dims = []graph.Dim{{Name: "level", Size: 2, Labels: []string{"10", "100"}}}
			n *= 2
		}
		inputs = append(inputs, window(t, fmt.Sprintf("v%02d", i), spec, graph.Zarr, ramp(n)))
	}
	return inputs
}

func TestAContainerOpensItsWindowsHoweverManyThereAre(t *testing.T) {
	t.Parallel()
	for name, inMemory := range map[string]int64{"in memory": 0, "on disk": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := action(t, step{Do: "look"})
			a.Inputs = manyWindows(t)
			got := newBench(t, inMemory).look(t, a)

			// What was written outside is what is seen inside.
			dir := t.TempDir()
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			if err := containers.Fill(t.Context(), root, a.Inputs); err != nil {
				t.Fatal(err)
			}
			files := 0
			err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				b, err := os.ReadFile(path)
				files++
				if inside := graph.InputDir + strings.TrimPrefix(path, dir); got.sum(inside) != sumOf(b) {
					t.Errorf("%s differs", inside)
				}
				return err
			})
			if err != nil || files < 5*len(a.Inputs) {
				t.Fatalf("%d files: %v", files, err)
			}
			for _, f := range got.Files {
				if strings.HasPrefix(f.Path, graph.InputDir) && f.Time != 0 {
					t.Errorf("%s tells a time: %d", f.Path, f.Time)
				}
			}
			store, err := zarr.OpenDir(dir, zarr.DirConfig{})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			arr, err := zarr.OpenArray(t.Context(), store, "v03/v03")
			if err != nil {
				t.Fatal(err)
			}
			values := make([]byte, 3*2*6*8)
			if err := arr.ReadRegion(t.Context(), []int{0, 0, 0, 0}, []int{3, 2, 6, 8}, values); err != nil || !slices.Equal(values, a.Inputs[3].Values) {
				t.Errorf("other values: %v", err)
			}
		})
	}
}

// TestPartsOfASourceLookTheSameWhereverTheyLie holds it of small ones, which are
// laid out, and of large ones, which are mounted.
func TestPartsOfASourceLookTheSameWhereverTheyLie(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		inMemory int64
		size     int64
	}{"in memory": {0, 100}, "on disk": {1, 100}, "large": {0, 17 << 20}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := action(t, step{Do: "look"})
			a.Sources, a.PartDirs = append(a.Sources, parts(t, "rows", 3, "a row ")...), partDirs("none", "rows")
			last := a.Sources[len(a.Sources)-1]
			if err := errors.Join(os.Chmod(last.Path, 0o644), os.Truncate(last.Path, c.size), os.Chmod(last.Path, 0o444), os.Chtimes(last.Path, time.Unix(0, 0), time.Unix(0, 0))); err != nil {
				t.Fatal(err)
			}
			got := newBench(t, c.inMemory).look(t, a)
			seen := map[string]string{}
			for _, f := range got.Files {
				if strings.HasPrefix(f.Path, graph.SourceDir+"/rows") || f.Path == graph.SourceDir+"/none" {
					seen[f.Path] = fmt.Sprintf("%s %d %s", f.Mode, f.Time, f.SHA256)
				}
			}
			want := map[string]string{graph.SourceDir + "/rows": "drwxr-xr-x 0 ", graph.SourceDir + "/none": "drwxr-xr-x 0 "}
			for _, s := range a.Sources[len(a.Sources)-3:] {
				b, err := os.ReadFile(s.Path)
				if err != nil {
					t.Fatal(err)
				}
				want[s.Target] = "-r--r--r-- 0 " + sumOf(b)
			}
			if diff := cmp.Diff(want, seen); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAWindowIsStagedInOneOrder(t *testing.T) {
	t.Parallel()
	in := window(t, "wind", graph.VarSpec{Kind: graph.Time}, graph.Zarr, ramp(3*8*6*4))
	list := func() []string {
		var w order
		if err := cube.WriteWindow(t.Context(), &w, in.Role, in.Role, in.Spec, in.Grid, in.Box, in.Values); err != nil {
			t.Fatal(err)
		}
		return w
	}
	want := list()
	for range 20 { // a listing of the directory shows the order
		if d := cmp.Diff(want, list()); d != "" {
			t.Fatalf("-first +later:\n%s", d)
		}
	}
}

// order notes what is written, as it comes.
type order []string

func (o *order) Set(_ context.Context, key string, _ []byte) error {
	*o = append(*o, key)
	return nil
}

const openWindow = `
import json, sys, numpy as np, xarray as xr, rioxarray, zarr
path, name = sys.argv[1], sys.argv[2]
ds = xr.open_zarr(path)
a = zarr.open_group(path, mode="r")[name][...]
raw = xr.open_zarr(path, mask_and_scale=False, decode_times=False)[name]
assert np.array_equal(a, raw.values, equal_nan=a.dtype.kind == "f")
print(json.dumps({"dims": list(raw.dims), "dtype": str(a.dtype), "bytes": a.tobytes().hex(), "crs": ds.rio.crs.to_epsg(),
  "x": [float(v) for v in ds.x.values[:2]], "y": [float(v) for v in ds.y.values[:2]], "attrs": sorted(raw.attrs),
  "times": [str(t)[:19] for t in ds.time.values] if "time" in ds else None}))
`

func TestOtherProgramsOpenAStagedWindow(t *testing.T) {
	t.Parallel()
	fill := graph.Number("-9")
	for _, spec := range []graph.VarSpec{
		{Name: "elevation", Units: "m", LongName: "not to be told"},
		{Name: "fuel", DType: graph.Int16, Fill: &fill, Legend: []graph.Class{{Value: 1, Name: "grass", Color: "#00ff00"}}},
		{Name: "wind", Kind: graph.Time, DType: graph.Float64, Units: "m s-1"},
	} {
		t.Run(spec.Name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			spec = spec.WithDefaults()
			n := 48 * spec.DType.Size()
			if spec.Kind == graph.Time {
				n *= 3
			}
			values := make([]byte, n)
			for i := range values {
				values[i] = byte(i % 60) // no NaN
			}
			in := window(t, spec.Name, spec, graph.Zarr, values)
			if err := containers.Fill(t.Context(), root, []containers.Input{in}); err != nil {
				t.Fatal(err)
			}
			var got struct {
				Dims  []string
				DType string
				Bytes string
				CRS   int
				X, Y  []float64
				Attrs []string
				Times []string
			}
			out := peers.Run(t, openWindow, filepath.Join(dir, spec.Name), spec.Name)
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if got.Bytes != hex.EncodeToString(values) || got.DType != string(spec.DType) || !slices.Equal(got.Dims, graph.DimsOf(spec)) {
				t.Errorf("other values: %+v", got)
			}
			if got.CRS != 32613 || !slices.Equal(got.X, []float64{422875, 423125}) || !slices.Equal(got.Y, []float64{4447125, 4446875}) {
				t.Errorf("it lies elsewhere: %+v", got)
			}
			if spec.Kind == graph.Time && !slices.Equal(got.Times, []string{"2020-09-27T11:00:00", "2020-09-27T12:00:00", "2020-09-27T13:00:00"}) {
				t.Errorf("times: %v", got.Times)
			}
			if slices.Contains(got.Attrs, "long_name") || slices.Contains(got.Attrs, "flag_colors") {
				t.Errorf("it tells what is not hashed: %v", got.Attrs)
			}
		})
	}
}

// TestAStrictUmaskHidesNothing is not parallel: a umask is the process's.
func TestAStrictUmaskHidesNothing(t *testing.T) {
	a := action(t, step{Do: "look"}, step{Do: "write", Path: "r/x"})
	a.Outputs["r"] = graph.RequestOutput{Kind: graph.File}
	a.Limits.Disk = 4 << 20
	a.Inputs = []containers.Input{window(t, "e", graph.VarSpec{}, graph.Zarr, ramp(192)), window(t, "f", graph.VarSpec{}, graph.NPY, ramp(192))}
	for _, inMemory := range []int64{0, 1} {
		b := newBench(t, inMemory)
		old := syscall.Umask(0o077)
		r, err := b.Run(t.Context(), a)
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
}

func TestAFileLiesBesideWindowsHoweverManyThereAre(t *testing.T) {
	t.Parallel()
	for _, windows := range []int{0, 1, 90} {
		a := action(t, step{Do: "look"})
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte("a file"), 0o644); err != nil {
			t.Fatal(err)
		}
		text := window(t, "text", graph.VarSpec{Kind: graph.File}, "", nil)
		text.Window.File, text.File = "/cube/in/text/data", path
		a.Inputs = append(manyWindows(t)[:windows], text)
		got := newBench(t, 0).look(t, a)
		if got.sum("/cube/in/text/data") != sumOf([]byte("a file")) {
			t.Errorf("%d windows: the file is not there: %v", windows, got.paths())
		}
		for _, in := range a.Inputs[:windows] {
			if got.sum("/cube/in/"+in.Role+"/zarr.json") == "" {
				t.Errorf("%d windows: %s is not there", windows, in.Role)
			}
		}
	}
}

func TestAFileOutputIsReadWhole(t *testing.T) {
	t.Parallel()
	for name, inMemory := range map[string]int64{"in memory": 0, "on disk": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := ramp(3 << 20)
			a := action(t, step{Do: "write", Path: "map/Map 1.png", Data: want})
			a.Limits.Disk = 8 << 20
			a.Outputs["map"] = graph.RequestOutput{Kind: graph.File}
			r, _ := newBench(t, inMemory).run(t, a)
			got, err := io.ReadAll(r.Outputs["map"].File)
			if err != nil || !slices.Equal(got, want) || r.Outputs["map"].Name != "Map 1.png" {
				t.Errorf("%d bytes of %s: %v", len(got), r.Outputs["map"].Name, err)
			}
		})
	}
}

func TestInputsAndSourcesCannotBeLinkedIntoAnOutput(t *testing.T) {
	t.Parallel()
	for name, inMemory := range map[string]int64{"in memory": 0, "on disk": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, from := range []string{"/cube/sources/script/data.json", "/cube/in/e/data.npy", "/payload", "/cube/request.json"} {
				a := action(t, step{Do: "link", Path: "r/x", To: from})
				a.Outputs["r"] = graph.RequestOutput{Kind: graph.File}
				a.Inputs = []containers.Input{window(t, "e", graph.VarSpec{}, graph.NPY, ramp(192))}
				a.Limits.Disk = 4 << 20
				if f := newBench(t, inMemory).fail(t, a); f.Kind != containers.FailedExit {
					t.Errorf("link to %s: %v", from, f)
				}
			}
		})
	}
}

func BenchmarkFill(b *testing.B) {
	for name, format := range map[string]graph.Format{"npy": graph.NPY, "zarr": graph.Zarr} {
		in := []containers.Input{window(b, "e", graph.VarSpec{}, format, ramp(192))}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				dir, err := os.MkdirTemp("/dev/shm", "fill-")
				if err != nil {
					b.Skip(err)
				}
				root, err := os.OpenRoot(dir)
				if err != nil {
					b.Fatal(err)
				}
				if err := containers.Fill(b.Context(), root, in); err != nil {
					b.Fatal(err)
				}
				root.Close()
				b.StopTimer()
				os.RemoveAll(dir)
				b.StartTimer()
			}
		})
	}
}

// BenchmarkRun is one action whole: staging, sandbox, ingest.
func BenchmarkRun(b *testing.B) {
	a := action(b, step{Do: "write", Path: "a/data.npy", Data: array(b, "float32", ramp(192), 6, 8)})
	a.Outputs["a"] = grids(graph.Float32, 6, 8)
	a.Inputs = []containers.Input{window(b, "e", graph.VarSpec{}, graph.NPY, ramp(192))}
	x := newBench(b, 0)
	for b.Loop() {
		r, err := x.Run(b.Context(), a)
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAWindowThatManyAreGivenIsTheSameForEach(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	values := ramp(2 << 20)
	wide := func(format graph.Format) containers.Input {
		in := window(t, "elevation_"+string(format), graph.VarSpec{DType: graph.Uint8}, format, values)
		in.Box.Y.Hi, in.Box.X.Hi = in.Box.Y.Lo+1<<10, in.Box.X.Lo+2<<10
		in.Window.Shape = []int64{1 << 10, 2 << 10}
		in.Digest = cube.WindowDigest(graph.Uint8, in.Window.Shape, values)
		return in
	}
	var first view
	for round := range 8 {
		a := action(t, step{Do: "look"})
		a.OwnWindows = round < 4
		a.Inputs = []containers.Input{wide(graph.NPY), window(t, "small", graph.VarSpec{}, graph.NPY, ramp(8*6*4)), wide(graph.Zarr)}
		got := b.look(t, a)
		if got.sum("/cube/in/elevation_npy/data.npy") != sumOf(array(t, "uint8", values, 1<<10, 2<<10)) {
			t.Errorf("round %d: other values", round)
		}
		got.Files = slices.DeleteFunc(got.Files, func(f file) bool { return strings.HasPrefix(f.Path, graph.SourceDir+"/script/") }) // the test's own
		if round == 0 {
			first = got
		} else if d := cmp.Diff(first.Files, got.Files); d != "" {
			t.Errorf("round %d: it looks otherwise: %s", round, d)
		}
		if a.OwnWindows && b.room.Drop() > 0 {
			t.Errorf("round %d: a window was kept that nobody shares", round)
		}
	}
	if n := b.room.Drop(); n != 2 {
		t.Errorf("%d windows were kept on disk, want 2", n)
	}
}
