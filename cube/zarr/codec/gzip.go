package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
)

type gzipConfig struct {
	Level *int `json:"level"`
}

// deflate is the gzip codec.
type deflate struct {
	level   int
	writers sync.Pool // of *gzip.Writer
	readers sync.Pool // of *gunzip
}

// gunzip is a reader with the source that it is reset to.
type gunzip struct {
	src bytes.Reader
	z   gzip.Reader
}

func newGzip(raw json.RawMessage) (*deflate, error) {
	var c gzipConfig
	if err := configure(raw, &c); err != nil {
		return nil, err
	}
	if c.Level == nil || *c.Level < 0 || *c.Level > 9 {
		return nil, fmt.Errorf("level is not 0 to 9: %w", ErrCorrupt)
	}
	return &deflate{level: *c.Level}, nil
}

func (*deflate) bound(n int) int { return loose(n) }

// loose bounds what a compressor makes of n bytes that it cannot compress, with
// room for headers and for encoders that waste some.
func loose(n int) int { return n + n/8 + 4096 }

func (c *deflate) encode(dst, src []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	w, _ := c.writers.Get().(*gzip.Writer)
	if w == nil {
		var err error
		if w, err = gzip.NewWriterLevel(out, c.level); err != nil {
			return dst, fmt.Errorf("encode gzip: %w", err)
		}
	} else {
		w.Reset(out)
	}
	defer c.writers.Put(w)
	if _, err := w.Write(src); err != nil {
		return dst, fmt.Errorf("encode gzip: %w", err)
	}
	if err := w.Close(); err != nil {
		return dst, fmt.Errorf("encode gzip: %w", err)
	}
	return out.Bytes(), nil
}

func (c *deflate) decode(dst, src []byte, limit int) ([]byte, error) {
	r, _ := c.readers.Get().(*gunzip)
	if r == nil {
		r = new(gunzip)
	}
	defer c.readers.Put(r)
	r.src.Reset(src)
	if err := r.z.Reset(&r.src); err != nil {
		return dst, fmt.Errorf("decode gzip: %w: %v", ErrCorrupt, err)
	}
	out, err := readLimited(dst, &r.z, limit)
	if err != nil {
		return dst, fmt.Errorf("decode gzip: %w", err)
	}
	return out, nil
}

// readLimited appends all of r, which may be at most limit bytes, to dst.
func readLimited(dst []byte, r io.Reader, limit int) ([]byte, error) {
	n := len(dst)
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, min(512+len(dst)-n, limit+1-(len(dst)-n)))
		}
		room := dst[len(dst):min(cap(dst), n+limit+1)]
		m, err := r.Read(room)
		dst = dst[:len(dst)+m]
		switch {
		case len(dst)-n > limit:
			return dst[:n], fmt.Errorf("more than %d bytes: %w", limit, ErrCorrupt)
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst[:n], fmt.Errorf("%w: %v", ErrCorrupt, err)
		}
	}
}
