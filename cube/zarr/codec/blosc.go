package codec

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cubebuild/cube/cube/zarr/blosc"
)

type bloscConfig struct {
	TypeSize  int    `json:"typesize,omitempty"`
	CName     string `json:"cname"`
	CLevel    *int   `json:"clevel"`
	Shuffle   string `json:"shuffle"`
	BlockSize int    `json:"blocksize"`
}

// container is the blosc codec.
type container struct{ conf blosc.Config }

func newBlosc(raw json.RawMessage, chunk Chunk) (*container, error) {
	var c bloscConfig
	if err := configure(raw, &c); err != nil {
		return nil, err
	}
	conf := blosc.Config{TypeSize: c.TypeSize, BlockSize: c.BlockSize}
	switch c.Shuffle {
	case "noshuffle":
		conf.Shuffle = blosc.NoShuffle
	case "shuffle":
		conf.Shuffle = blosc.ByteShuffle
	case "bitshuffle":
		conf.Shuffle = blosc.BitShuffle
	default:
		return nil, fmt.Errorf("shuffle %.20q: %w", c.Shuffle, ErrCorrupt)
	}
	if c.TypeSize == 0 && conf.Shuffle != blosc.NoShuffle {
		conf.TypeSize = chunk.Size
	}
	var err error
	if conf.Compressor, err = blosc.ParseCompressor(c.CName); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUnsupported, err)
	}
	if c.CLevel == nil || *c.CLevel < 0 || *c.CLevel > 9 {
		return nil, fmt.Errorf("clevel is not 0 to 9: %w", ErrCorrupt)
	}
	if conf.Level = *c.CLevel; conf.Level == 0 {
		conf.Compressor = blosc.Store
	}
	if c.TypeSize < 0 || c.BlockSize < 0 {
		return nil, fmt.Errorf("typesize %d, blocksize %d: %w", c.TypeSize, c.BlockSize, ErrCorrupt)
	}
	return &container{conf: conf}, nil
}

func (*container) bound(n int) int { return loose(n) }

func (c *container) encode(dst, src []byte) ([]byte, error) {
	dst, err := blosc.AppendCompress(dst, src, c.conf)
	if err != nil {
		return dst, fmt.Errorf("encode: %w", err)
	}
	return dst, nil
}

func (c *container) decode(dst, src []byte, limit int) ([]byte, error) {
	size, err := blosc.DecodedSize(src)
	if err != nil {
		return dst, fmt.Errorf("decode: %w: %v", ErrCorrupt, err)
	}
	if size > limit {
		return dst, fmt.Errorf("decode blosc: %d bytes, at most %d are allowed: %w", size, limit, ErrCorrupt)
	}
	n := len(dst)
	dst = slices.Grow(dst, size)[:n+size]
	if err := blosc.Decompress(dst[n:], src); err != nil {
		return dst[:n], fmt.Errorf("decode: %w: %v", ErrCorrupt, err)
	}
	return dst, nil
}

func (c *container) decodeRange(dst, src []byte, offset, size int) error {
	switch n, err := blosc.DecodedSize(src); {
	case err != nil:
		return fmt.Errorf("decode: %w: %v", ErrCorrupt, err)
	case n != size:
		return fmt.Errorf("decode blosc: %d bytes, want %d: %w", n, size, ErrCorrupt)
	}
	if err := blosc.DecompressRange(dst, src, offset); err != nil {
		return fmt.Errorf("decode: %w: %v", ErrCorrupt, err)
	}
	return nil
}
