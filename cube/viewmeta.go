package cube

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/cube/zarr/codec"
	"github.com/cubebuild/cube/graph"
)

// versionAttribute of a view's group names the version that it shows.
const versionAttribute = "cube:version"

// viewArray is a small array of a view: a coordinate.
type viewArray struct {
	meta   *zarr.ArrayMeta
	values []byte // one chunk, raw
}

// viewDocs is all of a view but the chunks of its data.
type viewDocs struct {
	name   string
	data   *zarr.ArrayMeta
	coords map[string]viewArray
	group  []byte // zarr.json, with everything consolidated
}

// docsOf describes the view of a version under a variable's name.
func (c *Cube) docsOf(h Head, v *Version) (*viewDocs, error) {
	l := v.layout
	if h.Spec.Name != "" || h.Spec.LongName != "" {
		l.Spec.LongName, l.Spec.Standard, l.Spec.Legend = h.Spec.LongName, h.Spec.Standard, legendOf(l.Spec, h.Spec)
	}
	box := l.Stored()
	d := &viewDocs{name: h.Variable, coords: map[string]viewArray{}}
	if err := d.addCoords(l, box); err != nil {
		return nil, err
	}
	if _, taken := d.coords[h.Variable]; taken {
		return nil, fmt.Errorf("a variable cannot have a coordinate's name")
	}
	var err error
	if d.data, err = c.dataMeta(l, box); err != nil {
		return nil, err
	}
	d.group, err = d.consolidate(groupAttributes(l, box, v.digest))
	return d, err
}

// legendOf is the version's legend with the colours that a head gives it.
func legendOf(have, named graph.VarSpec) []graph.Class {
	if len(have.Legend) != len(named.Legend) {
		return have.Legend
	}
	return named.Legend
}

// dataMeta is the metadata of the data array.
func (c *Cube) dataMeta(l Layout, box grid.Box) (*zarr.ArrayMeta, error) {
	fill, err := l.Fill()
	if err != nil {
		return nil, err
	}
	size := l.Spec.DType.Size()
	return &zarr.ArrayMeta{
		Shape: ints(l.Shape(box)), ChunkShape: ints(l.ChunkShape()),
		DataType: zarr.DType(l.Spec.DType), Fill: fill, Codecs: c.codecs(size),
		Attributes: dataAttributes(l), DimensionNames: l.Dims(),
	}, nil
}

func ints(v []int64) []int {
	out := make([]int, len(v))
	for i, n := range v {
		out[i] = int(n)
	}
	return out
}

// cellMethods are CF's names of the cell methods.
var cellMethods = map[graph.CellMethod]string{
	graph.CellInstant: "time: point", graph.CellMean: "time: mean", graph.CellSum: "time: sum", graph.CellMax: "time: maximum",
}

func dataAttributes(l Layout) zarr.Attributes {
	a := zarr.Attributes{"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"}
	set := func(key, value string) {
		if value != "" {
			a[key] = value
		}
	}
	set("units", l.Spec.Units)
	set("long_name", l.Spec.LongName)
	set("standard_name", l.Spec.Standard)
	if l.Spec.Kind == graph.Time {
		set("cell_methods", cellMethods[l.Spec.CellMethod])
	}
	if l.Spec.Fill != nil && !l.Spec.DType.IsFloat() && l.Spec.DType != graph.Bool {
		a["_FillValue"] = integer(l.Spec.DType, *l.Spec.Fill)
	}
	legendAttributes(a, l.Spec.Legend)
	for _, d := range l.Spec.Dims {
		if len(d.Labels) > 0 {
			a["cube:labels:"+d.Name] = d.Labels
		}
	}
	return a
}

// integer is a number of an integer type in the one way to write it: 1000 where
// a contract says 1e3. Keys do not tell the two apart.
func integer(d graph.DType, n graph.Number) json.Number {
	v, err := parseInt(d, string(n))
	if err != nil {
		return json.Number(n) // Fill refuses it
	}
	if s := string(d); s[0] == 'u' {
		return json.Number(strconv.FormatUint(v, 10))
	}
	return json.Number(strconv.FormatInt(int64(v), 10))
}

// legendAttributes adds CF's flags. A meaning is one word.
func legendAttributes(a zarr.Attributes, legend []graph.Class) {
	if len(legend) == 0 {
		return
	}
	var values []int64
	var meanings, colors []string
	for _, c := range legend {
		values = append(values, c.Value)
		meanings = append(meanings, strings.Join(strings.Fields(c.Name), "_"))
		if c.Color != "" {
			colors = append(colors, c.Color)
		}
	}
	a["flag_values"], a["flag_meanings"] = values, strings.Join(meanings, " ")
	if len(colors) == len(legend) {
		a["flag_colors"] = strings.Join(colors, " ")
	}
}

// addCoords adds y, x, time, numeric labels of further dimensions, and the
// reference system.
func (d *viewDocs) addCoords(l Layout, box grid.Box) error {
	lat := l.Grid.Lattice
	names, units := [2]string{"projection_y_coordinate", "projection_x_coordinate"}, [2]string{lat.CRS.Unit(), lat.CRS.Unit()}
	if lat.CRS.IsGeographic() {
		names, units = [2]string{"latitude", "longitude"}, [2]string{"degrees_north", "degrees_east"}
	}
	d.coords["y"] = axis("y", box.Y, lat.Y, zarr.Attributes{"axis": "Y", "standard_name": names[0], "units": cfUnit(units[0])})
	d.coords["x"] = axis("x", box.X, lat.X, zarr.Attributes{"axis": "X", "standard_name": names[1], "units": cfUnit(units[1])})
	if l.Spec.Kind == graph.Time {
		d.coords["time"] = timeAxis(l.Grid.Time, box.T)
	}
	for _, dim := range l.Spec.Dims {
		if values, ok := numericLabels(dim); ok {
			at := func(i int64) float64 { return values[i] }
			d.coords[dim.Name] = axis(dim.Name, grid.Range{Hi: dim.Size}, at, zarr.Attributes{})
		}
	}
	d.coords["spatial_ref"] = spatialRef(lat, box)
	return nil
}

