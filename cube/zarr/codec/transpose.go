package codec

import (
	"encoding/json"
	"fmt"
	"slices"
)

type transposeConfig struct {
	Order []int `json:"order"`
}

// transpose is the transpose codec.
type transpose struct {
	chunk   Chunk // what it encodes to
	strides []int // bytes of the array's step along each encoded dimension
}

func newTranspose(raw json.RawMessage, chunk Chunk) (*transpose, error) {
	var c transposeConfig
	if err := configure(raw, &c); err != nil {
		return nil, err
	}
	sorted := slices.Sorted(slices.Values(c.Order))
	if len(sorted) != len(chunk.Shape) {
		return nil, fmt.Errorf("order %v for %d dimensions: %w", c.Order, len(chunk.Shape), ErrCorrupt)
	}
	for i, d := range sorted {
		if i != d {
			return nil, fmt.Errorf("order %v is no permutation: %w", c.Order, ErrCorrupt)
		}
	}
	from := make([]int, len(chunk.Shape))
	step := chunk.Size
	for i := len(from) - 1; i >= 0; i-- {
		from[i] = step
		step *= chunk.Shape[i]
	}
	t := &transpose{chunk: Chunk{Size: chunk.Size, Unit: chunk.Unit}}
	for _, d := range c.Order {
		t.chunk.Shape = append(t.chunk.Shape, chunk.Shape[d])
		t.strides = append(t.strides, from[d])
	}
	return t, nil
}

func (t *transpose) encoded() Chunk { return t.chunk }

func (t *transpose) encode(dst, src []byte) { t.walk(dst, src, false) }
func (t *transpose) decode(dst, src []byte) { t.walk(src, dst, true) }

// walk visits the elements in encoded order and copies each between packed,
// which is in that order, and array, which is in the array's.
func (t *transpose) walk(packed, array []byte, unpack bool) {
	nd := len(t.chunk.Shape)
	if nd == 0 {
		if unpack {
			copy(array, packed)
		} else {
			copy(packed, array)
		}
		return
	}
	inner, stride, size := t.chunk.Shape[nd-1], t.strides[nd-1], t.chunk.Size
	index := make([]int, nd-1)
	at := 0
	for len(packed) > 0 {
		row := packed[:inner*size]
		packed = packed[inner*size:]
		if unpack {
			scatter(array[at:], row, stride, size)
		} else {
			gather(row, array[at:], stride, size)
		}
		for d := nd - 2; d >= 0; d-- {
			index[d]++
			at += t.strides[d]
			if index[d] < t.chunk.Shape[d] {
				break
			}
			at -= index[d] * t.strides[d]
			index[d] = 0
		}
	}
}

// gather fills row with elements of src that lie stride bytes apart.
func gather(row, src []byte, stride, size int) {
	switch size {
	case 4:
		for i, j := 0, 0; i+4 <= len(row); i, j = i+4, j+stride {
			*(*[4]byte)(row[i:]) = *(*[4]byte)(src[j:])
		}
	case 8:
		for i, j := 0, 0; i+8 <= len(row); i, j = i+8, j+stride {
			*(*[8]byte)(row[i:]) = *(*[8]byte)(src[j:])
		}
	default:
		for i, j := 0, 0; i < len(row); i, j = i+size, j+stride {
			copy(row[i:i+size], src[j:])
		}
	}
}

// scatter spreads the elements of row over dst, stride bytes apart.
func scatter(dst, row []byte, stride, size int) {
	switch size {
	case 4:
		for i, j := 0, 0; i+4 <= len(row); i, j = i+4, j+stride {
			*(*[4]byte)(dst[j:]) = *(*[4]byte)(row[i:])
		}
	case 8:
		for i, j := 0, 0; i+8 <= len(row); i, j = i+8, j+stride {
			*(*[8]byte)(dst[j:]) = *(*[8]byte)(row[i:])
		}
	default:
		for i, j := 0, 0; i < len(row); i, j = i+size, j+stride {
			copy(dst[j:j+size], row[i:])
		}
	}
}
