// Package npy reads and writes .npy files, NumPy's format of one array
// (numpy.lib.format, versions 1.0 to 3.0): a magic string, a header that is a
// Python dict literal, and the values.
//
// Only what crosses the border between the engine and a producer is taken:
// little-endian numbers and bools in C order.
package npy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strconv"
	"strings"
)

// Errors that Read wraps.
var (
	// ErrFormat says that the bytes are no .npy file.
	ErrFormat = errors.New("not a .npy file")
	// ErrUnsupported says that the array is one that this package does not take.
	ErrUnsupported = errors.New("unsupported array")
)

const (
	magic     = "\x93NUMPY"
	maxHeader = 1 << 16
	maxDims   = 32
	align     = 64
)

// descrs maps NumPy's type strings to Zarr's names.
var descrs = map[string]string{
	"|b1": "bool", "|i1": "int8", "|u1": "uint8",
	"<i2": "int16", "<i4": "int32", "<i8": "int64",
	"<u2": "uint16", "<u4": "uint32", "<u8": "uint64",
	"<f4": "float32", "<f8": "float64",
}

// Header describes an array: its data type by its Zarr name, and its shape.
type Header struct {
	DType string
	Shape []int64
}

// Size is the number of bytes of the values.
func (h Header) Size() (int64, error) {
	n := uint64(itemSize(h.DType))
	for _, s := range h.Shape {
		hi, lo := bits.Mul64(n, uint64(s))
		if s < 0 || hi != 0 || lo > 1<<62 {
			return 0, fmt.Errorf("shape %v: too large", h.Shape)
		}
		n = lo
	}
	return int64(n), nil
}

func itemSize(dtype string) int64 {
	for descr, name := range descrs {
		if name == dtype {
			return int64(descr[2] - '0')
		}
	}
	return 0
}

// AppendHeader appends the file up to its values, which is a multiple of 64
// bytes long.
func AppendHeader(b []byte, h Header) ([]byte, error) {
	descr := ""
	for d, name := range descrs {
		if name == h.DType {
			descr = d
		}
	}
	if descr == "" {
		return nil, fmt.Errorf("%w: data type %s", ErrUnsupported, h.DType)
	}
	var dims strings.Builder
	for i, s := range h.Shape {
		if i > 0 {
			dims.WriteByte(' ')
		}
		fmt.Fprintf(&dims, "%d,", s)
	}
	shape := dims.String()
	if len(h.Shape) > 1 {
		shape = strings.TrimSuffix(shape, ",")
	}
	dict := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, shape)
	total := len(magic) + 4 + len(dict) + 1
	pad := (align - total%align) % align
	b = append(b, magic...)
	b = append(b, 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(dict)+1+pad))
	b = append(b, dict...)
	b = append(b, bytes.Repeat([]byte{' '}, pad)...)
	return append(b, '\n'), nil
}

// ReadHeader reads the file up to its values.
func ReadHeader(r io.Reader) (Header, error) {
	var pre [8]byte
	if _, err := io.ReadFull(r, pre[:]); err != nil {
		return Header{}, fmt.Errorf("%w: %d bytes are too few", ErrFormat, len(pre))
	}
	if string(pre[:6]) != magic {
		return Header{}, fmt.Errorf("%w: it does not start with \\x93NUMPY", ErrFormat)
	}
	n, err := headerLen(r, pre[6])
	if err != nil {
		return Header{}, err
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return Header{}, fmt.Errorf("%w: the header is cut short", ErrFormat)
	}
	return parseHeader(string(text))
}

func headerLen(r io.Reader, version byte) (int, error) {
	size := 2
	switch version {
	case 1:
	case 2, 3:
		size = 4
	default:
		return 0, fmt.Errorf("%w: version %d", ErrUnsupported, version)
	}
	var b [4]byte
	if _, err := io.ReadFull(r, b[:size]); err != nil {
		return 0, fmt.Errorf("%w: the header is cut short", ErrFormat)
	}
	n := binary.LittleEndian.Uint32(b[:])
	if n > maxHeader {
		return 0, fmt.Errorf("%w: a header of %d bytes", ErrFormat, n)
	}
	return int(n), nil
}

