package zarr_test

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/internal/peers"
)

// utm10 is EPSG:32610.
const utm10 = `PROJCRS["WGS 84 / UTM zone 10N",BASEGEOGCRS["WGS 84",DATUM["World Geodetic System 1984",ELLIPSOID["WGS 84",6378137,298.257223563,LENGTHUNIT["metre",1]]],PRIMEM["Greenwich",0,ANGLEUNIT["degree",0.0174532925199433]],ID["EPSG",4326]],CONVERSION["UTM zone 10N",METHOD["Transverse Mercator",ID["EPSG",9807]],PARAMETER["Latitude of natural origin",0,ANGLEUNIT["degree",0.0174532925199433],ID["EPSG",8801]],PARAMETER["Longitude of natural origin",-123,ANGLEUNIT["degree",0.0174532925199433],ID["EPSG",8802]],PARAMETER["Scale factor at natural origin",0.9996,SCALEUNIT["unity",1],ID["EPSG",8805]],PARAMETER["False easting",500000,LENGTHUNIT["metre",1],ID["EPSG",8806]],PARAMETER["False northing",0,LENGTHUNIT["metre",1],ID["EPSG",8807]]],CS[Cartesian,2],AXIS["(E)",east,ORDER[1],LENGTHUNIT["metre",1]],AXIS["(N)",north,ORDER[2],LENGTHUNIT["metre",1]],USAGE[SCOPE["Navigation and medium accuracy spatial referencing."],AREA["Between 126W and 120W, northern hemisphere."],BBOX[0,-126,84,-120]],ID["EPSG",32610]]`

// A geoStore writes the arrays of a georeferenced group.
type geoStore struct {
	t   *testing.T
	dir string
}

// array creates an array in the group, writes its values, and keeps them in a
// file beside it.
func (s geoStore) array(g *zarr.Group, name string, meta zarr.ArrayMeta, values []byte) {
	s.t.Helper()
	a, err := g.CreateArray(s.t.Context(), name, &meta)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := a.WriteRegion(s.t.Context(), make([]int, len(meta.Shape)), meta.Shape, values); err != nil {
		s.t.Fatal(err)
	}
	writeFile(s.t, filepath.Join(s.dir, name+".bin"), values)
}

// grid creates a group with the coordinates of 37 by 53 cells of 300 m.
func (s geoStore) grid(name string) *zarr.Group {
	s.t.Helper()
	g, err := zarr.CreateGroup(s.t.Context(), openDir(s.t, s.dir), name, zarr.Attributes{"Conventions": "CF-1.11"})
	if err != nil {
		s.t.Fatal(err)
	}
	axis := func(name, letter string, n int, first, step float64) {
		centres := make([]float64, n)
		for i := range centres {
			centres[i] = first + step*(float64(i)+0.5)
		}
		s.array(g, name, zarr.ArrayMeta{
			Shape: []int{n}, ChunkShape: []int{n}, DataType: zarr.Float64, DimensionNames: []string{name},
			Attributes: zarr.Attributes{"standard_name": "projection_" + name + "_coordinate", "units": "m", "axis": letter},
		}, zarr.Bytes(centres))
	}
	axis("y", "Y", 37, 4280398.5, -300)
	axis("x", "X", 53, 531783.25, 300)
	s.array(g, "spatial_ref", zarr.ArrayMeta{DataType: zarr.Int32, DimensionNames: []string{}, Attributes: zarr.Attributes{
		"crs_wkt": utm10, "spatial_ref": utm10, "GeoTransform": "531783.25 300.0 0.0 4280398.5 0.0 -300.0",
		"grid_mapping_name": "transverse_mercator", "semi_major_axis": 6378137.0, "inverse_flattening": 298.257223563,
		"latitude_of_projection_origin": 0.0, "longitude_of_central_meridian": -123.0,
		"false_easting": 500000.0, "false_northing": 0.0, "scale_factor_at_central_meridian": 0.9996,
	}}, make([]byte, 4))
	return g
}

func TestGeoreferencedGroupsOpenInFourProgramsWithoutFlagsOrWarnings(t *testing.T) {
	t.Parallel()
	s := geoStore{t: t, dir: t.TempDir()}
	writeFile(t, filepath.Join(s.dir, "crs.wkt"), []byte(utm10))

	static := s.grid("static")
	dem := make([]int16, 37*53)
	for i := range dem {
		dem[i] = int16(i*31%4000 - 100)
		if i%11 == 0 {
			dem[i] = math.MinInt16
		}
	}
	s.array(static, "dem", zarr.ArrayMeta{
		Shape: []int{37, 53}, ChunkShape: []int{16, 16}, DataType: zarr.Int16, DimensionNames: []string{"y", "x"},
		Fill:       []byte{0, 0x80},
		Attributes: zarr.Attributes{"units": "m", "grid_mapping": "spatial_ref", "coordinates": "spatial_ref", "_FillValue": -32768},
	}, zarr.Bytes(dem))

	series := s.grid("series")
	hours := make([]int64, 24)
	for i := range hours {
		hours[i] = int64(i)
	}
	s.array(series, "time", zarr.ArrayMeta{
		Shape: []int{24}, ChunkShape: []int{24}, DataType: zarr.Int64, DimensionNames: []string{"time"},
		Attributes: zarr.Attributes{"standard_name": "time", "axis": "T", "units": "hours since 2020-09-27 11:00:00", "calendar": "proleptic_gregorian"},
	}, zarr.Bytes(hours))
	t2m := make([]float32, 24*37*53)
	for i := range t2m {
		t2m[i] = 280 + float32(i%1000)/100
		if i/53%7 == 0 || i < 37*53 {
			t2m[i] = float32(math.NaN())
		}
	}
	s.array(series, "t2m", zarr.ArrayMeta{
		Shape: []int{24, 37, 53}, ChunkShape: []int{1, 37, 53}, DataType: zarr.Float32, DimensionNames: []string{"time", "y", "x"},
		Fill:       binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(math.NaN()))),
		Attributes: zarr.Attributes{"units": "K", "standard_name": "air_temperature", "cell_methods": "time: point", "grid_mapping": "spatial_ref", "coordinates": "spatial_ref"},
	}, zarr.Bytes(t2m))

	if out := peers.Run(t, script(t, "geo.py"), s.dir); strings.TrimSpace(string(out)) != "" {
		t.Errorf("output: %s", out)
	}
}
