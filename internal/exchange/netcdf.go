package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/netcdf"
)

// group is the variable as a Zarr group that holds all but its values, begun at
// the domain's corner.
func (x Export) group(ctx context.Context) (*zarr.Group, error) {
	var mem zarr.MemStore
	spec := x.layout().Spec
	spec.LongName, spec.Standard = x.Head.Spec.LongName, x.Head.Spec.Standard
	if err := cube.WriteWindow(ctx, &mem, "", x.Head.Variable, spec, x.layout().Grid, x.layout().Domain(), nil); err != nil {
		return nil, err
	}
	return zarr.OpenGroup(ctx, &mem, "")
}

// rowBytes is about how much is read at a time.
const rowBytes = 32 << 20

// NetCDF writes a NetCDF file of the classic format to an empty file.
func (x Export) NetCDF(ctx context.Context, f *os.File) error {
	g, err := x.group(ctx)
	if err != nil {
		return err
	}
	attrs := append(netcdfAttrs(g.Attributes(), 0), netcdf.Attr{Name: "cube_version", Value: x.Head.Version.String()})
	n := netcdfFile{file: &netcdf.File{Attrs: attrs}, dims: map[string]int{}}
	names, err := g.Arrays(ctx)
	if err != nil {
		return err
	}
	arrays := make([]*zarr.Array, len(names))
	for i, name := range names {
		if arrays[i], err = g.Array(ctx, name); err != nil {
			return err
		}
		if err := n.add(name, arrays[i].Meta()); err != nil {
			return err
		}
	}
	w, err := netcdf.Create(f, n.file)
	if err != nil {
		return err
	}
	for i, name := range names {
		if name == x.Head.Variable {
			err = x.values(ctx, func(at int64, values []byte) error { return w.Write(i, at, values) })
		} else {
			err = n.coordinate(ctx, w, i, arrays[i])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return f.Truncate(w.Size())
}

// values reads all values in slabs, and calls f with each one's place in C
// order.
func (x Export) values(ctx context.Context, f func(at int64, values []byte) error) error {
	box, size, planes := x.layout().Domain(), int64(x.layout().Spec.DType.Size()), x.planes()
	nx, ny := box.X.Len(), box.Y.Len()
	rows := max(1, rowBytes/max(1, nx*size*planes))
	var buf []byte
	for step := range x.steps() {
		for y := int64(0); y < ny; y += rows {
			w := box
			if x.layout().Spec.Kind == graph.Time {
				w.T = grid.Range{Lo: box.T.Lo + step, Hi: box.T.Lo + step + 1}
			}
			w.Y = grid.Range{Lo: box.Y.Lo + y, Hi: box.Y.Lo + min(ny, y+rows)}
			var err error
			if buf, err = x.Cube.ReadWindow(ctx, x.Version, w, buf[:0]); err != nil {
				return err
			}
			slab := w.Y.Len() * nx * size
			for plane := range planes {
				if err := f(((step*planes+plane)*ny+y)*nx, buf[plane*slab:][:slab]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// netcdfFile turns the metadata of a Zarr group into that of a NetCDF file.
type netcdfFile struct {
	file   *netcdf.File
	dims   map[string]int
	narrow []bool // by variable: 64-bit values that are written as 32-bit ones
}

// netcdfTypes are the types of values. A bool is a byte, which an attribute
// tells xarray.
var netcdfTypes = map[zarr.DType]netcdf.Type{
	zarr.Bool: netcdf.Byte, zarr.Int8: netcdf.Byte, zarr.Int16: netcdf.Short, zarr.Int32: netcdf.Int, zarr.Int64: netcdf.Int64,
	zarr.Uint8: netcdf.Ubyte, zarr.Uint16: netcdf.Ushort, zarr.Uint32: netcdf.Uint, zarr.Uint64: netcdf.Uint64,
	zarr.Float32: netcdf.Float, zarr.Float64: netcdf.Double,
}

func (n *netcdfFile) add(name string, meta *zarr.ArrayMeta) error {
	v := netcdf.Var{Name: name, Type: netcdfTypes[meta.DataType], Attrs: netcdfAttrs(meta.Attributes, netcdfTypes[meta.DataType])}
	// Times are 64-bit integers for Zarr; as 32-bit ones they keep a file
	// readable for programs that know version 2 alone.
	narrow := name == "time" && v.Type == netcdf.Int64
	if narrow {
		v.Type = netcdf.Int
		v.Attrs = netcdfAttrs(meta.Attributes, netcdf.Int)
	}
	n.narrow = append(n.narrow, narrow)
	if meta.DataType == zarr.Bool {
		v.Attrs = append(v.Attrs, netcdf.Attr{Name: "dtype", Value: "bool"})
	}
	if v.Type == netcdf.Float {
		v.Attrs = append(v.Attrs, netcdf.Attr{Name: "_FillValue", Value: []float32{float32(math.NaN())}})
	} else if v.Type == netcdf.Double && len(meta.Shape) > 1 {
		v.Attrs = append(v.Attrs, netcdf.Attr{Name: "_FillValue", Value: []float64{math.NaN()}})
	}
	for i, dim := range meta.DimensionNames {
		at, ok := n.dims[dim]
		if !ok {
			at = len(n.file.Dims)
			n.dims[dim] = at
			n.file.Dims = append(n.file.Dims, netcdf.Dim{Name: dim, Len: int64(meta.Shape[i])})
		}
		v.Dims = append(v.Dims, at)
	}
	n.file.Vars = append(n.file.Vars, v)
	return nil
}

// coordinate writes the values of a small array.
func (n *netcdfFile) coordinate(ctx context.Context, w *netcdf.Writer, i int, a *zarr.Array) error {
	meta := a.Meta()
	cells := 1
	for _, s := range meta.Shape {
		cells *= s
	}
	values := make([]byte, cells*meta.DataType.Size())
	if err := a.ReadRegion(ctx, make([]int, len(meta.Shape)), meta.Shape, values); err != nil {
		return err
	}
	if !n.narrow[i] {
		return w.Write(i, 0, values)
	}
	short := make([]byte, 0, len(values)/2)
	for ; len(values) >= 8; values = values[8:] {
		// Little-endian: the lower half comes first, the upper is its sign.
		low, high := int32(uint32(values[0])|uint32(values[1])<<8|uint32(values[2])<<16|uint32(values[3])<<24), values[4:8]
		sign := byte(low >> 31)
		if high[0] != sign || high[1] != sign || high[2] != sign || high[3] != sign {
			return errors.New("a time is too far from the first for 32 bits")
		}
		short = append(short, values[:4]...)
	}
	return w.Write(i, 0, short)
}

// netcdfAttrs turns attributes into NetCDF's, flags and fill values into the
// type of the variable. Conventions of Zarr alone are left out.
func netcdfAttrs(attrs zarr.Attributes, t netcdf.Type) []netcdf.Attr {
	var out []netcdf.Attr
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		if value := netcdfValue(name, attrs[name], t); value != nil && !strings.ContainsAny(name, ":") && name != "zarr_conventions" {
			out = append(out, netcdf.Attr{Name: name, Value: value})
		}
	}
	return out
}

// netcdfValue is the value of an attribute, nil where NetCDF has none like it.
func netcdfValue(name string, v any, t netcdf.Type) any {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var numbers []json.Number
		for _, e := range v {
			n, ok := e.(json.Number)
			if !ok {
				return nil
			}
			numbers = append(numbers, n)
		}
		return netcdfNumbers(name, numbers, t)
	case json.Number:
		return netcdfNumbers(name, []json.Number{v}, t)
	}
	return nil
}

// netcdfNumbers are numbers in the type that the attribute asks for.
func netcdfNumbers(name string, numbers []json.Number, t netcdf.Type) any {
	if len(numbers) == 0 {
		return nil
	}
	if name == "_FillValue" || name == "flag_values" {
		if out := integers(numbers, t); out != nil {
			return out
		}
	}
	out := make([]float64, len(numbers))
	for i, n := range numbers {
		out[i], _ = n.Float64() // JSON's numbers are numbers
	}
	return out
}

func integers(numbers []json.Number, t netcdf.Type) any {
	switch t {
	case netcdf.Byte:
		return parsed(numbers, func(s string) (int8, error) { n, err := strconv.ParseInt(s, 10, 8); return int8(n), err })
	case netcdf.Short:
		return parsed(numbers, func(s string) (int16, error) { n, err := strconv.ParseInt(s, 10, 16); return int16(n), err })
	case netcdf.Int:
		return parsed(numbers, func(s string) (int32, error) { n, err := strconv.ParseInt(s, 10, 32); return int32(n), err })
	case netcdf.Int64:
		return parsed(numbers, func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) })
	case netcdf.Ubyte:
		return parsed(numbers, func(s string) (uint8, error) { n, err := strconv.ParseUint(s, 10, 8); return uint8(n), err })
	case netcdf.Ushort:
		return parsed(numbers, func(s string) (uint16, error) { n, err := strconv.ParseUint(s, 10, 16); return uint16(n), err })
	case netcdf.Uint:
		return parsed(numbers, func(s string) (uint32, error) { n, err := strconv.ParseUint(s, 10, 32); return uint32(n), err })
	case netcdf.Uint64:
		return parsed(numbers, func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) })
	}
	return nil
}

// parsed reads all numbers, or returns nil where one is no such integer.
func parsed[T any](numbers []json.Number, parse func(string) (T, error)) any {
	out := make([]T, len(numbers))
	for i, n := range numbers {
		var err error
		if out[i], err = parse(n.String()); err != nil {
			return nil
		}
	}
	return out
}
