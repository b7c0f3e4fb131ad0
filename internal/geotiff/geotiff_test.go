package geotiff

import (
	"bytes"
	"encoding/json"
	"errors"
	"image/color"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/cubebuild/cube/internal/peers"
	"github.com/google/go-cmp/cmp"
)

// write writes values, all bands of an image, to a file.
func write(t *testing.T, m *Image, values []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.tif")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := int64(sizes[m.DType])
	err = Write(f, m, func(tile Tile) ([]byte, error) {
		var out []byte
		for band := range m.Bands {
			for y := range tile.Rows {
				at := (band*m.Rows+tile.Row+y)*m.Columns + tile.Column
				out = append(out, values[at*size:][:tile.Columns*size]...)
			}
		}
		return out, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// read has rasterio read files: their values as they lie in memory, and what it
// says of each.
const read = `
import sys, json, pathlib, rasterio
for path in sys.argv[1:]:
    with rasterio.open(path) as ds:
        v = ds.read()
        pathlib.Path(path + ".raw").write_bytes(v.astype(v.dtype.newbyteorder("<")).tobytes())
        t = ds.transform
        print(json.dumps({"dtype": ds.dtypes[0], "shape": v.shape, "crs": ds.crs and ds.crs.to_epsg(), "nodata": str(ds.nodata),
            "transform": [t.c, t.a, t.b, t.f, t.d, t.e], "units": ds.units, "names": ds.descriptions, "tags": ds.tags(1),
            "color": ds.colormap(1)[3] if ds.colorinterp[0].name == "palette" else None}))
`

type seen struct {
	DType     string
	Shape     []int64
	CRS       int
	Nodata    string
	Transform [6]float64
	Units     []*string
	Names     []*string
	Tags      map[string]string
	Color     []int
}

// readBack reads files, all in one process.
func readBack(t *testing.T, paths ...string) ([]seen, [][]byte) {
	t.Helper()
	all := make([]seen, len(paths))
	raw := make([][]byte, len(paths))
	d := json.NewDecoder(bytes.NewReader(peers.Run(t, read, paths...)))
	for i, path := range paths {
		if err := d.Decode(&all[i]); err != nil {
			t.Fatal(err)
		}
		var err error
		if raw[i], err = os.ReadFile(path + ".raw"); err != nil {
			t.Fatal(err)
		}
	}
	return all, raw
}

func TestRasterioReadsEveryDtypeAndEdge(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	var paths []string
	var images []*Image
	var written [][]byte
	for dtype, size := range sizes {
		for _, shape := range [][3]int64{{1, 1, 1}, {1, 300, 257}, {3, 256, 20}} {
			values := make([]byte, shape[0]*shape[1]*shape[2]*int64(size))
			for i := range values {
				values[i] = byte(r.Uint32())
				if dtype == "float32" || dtype == "float64" {
					values[i] &= 0x3f // no NaN, whose bits a reader may change
				}
			}
			m := &Image{Bands: shape[0], Rows: shape[1], Columns: shape[2], DType: dtype, EPSG: 32610, Transform: [6]float64{500000, 30, 0, 4200000, 0, -30}}
			paths, images, written = append(paths, write(t, m, values)), append(images, m), append(written, values)
		}
	}
	all, raw := readBack(t, paths...)
	for i, m := range images {
		s := all[i]
		if s.DType != m.DType || !bytes.Equal(raw[i], written[i]) {
			t.Errorf("rasterio reads other values of %s as %s", m.DType, s.DType)
		}
		want := seen{Shape: []int64{m.Bands, m.Rows, m.Columns}, CRS: 32610, Nodata: "None", Transform: m.Transform}
		if diff := cmp.Diff(want, seen{Shape: s.Shape, CRS: s.CRS, Nodata: s.Nodata, Transform: s.Transform}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", m.DType, diff)
		}
	}
}

func TestRasterioReadsWhatValuesMean(t *testing.T) {
	t.Parallel()
	colors := make([]color.RGBA, 256)
	colors[3] = color.RGBA{10, 20, 30, 255}
	m := &Image{Bands: 1, Rows: 2, Columns: 2, DType: "uint8", EPSG: 4326, Geographic: true, Nodata: "255", Colors: colors,
		Transform: [6]float64{-105, 0.25, 0, 40, 0, -0.5},
		Items:     []Item{{-1, "all", "", "of <it>"}, {0, "DESCRIPTION", "description", "fuel & more"}, {0, "UNITTYPE", "unittype", "m"}, {0, "flag_values", "", "1,2"}}}
	all, raw := readBack(t, write(t, m, []byte{1, 2, 3, 255}))
	s, got := all[0], raw[0]
	name, units := "fuel & more", "m"
	want := seen{DType: "uint8", Shape: []int64{1, 2, 2}, CRS: 4326, Nodata: "255.0", Transform: m.Transform, Units: []*string{&units}, Names: []*string{&name},
		Tags: map[string]string{"flag_values": "1,2"}, Color: []int{10, 20, 30, 255}}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !bytes.Equal(got, []byte{1, 2, 3, 255}) {
		t.Errorf("values %v", got)
	}
}

func TestALargeImageIsABigTIFF(t *testing.T) {
	t.Parallel()
	m := &Image{Bands: 1, Rows: 40000, Columns: 40000, DType: "float32", EPSG: 32610, Transform: [6]float64{0, 1, 0, 0, 0, -1}}
	e, err := newEncoder(io.Discard, m)
	if err != nil {
		t.Fatal(err)
	}
	if !e.big || !bytes.HasPrefix(e.start(), []byte("II\x2b\x00")) {
		t.Error("it is a classic TIFF, whose offsets end at 4 GiB")
	}
}

func TestRasterioReadsABigTIFF(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "big.tif")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := &Image{Bands: 2, Rows: 2, Columns: 3, DType: "int16", EPSG: 32610, Nodata: "-1", Transform: [6]float64{0, 1, 0, 0, 0, -1}}
	e, err := newEncoder(f, m)
	if err != nil {
		t.Fatal(err)
	}
	e.big = true
	values := []byte{1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9, 0, 10, 0, 11, 0, 12, 0}
	if err := e.finish(f, func(Tile) ([]byte, error) { return bytes.Clone(values), nil }); err != nil {
		t.Fatal(err)
	}
	all, raw := readBack(t, path)
	s, got := all[0], raw[0]
	if !bytes.Equal(got, values) || s.Nodata != "-1.0" {
		t.Errorf("%+v, values %v", s, got)
	}
}

func TestWhatNoFileCanHoldIsRefused(t *testing.T) {
	t.Parallel()
	ok := Image{Bands: 1, Rows: 2, Columns: 2, DType: "uint8", Transform: [6]float64{0, 1, 0, 0, 0, -1}}
	for name, change := range map[string]func(*Image){
		"dtype":    func(m *Image) { m.DType = "bool" },
		"no bands": func(m *Image) { m.Bands = 0 },
		"bands":    func(m *Image) { m.Bands = 70000 },
		"no rows":  func(m *Image) { m.Rows = 0 },
		"tiles":    func(m *Image) { m.Rows, m.Columns = 1<<31-1, 1<<31-1 },
		"colours":  func(m *Image) { m.Colors = make([]color.RGBA, 3) },
	} {
		m := ok
		change(&m)
		if _, err := newEncoder(io.Discard, &m); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	const n = 2048
	r := rand.New(rand.NewPCG(7, 8))
	tile := make([]byte, TileSize*TileSize*4)
	for i := range tile {
		tile[i] = byte(r.Uint32() & 0x0f)
	}
	m := &Image{Bands: 1, Rows: n, Columns: n, DType: "float32", EPSG: 32610, Transform: [6]float64{0, 1, 0, 0, 0, -1}}
	b.SetBytes(n * n * 4)
	for b.Loop() {
		f, err := os.Create(filepath.Join(b.TempDir(), "x.tif"))
		if err != nil {
			b.Fatal(err)
		}
		if err := Write(f, m, func(Tile) ([]byte, error) { return tile, nil }); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}
