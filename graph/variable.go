package graph

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/cubebuild/cube/cube/grid"
)

// Kind is short for a variable's dimensions.
type Kind string

// The kinds of variables.
const (
	Static Kind = "static" // (y, x)
	Time   Kind = "time"   // (time, y, x)
	File   Kind = "file"   // a content-addressed file with a media type
)

// DType is the type of a variable's values, by its Zarr name.
type DType string

// The data types of variables.
const (
	Bool    DType = "bool"
	Int8    DType = "int8"
	Int16   DType = "int16"
	Int32   DType = "int32"
	Int64   DType = "int64"
	Uint8   DType = "uint8"
	Uint16  DType = "uint16"
	Uint32  DType = "uint32"
	Uint64  DType = "uint64"
	Float32 DType = "float32"
	Float64 DType = "float64"
)

// DTypes lists the data types that a variable may have.
var DTypes = []DType{Bool, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64, Float32, Float64}

// Size is the number of bytes of one value, 0 for an unknown type.
func (d DType) Size() int {
	switch d {
	case Bool, Int8, Uint8:
		return 1
	case Int16, Uint16:
		return 2
	case Int32, Uint32, Float32:
		return 4
	case Int64, Uint64, Float64:
		return 8
	}
	return 0
}

// IsFloat reports whether values may be NaN.
func (d DType) IsFloat() bool { return d == Float32 || d == Float64 }

// MergePolicy says how the contributions of several producers, or of several
// source items, to one cell become its value. Nodata never takes part.
type MergePolicy string

// The merge policies.
const (
	Replace     MergePolicy = "replace"      // exactly one producer
	First       MergePolicy = "first"        // the first that has a value
	MonotoneMax MergePolicy = "monotone_max" // the largest
	MonotoneMin MergePolicy = "monotone_min" // the smallest
	SumOf       MergePolicy = "sum"
	MeanOf      MergePolicy = "mean"
	ErrorOn     MergePolicy = "error" // two different values in one cell are an error
)

// MergePolicies lists the merge policies.
var MergePolicies = []MergePolicy{Replace, First, MonotoneMax, MonotoneMin, SumOf, MeanOf, ErrorOn}

// CellMethod says what a value in time stands for (CF cell_methods).
type CellMethod string

// The cell methods.
const (
	CellInstant CellMethod = "instant"
	CellMean    CellMethod = "mean"
	CellSum     CellMethod = "sum"
	CellMax     CellMethod = "max"
)

// CellMethods lists the cell methods.
var CellMethods = []CellMethod{CellInstant, CellMean, CellSum, CellMax}

// Class is one entry of a legend (CF flag_values and flag_meanings).
type Class struct {
	Value int64  `json:"value" yaml:"value"`
	Name  string `json:"name" yaml:"name"`
	Color string `json:"color,omitempty" yaml:"color,omitempty"` // #rrggbb, for plots; not part of identity
}

// Dim is a dimension beside time, y and x; it is delivered whole.
type Dim struct {
	Name   string   `json:"name" yaml:"name"`
	Size   int64    `json:"size" yaml:"size"`
	Labels []string `json:"labels,omitempty" yaml:"labels,omitempty"`
}

// VarSpec says what a variable means. It is the producer's word: a workspace
// picks producers, grids and order, never dtype or units.
type VarSpec struct {
	Name   string  `json:"variable" yaml:"variable"`
	Kind   Kind    `json:"kind" yaml:"kind"`
	Dims   []Dim   `json:"dims,omitempty" yaml:"dims,omitempty"` // further dims, between time and y
	DType  DType   `json:"dtype,omitempty" yaml:"dtype,omitempty"`
	Units  string  `json:"units,omitempty" yaml:"units,omitempty"` // UDUNITS; empty is unknown, never 1
	Fill   *Number `json:"fill,omitempty" yaml:"fill,omitempty"`   // nodata of an integer type; a float's is always NaN
	Legend []Class `json:"legend,omitempty" yaml:"legend,omitempty"`

	CellMethod CellMethod  `json:"cell_method,omitempty" yaml:"cell_method,omitempty"`
	Merge      MergePolicy `json:"merge,omitempty" yaml:"merge,omitempty"`
	Schema     int         `json:"schema,omitempty" yaml:"schema,omitempty"`
	MediaType  string      `json:"media_type,omitempty" yaml:"media_type,omitempty"` // of kind: file

	Refine     int64    `json:"refine,omitempty" yaml:"refine,omitempty"`           // produced on the grid with each cell split n × n
	NativeFrom []string `json:"native_from,omitempty" yaml:"native_from,omitempty"` // roles whose native resolution is the output's
	Format     Format   `json:"format,omitempty" yaml:"format,omitempty"`           // what the producer writes
	LongName   string   `json:"long_name,omitempty" yaml:"long_name,omitempty"`
	Standard   string   `json:"standard_name,omitempty" yaml:"standard_name,omitempty"` // CF standard name
}

