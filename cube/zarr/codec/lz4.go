package codec

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/pierrec/lz4/v4"
)

// lz4Block is the lz4 codec of numcodecs: the decoded size, then an LZ4 block.
type lz4Block struct{}

var compressors = sync.Pool{New: func() any { return new(lz4.Compressor) }}

func (lz4Block) bound(n int) int { return loose(n) }

func (lz4Block) encode(dst, src []byte) ([]byte, error) {
	c := compressors.Get().(*lz4.Compressor)
	defer compressors.Put(c)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(src)))
	n, bound := len(dst), lz4.CompressBlockBound(len(src))
	dst = slices.Grow(dst, bound)[:n+bound]
	m, err := c.CompressBlock(src, dst[n:])
	if err != nil {
		return dst[:n-4], fmt.Errorf("encode lz4: %w", err)
	}
	return dst[:n+m], nil
}

func (lz4Block) decode(dst, src []byte, limit int) ([]byte, error) {
	if len(src) < 4 {
		return dst, fmt.Errorf("decode lz4: %d bytes: %w", len(src), ErrCorrupt)
	}
	size := uint64(binary.LittleEndian.Uint32(src))
	if size > uint64(limit) {
		return dst, fmt.Errorf("decode lz4: %d bytes, at most %d are allowed: %w", size, limit, ErrCorrupt)
	}
	n := len(dst)
	dst = slices.Grow(dst, int(size))[:n+int(size)]
	m, err := lz4.UncompressBlock(src[4:], dst[n:])
	if err != nil || m != int(size) {
		return dst[:n], fmt.Errorf("decode lz4: %d of %d bytes: %w: %v", m, size, ErrCorrupt, err)
	}
	return dst, nil
}
