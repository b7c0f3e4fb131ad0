package examples

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/internal/peers"
	"github.com/cubebuild/cube/tests/program"
)

// place is a copy of a workspace, and the environment that the program runs
// with there.
type place struct {
	dir string
	env []string
}

// copyTo copies examples/NAME into dir. The examples lie side by side: one uses
// producers of another.
func copyTo(dir, name string, home []string) (place, error) {
	if err := program.CopyTree("examples", dir); err != nil {
		return place{}, err
	}
	toolchain, err := program.Toolchain()
	if err != nil {
		return place{}, err
	}
	env := append(toolchain, "PATH="+os.Getenv("PATH"), "NO_COLOR=1")
	if data := os.Getenv("CUBE_SAMPLE_DATA"); data != "" {
		env = append(env, "CUBE_SOURCES="+filepath.Join(data, "glassfire2020"))
	}
	p := place{filepath.Join(dir, name), append(env, home...)}
	return p, os.RemoveAll(filepath.Join(p.dir, "cube.lock"))
}

// newPlace copies an example into a folder of the test's own, with the built
// images that tests share.
func newPlace(t *testing.T, name string) place {
	t.Helper()
	home, err := program.Home(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, err := copyTo(t.TempDir(), name, home)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run runs the program and returns what it prints.
func (p place) run(args ...string) (string, error) {
	cube, err := program.Path()
	if err != nil {
		return "", err
	}
	cmd := exec.Command(cube, args...)
	cmd.Dir, cmd.Env = p.dir, p.env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", &runError{args, err, string(out) + stderr.String()}
	}
	return string(out), nil
}

// runError is what the program said when it failed.
type runError struct {
	args []string
	err  error
	said string
}

func (e *runError) Error() string {
	return "cube " + strings.Join(e.args, " ") + ": " + e.err.Error() + "\n" + e.said
}

// cube is run for tests.
func (p place) cube(t *testing.T, args ...string) string {
	t.Helper()
	out, err := p.run(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// view is where a variable's Zarr group is.
func (p place) view(variable string) string { return filepath.Join(p.dir, ".cube", "zarr", variable) }

// versions are the digests that the cube shows, by variable.
func (p place) versions(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(p.cube(t, "ls", "--json")) {
		var v struct{ Variable, Head string }
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if v.Variable != "" {
			out[v.Variable] = v.Head
		}
	}
	if len(out) == 0 {
		t.Fatal("cube ls names no variable")
	}
	return out
}

// built are examples that were built whole, once for all tests, which only
// read them.
var built struct {
	dir       string
	rockies   func() (place, error)
	glassfire func() (place, error)
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "cube-examples-")
	if err != nil {
		panic(err)
	}
	built.dir = dir
	built.rockies = sync.OnceValues(func() (place, error) { return buildShared("rockies") })
	built.glassfire = sync.OnceValues(func() (place, error) { return buildShared("glassfire") })
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func buildShared(name string) (place, error) {
	dir := filepath.Join(built.dir, name)
	home, err := program.Home(filepath.Join(dir, "home"))
	if err != nil {
		return place{}, err
	}
	p, err := copyTo(filepath.Join(dir, "work"), name, home)
	if err != nil {
		return place{}, err
	}
	_, err = p.run("build")
	return p, err
}

func rockies(t *testing.T) place {
	t.Helper()
	p, err := built.rockies()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func glassfire(t *testing.T) place {
	t.Helper()
	if os.Getenv("CUBE_SAMPLE_DATA") == "" {
		t.Skip("CUBE_SAMPLE_DATA is not set")
	}
	p, err := built.glassfire()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// gdaldem compares a slope with that of gdaldem, cell by cell. gdaldem computes
// in single precision, and so is itself some 1e-4 degrees off on steep ground.
const gdaldem = `
import subprocess, sys
import numpy as np, rasterio, zarr

view, elevation, theirs, method = sys.argv[1:]
subprocess.run(["gdaldem", "slope", "-q", "-alg", method, elevation, theirs], check=True)
with rasterio.open(theirs) as f:
    want = f.read(1)
    nothing = want == f.nodata
got = zarr.open_group(view, mode="r")["slope"][:]
assert got.dtype == np.float32 and got.shape == want.shape, (got.dtype, got.shape)
np.testing.assert_array_equal(np.isnan(got), nothing)
assert (~nothing).sum() > 10000 and got[~nothing].max() > 30, "nothing was compared"
np.testing.assert_allclose(got[~nothing].astype("f8"), want[~nothing].astype("f8"), rtol=0, atol=2e-4)
`

func TestSlopeIsThatOfGdaldem(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("gdaldem"); err != nil {
		t.Skip("NOT TESTED against gdaldem: it is not here (on Debian: apt install gdal-bin)")
	}
	for name, open := range map[string]func(*testing.T) place{"rockies": rockies, "glassfire": glassfire} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, dir := open(t), t.TempDir()
			elevation := filepath.Join(dir, "elevation.tif")
			p.cube(t, "export", "elevation", "-o", elevation)
			peers.Run(t, gdaldem, p.view("slope"), elevation, filepath.Join(dir, "slope.tif"), "Horn")
		})
	}
	t.Run("the other method", func(t *testing.T) {
		t.Parallel()
		p := newPlace(t, "rockies")
		p.cube(t, "build", "slope", "--set", "producers.slope.params.method=zevenbergen")
		elevation := filepath.Join(p.dir, "elevation.tif")
		p.cube(t, "export", "elevation", "-o", elevation)
		peers.Run(t, gdaldem, p.view("slope"), elevation, filepath.Join(p.dir, "slope.tif"), "ZevenbergenThorne")
	})
}

// same compares the values of two cubes bit by bit, whatever their chunks.
const same = `
import os, sys
import numpy as np, zarr

a, b = sys.argv[1:]
names = sorted(n for n in os.listdir(a) if not n.startswith("."))
assert names == sorted(n for n in os.listdir(b) if not n.startswith(".")) and len(names) == 5, names
for n in names:
    x, y = (zarr.open_group(os.path.join(d, n), mode="r")[n] for d in (a, b))
    assert x.chunks != y.chunks, f"{n}: both are cut alike: nothing is shown"
    assert x.dtype == y.dtype and x.shape == y.shape, n
    bits = f"u{x.dtype.itemsize}"
    np.testing.assert_array_equal(x[:].view(bits), y[:].view(bits), err_msg=n)
`

func TestTilesChangeNoBit(t *testing.T) {
	t.Parallel()
	for name, tiles := range map[string]string{"one tile": "1000", "ragged tiles": "50", "oblong tiles": "{y: 100, x: 36}"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, "rockies")
			p.cube(t, "build", "--set", "tiles="+tiles)
			peers.Run(t, same, filepath.Join(rockies(t).dir, ".cube", "zarr"), filepath.Join(p.dir, ".cube", "zarr"))
		})
	}
}

