// Package examples checks what stands in examples/: that it is well formed,
// that its data is what its provenance says, and that what is copied is the
// same everywhere.
package examples

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/peers"
)

const examples = "../../examples"

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(examples, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("glob %s: %v, %v", pattern, names, err)
	}
	return names
}

func TestEveryWorkspaceIsWellFormed(t *testing.T) {
	t.Parallel()
	for _, name := range glob(t, "*/cube.yaml") {
		f, err := config.Load(name)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, p := range f.Producers {
			if !config.IsPath(p.Image) {
				continue
			}
			if _, err := os.Stat(filepath.Join(f.Dir(), p.Image, config.ProducerName)); err != nil {
				t.Errorf("%s: producer %s: %v", name, p.Name, err)
			}
		}
	}
}

func TestEveryProducerIsWellFormed(t *testing.T) {
	t.Parallel()
	for _, name := range glob(t, "*/producers/*/producer.yaml") {
		dir := filepath.Dir(name)
		p, err := config.LoadProducer(os.DirFS(dir), dir)
		if err != nil {
			t.Error(err)
			continue
		}
		if p.Manifest.Name != filepath.Base(dir) {
			t.Errorf("%s calls itself %s", dir, p.Manifest.Name)
		}
		_, err = os.Stat(filepath.Join(dir, "image.lock"))
		if locked := err == nil; locked != (len(p.Recipe.Debs) > 0) {
			t.Errorf("%s: its image.lock is there: %v; it has Debian packages: %v", dir, locked, p.Recipe.Debs)
		}
	}
}

func TestTheTerrainProducersShareTheirProtocol(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"cube.go", "window.go"} {
		want, err := os.ReadFile(filepath.Join(examples, "rockies/producers/slope", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range []string{"aspect", "hillshade"} {
			got, err := os.ReadFile(filepath.Join(examples, "rockies/producers", other, file))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s of %s is not that of slope:\n%s", file, other, diff)
			}
		}
	}
}

func TestDataIsWhatItsProvenanceSays(t *testing.T) {
	t.Parallel()
	for _, name := range glob(t, "*/data/PROVENANCE.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range glob(t, filepath.Join(filepath.Base(filepath.Dir(filepath.Dir(name))), "data/*")) {
			base := filepath.Base(file)
			if base == "PROVENANCE.md" || strings.HasPrefix(base, "LICENSE") {
				continue
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(data)
			if !bytes.Contains(text, []byte(base)) || !bytes.Contains(text, []byte(hex.EncodeToString(sum[:]))) {
				t.Errorf("%s: %s, or its SHA-256 %x, is not in it", name, base, sum)
			}
		}
	}
}

func TestPublicSourcesArePinned(t *testing.T) {
	t.Parallel()
	pinned := regexp.MustCompile(`/[0-9a-f]{40}/`)
	for _, name := range glob(t, "*/cube.yaml") {
		f, err := config.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range f.Sources {
			if !strings.Contains(s.URI, "://") {
				continue
			}
			if !strings.HasPrefix(s.URI, "https://") || s.SHA256.IsZero() || !pinned.MatchString(s.URI) {
				t.Errorf("%s: source %s: %s (%s) is not https with a commit and a SHA-256", name, s.Name, s.URI, s.SHA256)
			}
		}
	}
}

func TestTheProducersOfTheExamplesCompile(t *testing.T) {
	t.Parallel()
	for _, mod := range glob(t, "*/producers/*/go.mod") {
		cmd := exec.CommandContext(t.Context(), "go", "vet", ".")
		cmd.Dir, cmd.Env = filepath.Dir(mod), append(os.Environ(), "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", cmd.Dir, err, out)
		}
	}
}