// cfUnit is a unit of length or angle as UDUNITS has it.
func cfUnit(u string) string {
	switch u {
	case "metre", "meter":
		return "m"
	case "degree":
		return "degrees"
	}
	return u
}

func axis(name string, r grid.Range, at func(int64) float64, a zarr.Attributes) viewArray {
	v := make([]float64, r.Len())
	for i := range v {
		v[i] = at(r.Lo + int64(i))
	}
	return viewArray{coordMeta(name, zarr.Float64, len(v), a), zarr.Bytes(v)}
}

func coordMeta(name string, t zarr.DType, n int, a zarr.Attributes) *zarr.ArrayMeta {
	m := &zarr.ArrayMeta{Shape: []int{n}, ChunkShape: []int{n}, DataType: t, Attributes: a,
		DimensionNames: []string{name}, Codecs: []codec.Spec{codec.Little()}}
	if t == zarr.Float64 {
		m.Fill, _ = FillOf(graph.VarSpec{DType: graph.Float64})
	}
	return m
}

// timeAxis counts the starts of steps from the first one, in the largest unit
// that goes.
func timeAxis(t grid.TimeAxis, r grid.Range) viewArray {
	unit, name := int64(1), "seconds"
	switch {
	case t.Step%3600 == 0:
		unit, name = 3600, "hours"
	case t.Step%60 == 0:
		unit, name = 60, "minutes"
	}
	v := make([]int64, r.Len())
	for i := range v {
		v[i] = int64(i) * t.Step / unit
	}
	since := time.Unix(t.At(r.Lo), 0).UTC().Format("2006-01-02 15:04:05")
	return viewArray{coordMeta("time", zarr.Int64, len(v), zarr.Attributes{"axis": "T", "standard_name": "time",
		"units": name + " since " + since, "calendar": "proleptic_gregorian"}), zarr.Bytes(v)}
}

func numericLabels(d graph.Dim) ([]float64, bool) {
	if int64(len(d.Labels)) != d.Size || d.Size == 0 {
		return nil, false
	}
	out := make([]float64, len(d.Labels))
	for i, s := range d.Labels {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || v != v {
			return nil, false
		}
		out[i] = v
	}
	return out, true
}

// spatialRef is the scalar that carries the reference system.
func spatialRef(l grid.Lattice, box grid.Box) viewArray {
	a := zarr.Attributes{}
	for k, v := range l.CRS.CF() {
		a[k] = v
	}
	if wkt := l.CRS.WKT2(); wkt != "" {
		a["crs_wkt"], a["spatial_ref"] = wkt, wkt
	}
	var gt []string
	for _, v := range l.GeoTransform(box) {
		gt = append(gt, strconv.FormatFloat(v, 'f', -1, 64))
	}
	a["GeoTransform"] = strings.Join(gt, " ")
	meta := &zarr.ArrayMeta{Shape: []int{}, ChunkShape: []int{}, DataType: zarr.Int32, Attributes: a,
		DimensionNames: []string{}, Codecs: []codec.Spec{codec.Little()}}
	return viewArray{meta, nil}
}

// groupAttributes are the conventions that the view follows, and its version.
func groupAttributes(l Layout, box grid.Box, version graph.Digest) zarr.Attributes {
	lat := l.Grid.Lattice
	west, south, east, north := lat.Edge(box)
	a := zarr.Attributes{
		"Conventions":          "CF-1.11",
		"zarr_conventions":     conventions(),
		"spatial:dimensions":   []string{"y", "x"},
		"spatial:transform":    []float64{lat.DX, 0, west, 0, -lat.DY, north},
		"spatial:shape":        []int64{box.Y.Len(), box.X.Len()},
		"spatial:bbox":         []float64{west, south, east, north},
		"spatial:registration": "pixel",
		versionAttribute:       version.String(),
	}
	if lat.CRS != "" {
		a["proj:code"] = string(lat.CRS)
	}
	return a
}

func conventions() []map[string]string {
	return []map[string]string{{
		"schema_url":  "https://raw.githubusercontent.com/zarr-conventions/geo-proj/refs/tags/v1/schema.json",
		"spec_url":    "https://github.com/zarr-conventions/geo-proj/blob/v1/README.md",
		"uuid":        "f17cb550-5864-4468-aeb7-f3180cfb622f",
		"name":        "proj",
		"description": "Coordinate reference system information for geospatial data",
	}, {
		"schema_url":  "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/schema.json",
		"spec_url":    "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
		"uuid":        "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
		"name":        "spatial",
		"description": "Spatial coordinate information",
	}}
}

// consolidate is the group's document, with its members' inline.
func (d *viewDocs) consolidate(attrs zarr.Attributes) ([]byte, error) {
	g := zarr.GroupMeta{Attributes: attrs, Members: map[string]json.RawMessage{}}
	for name, meta := range d.arrays() {
		doc, err := meta.Encode()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		g.Members[name] = doc
	}
	return g.Encode()
}

// arrays are all arrays of the group by name.
func (d *viewDocs) arrays() map[string]*zarr.ArrayMeta {
	m := map[string]*zarr.ArrayMeta{d.name: d.data}
	for n, a := range d.coords {
		m[n] = a.meta
	}
	return m
}