// Format is how a window is laid out for a producer.
type Format string

// The formats of staged windows and outputs.
const (
	Zarr Format = "zarr" // a Zarr group; producers may write v2 or v3
	NPY  Format = "npy"  // one .npy file, version 1.0, little-endian, C order
)

// Number is an integer or a float as it was written, so that large integers
// keep every digit.
type Number string

// Int returns the number as an integer.
func (n Number) Int() (int64, error) { return strconv.ParseInt(string(n), 10, 64) }

// MarshalJSON writes the number as a JSON number.
func (n Number) MarshalJSON() ([]byte, error) { return []byte(n), nil }

// UnmarshalJSON reads a JSON number.
func (n *Number) UnmarshalJSON(b []byte) error {
	if f, err := strconv.ParseFloat(string(b), 64); err != nil || math.IsInf(f, 0) {
		return fmt.Errorf("%s is no number", b)
	}
	*n = Number(b)
	return nil
}

// Semantic returns the spec without what changes no value: long name, standard
// name, colours and format. It is what an array's digest covers.
func (v VarSpec) Semantic() VarSpec {
	v.LongName, v.Standard, v.Format, v.NativeFrom = "", "", "", nil
	v.Legend = slices.Clone(v.Legend)
	for i := range v.Legend {
		v.Legend[i].Color = ""
	}
	return v
}

// WithDefaults fills in what a manifest may leave out.
func (v VarSpec) WithDefaults() VarSpec {
	v.Kind = orDefault(v.Kind, Static)
	if v.Kind != File {
		v.DType = orDefault(v.DType, Float32)
		v.Format = orDefault(v.Format, Zarr)
	}
	v.Merge = orDefault(v.Merge, Replace)
	v.Schema = orDefault(v.Schema, 1)
	v.Refine = orDefault(v.Refine, 1)
	if v.Kind == Time {
		v.CellMethod = orDefault(v.CellMethod, CellInstant)
	}
	return v
}

// Categorical reports whether values are classes and not amounts.
func (v VarSpec) Categorical() bool { return len(v.Legend) > 0 || v.DType == Bool }

// TimeNeed is the time range that a need covers around its tile.
type TimeNeed struct {
	All    bool  `json:"all,omitempty" yaml:"all,omitempty"`
	Before int64 `json:"before,omitempty" yaml:"before,omitempty"`
	After  int64 `json:"after,omitempty" yaml:"after,omitempty"`
}

// DataNeed is what a producer requires of a variable.
type DataNeed struct {
	Variable string          `json:"variable" yaml:"variable"`
	Kind     Kind            `json:"kind" yaml:"kind"`
	MaxRes   float64         `json:"max_native_res_m,omitempty" yaml:"max_native_res_m,omitempty"` // ground metres; 0: any
	Halo     grid.Halo       `json:"halo,omitzero" yaml:"halo,omitempty"`                          // y and x; time stands in Time
	Resample grid.Resampling `json:"resampling,omitempty" yaml:"resampling,omitempty"`
	MinValid float64         `json:"min_valid,omitempty" yaml:"min_valid,omitempty"`
	Units    string          `json:"units,omitempty" yaml:"units,omitempty"`
	Grid     string          `json:"grid,omitempty" yaml:"grid,omitempty"` // "" the consumer's, "native" the variable's own
	Time     TimeNeed        `json:"time,omitzero" yaml:"time,omitempty"`
	MaxStep  int64           `json:"max_step,omitempty" yaml:"max_step,omitempty"` // seconds
	Legend   []Class         `json:"legend,omitempty" yaml:"legend,omitempty"`
	Format   Format          `json:"format,omitempty" yaml:"format,omitempty"`
}

// WithDefaults fills in what a manifest may leave out.
func (n DataNeed) WithDefaults() DataNeed {
	n.Kind = orDefault(n.Kind, Static)
	if n.Kind != File {
		n.Format = orDefault(n.Format, Zarr)
	}
	return n
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
