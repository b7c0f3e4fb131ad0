package zarr

import (
	"fmt"
	"strconv"
	"strings"
	"unsafe"
)

// A DType is the type of an array's elements, by its name in metadata.
type DType string

// The core data types. Raw types, of n uninterpreted bytes, are named "r"
// followed by their size in bits, such as "r16"; [Raw] makes them.
const (
	Bool       DType = "bool"
	Int8       DType = "int8"
	Int16      DType = "int16"
	Int32      DType = "int32"
	Int64      DType = "int64"
	Uint8      DType = "uint8"
	Uint16     DType = "uint16"
	Uint32     DType = "uint32"
	Uint64     DType = "uint64"
	Float16    DType = "float16"
	Float32    DType = "float32"
	Float64    DType = "float64"
	Complex64  DType = "complex64"
	Complex128 DType = "complex128"
)

// maxRaw bounds the size in bytes of a raw type.
const maxRaw = 1 << 16

// ParseDType checks that name names a data type. A name that it does not know
// is ErrUnsupported.
func ParseDType(name string) (DType, error) {
	d := DType(name)
	if d.Size() == 0 {
		return "", fmt.Errorf("data type %.100q: %w", name, ErrUnsupported)
	}
	return d, nil
}

// Raw is the type of size uninterpreted bytes, 1 to 65536.
func Raw(size int) DType { return DType("r" + strconv.Itoa(8*size)) }

// String returns the name.
func (d DType) String() string { return string(d) }

// Size is an element's size in bytes, 0 if d is not a data type.
func (d DType) Size() int {
	switch d {
	case Bool, Int8, Uint8:
		return 1
	case Int16, Uint16, Float16:
		return 2
	case Int32, Uint32, Float32:
		return 4
	case Int64, Uint64, Float64, Complex64:
		return 8
	case Complex128:
		return 16
	}
	return d.rawSize()
}

// Unit is the size in bytes of the numbers that an element consists of, which
// byte order applies to: half of Size for complex types, 1 for raw ones.
func (d DType) Unit() int {
	switch {
	case d == Complex64 || d == Complex128:
		return d.Size() / 2
	case d.rawSize() > 0:
		return 1
	}
	return d.Size()
}

func (d DType) rawSize() int {
	digits, ok := strings.CutPrefix(string(d), "r")
	if !ok || digits == "" || digits[0] == '0' || digits[0] == '+' {
		return 0
	}
	bits, err := strconv.Atoi(digits)
	if err != nil || bits <= 0 || bits%8 != 0 || bits/8 > maxRaw {
		return 0
	}
	return bits / 8
}

// Element is a Go type whose slices can be shown as an array's bytes.
type Element interface {
	~bool | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 |
		~float32 | ~float64 | ~complex64 | ~complex128
}

// Bytes is the memory of v, which on a little-endian machine is v as region and
// chunk methods take and give it. It panics on a big-endian machine.
func Bytes[T Element](v []T) []byte {
	if !littleEndian {
		panic("zarr: Bytes on a big-endian machine")
	}
	var zero T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(zero)))
}

// littleEndian tells the machine's byte order.
var littleEndian = func() bool {
	one := uint16(1)
	return *(*byte)(unsafe.Pointer(&one)) == 1
}()
