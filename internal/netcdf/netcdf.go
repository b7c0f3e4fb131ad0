// Package netcdf writes NetCDF files in the classic format: version 2 (64-bit
// offsets), which every reader knows, and version 5 (64-bit data) where a type
// or a size asks for it. There is no record dimension: what is in a file is
// known before it is written, and values may be written in any order.
//
// A [File] describes; [Create] writes its header and returns a [Writer] for the
// values. They are given as they are in memory here: little-endian, in C order.
package netcdf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// Type is the type of values.
type Type int32

// The types. Those from Ubyte on make a file of version 5.
const (
	Byte   Type = 1
	Char   Type = 2
	Short  Type = 3
	Int    Type = 4
	Float  Type = 5
	Double Type = 6
	Ubyte  Type = 7
	Ushort Type = 8
	Uint   Type = 9
	Int64  Type = 10
	Uint64 Type = 11
)

// Size is the number of bytes of a value, 0 for no type.
func (t Type) Size() int {
	switch t {
	case Byte, Char, Ubyte:
		return 1
	case Short, Ushort:
		return 2
	case Int, Float, Uint:
		return 4
	case Double, Int64, Uint64:
		return 8
	}
	return 0
}

// ErrTooLarge says that a dimension or a variable is larger than any file can
// hold.
var ErrTooLarge = errors.New("too large for NetCDF")

// File is what a file holds but for the values of its variables.
type File struct {
	Dims  []Dim
	Attrs []Attr
	Vars  []Var
}

// Dim is a dimension of fixed length.
type Dim struct {
	Name string
	Len  int64
}

// Attr is an attribute. Its value is a string, or numbers: a []int8, []int16,
// []int32, []int64, []uint8, []uint16, []uint32, []uint64, []float32 or
// []float64.
type Attr struct {
	Name  string
	Value any
}

// Var is a variable: an array over some of the file's dimensions, by index.
type Var struct {
	Name  string
	Type  Type
	Dims  []int
	Attrs []Attr
}

// Tags of the header.
const (
	tagDimension = 0x0a
	tagVariable  = 0x0b
	tagAttribute = 0x0c
)

// Create writes the header of a file at w's start and returns a writer for the
// values. What is not written is zero where w is a new file.
func Create(w io.WriterAt, f *File) (*Writer, error) {
	out := &Writer{w: w, file: f}
	if err := out.lay(); err != nil {
		return nil, err
	}
	if _, err := w.WriteAt(out.header(), 0); err != nil {
		return nil, err
	}
	return out, nil
}

// Writer writes values. Its methods may be called at once.
type Writer struct {
	w      io.WriterAt
	file   *File
	five   bool
	sizes  []int64 // of the variables, in bytes
	begins []int64
	end    int64
}

// Size is the number of bytes of the file.
func (w *Writer) Size() int64 { return w.end }

// lay decides the version and places the variables.
func (w *Writer) lay() error {
	w.sizes, w.begins = make([]int64, len(w.file.Vars)), make([]int64, len(w.file.Vars))
	if err := w.file.check(); err != nil {
		return err
	}
	w.five = w.file.needsFive()
	for i, v := range w.file.Vars {
		size := int64(v.Type.Size())
		for _, d := range v.Dims {
			n := w.file.Dims[d].Len
			if size > math.MaxInt64/4/n {
				return fmt.Errorf("variable %s: %w", v.Name, ErrTooLarge)
			}
			size *= n
		}
		w.sizes[i] = size
		// Version 2 holds a larger one only at the end; version 5 any.
		w.five = w.five || padded(size) > math.MaxUint32-3
	}
	at := int64(len(w.header()))
	for i, size := range w.sizes {
		w.begins[i] = at
		at += padded(size)
	}
	w.end = at
	return nil
}

func padded(n int64) int64 { return (n + 3) &^ 3 }

// check refuses what no file can hold.
func (f *File) check() error {
	for _, d := range f.Dims {
		if d.Len < 1 {
			return fmt.Errorf("dimension %s has no length", d.Name)
		}
		if err := checkName(d.Name); err != nil {
			return err
		}
	}
	if err := checkAttrs(f.Attrs); err != nil {
		return err
	}
	for _, v := range f.Vars {
		if v.Type.Size() == 0 {
			return fmt.Errorf("variable %s has no type", v.Name)
		}
		for _, d := range v.Dims {
			if d < 0 || d >= len(f.Dims) {
				return fmt.Errorf("variable %s has a dimension that there is not", v.Name)
			}
		}
		if err := errors.Join(checkName(v.Name), checkAttrs(v.Attrs)); err != nil {
			return err
		}
	}
	return nil
}

func checkName(name string) error {
	if name == "" || len(name) > 256 || !utf8.ValidString(name) || strings.ContainsAny(name, "/\x00\x7f") || strings.HasSuffix(name, " ") {
		return fmt.Errorf("%q is not a name in NetCDF", name)
	}
	return nil
}

