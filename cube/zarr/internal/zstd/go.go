//go:build !cgo || purego

package zstd

import (
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Native tells whether the C library is used.
const Native = false

var plain encoders

// decoders pools decoders that never write beyond the slice they are given.
var decoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(fmt.Sprintf("zstd: %v", err)) // the options are constant and valid
	}
	return d
}}

// AppendCompress appends the frame of src to dst.
func AppendCompress(dst, src []byte, level int) ([]byte, error) {
	return plain.compress(dst, src, level)
}

// Decompress writes the content of the frames in src to dst, and returns its
// size. It fails where dst is too small.
func Decompress(dst, src []byte) (int, error) {
	if len(src) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	d := decoders.Get().(*zstd.Decoder)
	defer decoders.Put(d)
	out, err := d.DecodeAll(src, dst[:0:len(dst)])
	if err != nil {
		return 0, err
	}
	if len(out) > len(dst) {
		return 0, io.ErrShortBuffer
	}
	return len(out), nil
}
