// Package zstd compresses and decompresses whole Zstandard frames: with the C
// library where the program is built with cgo, in pure Go elsewhere or with the
// build tag purego. Both read the same frames; the bytes that they write differ.
//
// The functions may be called from many goroutines at once. Contexts are
// pooled, so that a call allocates nothing once the pool is warm.
package zstd

import (
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// The levels that Zstandard knows.
const (
	MinLevel = -131072
	MaxLevel = 22
)

// checksummed holds encoders that end frames with a checksum.
var checksummed = encoders{crc: true}

// AppendCompressChecksum appends the frame of src, with a checksum of its
// content, to dst.
func AppendCompressChecksum(dst, src []byte, level int) ([]byte, error) {
	return checksummed.compress(dst, src, level)
}

// Bound is the greatest size of the frame of n bytes.
func Bound(n int) int { return n + n>>7 + 512 }

// encoders pools Go encoders by level.
type encoders struct {
	crc   bool
	pools [zstd.SpeedBestCompression + 1]sync.Pool
}

func (e *encoders) compress(dst, src []byte, level int) ([]byte, error) {
	speed := zstd.EncoderLevelFromZstd(level)
	pool := &e.pools[speed]
	enc, _ := pool.Get().(*zstd.Encoder)
	if enc == nil {
		var err error
		enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderCRC(e.crc), zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true))
		if err != nil {
			return dst, err
		}
	}
	defer pool.Put(enc)
	return enc.EncodeAll(src, slices.Grow(dst, Bound(len(src)))), nil
}