// readers opens the view of a variable with each reader, and compares what they
// say of it.
const readers = `
import json, sys
import numpy as np, pyproj, rioxarray, tensorstore, xarray as xr, zarr

view, told = sys.argv[1], json.loads(sys.argv[2])
name, (west, north) = told["variable"], (told["bounds"]["west"], told["bounds"]["north"])
rows, cols = told["shape"]
dx, dy = told["cell"]

values = zarr.open_group(view, mode="r")[name][:]
assert values.shape == (rows, cols) and values.dtype == told["dtype"]

got = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{view}/{name}/"}}).result().read().result()
np.testing.assert_array_equal(got, values)

ds = xr.open_zarr(view)
assert list(ds.data_vars) == [name], list(ds.data_vars)
a = ds[name]
assert a.dims == ("y", "x")
legend = told.get("legend", [])
if legend:
    np.testing.assert_array_equal(a.attrs["flag_values"], [c["value"] for c in legend])
    assert a.attrs["flag_meanings"].split() == [c["name"] for c in legend]
else:
    assert a.attrs["units"] == told["units"]
assert a.attrs["long_name"] == told["long_name"]
fill = a.encoding.get("_FillValue")
want = values.astype(a.dtype)
if fill is not None and values.dtype.kind in "iu":
    want = np.where(values == fill, np.nan, want)
np.testing.assert_array_equal(a.values, want)
np.testing.assert_array_equal(ds.x, west + (np.arange(cols) + 0.5) * dx)
np.testing.assert_array_equal(ds.y, north - (np.arange(rows) + 0.5) * dy)

assert pyproj.CRS(a.rio.crs).equals(pyproj.CRS(told["crs"])) or pyproj.CRS(a.rio.crs).to_epsg() == int(told["crs"][5:]), a.rio.crs
np.testing.assert_allclose(a.rio.transform()[:6], (dx, 0, west, 0, -dy, north), rtol=0, atol=0)

raw = xr.open_zarr(view, mask_and_scale=False)[name]
np.testing.assert_array_equal(raw.values, values)
assert np.isfinite(values.astype("f8")).sum() > values.size / 2, "hardly a value is there"
`

func TestEveryReaderOpensEveryVariable(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) place{"rockies": rockies, "glassfire": glassfire} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := open(t)
			for line := range strings.Lines(p.cube(t, "ls", "--json")) {
				var v struct{ Variable string }
				if err := json.Unmarshal([]byte(line), &v); err != nil {
					t.Fatal(err)
				}
				t.Run(v.Variable, func(t *testing.T) { peers.Run(t, readers, p.view(v.Variable), line) })
			}
		})
	}
}

