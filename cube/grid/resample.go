package grid

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ResampleVersion changes whenever Resample would give other values for the
// same input; it belongs in the key of what depends on them.
const ResampleVersion = 2

// ErrWindow says that a source's window lacks cells that a destination needs,
// though the source has them.
var ErrWindow = errors.New("source window too small")

// Raster is the cells of a box of a lattice: little-endian elements in C
// order, one plane of rows after the other. All planes (times, levels) share
// the geometry.
type Raster struct {
	Lattice Lattice
	Box     Box    // its rows and columns; the time range is not looked at
	DType   string // bool, int8 … int64, uint8 … uint64, float32 or float64
	Data    []byte
	// Nodata is the element that means no data. NaN always means none; where
	// Nodata is empty it is NaN for floats, and integers are all data, with 0
	// written where there is none.
	Nodata []byte
}

// ResampleOptions are what Resample takes beside the method.
type ResampleOptions struct {
	// MinValid is the share of a cell, by weight, that must have data for the
	// cell to have any. Zero means that any data do.
	MinValid float64
	// Domain is the whole extent of the source of which Raster is a window.
	// Where it is given, a window that lacks cells that are needed is an
	// ErrWindow, and not taken for the source's edge.
	Domain Box
}

// Resample fills a destination from a source of the same dtype. A cell's
// value depends on its absolute index and the source's values alone, never on
// the windows given, and is the same on every architecture: resampling tile
// by tile gives the same bytes as resampling the whole. Lattices that differ
// by whole cells, and by whole turns of longitude, are copied.
//
// Nodata are left out and the rest weighed anew. Bilinear and cubic give
// nodata where the source cell under the centre has none, so that they
// neither spread nor shrink an area; stretched over several source cells when
// the destination is coarser, they do not alias. Integers are rounded half to
// even and held to their dtype's range; a value that comes out as nodata is
// moved by one. Beyond 2⁵³ only Nearest, Mode, Min and Max are exact.
func Resample(dst, src Raster, method Resampling, opts ResampleOptions) error {
	if err := resample(dst, src, method, opts); err != nil {
		return fmt.Errorf("resample %s to %s: %w", method, dst.Box, err)
	}
	return nil
}

func resample(dst, src Raster, method Resampling, opts ResampleOptions) error {
	if err := method.Valid(); err != nil {
		return err
	}
	planes, err := checkRasters(dst, src)
	if err != nil {
		return err
	}
	if !(opts.MinValid >= 0 && opts.MinValid <= 1) {
		return fmt.Errorf("minimum valid share %v: must be from 0 to 1", opts.MinValid)
	}
	if opts.Domain.Empty() {
		opts.Domain = src.Box
	}
	m, err := newMapping(dst.Lattice, src.Lattice, opts.Domain)
	if err != nil {
		return err
	}
	if method == Conservative && !m.same {
		return fmt.Errorf("lattices of %s and %s: must share a CRS", dst.Lattice.CRS, src.Lattice.CRS)
	}
	if rows, cols := m.scale(0, 0); m.same && max(rows, cols) > maxTaps/8 {
		return fmt.Errorf("cells of %g × %g from cells of %g × %g: too many of them", dst.Lattice.DX, dst.Lattice.DY, src.Lattice.DX, src.Lattice.DY)
	}
	turns := m.turns(dst.Box.X)
	if len(turns) < 2 {
		return resampleTurn(m, dst, src, planes, method, opts)
	}
	for _, cols := range turns {
		part := dst
		part.Box.X = cols
		part.Data = make([]byte, int64(planes)*part.Box.Cells()*int64(sizes[dst.DType]))
		if err := resampleTurn(m, part, src, planes, method, opts); err != nil {
			return err
		}
		paste(dst, part)
	}
	return nil
}

// resampleTurn resamples columns that lie on one turn of longitude.
func resampleTurn(m *mapping, dst, src Raster, planes int, method Resampling, opts ResampleOptions) error {
	if dr, dc, ok := m.shift(dst.Box.X.Lo); ok && bytes.Equal(dst.nodata(), src.nodata()) {
		return copyCells(dst, src, planes, dr, dc, opts.Domain)
	}
	fp := newFootprint(m, method, dst.Box, src.Box, opts.Domain)
	return dispatch(dst, src, planes, fp, opts.MinValid)
}

