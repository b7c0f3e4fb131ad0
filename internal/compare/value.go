package compare

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
)

// Value is the value of a cell, of whichever dtype.
type Value struct {
	dtype  graph.DType
	bits   uint64
	nodata bool
	class  string
}

// Nodata reports whether the cell has no data.
func (v Value) Nodata() bool { return v.nodata }

// String writes a number with all digits that tell it from its neighbours, a
// class with its name.
func (v Value) String() string {
	switch {
	case v.nodata:
		return "nodata"
	case v.class != "":
		return v.number() + " (" + v.class + ")"
	}
	return v.number()
}

// Name is a class's name alone, and otherwise what String says.
func (v Value) Name() string {
	if v.class != "" && !v.nodata {
		return v.class
	}
	return v.String()
}

func (v Value) number() string {
	switch v.dtype {
	case graph.Float32:
		return strconv.FormatFloat(v.float(), 'g', -1, 32)
	case graph.Float64:
		return strconv.FormatFloat(v.float(), 'g', -1, 64)
	case graph.Bool:
		return strconv.FormatBool(v.bits != 0)
	}
	if isSigned(v.dtype) {
		return strconv.FormatInt(int64(v.bits), 10)
	}
	return strconv.FormatUint(v.bits, 10)
}

// MarshalJSON writes a number, or null where there is no data; an infinity is a
// string.
func (v Value) MarshalJSON() ([]byte, error) {
	switch f := v.float(); {
	case v.nodata:
		return []byte("null"), nil
	case math.IsInf(f, 0) && v.dtype.IsFloat():
		return []byte(strconv.Quote(v.number())), nil
	}
	return []byte(v.number()), nil
}

// float is the value as a float64, which it may be too large for.
func (v Value) float() float64 {
	switch {
	case v.dtype == graph.Float32:
		return float64(math.Float32frombits(uint32(v.bits)))
	case v.dtype == graph.Float64:
		return math.Float64frombits(v.bits)
	case isSigned(v.dtype):
		return float64(int64(v.bits))
	}
	return float64(v.bits)
}

func isSigned(d graph.DType) bool { return len(d) > 0 && d[0] == 'i' }

// values reads and judges the values of an array.
type values struct {
	spec      graph.VarSpec
	tolerance Tolerance
	fill      []byte // of an integer type that has a nodata value; nil otherwise
}

func newValues(spec graph.VarSpec, t Tolerance) (*values, error) {
	v := &values{spec: spec, tolerance: t}
	if spec.Fill == nil || spec.DType.IsFloat() {
		return v, nil
	}
	var err error
	v.fill, err = cube.FillOf(spec)
	return v, err
}

// value reads one value, little-endian.
func (v *values) value(b []byte) Value {
	var raw [8]byte
	copy(raw[:], b)
	out := Value{dtype: v.spec.DType, bits: binary.LittleEndian.Uint64(raw[:])}
	if isSigned(out.dtype) {
		shift := 64 - 8*len(b)
		out.bits = uint64(int64(out.bits<<shift) >> shift)
	}
	if out.dtype.IsFloat() {
		out.nodata = math.IsNaN(out.float())
		return out
	}
	out.nodata = v.fill != nil && string(v.fill) == string(b)
	return out
}

// named is value with its class's name.
func (v *values) named(b []byte) Value {
	out := v.value(b)
	for _, c := range v.spec.Legend {
		if c.Value == int64(out.bits) {
			out.class = c.Name
		}
	}
	return out
}

// judgement is what is to be said of two values that are not the same bits.
type judgement struct {
	within     bool    // the tolerance
	oneSided   bool    // one is nodata
	number     bool    // both are amounts
	difference float64 // b − a; ±Inf where one-sided, 1 between classes
}

func (v *values) judge(a, b []byte) judgement {
	x, y := v.value(a), v.value(b)
	switch {
	case x.nodata && y.nodata: // NaNs of different bits
		return judgement{within: true}
	case x.nodata:
		return judgement{oneSided: true, difference: math.Inf(1)}
	case y.nodata:
		return judgement{oneSided: true, difference: math.Inf(-1)}
	case v.spec.Categorical():
		return judgement{difference: 1}
	}
	j := judgement{number: true, difference: difference(x, y)}
	j.within = v.tolerance.allows(x, y, math.Abs(j.difference))
	return j
}

// difference is y − x: of integers exactly, as far as a float64 can say it.
func difference(x, y Value) float64 {
	if x.dtype.IsFloat() {
		return y.float() - x.float()
	}
	if less(x, y) {
		return float64(y.bits - x.bits)
	}
	return -float64(x.bits - y.bits)
}

func less(x, y Value) bool {
	if isSigned(x.dtype) {
		return int64(x.bits) < int64(y.bits)
	}
	return x.bits < y.bits
}

// steps is how many values of the dtype lie from x to y.
func steps(x, y Value) uint64 {
	a, b := x.order(), y.order()
	if a > b {
		a, b = b, a
	}
	return uint64(b) - uint64(a)
}

// order numbers the values of a dtype from the lowest to the highest; −0 and 0
// are one.
func (v Value) order() int64 {
	bits := int64(v.bits)
	switch v.dtype {
	case graph.Float32:
		if bits = int64(int32(v.bits)); bits < 0 {
			bits = math.MinInt32 - bits
		}
	case graph.Float64:
		if bits < 0 {
			bits = math.MinInt64 - bits
		}
	case graph.Uint64:
		bits = int64(v.bits ^ 1<<63)
	}
	return bits
}
