package codec

import (
	"encoding/json"
	"fmt"
)

type bytesConfig struct {
	Endian string `json:"endian,omitempty"`
}

// order is the bytes codec: elements one after the other, in one byte order.
type order struct {
	size int
	swap int // bytes to reverse at a time; 1 copies
}

func newBytes(raw json.RawMessage, chunk Chunk) (*order, error) {
	var c bytesConfig
	if err := configure(raw, &c); err != nil {
		return nil, err
	}
	size, err := chunk.bytes()
	if err != nil {
		return nil, err
	}
	switch {
	case c.Endian == "little", c.Endian == "" && chunk.Unit == 1:
		return &order{size: size, swap: 1}, nil
	case c.Endian == "big":
		return &order{size: size, swap: chunk.Unit}, nil
	}
	return nil, fmt.Errorf("endian %.20q: %w", c.Endian, ErrCorrupt)
}

func (o *order) identity() bool { return o.swap == 1 }
func (o *order) bound() int     { return o.size }

func (o *order) encode(dst, src []byte) ([]byte, error) {
	n := len(dst)
	dst = append(dst, src...)
	reverse(dst[n:], o.swap)
	return dst, nil
}

func (o *order) decode(dst, src []byte) ([]byte, error) {
	if len(src) != o.size {
		return dst, fmt.Errorf("decode bytes: %d, want %d: %w", len(src), o.size, ErrCorrupt)
	}
	return o.encode(dst, src)
}

// reverse reverses each run of n bytes of b.
func reverse(b []byte, n int) {
	switch n {
	case 1:
	case 2:
		for i := 0; i+2 <= len(b); i += 2 {
			b[i], b[i+1] = b[i+1], b[i]
		}
	case 4:
		for i := 0; i+4 <= len(b); i += 4 {
			b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
		}
	default:
		for ; len(b) >= n; b = b[n:] {
			for i, j := 0, n-1; i < j; i, j = i+1, j-1 {
				b[i], b[j] = b[j], b[i]
			}
		}
	}
}
