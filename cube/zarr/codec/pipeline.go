package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
)

// An arrayToArray codec rearranges a chunk; its size does not change.
type arrayToArray interface {
	encode(dst, src []byte)
	decode(dst, src []byte)
	// encoded is the chunk that the next codec of the chain gets.
	encoded() Chunk
}

// An arrayToBytes codec makes bytes of a chunk. Both methods append to dst; dst
// and src do not overlap, except that src may be dst's unused tail's equal: see
// identity.
type arrayToBytes interface {
	encode(dst, src []byte) ([]byte, error)
	decode(dst, src []byte) ([]byte, error)
	// identity reports that both methods only copy.
	identity() bool
	// bound is the greatest size of an encoded chunk.
	bound() int
}

// A bytesToBytes codec appends its result to dst.
type bytesToBytes interface {
	encode(dst, src []byte) ([]byte, error)
	// decode fails with ErrCorrupt where the result would have more than limit
	// bytes, and allocates no more than about that.
	decode(dst, src []byte, limit int) ([]byte, error)
	// bound is the greatest size that n bytes may have once encoded, by
	// whatever encoder.
	bound(n int) int
}

// A Pipeline encodes and decodes the chunks of one array. Its methods may be
// called from many goroutines at once.
type Pipeline struct {
	size    int
	arrays  []arrayToArray
	pack    arrayToBytes
	bytes   []bytesToBytes
	limits  []int // limits[i] bounds what bytes[i] decodes to
	scratch sync.Pool
}

// scratch holds the two buffers that stages of a chain hand on.
type scratch struct{ a, b []byte }

// New makes the pipeline that specs describe for chunks of the given sort.
// Unknown codecs and options are ErrUnsupported, wrong ones ErrCorrupt.
func New(specs []Spec, chunk Chunk) (*Pipeline, error) {
	size, err := chunk.bytes()
	if err != nil {
		return nil, err
	}
	p := &Pipeline{size: size}
	p.scratch.New = func() any { return new(scratch) }
	for i, s := range specs {
		if chunk, err = p.add(s, chunk); err != nil {
			return nil, fmt.Errorf("codec %d %.50q: %w", i, s.Name, err)
		}
	}
	if p.pack == nil {
		return nil, fmt.Errorf("codecs: none from array to bytes: %w", ErrCorrupt)
	}
	limit := p.pack.bound()
	for _, b := range p.bytes {
		p.limits = append(p.limits, limit)
		limit = b.bound(limit)
	}
	return p, nil
}

// add appends one codec, which encodes chunk, and returns what comes after it.
func (p *Pipeline) add(s Spec, chunk Chunk) (Chunk, error) {
	made, err := make1(s, chunk)
	if err != nil {
		return chunk, err
	}
	switch c := made.(type) {
	case arrayToArray:
		if p.pack != nil {
			return chunk, fmt.Errorf("takes an array, but comes after the codec that makes bytes: %w", ErrCorrupt)
		}
		p.arrays = append(p.arrays, c)
		return c.encoded(), nil
	case arrayToBytes:
		if p.pack != nil {
			return chunk, fmt.Errorf("is a second codec from array to bytes: %w", ErrCorrupt)
		}
		p.pack = c
	case bytesToBytes:
		if p.pack == nil {
			return chunk, fmt.Errorf("takes bytes, but no codec before it makes them: %w", ErrCorrupt)
		}
		p.bytes = append(p.bytes, c)
	}
	return chunk, nil
}

// make1 makes the codec that s names.
func make1(s Spec, chunk Chunk) (any, error) {
	switch s.Name {
	case "transpose":
		return newTranspose(s.Configuration, chunk)
	case "bytes":
		return newBytes(s.Configuration, chunk)
	case "gzip":
		return newDeflate(s.Configuration, false)
	case "numcodecs.zlib":
		return newDeflate(s.Configuration, true)
	case "numcodecs.lz4":
		return lz4Block{}, nil
	case "zstd":
		return newZstd(s.Configuration)
	case "blosc":
		return newBlosc(s.Configuration, chunk)
	case "crc32c":
		return newCRC32C(s.Configuration)
	}
	return nil, ErrUnsupported
}

// configure reads a configuration into the struct that into points to. Unknown
// fields are refused.
func configure(raw json.RawMessage, into any) error {
	if len(raw) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("configuration: %w: %v", ErrCorrupt, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("configuration: %w: more than one JSON value", ErrCorrupt)
	}
	return nil
}

// Size is the number of bytes of a decoded chunk.
func (p *Pipeline) Size() int { return p.size }

// Bound is a number of bytes that no encoded chunk exceeds.
func (p *Pipeline) Bound() int {
	limit := p.pack.bound()
	for _, b := range p.bytes {
		limit = b.bound(limit)
	}
	return limit
}