// paste puts a part, some of the columns, in its place.
func paste(dst, part Raster) {
	size := int64(sizes[dst.DType])
	row, n := dst.Box.X.Len()*size, part.Box.X.Len()*size
	at := (part.Box.X.Lo - dst.Box.X.Lo) * size
	for from := int64(0); from < int64(len(part.Data)); from += n {
		copy(dst.Data[at:at+n], part.Data[from:])
		at += row
	}
}

// sizes are the bytes of an element of each dtype that can be resampled.
var sizes = map[string]int{
	"bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4,
	"int64": 8, "uint64": 8, "float32": 4, "float64": 8,
}

// little is the byte order of all rasters.
var little = binary.LittleEndian

// dispatch resamples by the rasters' dtype.
func dispatch(dst, src Raster, planes int, fp *footprint, minValid float64) error {
	switch src.DType {
	case "bool", "uint8":
		return run(dst, src, planes, fp, minValid, func(b []byte) uint8 { return b[0] }, func(b []byte, v uint8) { b[0] = v })
	case "int8":
		return run(dst, src, planes, fp, minValid, func(b []byte) int8 { return int8(b[0]) }, func(b []byte, v int8) { b[0] = byte(v) })
	case "uint16":
		return run(dst, src, planes, fp, minValid, little.Uint16, little.PutUint16)
	case "int16":
		return run(dst, src, planes, fp, minValid, func(b []byte) int16 { return int16(little.Uint16(b)) }, func(b []byte, v int16) { little.PutUint16(b, uint16(v)) })
	case "uint32":
		return run(dst, src, planes, fp, minValid, little.Uint32, little.PutUint32)
	case "int32":
		return run(dst, src, planes, fp, minValid, func(b []byte) int32 { return int32(little.Uint32(b)) }, func(b []byte, v int32) { little.PutUint32(b, uint32(v)) })
	case "uint64":
		return run(dst, src, planes, fp, minValid, little.Uint64, little.PutUint64)
	case "int64":
		return run(dst, src, planes, fp, minValid, func(b []byte) int64 { return int64(little.Uint64(b)) }, func(b []byte, v int64) { little.PutUint64(b, uint64(v)) })
	case "float32":
		return run(dst, src, planes, fp, minValid, func(b []byte) float32 { return math.Float32frombits(little.Uint32(b)) }, func(b []byte, v float32) { little.PutUint32(b, math.Float32bits(v)) })
	}
	return run(dst, src, planes, fp, minValid, func(b []byte) float64 { return math.Float64frombits(little.Uint64(b)) }, func(b []byte, v float64) { little.PutUint64(b, math.Float64bits(v)) })
}

// checkRasters returns how many planes both have, or what is wrong with one.
func checkRasters(dst, src Raster) (planes int, err error) {
	if dst.DType != src.DType {
		return 0, fmt.Errorf("source is %q and destination %q: must be one dtype", clip(src.DType), clip(dst.DType))
	}
	nd, err := dst.planes()
	if err != nil {
		return 0, fmt.Errorf("destination: %w", err)
	}
	ns, err := src.planes()
	if err != nil {
		return 0, fmt.Errorf("source: %w", err)
	}
	switch {
	case nd == 0:
		return 0, nil
	case src.Box.Empty():
		return nd, nil
	case nd != ns:
		return 0, fmt.Errorf("source has %d planes and destination %d", ns, nd)
	}
	return nd, nil
}

