package cube

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/cubebuild/cube/graph"
)

// ConflictError says that the merge policy "error" met two different values.
type ConflictError struct {
	Cell        int64 // index in C order
	First, Next int   // which contributions
	A, B        string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("merge: cell %d: contribution %d has %s and contribution %d has %s", e.Cell, e.First+1, e.A, e.Next+1, e.B)
}

// RangeError says that a merged value is one that the dtype does not have, or
// that means nodata.
type RangeError struct {
	Cell  int64 // index in C order
	DType graph.DType
	Value string
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("merge: cell %d: %s is no value of %s", e.Cell, e.Value, e.DType)
}

// Merge makes dst of contributions, arrays of the same shape, cell by cell. A
// cell that is nodata (NaN, or fill of an integer type where there is one) takes
// no part; where none has a value, the result is nodata. The order of the
// contributions counts for replace, which takes exactly one, for first, for the
// sum and mean of floats, which are added in that order in float64, and for
// which values an error names. dst may be one of the contributions.
func Merge(policy graph.MergePolicy, dtype graph.DType, fill *graph.Number, dst []byte, contributions [][]byte) error {
	none, err := FillOf(graph.VarSpec{DType: dtype, Fill: fill})
	if err != nil {
		return fmt.Errorf("merge: %w", err)
	}
	if policy == graph.Replace && len(contributions) != 1 {
		return fmt.Errorf("merge: %d contributions to a variable that replaces: want one", len(contributions))
	}
	if len(dst)%len(none) != 0 {
		return fmt.Errorf("merge: %d bytes are not whole values of %s: %w", len(dst), dtype, ErrOutside)
	}
	for i, c := range contributions {
		if len(c) != len(dst) {
			return fmt.Errorf("merge: contribution %d has %d bytes, want %d: %w", i+1, len(c), len(dst), ErrOutside)
		}
	}
	hasNone := fill != nil || dtype.IsFloat()
	switch dtype {
	case graph.Bool:
		return mergeBool(policy, none, hasNone, dst, contributions)
	case graph.Int8:
		return merge[int8](policy, dtype, none, hasNone, dst, contributions)
	case graph.Int16:
		return merge[int16](policy, dtype, none, hasNone, dst, contributions)
	case graph.Int32:
		return merge[int32](policy, dtype, none, hasNone, dst, contributions)
	case graph.Int64:
		return merge[int64](policy, dtype, none, hasNone, dst, contributions)
	case graph.Uint8:
		return merge[uint8](policy, dtype, none, hasNone, dst, contributions)
	case graph.Uint16:
		return merge[uint16](policy, dtype, none, hasNone, dst, contributions)
	case graph.Uint32:
		return merge[uint32](policy, dtype, none, hasNone, dst, contributions)
	case graph.Uint64:
		return merge[uint64](policy, dtype, none, hasNone, dst, contributions)
	case graph.Float32:
		return merge[float32](policy, dtype, none, hasNone, dst, contributions)
	}
	return merge[float64](policy, dtype, none, hasNone, dst, contributions)
}

// mergeBool merges truth values: the largest is "any", the smallest "all".
func mergeBool(policy graph.MergePolicy, none []byte, hasNone bool, dst []byte, contributions [][]byte) error {
	if policy == graph.SumOf || policy == graph.MeanOf {
		return fmt.Errorf("merge: bool has no %s", policy)
	}
	return merge[uint8](policy, graph.Bool, none, hasNone, dst, contributions)
}

type number interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | float32 | float64
}

// merger merges values of one type.
type merger[T number] struct {
	dtype   graph.DType
	none    T
	hasNone bool
	dst     []T
	from    [][]T
}

func merge[T number](policy graph.MergePolicy, dtype graph.DType, none []byte, hasNone bool, dst []byte, contributions [][]byte) error {
	m := merger[T]{dtype: dtype, none: numbers[T](none)[0], hasNone: hasNone}
	for _, c := range contributions {
		m.from = append(m.from, numbers[T](c))
	}
	m.dst = make([]T, len(dst)/int(unsafe.Sizeof(m.none)))
	if err := m.run(policy); err != nil {
		return err
	}
	putNumbers(dst, m.dst)
	return nil
}