func checkAttrs(attrs []Attr) error {
	for _, a := range attrs {
		if err := checkName(a.Name); err != nil {
			return err
		}
		if _, _, err := attrType(a.Value); err != nil {
			return fmt.Errorf("attribute %s: %w", a.Name, err)
		}
	}
	return nil
}

// attrType is the type and number of an attribute's values.
func attrType(v any) (Type, int, error) {
	switch v := v.(type) {
	case string:
		return Char, len(v), nil
	case []int8:
		return Byte, len(v), nil
	case []int16:
		return Short, len(v), nil
	case []int32:
		return Int, len(v), nil
	case []float32:
		return Float, len(v), nil
	case []float64:
		return Double, len(v), nil
	case []uint8:
		return Ubyte, len(v), nil
	case []uint16:
		return Ushort, len(v), nil
	case []uint32:
		return Uint, len(v), nil
	case []int64:
		return Int64, len(v), nil
	case []uint64:
		return Uint64, len(v), nil
	}
	return 0, 0, fmt.Errorf("NetCDF holds no %T", v)
}

// needsFive reports whether a type or a dimension is one that version 2 has
// not.
func (f *File) needsFive() bool {
	for _, d := range f.Dims {
		if d.Len > math.MaxInt32 {
			return true
		}
	}
	lists := [][]Attr{f.Attrs}
	for _, v := range f.Vars {
		if v.Type >= Ubyte {
			return true
		}
		lists = append(lists, v.Attrs)
	}
	for _, attrs := range lists {
		for _, a := range attrs {
			if t, _, _ := attrType(a.Value); t >= Ubyte {
				return true
			}
		}
	}
	return false
}

// header is the file's header, with the variables' places as they are known.
func (w *Writer) header() []byte {
	h := encoder{five: w.five, b: []byte("CDF\x02")}
	if w.five {
		h.b[3] = 5
	}
	h.count(0) // records
	h.list(tagDimension, len(w.file.Dims))
	for _, d := range w.file.Dims {
		h.text(d.Name)
		h.count(d.Len)
	}
	h.attrs(w.file.Attrs)
	h.list(tagVariable, len(w.file.Vars))
	for i, v := range w.file.Vars {
		h.text(v.Name)
		h.count(int64(len(v.Dims)))
		for _, d := range v.Dims {
			h.count(int64(d))
		}
		h.attrs(v.Attrs)
		h.b = binary.BigEndian.AppendUint32(h.b, uint32(v.Type))
		h.count(padded(w.sizes[i]))
		h.b = binary.BigEndian.AppendUint64(h.b, uint64(w.begins[i]))
	}
	return h.b
}

// encoder writes the parts of a header.
type encoder struct {
	five bool
	b    []byte
}

// count writes what is 4 bytes in version 2 and 8 in version 5.
func (e *encoder) count(n int64) {
	if e.five {
		e.b = binary.BigEndian.AppendUint64(e.b, uint64(n))
		return
	}
	e.b = binary.BigEndian.AppendUint32(e.b, uint32(n))
}

func (e *encoder) list(tag uint32, n int) {
	if n == 0 {
		tag = 0
	}
	e.b = binary.BigEndian.AppendUint32(e.b, tag)
	e.count(int64(n))
}

func (e *encoder) text(s string) {
	e.count(int64(len(s)))
	e.b = append(e.b, s...)
	e.pad()
}

// pad fills up to four bytes; the header as a whole is aligned so.
func (e *encoder) pad() {
	for len(e.b)%4 != 0 {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) attrs(attrs []Attr) {
	e.list(tagAttribute, len(attrs))
	for _, a := range attrs {
		e.text(a.Name)
		t, n, _ := attrType(a.Value) // checked before
		e.b = binary.BigEndian.AppendUint32(e.b, uint32(t))
		e.count(int64(n))
		if s, ok := a.Value.(string); ok {
			e.b = append(e.b, s...)
		} else {
			e.b, _ = binary.Append(e.b, binary.BigEndian, a.Value)
		}
		e.pad()
	}
}

// Write writes values of a variable, from the n-th value on: little-endian, in
// C order. They are turned in place.
func (w *Writer) Write(variable int, n int64, values []byte) error {
	v := w.file.Vars[variable]
	size := v.Type.Size()
	if at := n * int64(size); n < 0 || at+int64(len(values)) > w.sizes[variable] || len(values)%size != 0 {
		return fmt.Errorf("write %s: values %d and on do not fit", v.Name, n)
	}
	turn(values, size)
	_, err := w.w.WriteAt(values, w.begins[variable]+n*int64(size))
	return err
}

// turn reverses the bytes of each value.
func turn(b []byte, size int) {
	switch size {
	case 2:
		for ; len(b) >= 2; b = b[2:] {
			b[0], b[1] = b[1], b[0]
		}
	case 4:
		for ; len(b) >= 4; b = b[4:] {
			binary.BigEndian.PutUint32(b, binary.LittleEndian.Uint32(b))
		}
	case 8:
		for ; len(b) >= 8; b = b[8:] {
			binary.BigEndian.PutUint64(b, binary.LittleEndian.Uint64(b))
		}
	}
}