// parseHeader reads {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
// with its keys in any order.
func parseHeader(text string) (Header, error) {
	p := &parser{rest: strings.TrimSpace(text)}
	var h Header
	seen := map[string]bool{}
	p.expect("{")
	for p.err == nil && !p.accept("}") {
		key := p.str()
		if seen[key] {
			p.fail("key " + key + " twice")
		}
		seen[key] = true
		p.expect(":")
		switch key {
		case "descr":
			h.DType = p.dtype()
		case "fortran_order":
			if p.accept("True") {
				p.unsupported("Fortran order; write it in C order (numpy.ascontiguousarray)")
			} else {
				p.expect("False")
			}
		case "shape":
			h.Shape = p.shape()
		default:
			p.fail("unknown key " + strconv.Quote(key))
		}
		if !p.accept(",") && !strings.HasPrefix(p.rest, "}") {
			p.fail("expected , or }")
		}
	}
	if p.err == nil && p.rest != "" {
		p.fail("more after the header")
	}
	if p.err == nil && len(seen) != 3 {
		p.fail("descr, fortran_order and shape are not all there")
	}
	if p.err != nil {
		return Header{}, p.err
	}
	_, err := h.Size()
	return h, err
}

type parser struct {
	rest string
	err  error
}

func (p *parser) fail(what string) {
	if p.err == nil {
		p.err = fmt.Errorf("%w: header: %s", ErrFormat, what)
	}
}

func (p *parser) unsupported(what string) {
	if p.err == nil {
		p.err = fmt.Errorf("%w: %s", ErrUnsupported, what)
	}
}

func (p *parser) accept(tok string) bool {
	if p.err != nil || !strings.HasPrefix(p.rest, tok) {
		return false
	}
	p.rest = strings.TrimLeft(p.rest[len(tok):], " \n")
	return true
}

func (p *parser) expect(tok string) {
	if !p.accept(tok) {
		p.fail("expected " + tok)
	}
}

func (p *parser) str() string {
	if p.err != nil || p.rest == "" || p.rest[0] != '\'' && p.rest[0] != '"' {
		p.fail("expected a string")
		return ""
	}
	s, rest, ok := strings.Cut(p.rest[1:], p.rest[:1])
	if !ok {
		p.fail("a string has no end")
	}
	p.rest = strings.TrimLeft(rest, " \n")
	return s
}

func (p *parser) dtype() string {
	if strings.HasPrefix(p.rest, "[") {
		p.unsupported("a structured data type")
		return ""
	}
	descr := p.str()
	name, ok := descrs[descr]
	if !ok && p.err == nil {
		if strings.HasPrefix(descr, ">") {
			p.unsupported("big-endian values (" + descr + ")")
		}
		p.unsupported("data type " + descr)
	}
	return name
}

func (p *parser) shape() []int64 {
	shape := []int64{}
	p.expect("(")
	for p.err == nil && !p.accept(")") {
		i := 0
		for i < len(p.rest) && p.rest[i] >= '0' && p.rest[i] <= '9' {
			i++
		}
		n, err := strconv.ParseInt(p.rest[:i], 10, 64)
		if err != nil || len(shape) == maxDims {
			p.fail("shape")
			return nil
		}
		p.rest = strings.TrimLeft(p.rest[i:], " \n")
		shape = append(shape, n)
		if !p.accept(",") && !strings.HasPrefix(p.rest, ")") {
			p.fail("shape")
		}
	}
	return shape
}

// Read reads a whole file of at most limit bytes of values. A file that is
// longer or shorter than its header says is an error.
func Read(r io.Reader, limit int64) (Header, []byte, error) {
	h, err := ReadHeader(r)
	if err != nil {
		return h, nil, err
	}
	n, err := h.Size()
	if err != nil {
		return h, nil, err
	}
	if n > limit {
		return h, nil, fmt.Errorf("%s %v: %d bytes, more than the %d expected", h.DType, h.Shape, n, limit)
	}
	values := make([]byte, n)
	if got, err := io.ReadFull(r, values); err != nil {
		return h, nil, fmt.Errorf("%w: %d bytes of values, its header says %d", ErrFormat, got, n)
	}
	var one [1]byte
	if _, err := io.ReadFull(r, one[:]); err == nil {
		return h, nil, fmt.Errorf("%w: more bytes than its header says", ErrFormat)
	}
	return h, values, nil
}
