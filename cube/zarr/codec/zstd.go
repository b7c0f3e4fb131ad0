package codec

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cubebuild/cube/cube/zarr/internal/zstd"
)

type zstdConfig struct {
	Level    *int `json:"level"`
	Checksum bool `json:"checksum"`
}

// zstandard is the zstd codec.
type zstandard struct {
	level    int
	checksum bool
}

func newZstd(raw json.RawMessage) (*zstandard, error) {
	var c zstdConfig
	if err := configure(raw, &c); err != nil {
		return nil, err
	}
	if c.Level == nil || *c.Level < zstd.MinLevel || *c.Level > zstd.MaxLevel {
		return nil, fmt.Errorf("level is not %d to %d: %w", zstd.MinLevel, zstd.MaxLevel, ErrCorrupt)
	}
	return &zstandard{level: *c.Level, checksum: c.Checksum}, nil
}

func (*zstandard) bound(n int) int { return loose(n) }

func (c *zstandard) encode(dst, src []byte) ([]byte, error) {
	var err error
	if c.checksum {
		dst, err = zstd.AppendCompressChecksum(dst, src, c.level)
	} else {
		dst, err = zstd.AppendCompress(dst, src, c.level)
	}
	if err != nil {
		return dst, fmt.Errorf("encode zstd: %w", err)
	}
	return dst, nil
}

func (c *zstandard) decode(dst, src []byte, limit int) ([]byte, error) {
	n := len(dst)
	dst = slices.Grow(dst, limit)
	m, err := zstd.Decompress(dst[n:n+limit], src)
	if err != nil {
		return dst[:n], fmt.Errorf("decode zstd: %w: %v", ErrCorrupt, err)
	}
	return dst[:n+m], nil
}
