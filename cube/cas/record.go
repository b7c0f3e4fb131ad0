package cas

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/cubebuild/cube/graph"
)

// record is one entry of a log. Its value is shared with the buffer it was
// read from.
type record struct {
	kind  byte
	key   graph.Digest
	value []byte
	off   int64 // of its first byte in the file
}

// appendRecord appends a record as it stands in the file.
func appendRecord(dst []byte, kind byte, key graph.Digest, value []byte) []byte {
	start := len(dst)
	dst = append(dst, recordMagic[:]...)
	dst = append(dst, kind, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(value)))
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, key[:]...)
	dst = append(dst, value...)
	binary.LittleEndian.PutUint32(dst[start+12:], checksum(dst[start:]))
	return dst
}

// checksum covers all of a record but its magic and the checksum itself.
func checksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[4:12], castagnoli), castagnoli, b[16:])
}

// parseHeader returns the length of the value and the kind that a record's
// header tells, if it may be one.
func parseHeader(b []byte) (n int, kind byte, ok bool) {
	if len(b) < recordHeader || !bytes.Equal(b[:4], recordMagic[:]) || b[5]|b[6]|b[7] != 0 {
		return 0, 0, false
	}
	size := binary.LittleEndian.Uint32(b[8:])
	kind = b[4]
	ok = size <= MaxValue && (kind == kindPut || kind == kindDeleted && size == 0)
	return int(size), kind, ok
}

// parseRecord reads the record that b begins with, if it is whole.
func parseRecord(b []byte) (record, bool) {
	n, kind, ok := parseHeader(b)
	if !ok || len(b) < recordHeader+n {
		return record{}, false
	}
	b = b[:recordHeader+n]
	if binary.LittleEndian.Uint32(b[12:]) != checksum(b) {
		return record{}, false
	}
	r := record{kind: kind, value: b[recordHeader:]}
	copy(r.key[:], b[16:])
	return r, true
}

// scanBuffer is how much a scanner reads at once.
const scanBuffer = 1 << 20

// scanner reads the records of a stretch of a file in order, and skips damage
// that a whole record follows.
type scanner struct {
	r      io.ReaderAt
	off    int64 // of the next record
	end    int64
	locked bool // nobody writes meanwhile
	buf    []byte
	base   int64 // file offset of buf
}

func newScanner(r io.ReaderAt, off, end int64) *scanner { return &scanner{r: r, off: off, end: end} }

// next returns the next record. ok is false at the end, or where there is no
// further whole record; off then says how far they went.
func (s *scanner) next() (r record, ok bool, err error) {
	r, ok, err = s.parse(s.off)
	if ok || err != nil {
		return s.take(r), ok, err
	}
	at, err := s.search(s.off + 1)
	if at < 0 || err != nil {
		return record{}, false, err
	}
	if !s.locked {
		// What was read as damage may have been a record that was just being
		// written; as one follows it, it is whole by now.
		s.buf = nil
		if r, ok, err = s.parse(s.off); ok || err != nil {
			return s.take(r), ok, err
		}
	}
	r, ok, err = s.parse(at)
	return s.take(r), ok, err
}

func (s *scanner) take(r record) record {
	if r.kind != 0 {
		s.off = r.off + int64(recordHeader+len(r.value))
	}
	return r
}

// parse reads the record at off, if there is a whole one.
func (s *scanner) parse(off int64) (record, bool, error) {
	b, err := s.bytes(off, recordHeader)
	if err != nil {
		return record{}, false, err
	}
	n, _, ok := parseHeader(b)
	if !ok || off+int64(recordHeader+n) > s.end {
		return record{}, false, nil
	}
	if b, err = s.bytes(off, recordHeader+n); err != nil {
		return record{}, false, err
	}
	r, ok := parseRecord(b)
	r.off = off
	return r, ok, nil
}

// search returns the offset of the first whole record at or after off, or −1.
func (s *scanner) search(off int64) (int64, error) {
	for off+int64(recordHeader) <= s.end {
		b, err := s.bytes(off, recordHeader)
		if err != nil || len(b) < recordHeader {
			return -1, err
		}
		i := bytes.Index(b, recordMagic[:])
		if i < 0 {
			off += int64(len(b) - len(recordMagic) + 1)
			continue
		}
		off += int64(i)
		if _, ok, err := s.parse(off); ok || err != nil {
			return off, err
		}
		off++
	}
	return -1, nil
}

// bytes returns what the buffer holds from off on: at least n bytes, or all
// that there is before the end.
func (s *scanner) bytes(off int64, n int) ([]byte, error) {
	if off >= s.base && off+int64(n) <= s.base+int64(len(s.buf)) {
		return s.buf[off-s.base:], nil
	}
	size := min(int64(max(n, scanBuffer)), s.end-off)
	if size <= 0 {
		return nil, nil
	}
	if int64(cap(s.buf)) < size {
		s.buf = make([]byte, size)
	}
	s.buf = s.buf[:size]
	m, err := s.r.ReadAt(s.buf, off)
	if err == io.EOF {
		err = nil // cut off meanwhile
	}
	s.buf, s.base = s.buf[:m], off
	return s.buf, err
}
