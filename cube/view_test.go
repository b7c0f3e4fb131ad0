package cube

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/peers"
)

// show makes a version the head of its variable and brings the views in line.
func show(t testing.TB, c *Cube, v *Version) Head {
	t.Helper()
	h := Head{Variable: v.Layout().Spec.Name, Version: v.Digest(), Native: 250}
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.MoveHeads(t.Context(), nil, []Head{h}); err != nil {
		t.Fatal(err)
	}
	if err := c.View(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

const readWithPeers = `
import json, sys, numpy as np, xarray as xr, rioxarray, zarr, tensorstore as ts
path, name = sys.argv[1], sys.argv[2]
ds = xr.open_zarr(path)
raw = xr.open_zarr(path, mask_and_scale=False, decode_times=False)
a = zarr.open_group(path, mode="r")[name][...]
b = ts.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": path + "/" + name}}).result().read().result()
assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
assert np.array_equal(a, raw[name].values, equal_nan=a.dtype.kind == "f")
out = {"dims": list(ds[name].dims), "crs": ds.rio.crs.to_epsg(), "transform": list(ds.rio.transform())[:6],
  "bytes": raw[name].values.astype(raw[name].dtype.newbyteorder("<")).tobytes().hex(),
  "attrs": {k: str(v) for k, v in raw[name].attrs.items()}, "y": float(ds.y[0]), "x": float(ds.x[-1]),
  "nodata": None if ds[name].rio.encoded_nodata is None else float(ds[name].rio.encoded_nodata)}
if "time" in ds[name].dims:
    out["time"] = [str(t)[:19] for t in ds.time.values]
print(json.dumps(out))
`

type peerView struct {
	Dims      []string
	CRS       int
	Transform []float64
	Bytes     string
	Attrs     map[string]string
	Y, X      float64
	Nodata    *float64
	Time      []string
}

func readPeers(t *testing.T, c *Cube, variable string) peerView {
	t.Helper()
	var out peerView
	if err := json.Unmarshal(peers.Run(t, readWithPeers, c.Path("zarr", variable), variable), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 2*len(b))
	for _, v := range b {
		out = append(out, digits[v>>4], digits[v&15])
	}
	return string(out)
}

func TestOtherProgramsReadAView(t *testing.T) {
	t.Parallel()
	fill := graph.Number("-9999")
	specs := map[string]graph.VarSpec{
		"elevation": {Name: "elevation", DType: graph.Float32, Units: "m", LongName: "height above the geoid", Standard: "surface_altitude"},
		"fuel": {Name: "fuel", DType: graph.Int16, Fill: &fill, Legend: []graph.Class{
			{Value: 1, Name: "short grass", Color: "#ffee88"}, {Value: 2, Name: "timber", Color: "#115511"}}},
		"wind": {Name: "wind", Kind: graph.Time, DType: graph.Float64, Units: "m s-1", CellMethod: graph.CellMean,
			Dims: []graph.Dim{{Name: "level", Size: 2, Labels: []string{"10", "100"}}}},
	}
	c := newTestCube(t, Config{})
	for name, spec := range specs {
		spec = spec.WithDefaults()
		var nt int64
		if spec.Kind == graph.Time {
			nt = 3
		}
		l := NewLayout(spec, testGrid(0, 0, 40, 30, nt), grid.Tiling{Y: 16, X: 16})
		if spec.Kind == graph.Time {
			l.Grid.Box.T = grid.Range{Lo: 0, Hi: 3}
		}
		values := make([]byte, l.Bytes(l.Domain()))
		switch spec.DType {
		case graph.Float32:
			copy(values, floats(3, int64(len(values)/4)))
			putNumbers(values[:16*30*4], nans(16*30)) // a row of chunks that is all fill
		case graph.Int16:
			for i := range len(values) / 2 {
				putNumbers(values[2*i:2*i+2], []int16{int16(i % 3)})
			}
			putNumbers(values[:2], []int16{-9999})
		default:
			for i := range len(values) / 8 {
				putNumbers(values[8*i:8*i+8], []float64{float64(i) / 7})
			}
		}
		show(t, c, build(t, c, l, grid.Tiling{Y: 16, X: 16}, values))
		got := readPeers(t, c, name)
		if got.Bytes != hexOf(values) {
			t.Errorf("%s: other programs read other values", name)
		}
		if got.CRS != 32613 || got.Transform[0] != 250 || got.Transform[2] != 430000 || got.Transform[5] != 4480000 {
			t.Errorf("%s: lies at %v in EPSG:%d", name, got.Transform, got.CRS)
		}
		if got.Y != 4480000-125 || got.X != 430000+29.5*250 {
			t.Errorf("%s: first y is %v, last x is %v", name, got.Y, got.X)
		}
		switch name {
		case "fuel":
			if got.Nodata == nil || *got.Nodata != -9999 || got.Attrs["flag_meanings"] != "short_grass timber" {
				t.Errorf("fuel: nodata %v, %v", got.Nodata, got.Attrs)
			}
		case "elevation":
			if got.Nodata != nil || got.Attrs["units"] != "m" { // NaN needs no attribute
				t.Errorf("elevation: nodata %v, %v", got.Nodata, got.Attrs)
			}
		case "wind":
			if len(got.Time) != 3 || got.Time[1] != "2020-09-13T13:26:40" || got.Attrs["cell_methods"] != "time: mean" || got.Dims[1] != "level" {
				t.Errorf("wind: %v, %v, %v", got.Time, got.Dims, got.Attrs)
			}
		}
	}
}

func nans(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(math.NaN())
	}
	return out
}

// readView reads a whole view with this project's own Zarr package.
func readView(t *testing.T, c *Cube, variable string) []byte {
	t.Helper()
	store, err := zarr.OpenDir(c.Path("zarr", variable), zarr.DirConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	g, err := zarr.OpenGroup(t.Context(), store, "")
	if err != nil {
		t.Fatal(err)
	}
	a, err := g.Array(t.Context(), variable)
	if err != nil {
		t.Fatal(err)
	}
	shape := a.Meta().Shape
	n := a.Meta().DataType.Size()
	for _, s := range shape {
		n *= s
	}
	dst := make([]byte, n)
	if err := a.ReadRegion(t.Context(), make([]int, len(shape)), shape, dst); err != nil {
		t.Fatal(err)
	}
	return dst
}

func TestAViewFollowsItsHead(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	tiling := grid.Tiling{Y: 8, X: 8}
	l := NewLayout(graph.VarSpec{Name: "dem"}.WithDefaults(), testGrid(0, 0, 40, 40, 0), tiling)
	values := floats(1, 1600)
	v1 := build(t, c, l, tiling, values)
	show(t, c, v1)
	if !bytes.Equal(readView(t, c, "dem"), values) {
		t.Fatal("a new view has other values")
	}
	info, err := os.Stat(c.Path("zarr", "dem", "dem", "c", "4", "4"))
	if err != nil {
		t.Fatal(err)
	}
	edited := bytes.Clone(values)
	putNumbers(edited[:4], []float32{-1})
	for y := range 8 { // a chunk becomes all fill
		putNumbers(edited[(8+y)*40*4:(8+y)*40*4+8*4], nans(8))
	}
	show(t, c, build(t, c, l, tiling, edited))
	if !bytes.Equal(readView(t, c, "dem"), edited) {
		t.Fatal("a patched view has other values")
	}
	if again, err := os.Stat(c.Path("zarr", "dem", "dem", "c", "4", "4")); err != nil || !os.SameFile(info, again) {
		t.Fatal("a chunk that did not change was replaced")
	}
	show(t, c, v1)
	if !bytes.Equal(readView(t, c, "dem"), values) {
		t.Fatal("a view that went back has other values")
	}
	wider := l
	wider.Grid.Box.X.Hi = 50
	more := floats(2, 2000)
	show(t, c, build(t, c, wider, tiling, more))
	if !bytes.Equal(readView(t, c, "dem"), more) {
		t.Fatal("a view of another shape has other values")
	}
	if err := c.RemoveVariable(t.Context(), "dem"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.Path("zarr", "dem")); !os.IsNotExist(err) {
		t.Fatal("the view of a removed variable is still there")
	}
	left, err := filepath.Glob(c.Path("zarr", ".tmp-*"))
	if err != nil || len(left) > 0 {
		t.Fatalf("left behind: %v, %v", left, err)
	}
}

func TestAWriteThroughAViewIsCaughtAndRepaired(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	tiling := grid.Tiling{Y: 8, X: 8}
	l := NewLayout(graph.VarSpec{Name: "dem"}.WithDefaults(), testGrid(0, 0, 16, 16, 0), tiling)
	values := floats(1, 256)
	v := build(t, c, l, tiling, values)
	show(t, c, v)
	chunk := c.Path("zarr", "dem", "dem", "c", "1", "0")
	if err := os.Chmod(chunk, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(chunk, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("vandal"), 20); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadWindow(t.Context(), v, l.Domain(), nil); err == nil {
		t.Fatal("a damaged object was read")
	}
	if c.HasVersion(v.Digest()) {
		t.Fatal("a version with a damaged object still counts")
	}
	again := build(t, c, l, tiling, values)
	if again.Digest() != v.Digest() || !c.HasVersion(v.Digest()) {
		t.Fatal("made again, the version is another or still broken")
	}
	show(t, c, again)
	if !bytes.Equal(readView(t, c, "dem"), values) {
		t.Fatal("the view still shows the damage")
	}
	if got, err := c.ReadWindow(t.Context(), v, l.Domain(), nil); err != nil || !bytes.Equal(got, values) {
		t.Fatalf("after the repair: %v", err)
	}
}

func TestALostObjectIsNoticedByWhoeverLinksIt(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	tiling := grid.Tiling{Y: 8, X: 8}
	l := NewLayout(graph.VarSpec{Name: "dem"}.WithDefaults(), testGrid(0, 0, 16, 16, 0), tiling)
	v := build(t, c, l, tiling, floats(1, 256))
	ref, _, err := v.Ref(t.Context(), 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Objects().Remove(ref.Object); err != nil {
		t.Fatal(err)
	}
	if err := c.MoveHeads(t.Context(), nil, []Head{{Variable: "dem", Version: v.Digest()}}); err != nil {
		t.Fatal(err)
	}
	if err := c.View(t.Context()); !errors.Is(err, ErrNotExist) {
		t.Errorf("view: %v", err)
	}
	if c.HasVersion(v.Digest()) {
		t.Error("a version that lacks an object still counts")
	}
}

func TestAfterAPowerCutVersionsThatLackObjectsDoNotCount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Create(dir); err != nil {
		t.Fatal(err)
	}
	open := func() *Cube {
		c, err := Open(dir, Config{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open()
	tiling := grid.Tiling{Y: 8, X: 8}
	l := NewLayout(graph.VarSpec{Name: "dem"}.WithDefaults(), testGrid(0, 0, 16, 16, 0), tiling)
	whole, torn, lost := build(t, c, l, tiling, floats(1, 256)), build(t, c, l, tiling, floats(2, 256)), build(t, c, l, tiling, floats(3, 256))
	if err := c.Close(); err != nil { // without a Sync
		t.Fatal(err)
	}
	c = open()
	defer c.Close()
	object := func(v *Version) string {
		ref, _, err := v.Ref(t.Context(), 0, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		return c.Objects().Path(ref.Object)
	}
	if err := errors.Join(os.Remove(object(lost)), os.Truncate(object(torn), 0)); err != nil {
		t.Fatal(err)
	}
	marks, err := filepath.Glob(c.Path("objects", "marks", "*"))
	if err != nil || len(marks) != 1 {
		t.Fatal(marks, err)
	}
	parts := strings.Split(marks[0], ".")
	parts[len(parts)-2] = "another-boot"
	if err := os.Rename(marks[0], strings.Join(parts, ".")); err != nil {
		t.Fatal(err)
	}
	// A process that another test is just starting may hold the closed cube's
	// lock on its mark for a moment, from its fork to its exec.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		r, err := c.Sweep(t.Context())
		if err != nil || !r.Unclean && time.Now().After(deadline) {
			t.Fatal(r, err)
		}
		if r.Unclean {
			break
		}
	}
	for v, want := range map[*Version]bool{whole: true, torn: false, lost: false} {
		if got := c.HasVersion(v.Digest()); got != want {
			t.Errorf("%s counts: %v", v.Digest().Short(), got)
		}
	}
}
