package grid

import (
	"cmp"
	"math"
	"slices"
)

// element is the type of a raster's values.
type element interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | float32 | float64
}

// nearlyAll is how far below the share that was asked for rounding may leave
// a cell that has it.
const nearlyAll = 1e-9

// run resamples rasters of one type.
func run[T element](dst, src Raster, planes int, fp *footprint, minValid float64, get func([]byte) T, put func([]byte, T)) error {
	size := sizes[src.DType]
	values := make([]T, len(src.Data)/size)
	for i := range values {
		values[i] = get(src.Data[i*size:])
	}
	r := newReducer(dst, src, fp.method, minValid, get)
	from, to, i := int(src.Box.Cells()), int(dst.Box.Cells()), 0
	for row := dst.Box.Y.Lo; row < dst.Box.Y.Hi; row++ {
		fp.row(row)
		for col := dst.Box.X.Lo; col < dst.Box.X.Hi; col++ {
			ok, err := fp.cell(row, col)
			if err != nil {
				return err
			}
			for p := range planes {
				v := r.missing
				if ok && len(fp.taps) > 0 {
					if v, err = r.cell(fp, values[p*from:(p+1)*from], row, col); err != nil {
						return err
					}
				}
				put(dst.Data[(p*to+i)*size:], v)
			}
			i++
		}
	}
	return nil
}

// reducer makes one value of the source cells of a footprint.
type reducer[T element] struct {
	method   Resampling
	minValid float64
	none     T // the source's nodata
	hasNone  bool
	missing  T    // the destination's nodata
	dstNone  bool // whether that is a value that data must not take
	counts   []count[T]
}

type count[T element] struct {
	value  T
	weight float64
}

func newReducer[T element](dst, src Raster, method Resampling, minValid float64, get func([]byte) T) *reducer[T] {
	r := &reducer[T]{method: method, minValid: minValid, missing: get(dst.nodata()), dstNone: len(dst.Nodata) > 0}
	if len(src.Nodata) > 0 {
		r.none, r.hasNone = get(src.Nodata), true
	}
	return r
}

func (r *reducer[T]) valid(v T) bool { return v == v && (!r.hasNone || v != r.none) }

// cell returns the value of a cell from one plane of the source.
func (r *reducer[T]) cell(fp *footprint, src []T, row, col int64) (T, error) {
	switch r.method {
	case Nearest:
		if v := src[fp.taps[0].at]; r.valid(v) {
			return v, nil
		}
		return r.missing, nil
	case Bilinear, Cubic:
		return r.interpolate(fp, src, row, col)
	case Mode:
		return r.mode(&fp.cells, src), nil
	case Min, Max:
		return r.extreme(&fp.cells, src), nil
	}
	sum, weight, _ := r.sums(&fp.cells, src)
	if !r.enough(&fp.cells, weight) {
		return r.missing, nil
	}
	if r.method != Sum {
		sum /= weight
	}
	return r.round(sum), nil
}

// enough reports whether the weight of the valid cells suffices.
func (r *reducer[T]) enough(c *cells, weight float64) bool {
	return weight > 0 && weight >= float64((r.minValid-nearlyAll)*c.total)
}

// sums returns Σ weight·value and Σ weight over the valid cells, and whether
// all cells were valid.
func (r *reducer[T]) sums(c *cells, src []T) (sum, weight float64, all bool) {
	all = true
	for _, t := range c.taps {
		v := src[t.at]
		if !r.valid(v) {
			all = false
			continue
		}
		sum += float64(t.weight * float64(v))
		weight += t.weight
	}
	return sum, weight, all
}

