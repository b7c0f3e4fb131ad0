package codec

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
)

// castagnoli is the polynomial of CRC-32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the crc32c codec: the bytes, then their CRC-32C, little-endian.
type checksum struct{}

func newCRC32C(raw json.RawMessage) (checksum, error) {
	return checksum{}, configure(raw, &struct{}{})
}

func (checksum) bound(n int) int { return n + crc32.Size }

func (checksum) encode(dst, src []byte) ([]byte, error) {
	dst = append(dst, src...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(src, castagnoli)), nil
}

func (checksum) decode(dst, src []byte, limit int) ([]byte, error) {
	n := len(src) - crc32.Size
	if n < 0 || n > limit {
		return dst, fmt.Errorf("decode crc32c: %d bytes: %w", len(src), ErrCorrupt)
	}
	if got, want := crc32.Checksum(src[:n], castagnoli), binary.LittleEndian.Uint32(src[n:]); got != want {
		return dst, fmt.Errorf("decode crc32c: checksum %08x, want %08x: %w", got, want, ErrCorrupt)
	}
	return append(dst, src[:n]...), nil
}