func (m *merger[T]) run(policy graph.MergePolicy) error {
	switch policy {
	case graph.Replace, graph.First:
		return m.fold(func(_ int, a, _ T) (T, bool) { return a, true })
	case graph.MonotoneMax:
		return m.fold(func(_ int, a, b T) (T, bool) {
			if above(b, a) {
				return b, true
			}
			return a, true
		})
	case graph.MonotoneMin:
		return m.fold(func(_ int, a, b T) (T, bool) {
			if above(a, b) {
				return b, true
			}
			return a, true
		})
	case graph.ErrorOn:
		return m.fold(func(_ int, a, b T) (T, bool) { return a, a == b })
	case graph.SumOf, graph.MeanOf:
		if m.dtype.IsFloat() {
			return m.floats(policy == graph.MeanOf)
		}
		return m.integers(policy == graph.MeanOf)
	}
	return fmt.Errorf("merge: unknown policy %q", policy)
}

// above is an order of all values but NaN in which 0 is above −0.
func above[T number](a, b T) bool {
	return a > b || a == b && a == 0 && !math.Signbit(float64(a)) && math.Signbit(float64(b))
}

// valid reports whether v is data. NaN is no number.
func (m *merger[T]) valid(v T) bool { return v == v && (!m.hasNone || v != m.none) }

// fold combines the values of each cell in order. Where step says that two do
// not go together, they conflict.
func (m *merger[T]) fold(step func(cell int, a, b T) (T, bool)) error {
	for i := range m.dst {
		acc, first := m.none, -1
		for j, from := range m.from {
			v := from[i]
			if !m.valid(v) {
				continue
			}
			if first < 0 {
				acc, first = v, j
				continue
			}
			r, ok := step(i, acc, v)
			if !ok {
				return &ConflictError{int64(i), first, j, fmt.Sprint(acc), fmt.Sprint(v)}
			}
			acc = r
		}
		m.dst[i] = acc
	}
	return nil
}

// floats adds in float64, in order.
func (m *merger[T]) floats(mean bool) error {
	for i := range m.dst {
		sum, n := 0.0, 0
		for _, from := range m.from {
			if v := from[i]; m.valid(v) {
				if n == 0 {
					sum = float64(v) // −0 stays
				} else {
					sum += float64(v)
				}
				n++
			}
		}
		switch {
		case n == 0 || sum != sum: // ∞ − ∞ is no number
			m.dst[i] = m.none
		case mean:
			m.dst[i] = T(sum / float64(n))
		default:
			m.dst[i] = T(sum)
		}
	}
	return nil
}

// integers adds exactly, in 128 bits; a mean is rounded half to even.
func (m *merger[T]) integers(mean bool) error {
	for i := range m.dst {
		var sum wide
		n := int64(0)
		for _, from := range m.from {
			if v := from[i]; m.valid(v) {
				sum.add(toWide(v))
				n++
			}
		}
		if n == 0 {
			m.dst[i] = m.none
			continue
		}
		if mean {
			sum = sum.divide(n)
		}
		r := T(sum.lo)
		if toWide(r) != sum || !m.valid(r) {
			return &RangeError{int64(i), m.dtype, sum.String()}
		}
		m.dst[i] = r
	}
	return nil
}

// numbers copies little-endian bytes to values.
func numbers[T number](b []byte) []T {
	v := make([]T, len(b)/int(unsafe.Sizeof(*new(T))))
	if _, err := binary.Decode(b, binary.LittleEndian, v); err != nil {
		panic("cube: numbers of " + fmt.Sprint(len(b)) + " bytes: " + err.Error())
	}
	return v
}

// putNumbers writes values as canonical little-endian bytes.
func putNumbers[T number](dst []byte, v []T) {
	if _, err := binary.Encode(dst, binary.LittleEndian, v); err != nil {
		panic("cube: numbers into " + fmt.Sprint(len(dst)) + " bytes: " + err.Error())
	}
}
