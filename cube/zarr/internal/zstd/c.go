//go:build cgo && !purego

package zstd

import (
	"io"
	"slices"
	"sync"

	"github.com/DataDog/zstd"
)

// Native tells whether the C library is used.
const Native = true

// contexts pools C contexts, which are freed when they are collected.
var contexts = sync.Pool{New: func() any { return zstd.NewCtx() }}

// AppendCompress appends the frame of src to dst.
func AppendCompress(dst, src []byte, level int) ([]byte, error) {
	ctx := contexts.Get().(zstd.Ctx)
	defer contexts.Put(ctx)
	n := len(dst)
	dst = slices.Grow(dst, Bound(len(src)))
	out, err := ctx.CompressLevel(dst[n:n], src, level)
	if err != nil {
		return dst[:n], err
	}
	return dst[:n+len(out)], nil
}

// Decompress writes the content of the frames in src to dst, and returns its
// size. It fails where dst is too small.
func Decompress(dst, src []byte) (int, error) {
	if len(src) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	ctx := contexts.Get().(zstd.Ctx)
	defer contexts.Put(ctx)
	if len(dst) == 0 {
		dst = make([]byte, 1) // the library wants an address
		n, err := ctx.DecompressInto(dst, src)
		if n > 0 && err == nil {
			return 0, io.ErrShortBuffer
		}
		return 0, err
	}
	return ctx.DecompressInto(dst, src)
}