// Encode appends the encoded form of raw, a whole chunk of Size bytes, to dst.
func (p *Pipeline) Encode(dst, raw []byte) ([]byte, error) {
	if len(raw) != p.size {
		return dst, fmt.Errorf("encode: chunk of %d bytes, want %d: %w", len(raw), p.size, ErrCorrupt)
	}
	s := p.scratch.Get().(*scratch)
	defer p.scratch.Put(s)
	cur := raw
	for _, a := range p.arrays {
		next := s.next(p.size)
		a.encode(next, cur)
		cur = next
	}
	var err error
	switch {
	case len(p.bytes) == 0:
		return p.pack.encode(dst, cur)
	case !p.pack.identity():
		if cur, err = s.append(cur, p.pack.encode); err != nil {
			return dst, err
		}
	}
	last := len(p.bytes) - 1
	for _, b := range p.bytes[:last] {
		if cur, err = s.append(cur, b.encode); err != nil {
			return dst, err
		}
	}
	return p.bytes[last].encode(dst, cur)
}

// Decode appends the chunk that enc holds, Size bytes, to dst. Where dst has
// that capacity left nothing is allocated. On an error the memory beyond
// len(dst) may have been written to.
func (p *Pipeline) Decode(dst, enc []byte) ([]byte, error) {
	n := len(dst)
	dst = slices.Grow(dst, p.size)
	out, err := p.decode(dst, enc)
	if err != nil {
		return dst[:n], err
	}
	if len(out)-n != p.size {
		return dst[:n], fmt.Errorf("decode: %d bytes, want %d: %w", len(out)-n, p.size, ErrCorrupt)
	}
	return out, nil
}

func (p *Pipeline) decode(dst, enc []byte) ([]byte, error) {
	s := p.scratch.Get().(*scratch)
	defer p.scratch.Put(s)
	direct := p.pack.identity() && len(p.arrays) == 0
	cur := enc
	for i := len(p.bytes) - 1; i >= 0; i-- {
		if i == 0 && direct {
			return p.bytes[0].decode(dst, cur, p.limits[0])
		}
		next, err := p.bytes[i].decode(s.empty(), cur, p.limits[i])
		if err != nil {
			return dst, err
		}
		s.keep(next)
		cur = next
	}
	if len(p.arrays) == 0 {
		return p.pack.decode(dst, cur)
	}
	cur, err := s.append(cur, p.pack.decode)
	if err != nil {
		return dst, err
	}
	if len(cur) != p.size {
		return dst, fmt.Errorf("decode: %d bytes, want %d: %w", len(cur), p.size, ErrCorrupt)
	}
	for i := len(p.arrays) - 1; i > 0; i-- {
		next := s.next(p.size)
		p.arrays[i].decode(next, cur)
		cur = next
	}
	n := len(dst)
	dst = dst[:n+p.size]
	p.arrays[0].decode(dst[n:], cur)
	return dst, nil
}

// A rangeDecoder is a bytesToBytes codec that can decode a part on its own.
type rangeDecoder interface {
	// decodeRange decodes the bytes from offset on into dst. The whole must
	// decode to size bytes.
	decodeRange(dst, src []byte, offset, size int) error
}

// Partial tells whether DecodeRange does less work for a part of a chunk than
// Decode does for all of it.
func (p *Pipeline) Partial() bool {
	if len(p.arrays) > 0 || !p.pack.identity() || len(p.bytes) > 1 {
		return false
	}
	if len(p.bytes) == 0 {
		return true
	}
	_, ok := p.bytes[0].(rangeDecoder)
	return ok
}

// DecodeRange decodes the bytes from offset on of the chunk that enc holds into
// dst.
func (p *Pipeline) DecodeRange(dst, enc []byte, offset int) error {
	if offset < 0 || offset > p.size || len(dst) > p.size-offset {
		return fmt.Errorf("decode: bytes %d to %d of %d: %w", offset, offset+len(dst), p.size, ErrCorrupt)
	}
	switch {
	case !p.Partial():
		s := p.scratch.Get().(*scratch)
		defer p.scratch.Put(s)
		whole, err := p.Decode(s.empty(), enc)
		if err != nil {
			return err
		}
		s.keep(whole)
		copy(dst, whole[offset:])
		return nil
	case len(p.bytes) == 0:
		if len(enc) != p.size {
			return fmt.Errorf("decode: %d bytes, want %d: %w", len(enc), p.size, ErrCorrupt)
		}
		copy(dst, enc[offset:])
		return nil
	}
	return p.bytes[0].(rangeDecoder).decodeRange(dst, enc, offset, p.size)
}

// empty returns the buffer that is not in use, emptied.
func (s *scratch) empty() []byte { return s.a[:0] }

// keep notes that the buffer which empty returned grew to buf and is in use.
func (s *scratch) keep(buf []byte) { s.a, s.b = s.b, buf }

// next returns n bytes of the buffer that is not in use, and takes it.
func (s *scratch) next(n int) []byte {
	buf := slices.Grow(s.empty(), n)[:n]
	s.keep(buf)
	return buf
}

// append runs stage over cur into the buffer that is not in use.
func (s *scratch) append(cur []byte, stage func(dst, src []byte) ([]byte, error)) ([]byte, error) {
	next, err := stage(s.empty(), cur)
	if err != nil {
		return nil, err
	}
	s.keep(next)
	return next, nil
}
