package exchange

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/peers"
	"github.com/google/go-cmp/cmp"
)

func openCube(t *testing.T) *cube.Cube {
	t.Helper()
	dir := t.TempDir()
	if err := cube.Create(dir); err != nil {
		t.Fatal(err)
	}
	c, err := cube.Open(dir, cube.Config{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// put makes a version whose values count up from 1, with nodata at every
// seventh, and shows it as head.
func put(t *testing.T, c *cube.Cube, spec graph.VarSpec, g grid.Grid) Export {
	t.Helper()
	spec = spec.WithDefaults()
	l := cube.Layout{Spec: spec, Grid: g, Chunk: grid.Tiling{T: 1, Y: 16, X: 16}}
	if err := l.Valid(); err != nil {
		t.Fatal(err)
	}
	b, err := c.NewBuilder(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range l.Chunks() {
		box := l.ChunkBox(l.At(i))
		values := make([]byte, 0, l.Bytes(box))
		for range l.Bytes(box) / int64(spec.DType.Size()) {
			n++
			values = append(values, element(t, spec, n)...)
		}
		refs, err := c.PutTile(t.Context(), l, box, values)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Set(t.Context(), box, refs); err != nil {
			t.Fatal(err)
		}
	}
	v, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h := cube.Head{Variable: spec.Name, Version: v.Digest(), Spec: spec}
	if err := c.MoveHeads(t.Context(), nil, []cube.Head{h}); err != nil {
		t.Fatal(err)
	}
	if err := c.View(t.Context()); err != nil {
		t.Fatal(err)
	}
	return Export{Cube: c, Head: h, Version: v}
}

func element(t *testing.T, spec graph.VarSpec, n int) []byte {
	t.Helper()
	le := binary.LittleEndian
	v := float64(n % 100)
	if spec.DType.IsFloat() && n%7 == 0 {
		v = math.NaN()
	}
	switch spec.DType {
	case graph.Float32:
		return le.AppendUint32(nil, math.Float32bits(float32(v)))
	case graph.Float64:
		return le.AppendUint64(nil, math.Float64bits(v))
	case graph.Uint8, graph.Int8:
		return []byte{byte(n % 7)}
	case graph.Bool:
		return []byte{byte(n % 2)}
	case graph.Int16, graph.Uint16:
		return le.AppendUint16(nil, uint16(v))
	case graph.Int32, graph.Uint32:
		return le.AppendUint32(nil, uint32(v))
	case graph.Int64, graph.Uint64:
		return le.AppendUint64(nil, uint64(v))
	}
	t.Fatal(spec.DType)
	return nil
}

// utm begins within a chunk, so that what is stored is larger than what is
// exported.
func utm(t *testing.T) grid.Grid {
	t.Helper()
	g, err := grid.New("EPSG:32610", 30, 30, grid.Bounds{West: 500150, South: 4198800, East: 500900, North: 4199790}, &grid.Point{X: 500000, Y: 4200000}, grid.AlignOut)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func degrees(t *testing.T) grid.Grid {
	t.Helper()
	g, err := grid.New("EPSG:4326", 0.25, 0.5, grid.Bounds{West: -106, South: 39, East: -101, North: 41.5}, nil, grid.AlignExact)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func hourly(t *testing.T, g grid.Grid) grid.Grid {
	t.Helper()
	g, err := g.WithTime(1601204400, 1601204400+3*3600, 3600) // 2020-09-27T11:00Z
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// agree has every reader open the exports of each variable in a folder, and
// compares them, with the view that the cube shows.
const agree = `
import sys, json, pathlib
import numpy as np, rasterio, rioxarray, xarray as xr
folder = pathlib.Path(sys.argv[1])
for name in sys.argv[2:]:
    z = xr.open_zarr(folder / (name + ".zarr"), decode_coords="all")
    nc = xr.open_dataset(folder / (name + ".nc"), decode_coords="all", engine="netcdf4")
    a, b = z[name], nc[name]
    window = {d: b[d] for d in ("y", "x")}
    a = a.sel(window)
    assert a.dims == b.dims, (a.dims, b.dims)
    assert z.rio.crs == nc.rio.crs and nc.rio.crs, (name, z.rio.crs, nc.rio.crs)
    assert nc.rio.transform().almost_equals(a.rio.transform(recalc=True)), name
    np.testing.assert_array_equal(a.values, b.values)
    for d in a.dims:
        if d in a.coords:
            np.testing.assert_array_equal(a[d].values, b[d].values)
    for key in ("units", "long_name", "standard_name", "flag_meanings"):
        assert a.attrs.get(key) == b.attrs.get(key), (name, key, a.attrs, b.attrs)
    if "flag_values" in a.attrs:
        assert list(a.attrs["flag_values"]) == list(b.attrs["flag_values"])
    with rasterio.open(folder / (name + ".tif")) as t:
        assert t.crs == nc.rio.crs and t.transform.almost_equals(nc.rio.transform()), (name, t.crs, t.transform)
        v = t.read(masked=True)
        planes = b.values.reshape(v.shape)
        if b.dtype.kind == "f":
            np.testing.assert_array_equal(np.ma.filled(v.astype("f8"), np.nan), planes.astype("f8"))
        else:
            np.testing.assert_array_equal(v.data, planes)
        print(json.dumps({"name": name, "dtype": t.dtypes[0], "bands": t.count, "nodata": None if t.nodata is None or t.nodata != t.nodata else t.nodata,
            "first": t.descriptions[0], "last": t.descriptions[-1], "units": t.units[0]}))
`

type seen struct {
	Name, DType string
	Bands       int
	Nodata      *float64
	First, Last string
	Units       *string
}

func TestExportsAgreeInEveryReader(t *testing.T) {
	t.Parallel()
	c, folder := openCube(t), t.TempDir()
	fill := graph.Number("0")
	m := "m"
	cases := []struct {
		spec graph.VarSpec
		grid grid.Grid
		want seen
	}{
		{graph.VarSpec{Name: "height", Kind: graph.Static, DType: graph.Float32, Units: "m", LongName: "Height", Standard: "surface_altitude"}, utm(t),
			seen{DType: "float32", Bands: 1, First: "height", Last: "height", Units: &m}},
		{graph.VarSpec{Name: "wide", Kind: graph.Static, DType: graph.Float64, Units: "m"}, degrees(t), seen{DType: "float64", Bands: 1, First: "wide", Last: "wide", Units: &m}},
		{graph.VarSpec{Name: "fuel", Kind: graph.Static, DType: graph.Uint8, Fill: &fill, Legend: []graph.Class{{Value: 1, Name: "dry grass", Color: "#ffff00"}, {Value: 2, Name: "shrub"}}}, utm(t),
			seen{DType: "uint8", Bands: 1, Nodata: new(float64), First: "fuel", Last: "fuel"}},
		{graph.VarSpec{Name: "count", Kind: graph.Static, DType: graph.Int16}, utm(t), seen{DType: "int16", Bands: 1, First: "count", Last: "count"}},
		{graph.VarSpec{Name: "many", Kind: graph.Static, DType: graph.Int64}, utm(t), seen{DType: "int64", Bands: 1, First: "many", Last: "many"}},
		{graph.VarSpec{Name: "burnt", Kind: graph.Static, DType: graph.Bool}, utm(t), seen{DType: "uint8", Bands: 1, First: "burnt", Last: "burnt"}},
		{graph.VarSpec{Name: "wind", Kind: graph.Time, DType: graph.Float32, Units: "m", Dims: []graph.Dim{{Name: "level", Size: 2, Labels: []string{"10", "850"}}}}, hourly(t, utm(t)),
			seen{DType: "float32", Bands: 6, First: "wind 2020-09-27T11:00Z level=10", Last: "wind 2020-09-27T13:00Z level=850", Units: &m}},
	}
	args := []string{folder}
	var want []seen
	for _, k := range cases {
		x := put(t, c, k.spec, k.grid)
		name := k.spec.Name
		exportAll(t, x, filepath.Join(folder, name))
		k.want.Name = name
		args, want = append(args, name), append(want, k.want)
	}
	var got []seen
	d := json.NewDecoder(bytes.NewReader(peers.Run(t, agree, args...)))
	for range cases {
		var s seen
		if err := d.Decode(&s); err != nil {
			t.Fatal(err)
		}
		got = append(got, s)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// exportAll writes the three formats.
func exportAll(t *testing.T, x Export, path string) {
	t.Helper()
	for ext, write := range map[string]func(*os.File) error{
		".tif": func(f *os.File) error { return x.GeoTIFF(t.Context(), f) },
		".nc":  func(f *os.File) error { return x.NetCDF(t.Context(), f) },
	} {
		f, err := os.Create(path + ext)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(write(f), f.Close()); err != nil {
			t.Fatalf("%s%s: %v", path, ext, err)
		}
	}
	if err := os.Mkdir(path+".zarr", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := x.Zarr(t.Context(), path+".zarr"); err != nil {
		t.Fatal(err)
	}
}

func TestADamagedObjectIsNotExported(t *testing.T) {
	t.Parallel()
	c := openCube(t)
	x := put(t, c, graph.VarSpec{Name: "height", Kind: graph.Static, DType: graph.Float32}, utm(t))
	ref, _, err := x.Version.Ref(t.Context(), 0, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	path := c.Objects().Path(ref.Object)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, b, 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := x.Zarr(t.Context(), t.TempDir()); err == nil {
		t.Error("Zarr: a damaged chunk was exported")
	}
}

func TestZarrComesBackAsItWent(t *testing.T) {
	t.Parallel()
	c := openCube(t)
	fill := graph.Number("0")
	for _, spec := range []graph.VarSpec{
		{Name: "height", Kind: graph.Static, DType: graph.Float32, Units: "m", LongName: "Height"},
		{Name: "fuel", Kind: graph.Static, DType: graph.Uint8, Fill: &fill, Legend: []graph.Class{{Value: 1, Name: "grass", Color: "#ffff00"}, {Value: 2, Name: "shrub", Color: "#00ff00"}}},
	} {
		g := utm(t)
		g, err := grid.Like(g.Lattice.CRS, g.Lattice.GeoTransform(g.Box), g.Box.X.Len(), g.Box.Y.Len())
		if err != nil {
			t.Fatal(err)
		}
		x := put(t, c, spec, g)
		dir := filepath.Join(t.TempDir(), "x.zarr")
		if err := errors.Join(os.Mkdir(dir, 0o755), x.Zarr(t.Context(), dir)); err != nil {
			t.Fatal(err)
		}
		in, err := ImportZarr(t.Context(), c, dir, ZarrImport{Variable: spec.Name, Tiling: grid.Tiling{Y: 16, X: 16}})
		if err != nil {
			t.Fatal(err)
		}
		// Coming back it may be cut otherwise; its values and meaning are the same.
		if diff := cmp.Diff(spec.WithDefaults(), in.Layout.Spec); diff != "" {
			t.Errorf("%s (-went +came):\n%s", spec.Name, diff)
		}
		if in.Layout.Grid != g {
			t.Errorf("%s: grid %v, went %v", spec.Name, in.Layout.Grid, g)
		}
		want, err := c.ReadWindow(t.Context(), x.Version, g.Box, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.ReadWindow(t.Context(), in.Version, g.Box, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, got) {
			t.Errorf("%s: other values", spec.Name)
		}
		if math.Abs(in.Native-30) > 0.2 {
			t.Errorf("%s: native %v m", spec.Name, in.Native)
		}
	}
}

// foreign writes groups as other programs make them.
const foreign = `
import sys, numpy as np, xarray as xr, pandas as pd
out = sys.argv[1]
v = np.arange(24, dtype="f4").reshape(2, 3, 4)
v[0, 0, 0] = -9999
lat, lon = [39.0, 39.5, 40.0], [-105.0, -104.5, -104.0, -103.5]  # rows go north
ds = xr.Dataset({"t2m": (("time", "lat", "lon"), v, {"units": "K", "long_name": "Temperature"})},
    {"time": pd.date_range("2020-09-27T11:00", periods=2, freq="6h"), "lat": lat, "lon": lon})
enc = {"t2m": {"_FillValue": np.float32(-9999)}}
ds.to_zarr(out + "/north.zarr", zarr_format=3, encoding=enc)
ds.assign(rh=ds.t2m).to_zarr(out + "/two.zarr", zarr_format=3)
ds.to_zarr(out + "/old.zarr", zarr_format=2, encoding=enc)
ds.to_zarr(out + "/packed.zarr", zarr_format=3, encoding={"t2m": {"dtype": "int16", "scale_factor": 0.1, "_FillValue": -1}})
ds.assign_coords(lon=[-105.0, -104.5, -104.0, -103.0]).to_zarr(out + "/uneven.zarr", zarr_format=3)
ds.rename(lat="y", lon="x").to_zarr(out + "/nowhere.zarr", zarr_format=3)
`

func TestZarrOfOtherProgramsIsBroughtIn(t *testing.T) {
	t.Parallel()
	out, c := t.TempDir(), openCube(t)
	peers.Run(t, "import warnings; warnings.simplefilter('ignore')\n"+foreign, out)
	tiling := grid.Tiling{Y: 1024, X: 1024}
	in, err := ImportZarr(t.Context(), c, filepath.Join(out, "north.zarr"), ZarrImport{Variable: "temperature", Tiling: tiling})
	if err != nil {
		t.Fatal(err)
	}
	g := in.Layout.Grid
	if b := g.Bounds(); g.Lattice.CRS != "EPSG:4326" || b != (grid.Bounds{West: -105.25, South: 38.75, East: -103.25, North: 40.25}) {
		t.Errorf("it lies at %v in %s", b, g.Lattice.CRS)
	}
	if at := grid.FormatTime(g.Time.At(g.Box.T.Lo)); at != "2020-09-27T11:00Z" || g.Time.Step != 6*3600 || g.Box.T.Len() != 2 {
		t.Errorf("times from %s every %d s", at, g.Time.Step)
	}
	if s := in.Layout.Spec; s.Units != "K" || s.LongName != "Temperature" || s.Kind != graph.Time {
		t.Errorf("spec %+v", s)
	}
	raw, err := c.ReadWindow(t.Context(), in.Version, g.Box, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []float64
	for ; len(raw) > 0; raw = raw[4:] {
		got = append(got, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))))
	}
	want := []float64{8, 9, 10, 11, 4, 5, 6, 7, math.NaN(), 1, 2, 3, 20, 21, 22, 23, 16, 17, 18, 19, 12, 13, 14, 15} // north first
	for i := range want {
		if got[i] != want[i] && !(math.IsNaN(got[i]) && math.IsNaN(want[i])) {
			t.Fatalf("values %v, want %v", got, want)
		}
	}
	old, err := ImportZarr(t.Context(), c, filepath.Join(out, "old.zarr"), ZarrImport{Variable: "temperature", Tiling: tiling})
	if err != nil || old.Version.Digest() != in.Version.Digest() {
		t.Errorf("of version 2 it is another (%v)", err)
	}
	for name, words := range map[string]string{"two": "name one", "packed": "packed", "uneven": "not evenly spaced", "nowhere": "reference system", "": "no Zarr group"} {
		_, err := ImportZarr(t.Context(), c, filepath.Join(out, name+".zarr")[:len(out)+1+len(name)+5*min(1, len(name))], ZarrImport{Variable: "x", Tiling: tiling})
		if wrong := (*InputError)(nil); !errors.As(err, &wrong) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want it to say %q", name, err, words)
		}
	}
}

func TestZarrIsBroughtOntoAGrid(t *testing.T) {
	t.Parallel()
	c := openCube(t)
	x := put(t, c, graph.VarSpec{Name: "height", Kind: graph.Static, DType: graph.Float32}, utm(t))
	dir := filepath.Join(t.TempDir(), "x.zarr")
	if err := errors.Join(os.Mkdir(dir, 0o755), x.Zarr(t.Context(), dir)); err != nil {
		t.Fatal(err)
	}
	target, err := grid.New("EPSG:32610", 90, 90, grid.Bounds{West: 500220, South: 4199000, East: 500490, North: 4199270}, nil, grid.AlignExact)
	if err != nil {
		t.Fatal(err)
	}
	in, err := ImportZarr(t.Context(), c, dir, ZarrImport{Variable: "coarse", Grid: &target, Resampling: grid.Max, Tiling: grid.Tiling{Y: 64, X: 64}})
	if err != nil {
		t.Fatal(err)
	}
	if in.Layout.Grid != target || math.Abs(in.Native-90) > 0.5 {
		t.Errorf("on %v, native %v", in.Layout.Grid, in.Native)
	}
	want, err := c.ReadOnto(t.Context(), x.Version, target, target.Box, grid.Max, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.ReadWindow(t.Context(), in.Version, target.Box, nil)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("other values than ReadOnto gives (%v)", err)
	}
}

func TestFlagsAreReadInEveryDialect(t *testing.T) {
	t.Parallel()
	colors := map[string]string{"2": "#00ff00", "1": "green"}
	want := []graph.Class{{Value: 1, Name: "grass"}, {Value: 2, Name: "shrub", Color: "#00ff00"}}
	for _, values := range []string{"1,2", "1 2", "{1,2}", "[1, 2]", "1b, 2b", "1UB 2UB"} {
		if diff := cmp.Diff(want, Flags(values, "grass shrub", colors)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", values, diff)
		}
	}
	for _, c := range [][2]string{{"", ""}, {"1", "grass shrub"}, {"1,1", "grass shrub"}, {"1,2", "grass grass"}, {"a,b", "grass shrub"}} {
		if got := Flags(c[0], c[1], nil); got != nil {
			t.Errorf("%q: %v", c, got)
		}
	}
}

func TestATreeIsNamedByItsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("b/c", "two")
	write("a", "one")
	first, size, err := HashTree(t.Context(), dir)
	if err != nil || size != 6 {
		t.Fatalf("size %d, %v", size, err)
	}
	// What (cd dir; find -type f | sort | xargs sha256sum | sha256sum) prints,
	// with the names as they are below the folder.
	want := graph.Sum([]byte("7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed  a\n3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3  b/c\n"))
	if first != want {
		t.Errorf("digest %s, want %s", first, want)
	}
	write("a", "One")
	if changed, _, _ := HashTree(t.Context(), dir); changed == first {
		t.Error("a changed file changes nothing")
	}
}

// FuzzImportZarr has hostile documents describe an array whose chunks are not
// there: whatever they say ends in a version or an error.
func FuzzImportZarr(f *testing.F) {
	dir := f.TempDir()
	if err := cube.Create(dir); err != nil {
		f.Fatal(err)
	}
	c, err := cube.Open(dir, cube.Config{NoSync: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { c.Close() })
	g, err := grid.New("EPSG:32610", 30, 30, grid.Bounds{West: 500000, South: 4199700, East: 500300, North: 4200000}, nil, grid.AlignExact)
	if err != nil {
		f.Fatal(err)
	}
	timed, err := g.WithTime(0, 7200, 3600)
	if err != nil {
		f.Fatal(err)
	}
	fill := graph.Number("0")
	for _, seed := range []struct {
		spec graph.VarSpec
		grid grid.Grid
	}{
		{graph.VarSpec{Name: "field", Kind: graph.Static, DType: graph.Float32, Units: "m"}, g},
		{graph.VarSpec{Name: "field", Kind: graph.Static, DType: graph.Uint8, Fill: &fill, Legend: []graph.Class{{Value: 1, Name: "a"}}}, g},
		{graph.VarSpec{Name: "field", Kind: graph.Time, DType: graph.Float64, Dims: []graph.Dim{{Name: "level", Size: 2}}}, timed},
	} {
		var mem zarr.MemStore
		if err := cube.WriteWindow(f.Context(), &mem, "", "field", seed.spec.WithDefaults(), seed.grid, seed.grid.Box, nil); err != nil {
			f.Fatal(err)
		}
		doc, err := mem.Get(f.Context(), "zarr.json", nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "zarr.json"), doc, 0o644); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		in, err := ImportZarr(ctx, c, dir, ZarrImport{Variable: "field", Tiling: grid.Tiling{Y: 64, X: 64}})
		if err == nil && !in.Version.Coverage().Complete() {
			t.Error("a version that is not whole")
		}
	})
}
