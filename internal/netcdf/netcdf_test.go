package netcdf

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/cubebuild/cube/internal/peers"
	"github.com/google/go-cmp/cmp"
)

// read has netCDF4 read files: format, dimensions, attributes and values.
const read = `
import sys, json, netCDF4, numpy as np
def attrs(o):
    out = {}
    for k in o.ncattrs():
        v = o.getncattr(k)
        out[k] = v if isinstance(v, str) else [str(np.asarray(v).dtype), np.atleast_1d(v).tolist()]
    return out
for path in sys.argv[1:]:
    with netCDF4.Dataset(path) as ds:
        ds.set_auto_maskandscale(False)
        print(json.dumps({"format": ds.data_model, "dims": {k: len(d) for k, d in ds.dimensions.items()}, "attrs": attrs(ds),
            "vars": {k: {"dtype": str(v.dtype), "dims": list(v.dimensions), "attrs": attrs(v), "values": np.atleast_1d(v[...]).ravel().tolist()} for k, v in ds.variables.items()}}))
`

type seen struct {
	Format string
	Dims   map[string]int64
	Attrs  map[string]any
	Vars   map[string]seenVar
}

type seenVar struct {
	DType  string
	Dims   []string
	Attrs  map[string]any
	Values []float64
}

func readBack(t *testing.T, paths ...string) []seen {
	t.Helper()
	out := make([]seen, len(paths))
	d := json.NewDecoder(bytes.NewReader(peers.Run(t, read, paths...)))
	for i := range out {
		if err := d.Decode(&out[i]); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func create(t *testing.T, f *File, values map[int]any) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.nc")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w, err := Create(file, f)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		b, err := binary.Append(nil, binary.LittleEndian, v)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(i, 0, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Truncate(w.Size()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNetCDF4ReadsWhatWasWritten(t *testing.T) {
	t.Parallel()
	two := &File{
		Dims:  []Dim{{"y", 2}, {"x", 3}},
		Attrs: []Attr{{"Conventions", "CF-1.11"}, {"empty", ""}, {"numbers", []float64{1.5, -2}}},
		Vars: []Var{
			{"byte", Byte, []int{1}, nil},
			{"short", Short, []int{1}, []Attr{{"_FillValue", []int16{-1}}}},
			{"int", Int, nil, []Attr{{"units", "m"}}},
			{"float", Float, []int{0, 1}, nil},
			{"double", Double, []int{0}, nil},
		},
	}
	five := &File{
		Dims:  []Dim{{"x", 3}},
		Attrs: []Attr{{"odd", []uint8{1, 2, 3}}},
		Vars: []Var{
			{"ubyte", Ubyte, []int{0}, []Attr{{"flag_values", []uint8{1, 200}}}},
			{"ushort", Ushort, []int{0}, nil},
			{"uint", Uint, []int{0}, nil},
			{"int64", Int64, []int{0}, []Attr{{"_FillValue", []int64{-1}}}},
			{"uint64", Uint64, []int{0}, nil},
		},
	}
	got := readBack(t,
		create(t, two, map[int]any{0: []int8{-1, 0, 1}, 1: []int16{-300, 0, 300}, 2: int32(-70000), 3: []float32{1, 2, 3, 4, 5, 6.5}, 4: []float64{1e-300, -1e300}}),
		create(t, five, map[int]any{0: []uint8{0, 1, 200}, 1: []uint16{0, 1, 65535}, 2: []uint32{0, 1, 4294967295}, 3: []int64{-1 << 52, 0, 1 << 52}, 4: []uint64{0, 1, 1 << 52}}))
	list := func(dtype string, v ...any) any { return []any{dtype, v} }
	want := []seen{
		{"NETCDF3_64BIT_OFFSET", map[string]int64{"y": 2, "x": 3}, map[string]any{"Conventions": "CF-1.11", "empty": "", "numbers": list("float64", 1.5, -2.0)}, map[string]seenVar{
			"byte":   {"int8", []string{"x"}, map[string]any{}, []float64{-1, 0, 1}},
			"short":  {"int16", []string{"x"}, map[string]any{"_FillValue": list("int16", -1.0)}, []float64{-300, 0, 300}},
			"int":    {"int32", []string{}, map[string]any{"units": "m"}, []float64{-70000}},
			"float":  {"float32", []string{"y", "x"}, map[string]any{}, []float64{1, 2, 3, 4, 5, 6.5}},
			"double": {"float64", []string{"y"}, map[string]any{}, []float64{1e-300, -1e300}},
		}},
		{"NETCDF3_64BIT_DATA", map[string]int64{"x": 3}, map[string]any{"odd": list("uint8", 1.0, 2.0, 3.0)}, map[string]seenVar{
			"ubyte":  {"uint8", []string{"x"}, map[string]any{"flag_values": list("uint8", 1.0, 200.0)}, []float64{0, 1, 200}},
			"ushort": {"uint16", []string{"x"}, map[string]any{}, []float64{0, 1, 65535}},
			"uint":   {"uint32", []string{"x"}, map[string]any{}, []float64{0, 1, 4294967295}},
			"int64":  {"int64", []string{"x"}, map[string]any{"_FillValue": list("int64", -1.0)}, []float64{-1 << 52, 0, 1 << 52}},
			"uint64": {"uint64", []string{"x"}, map[string]any{}, []float64{0, 1, 1 << 52}},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestValuesMayBeWrittenInAnyOrder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.nc")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f := &File{Dims: []Dim{{"x", 5}}, Vars: []Var{{"v", Short, []int{0}, nil}}}
	w, err := Create(file, f)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{3, 1, 0, 4, 2} {
		if err := w.Write(0, at, []byte{byte(at), 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Truncate(w.Size()); err != nil {
		t.Fatal(err)
	}
	if got := readBack(t, path)[0].Vars["v"].Values; !cmp.Equal(got, []float64{256, 257, 258, 259, 260}) {
		t.Errorf("values %v", got)
	}
	for _, bad := range []struct {
		at int64
		b  []byte
	}{{5, []byte{1, 2}}, {-1, []byte{1, 2}}, {4, []byte{1, 2, 3, 4}}, {0, []byte{1}}} {
		if err := w.Write(0, bad.at, bad.b); err == nil {
			t.Errorf("%d bytes at %d are taken", len(bad.b), bad.at)
		}
	}
}

// nowhere is a file whose bytes nobody needs.
type nowhere struct{}

func (nowhere) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

func TestALargeVariableMakesVersionFive(t *testing.T) {
	t.Parallel()
	f := &File{Dims: []Dim{{"y", 40000}, {"x", 40000}}, Vars: []Var{{"v", Float, []int{0, 1}, nil}}}
	w, err := Create(nowhere{}, f)
	if err != nil {
		t.Fatal(err)
	}
	if !w.five || w.Size() < 4*40000*40000 {
		t.Errorf("version five %v, %d bytes", w.five, w.Size())
	}
}

func TestWhatNoFileCanHoldIsRefused(t *testing.T) {
	t.Parallel()
	v := Var{"v", Float, []int{0}, nil}
	for name, f := range map[string]*File{
		"empty dimension":   {Dims: []Dim{{"x", 0}}, Vars: []Var{v}},
		"no name":           {Dims: []Dim{{"", 1}}},
		"slash":             {Dims: []Dim{{"a/b", 1}}},
		"no such dimension": {Dims: []Dim{{"x", 1}}, Vars: []Var{{"v", Float, []int{1}, nil}}},
		"no type":           {Dims: []Dim{{"x", 1}}, Vars: []Var{{"v", 0, []int{0}, nil}}},
		"attribute":         {Attrs: []Attr{{"a", []string{"b"}}}},
	} {
		if _, err := Create(nowhere{}, f); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	huge := &File{Dims: []Dim{{"x", math.MaxInt64 / 2}}, Vars: []Var{v}}
	if _, err := Create(nowhere{}, huge); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a huge variable: %v", err)
	}
}