// exported compares exported files with the view of the variable.
const exported = `
import json, sys
import numpy as np, pyproj, rasterio, rioxarray, xarray as xr, zarr

view, dir = sys.argv[1:3]
told = json.loads(sys.argv[3])
name, (west, north), (dx, dy) = told["variable"], (told["bounds"]["west"], told["bounds"]["north"]), told["cell"]
array = zarr.open_group(view, mode="r")[name]
values, bits = array[:], f"u{array.dtype.itemsize}"

def place(crs, transform):
    assert pyproj.CRS(crs).to_epsg() == int(told["crs"][5:]), crs
    assert tuple(transform)[:6] == (dx, 0, west, 0, -dy, north), transform

def equal(got):
    assert got.dtype == values.dtype, got.dtype
    np.testing.assert_array_equal(got.view(bits), values.view(bits))

with rasterio.open(f"{dir}/{name}.tif") as f:
    place(f.crs, f.transform)
    equal(f.read(1))
    if values.dtype.kind == "f":
        assert np.isnan(f.nodata), f.nodata
    elif "_FillValue" in array.attrs:
        assert f.nodata == array.attrs["_FillValue"], f.nodata

for ds in (xr.open_dataset(f"{dir}/{name}.nc", mask_and_scale=False), xr.open_zarr(f"{dir}/{name}.zarr", mask_and_scale=False)):
    a = ds[name]
    place(a.rio.crs, a.rio.transform())
    equal(a.values)
    assert a.attrs["long_name"] == told["long_name"]
    for key in ("units", "flag_meanings"):
        assert a.attrs.get(key) == array.attrs.get(key), key
`

func TestExportsHoldWhatTheViewHolds(t *testing.T) {
	t.Parallel()
	p := rockies(t)
	for line := range strings.Lines(p.cube(t, "ls", "--json")) {
		var v struct{ Variable string }
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		t.Run(v.Variable, func(t *testing.T) {
			dir := t.TempDir()
			for _, format := range []string{"tif", "nc", "zarr"} {
				p.cube(t, "export", v.Variable, "-o", filepath.Join(dir, v.Variable+"."+format))
			}
			peers.Run(t, exported, p.view(v.Variable), dir, line)
		})
	}
}

func TestTheWayToADomainLeavesNoTrace(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "rockies")
	p.cube(t, "build", "--set", "grid.bounds=[430750, 4457250, 449750, 4489250]")
	part := p.versions(t)
	p.cube(t, "build")
	want, got := rockies(t).versions(t), p.versions(t)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a domain that grew is not the one that was built at once:\n%s", diff)
	}
	for variable, digest := range part {
		if digest == want[variable] {
			t.Errorf("%s of a part has the digest of the whole", variable)
		}
	}
}

func TestAnotherFolderAndAnEmptyCacheGiveTheSameDigests(t *testing.T) {
	t.Parallel()
	here := rockies(t)
	// A home without the images that tests share: all is fetched and built anew.
	home := t.TempDir()
	elsewhere := []string{"HOME=" + home, "XDG_CACHE_HOME=" + filepath.Join(home, "cache"), "TMPDIR=" + home}
	there, err := copyTo(filepath.Join(t.TempDir(), "another", "folder"), "rockies", elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	there.cube(t, "build")
	if diff := cmp.Diff(here.versions(t), there.versions(t)); diff != "" {
		t.Errorf("versions differ:\n%s", diff)
	}
	if diff := cmp.Diff(lock(t, here), lock(t, there)); diff != "" {
		t.Errorf("images or sources differ:\n%s", diff)
	}

	// What is committed is enough for --locked, in a cube of its own.
	locked, err := copyTo(filepath.Join(t.TempDir(), "third"), "rockies", elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := locked.run("build", "slope", "--locked"); err == nil {
		t.Error("--locked builds without cube.lock")
	}
	if err := os.WriteFile(filepath.Join(locked.dir, "cube.lock"), []byte(lock(t, here)), 0o644); err != nil {
		t.Fatal(err)
	}
	locked.cube(t, "build", "--locked", "--offline")
	if diff := cmp.Diff(here.versions(t), locked.versions(t)); diff != "" {
		t.Errorf("versions differ with --locked:\n%s", diff)
	}
}

// lock is the text of a place's cube.lock, which names the digest of each image.
func lock(t *testing.T, p place) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "cube.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "builtin:dem") {
		t.Fatalf("cube.lock does not name the driver's image:\n%s", text)
	}
	return string(text)
}