// interpolate is bilinear and cubic.
func (r *reducer[T]) interpolate(fp *footprint, src []T, row, col int64) (T, error) {
	if fp.under < 0 || !r.valid(src[fp.under]) {
		return r.missing, nil
	}
	if len(fp.taps) == 1 {
		return src[fp.taps[0].at], nil
	}
	c := &fp.cells
	sum, weight, all := r.sums(c, src)
	if r.method == Cubic && (!all || !c.whole()) {
		// Negative weights make no sense of a part of the kernel.
		var err error
		if c, err = fp.linear(row, col); err != nil {
			return r.missing, err
		}
		sum, weight, _ = r.sums(c, src)
	}
	if !r.enough(c, weight) {
		return r.missing, nil
	}
	return r.round(sum / weight), nil
}

// extreme is the least or greatest valid value.
func (r *reducer[T]) extreme(c *cells, src []T) T {
	best, weight := r.missing, 0.0
	for _, t := range c.taps {
		v := src[t.at]
		if !r.valid(v) || t.weight <= 0 {
			continue
		}
		if weight == 0 || r.method == Min && v < best || r.method == Max && v > best {
			best = v
		}
		weight += t.weight
	}
	if !r.enough(c, weight) {
		return r.missing
	}
	return best
}

// fewValues is how many distinct values are looked through one by one.
const fewValues = 256

// mode is the value with the greatest weight, the smallest of several.
func (r *reducer[T]) mode(c *cells, src []T) T {
	r.counts = r.counts[:0]
	weight := 0.0
	for _, t := range c.taps {
		if v := src[t.at]; r.valid(v) {
			r.count(v, t.weight)
			weight += t.weight
		}
	}
	if !r.enough(c, weight) {
		return r.missing
	}
	if len(r.counts) > fewValues {
		r.merge()
	}
	best := r.counts[0]
	same := float64(nearlyAll * c.total)
	for _, k := range r.counts[1:] {
		if d := k.weight - best.weight; d > same || d >= -same && k.value < best.value {
			best = k
		}
	}
	return best.value
}

// count adds to a value's weight.
func (r *reducer[T]) count(v T, weight float64) {
	if len(r.counts) <= fewValues {
		for i := range r.counts {
			if r.counts[i].value == v {
				r.counts[i].weight += weight
				return
			}
		}
	}
	r.counts = append(r.counts, count[T]{v, weight})
}

// merge adds up equal values that were listed more than once.
func (r *reducer[T]) merge() {
	slices.SortStableFunc(r.counts, func(a, b count[T]) int { return cmp.Compare(a.value, b.value) })
	n := 0
	for _, c := range r.counts[1:] {
		if c.value == r.counts[n].value {
			r.counts[n].weight += c.weight
			continue
		}
		n++
		r.counts[n] = c
	}
	r.counts = r.counts[:n+1]
}

// round turns a result into the raster's type, and away from nodata.
func (r *reducer[T]) round(v float64) T {
	t := convert[T](v)
	if r.dstNone && t == r.missing && t == t {
		return away(t)
	}
	return t
}

// away returns the value beside a nodata value.
func away[T element](t T) T {
	switch v := any(t).(type) {
	case float32:
		return T(math.Nextafter32(v, float32(math.Inf(1))))
	case float64:
		return T(math.Nextafter(v, math.Inf(1)))
	}
	if t+1 > t {
		return t + 1
	}
	return t - 1
}

// convert rounds half to even and holds to the range of an integer.
func convert[T element](v float64) T {
	var zero T
	var lo, hi float64
	switch any(zero).(type) {
	case float32, float64:
		return T(v)
	case int8:
		lo, hi = math.MinInt8, math.MaxInt8
	case int16:
		lo, hi = math.MinInt16, math.MaxInt16
	case int32:
		lo, hi = math.MinInt32, math.MaxInt32
	case int64:
		lo, hi = math.MinInt64, 9223372036854774784 // the last float64 below 2⁶³
	case uint8:
		hi = math.MaxUint8
	case uint16:
		hi = math.MaxUint16
	case uint32:
		hi = math.MaxUint32
	case uint64:
		hi = 18446744073709549568 // the last float64 below 2⁶⁴
	}
	return T(max(lo, min(hi, math.RoundToEven(v))))
}