// landfire runs the driver of examples/glassfire on small rasters.
const landfire = `
import json, os, sys, tempfile
import numpy as np, rasterio
from rasterio.transform import Affine
sys.path.insert(0, sys.argv[1])
import main

dir = tempfile.mkdtemp()
grid = {"crs": "EPSG:32610", "dx": 30.0, "dy": 30.0, "x0": 500000.5, "y0": 4200000.25}
legend = [{"value": 91}, {"value": 165}]

def raster(name, values, dx=30.0, crs="EPSG:32610", col=0, row=0):
    t = Affine(dx, 0, grid["x0"] + col * 30, 0, -dx, grid["y0"] - row * 30)
    path = os.path.join(dir, name)
    with rasterio.open(path, "w", driver="GTiff", width=values.shape[1], height=values.shape[0], count=1,
                       dtype="int16", crs=crs, transform=t, nodata=-9999) as f:
        f.write(values.astype("int16"), 1)
    return path

def run(cover, fuel, rows=(0, 3), cols=(0, 4)):
    request = {"version": 1, "grid": grid, "tile": {"y": {"lo": rows[0], "hi": rows[1]}, "x": {"lo": cols[0], "hi": cols[1]}},
               "sources": {"canopy_cover": {"file": cover}, "fuel_model": {"file": fuel}},
               "outputs": {"canopy_cover": {"file": dir + "/c.npy", "dtype": "uint8", "fill": 255},
                           "fuel_model": {"file": dir + "/f.npy", "dtype": "uint8", "fill": 0, "legend": legend}}}
    with open(dir + "/request.json", "w") as f:
        json.dump(request, f)
    main.main(dir + "/request.json")
    return np.load(dir + "/c.npy"), np.load(dir + "/f.npy")

def refused(words, *args, **kw):
    try:
        run(*args, **kw)
    except main.BadInput as err:
        assert words in str(err), str(err)
    else:
        raise AssertionError(words + ": not refused")

cover = np.array([[0, 15, 25, 35], [45, 55, -9999, 75], [85, 95, 100, 0]])
fuel = np.where(cover > 50, 165, 91)
c, f = run(raster("c.tif", cover), raster("f.tif", fuel))
assert c.dtype == f.dtype == np.uint8
np.testing.assert_array_equal(c, np.where(cover == -9999, 255, cover))
np.testing.assert_array_equal(f, fuel)

c, f = run(raster("c.tif", cover, col=2, row=-1), raster("f.tif", fuel), rows=(-1, 4), cols=(-3, 9))
np.testing.assert_array_equal(c[0:3, 5:9], np.where(cover == -9999, 255, cover))
assert (c == 255).sum() == 5 * 12 - 11
np.testing.assert_array_equal(f[1:4, 3:7], fuel)

refused("not those of the grid", raster("c.tif", cover, dx=30.01), raster("f.tif", fuel))
refused("not those of the grid", raster("c.tif", cover, col=0.5), raster("f.tif", fuel))
refused("the grid in EPSG:32610", raster("c.tif", cover, crs="EPSG:32611"), raster("f.tif", fuel))
refused("fuel_model holds 92, 166, which is no class", raster("c.tif", cover), raster("f.tif", fuel + 1))
refused("canopy_cover holds -9979, 105, 115, 120, which", raster("c.tif", cover + 20), raster("f.tif", fuel))
path = raster("c.tif", np.tile(cover, (40, 40)))
os.truncate(path, os.path.getsize(path) // 2)
refused("cannot be read", path, raster("f.tif", fuel), rows=(117, 120))
`

func TestLandfireIsReadCellByCell(t *testing.T) {
	t.Parallel()
	peers.Run(t, landfire, filepath.Join(examples, "glassfire/producers/landfire"))
}

// terrain checks the rules of terrain_class at their thresholds.
const terrain = `
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import main

params = dict(valley_elevation=2650, tree_line=3450, gentle_slope=8, steep_slope=20, cliff_slope=35)
nan = float("nan")
cases = [(2649.9, 7.9, main.VALLEY), (2650, 7.9, main.BENCH), (2000, 8, main.HILLSIDE), (3449, 19.9, main.HILLSIDE),
         (3450, 19.9, main.TUNDRA), (3450, 0, main.TUNDRA), (4000, 20, main.STEEP), (4000, 34.9, main.STEEP),
         (1000, 35, main.CLIFF), (nan, 5, main.NODATA), (3000, nan, main.NODATA)]
elevation, slope, want = (np.array(column) for column in zip(*cases))
got = main.classify(elevation, slope, params)
assert got.dtype == np.uint8
np.testing.assert_array_equal(got, want)
`

func TestTerrainClassesMeetAtTheirThresholds(t *testing.T) {
	t.Parallel()
	peers.Run(t, terrain, filepath.Join(examples, "rockies/producers/terrain_class"))
}