// planes returns how many planes the data are, or what is wrong with them.
func (r Raster) planes() (int, error) {
	size, ok := sizes[r.DType]
	if !ok {
		return 0, fmt.Errorf("dtype %q: cannot be resampled", clip(r.DType))
	}
	if len(r.Nodata) != 0 && len(r.Nodata) != size {
		return 0, fmt.Errorf("nodata of %d bytes: %s has %d", len(r.Nodata), r.DType, size)
	}
	for _, side := range []Range{r.Box.Y, r.Box.X} {
		if side.Lo < -MaxIndex || side.Hi > MaxIndex {
			return 0, fmt.Errorf("box %s is more than %d cells from the origin", r.Box, int64(MaxIndex))
		}
	}
	rows, cols := r.Box.Y.Len(), r.Box.X.Len()
	if rows == 0 || cols == 0 {
		if len(r.Data) != 0 {
			return 0, fmt.Errorf("%d bytes for an empty box", len(r.Data))
		}
		return 0, nil
	}
	if rows > int64(len(r.Data)) || cols > int64(len(r.Data)) || rows*cols > int64(len(r.Data)) ||
		int64(len(r.Data))%(rows*cols*int64(size)) != 0 {
		return 0, fmt.Errorf("%d bytes are no whole planes of %d × %d %s", len(r.Data), rows, cols, r.DType)
	}
	return int(int64(len(r.Data)) / (rows * cols * int64(size))), nil
}

// shift returns by how many rows and columns the lattices differ, on the turn
// of longitude that a column lies on, where that is all by which they do.
func (m *mapping) shift(col int64) (rows, cols int64, ok bool) {
	if !m.same || !sameSize(m.dst.DX, m.src.DX) || !sameSize(m.dst.DY, m.src.DY) {
		return 0, 0, false
	}
	r, c := m.row(0), (m.dst.X0-m.src.X0)/m.src.DX-float64(m.turnOf(col)*m.turn)
	nr, nc := math.RoundToEven(r), math.RoundToEven(c)
	if math.Abs(r-nr) > wholeCells || math.Abs(c-nc) > wholeCells || math.Abs(nr) > MaxIndex || math.Abs(nc) > MaxIndex {
		return 0, 0, false
	}
	return int64(nr), int64(nc), true
}

// sameSize reports whether cells are of one size, so nearly that a grid of
// any length does not tell them apart.
func sameSize(a, b float64) bool { return math.Abs(a-b) <= 1e-15*math.Abs(b) }

// copyCells copies where lattices differ by whole cells.
func copyCells(dst, src Raster, planes int, dr, dc int64, domain Box) error {
	size := int64(sizes[dst.DType])
	want := Box{Y: Range{dst.Box.Y.Lo + dr, dst.Box.Y.Hi + dr}, X: Range{dst.Box.X.Lo + dc, dst.Box.X.Hi + dc}}
	have := want.Intersect(src.Box.Static())
	if need := want.Intersect(domain.Static()); !need.Empty() && !src.Box.Static().Contains(need) {
		return fmt.Errorf("%w: needs %s, has %s", ErrWindow, need, src.Box.Static())
	}
	if have != want {
		fill(dst.Data, dst.nodata())
	}
	if have.Empty() {
		return nil
	}
	dstCols, srcCols, n := dst.Box.X.Len()*size, src.Box.X.Len()*size, have.X.Len()*size
	for p := range int64(planes) {
		for r := have.Y.Lo; r < have.Y.Hi; r++ {
			to := (p*dst.Box.Y.Len()+r-want.Y.Lo)*dstCols + (have.X.Lo-want.X.Lo)*size
			from := (p*src.Box.Y.Len()+r-src.Box.Y.Lo)*srcCols + (have.X.Lo-src.Box.X.Lo)*size
			copy(dst.Data[to:to+n], src.Data[from:from+n])
		}
	}
	return nil
}

// nodata is the element that is written where there are no data.
func (r Raster) nodata() []byte {
	switch {
	case len(r.Nodata) > 0:
		return r.Nodata
	case r.DType == "float32":
		return binary.LittleEndian.AppendUint32(nil, 0x7fc00000)
	case r.DType == "float64":
		return binary.LittleEndian.AppendUint64(nil, 0x7ff8000000000000)
	}
	return make([]byte, sizes[r.DType])
}

// fill repeats an element.
func fill(data, element []byte) {
	n := copy(data, element)
	for n > 0 && n < len(data) {
		n += copy(data[n:], data[:n])
	}
}
