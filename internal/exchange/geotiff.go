package exchange

import (
	"context"
	"encoding/hex"
	"image/color"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/geotiff"
)

// GeoTIFF writes a GeoTIFF: a band for each time and plane.
func (x Export) GeoTIFF(ctx context.Context, f io.WriteSeeker) error {
	spec, lat, box := x.Head.Spec, x.layout().Grid.Lattice, x.layout().Grid.Box
	m := &geotiff.Image{Columns: box.X.Len(), Rows: box.Y.Len(), Bands: x.steps() * x.planes(), DType: string(x.layout().Spec.DType),
		Geographic: lat.CRS.IsGeographic(), Transform: lat.GeoTransform(box)}
	if code, ok := strings.CutPrefix(string(lat.CRS), "EPSG:"); ok {
		m.EPSG, _ = strconv.Atoi(code) // ParseCRS made it
	}
	switch {
	case x.layout().Spec.DType.IsFloat():
		m.Nodata = "nan"
	case x.layout().Spec.Fill != nil:
		m.Nodata = string(*x.layout().Spec.Fill)
	}
	if x.layout().Spec.DType == graph.Bool {
		m.DType = "uint8"
	}
	if m.DType == "uint8" && m.Bands == 1 {
		m.Colors = legendColors(spec.Legend)
	}
	m.Items = x.items(spec)
	return geotiff.Write(f, m, func(t geotiff.Tile) ([]byte, error) {
		w := grid.Box{T: box.T, Y: grid.Range{Lo: box.Y.Lo + t.Row, Hi: box.Y.Lo + t.Row + t.Rows},
			X: grid.Range{Lo: box.X.Lo + t.Column, Hi: box.X.Lo + t.Column + t.Columns}}
		return x.Cube.ReadWindow(ctx, x.Version, w, nil)
	})
}

// items are what GDAL shows of the bands.
func (x Export) items(spec graph.VarSpec) []geotiff.Item {
	items := []geotiff.Item{{Band: -1, Name: "cube_version", Value: x.Head.Version.String()}}
	for band := range int(x.steps() * x.planes()) {
		add := func(name, role, value string) {
			if value != "" {
				items = append(items, geotiff.Item{Band: band, Name: name, Role: role, Value: value})
			}
		}
		add("DESCRIPTION", "description", x.bandName(int64(band)))
		add("UNITTYPE", "unittype", spec.Units)
		add("long_name", "", spec.LongName)
		add("standard_name", "", spec.Standard)
		if len(spec.Legend) > 0 {
			var values, meanings []string
			for _, c := range spec.Legend {
				values, meanings = append(values, strconv.FormatInt(c.Value, 10)), append(meanings, strings.Join(strings.Fields(c.Name), "_"))
			}
			add("flag_values", "", strings.Join(values, ","))
			add("flag_meanings", "", strings.Join(meanings, " "))
		}
	}
	return items
}

// bandName names a band by its time and its place along further dimensions.
func (x Export) bandName(band int64) string {
	parts := []string{x.Head.Variable}
	step, plane := band/x.planes(), band%x.planes()
	if x.layout().Spec.Kind == graph.Time {
		parts = append(parts, grid.FormatTime(x.layout().Grid.Time.At(x.layout().Grid.Box.T.Lo+step)))
	}
	where := make([]string, len(x.layout().Spec.Dims))
	for i := len(x.layout().Spec.Dims) - 1; i >= 0; i-- {
		d := x.layout().Spec.Dims[i]
		at := plane % d.Size
		plane /= d.Size
		where[i] = d.Name + "=" + strconv.FormatInt(at, 10)
		if at < int64(len(d.Labels)) {
			where[i] = d.Name + "=" + d.Labels[at]
		}
	}
	return strings.Join(append(parts, where...), " ")
}

// legendColors are the colours of byte values, where any class has one.
func legendColors(legend []graph.Class) []color.RGBA {
	if !slices.ContainsFunc(legend, func(c graph.Class) bool { return c.Color != "" }) {
		return nil
	}
	colors := make([]color.RGBA, 256)
	for _, c := range legend {
		rgb, err := hex.DecodeString(strings.TrimPrefix(c.Color, "#"))
		if err == nil && len(rgb) == 3 && c.Value >= 0 && c.Value < 256 {
			colors[c.Value] = color.RGBA{rgb[0], rgb[1], rgb[2], 255}
		}
	}
	return colors
}
