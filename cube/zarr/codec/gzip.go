package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
)

type gzipConfig struct {
	Level *int `json:"level"`
}

// deflate is the gzip codec, or the zlib codec of numcodecs, which differ in the
// frame round the same stream.
type deflate struct {
	level   int
	zlib    bool
	writers sync.Pool // of deflater
	readers sync.Pool // of *inflater
}

// deflater is a *gzip.Writer or a *zlib.Writer.
type deflater interface {
	io.WriteCloser
	Reset(w io.Writer)
}

// inflater is a reader with the source that it is reset to.
type inflater struct {
	src  bytes.Reader
	gzip gzip.Reader
	zlib io.ReadCloser // nil until it is first needed
}

func newDeflate(raw json.RawMessage, zlib bool) (*deflate, error) {
	var c gzipConfig
	if err := configure(raw, &c); err != nil {
		return nil, err
	}
	if c.Level == nil || *c.Level < 0 || *c.Level > 9 {
		return nil, fmt.Errorf("level is not 0 to 9: %w", ErrCorrupt)
	}
	return &deflate{level: *c.Level, zlib: zlib}, nil
}

func (*deflate) bound(n int) int { return loose(n) }

// loose bounds what a compressor makes of n bytes that it cannot compress, with
// room for headers and for encoders that waste some.
func loose(n int) int { return n + n/8 + 4096 }

// writer is a pooled writer, set to write to out.
func (c *deflate) writer(out io.Writer) (w deflater, err error) {
	if w, ok := c.writers.Get().(deflater); ok {
		w.Reset(out)
		return w, nil
	}
	if c.zlib {
		return zlib.NewWriterLevel(out, c.level)
	}
	return gzip.NewWriterLevel(out, c.level)
}

func (c *deflate) encode(dst, src []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	w, err := c.writer(out)
	if err != nil {
		return dst, fmt.Errorf("encode: %w", err)
	}
	defer c.writers.Put(w)
	if _, err := w.Write(src); err != nil {
		return dst, fmt.Errorf("encode: %w", err)
	}
	if err := w.Close(); err != nil {
		return dst, fmt.Errorf("encode: %w", err)
	}
	return out.Bytes(), nil
}

// reset sets r to read the frame in src.
func (r *inflater) reset(src []byte, asZlib bool) (io.Reader, error) {
	r.src.Reset(src)
	if !asZlib {
		return &r.gzip, r.gzip.Reset(&r.src)
	}
	if r.zlib != nil {
		return r.zlib, r.zlib.(zlib.Resetter).Reset(&r.src, nil)
	}
	var err error
	r.zlib, err = zlib.NewReader(&r.src)
	return r.zlib, err
}

func (c *deflate) decode(dst, src []byte, limit int) ([]byte, error) {
	r, _ := c.readers.Get().(*inflater)
	if r == nil {
		r = new(inflater)
	}
	defer c.readers.Put(r)
	plain, err := r.reset(src, c.zlib)
	if err != nil {
		return dst, fmt.Errorf("decode: %w: %v", ErrCorrupt, err)
	}
	out, err := readLimited(dst, plain, limit)
	if err != nil {
		return dst, fmt.Errorf("decode: %w", err)
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
