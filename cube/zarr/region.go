package zarr

import (
	"fmt"
	"math"
)

// CopyRegion copies the box of the given size, in elements of size bytes, from
// srcStart in the C-order array src of shape srcShape to dstStart in dst, of
// dstShape. Rows are copied whole, and rows that follow each other in both
// arrays at once. It panics where the box leaves an array, as an index out of
// range does.
func CopyRegion(dst []byte, dstShape, dstStart []int, src []byte, srcShape, srcStart, box []int, size int) {
	w := newWalk(box, size)
	d, dstAt := w.strides(dstShape, dstStart)
	s, srcAt := w.strides(srcShape, srcStart)
	w.merge(dstShape, srcShape)
	if w.row == 0 {
		return
	}
	var index [maxDims]int
	for {
		copy(dst[dstAt:dstAt+w.row], src[srcAt:srcAt+w.row])
		i := w.outer - 1
		for ; i >= 0; i-- {
			index[i]++
			dstAt += d[i]
			srcAt += s[i]
			if index[i] < box[i] {
				break
			}
			dstAt -= box[i] * d[i]
			srcAt -= box[i] * s[i]
			index[i] = 0
		}
		if i < 0 {
			return
		}
	}
}

// FillRegion sets each element of the box of the given size at start in the
// C-order array dst, of dstShape, to elem.
func FillRegion(dst []byte, dstShape, start, box []int, elem []byte) {
	w := newWalk(box, len(elem))
	d, at := w.strides(dstShape, start)
	w.merge(dstShape, dstShape)
	if w.row == 0 {
		return
	}
	first := dst[at : at+w.row]
	fillBytes(first, elem)
	var index [maxDims]int
	for {
		copy(dst[at:at+w.row], first)
		i := w.outer - 1
		for ; i >= 0; i-- {
			index[i]++
			at += d[i]
			if index[i] < box[i] {
				break
			}
			at -= box[i] * d[i]
			index[i] = 0
		}
		if i < 0 {
			return
		}
	}
}

// fillBytes repeats elem over all of b.
func fillBytes(b, elem []byte) {
	n := copy(b, elem)
	for n < len(b) {
		n += copy(b[n:], b[:n])
	}
}

// A walk goes over a box row by row.
type walk struct {
	box   []int
	size  int
	outer int // dimensions that are iterated; the rest make a row
	row   int // bytes of a row; 0 where the box is empty
}

func newWalk(box []int, size int) walk {
	w := walk{box: box, size: size, outer: len(box), row: size}
	for _, n := range box {
		if n == 0 {
			w.row = 0
		}
	}
	return w
}

// strides returns the bytes of a step along each dimension of an array of that
// shape, and where start lies.
func (w *walk) strides(shape, start []int) (steps [maxDims]int, at int) {
	step := w.size
	for i := len(shape) - 1; i >= 0; i-- {
		if start[i] < 0 || w.box[i] < 0 || start[i] > shape[i]-w.box[i] {
			panic(fmt.Sprintf("zarr: box of %v at %v leaves shape %v", w.box, start, shape))
		}
		steps[i] = step
		at += start[i] * step
		step *= shape[i]
	}
	return steps, at
}

// merge joins the last dimension, and further ones before it while the box spans
// the whole of those behind them in both arrays, into a row.
func (w *walk) merge(a, b []int) {
	for w.outer > 0 {
		w.outer--
		n := w.box[w.outer]
		w.row *= n
		if n != a[w.outer] || n != b[w.outer] {
			return
		}
	}
}

// volume is the number of bytes in a box of elements of size bytes; ok is false
// where that overflows or a side is negative.
func volume(box []int, size int) (n int, ok bool) {
	n = size
	empty := false
	for _, side := range box {
		switch {
		case side < 0:
			return 0, false
		case side == 0:
			empty = true
		case n > math.MaxInt/side:
			n = -1
		case n > 0:
			n *= side
		}
		if n < 0 {
			n = math.MaxInt // stays so, unless a later side is 0
		}
	}
	if empty {
		return 0, true
	}
	return n, n != math.MaxInt
}
