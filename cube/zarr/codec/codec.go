// Package codec turns the bytes of a Zarr chunk into what a store keeps, and
// back.
//
// A [Pipeline] is a chain as Zarr version 3 defines it: codecs from array to
// array (transpose), one from array to bytes (bytes), and codecs from bytes to
// bytes (gzip, zstd, blosc, crc32c). [New] makes it from the [Spec] list that
// metadata holds. The bytes that go in and come out are little-endian and in
// C order, whatever the chain does in between.
//
// What comes from a store is not trusted: a chunk never decodes to more bytes
// than its shape holds, and memory is never allocated by what a chunk says of
// itself.
package codec

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Errors that callers may test for with errors.Is.
var (
	// ErrCorrupt says that encoded bytes, or a codec's configuration, are not
	// what the format allows.
	ErrCorrupt = errors.New("corrupt")
	// ErrUnsupported says that a codec, or an option of it, is not implemented.
	ErrUnsupported = errors.New("unsupported")
)

// MaxChunk is the greatest number of bytes that a decoded chunk may have.
const MaxChunk = 1 << 30

// A Spec names a codec and holds its configuration, a JSON object or nothing.
type Spec struct {
	Name          string          `json:"name"`
	Configuration json.RawMessage `json:"configuration,omitempty"`
}

// A Chunk says what a pipeline's decoded bytes are.
type Chunk struct {
	Shape []int // the chunk's shape, each at least 1
	Size  int   // bytes of an element
	Unit  int   // bytes of the numbers in an element, which byte order applies to
}

// bytes is the chunk's size; it fails where that is more than MaxChunk.
func (c Chunk) bytes() (int, error) {
	if c.Size < 1 || c.Unit < 1 || c.Size%c.Unit != 0 {
		return 0, fmt.Errorf("chunk of %d-byte elements of %d-byte numbers: %w", c.Size, c.Unit, ErrCorrupt)
	}
	n := c.Size
	for _, d := range c.Shape {
		if d < 1 {
			return 0, fmt.Errorf("chunk shape %v: %w", c.Shape, ErrCorrupt)
		}
		if n > MaxChunk/d {
			return 0, fmt.Errorf("chunk shape %v: more than %d bytes: %w", c.Shape, MaxChunk, ErrUnsupported)
		}
		n *= d
	}
	return n, nil
}

// Little is the bytes codec in little-endian order.
func Little() Spec { return spec("bytes", bytesConfig{Endian: "little"}) }

// Big is the bytes codec in big-endian order.
func Big() Spec { return spec("bytes", bytesConfig{Endian: "big"}) }

// Transpose is the transpose codec: dimension i of what is encoded is dimension
// order[i] of the array.
func Transpose(order ...int) Spec { return spec("transpose", transposeConfig{Order: order}) }

// Gzip is the gzip codec at a level from 0 to 9.
func Gzip(level int) Spec { return spec("gzip", gzipConfig{Level: &level}) }

// Zstd is the zstd codec at a level up to 22, without a checksum.
func Zstd(level int) Spec { return spec("zstd", zstdConfig{Level: &level}) }

// CRC32C is the crc32c codec.
func CRC32C() Spec { return Spec{Name: "crc32c"} }

// Blosc is the blosc codec. cname is "zstd", "lz4" or "zlib", and level 0 to 9;
// elements of typeSize bytes are byte-shuffled, unless typeSize is 1.
func Blosc(cname string, level, typeSize int) Spec {
	shuffle := "shuffle"
	if typeSize == 1 {
		shuffle = "noshuffle"
	}
	return spec("blosc", bloscConfig{CName: cname, CLevel: &level, Shuffle: shuffle, TypeSize: typeSize})
}

// spec marshals a configuration that is known to be valid JSON.
func spec(name string, config any) Spec {
	raw, err := json.Marshal(config)
	if err != nil {
		panic(fmt.Sprintf("codec: %s configuration: %v", name, err))
	}
	return Spec{Name: name, Configuration: raw}
}
