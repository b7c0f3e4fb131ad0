package survey

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cubebuild/cube/graph"
)

// decoder turns little-endian values into float64, nodata into NaN.
type decoder struct {
	dtype graph.DType
	fill  float64 // of an integer type; NaN where it has none
}

func newDecoder(spec graph.VarSpec) (decoder, error) {
	d := decoder{spec.DType, math.NaN()}
	if spec.DType.Size() == 0 {
		return d, fmt.Errorf("%s has no numbers", spec.Name)
	}
	if spec.Fill != nil && !spec.DType.IsFloat() {
		n, err := spec.Fill.Int()
		if err != nil {
			return d, fmt.Errorf("fill value of %s: %w", spec.Name, err)
		}
		d.fill = float64(n)
	}
	return d, nil
}

// decode appends the values in b to dst.
func (d decoder) decode(dst []float64, b []byte) []float64 {
	le := binary.LittleEndian
	switch d.dtype {
	case graph.Float32:
		for ; len(b) >= 4; b = b[4:] {
			dst = append(dst, float64(math.Float32frombits(le.Uint32(b))))
		}
		return dst
	case graph.Float64:
		for ; len(b) >= 8; b = b[8:] {
			dst = append(dst, math.Float64frombits(le.Uint64(b)))
		}
		return dst
	}
	size := d.dtype.Size()
	for ; len(b) >= size; b = b[size:] {
		v := d.integer(b)
		if v == d.fill {
			v = math.NaN()
		}
		dst = append(dst, v)
	}
	return dst
}

func (d decoder) integer(b []byte) float64 {
	le := binary.LittleEndian
	switch d.dtype {
	case graph.Bool, graph.Uint8:
		return float64(b[0])
	case graph.Int8:
		return float64(int8(b[0]))
	case graph.Uint16:
		return float64(le.Uint16(b))
	case graph.Int16:
		return float64(int16(le.Uint16(b)))
	case graph.Uint32:
		return float64(le.Uint32(b))
	case graph.Int32:
		return float64(int32(le.Uint32(b)))
	case graph.Uint64:
		return float64(le.Uint64(b))
	default:
		return float64(int64(le.Uint64(b)))
	}
}
