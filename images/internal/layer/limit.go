package layer

import (
	"fmt"
	"io"
)

// LimitRatio wraps a decompressor: unpacked is read from decompressing what is
// read through the returned compressed reader. It stops a bomb.
//
//	lr := layer.LimitRatio(blob, limits)
//	zr, _ := gzip.NewReader(lr.Compressed())
//	Unpack(ctx, lr.Unpacked(zr), …)
func LimitRatio(r io.Reader, limits Limits) *Ratio {
	return &Ratio{limits: limits, src: r}
}

// Ratio counts bytes before and after decompression.
type Ratio struct {
	limits  Limits
	src     io.Reader
	in, out int64
}

// Compressed is the reader to decompress from.
func (r *Ratio) Compressed() io.Reader { return readerFunc(r.readIn) }

// Unpacked wraps the decompressor.
func (r *Ratio) Unpacked(z io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		n, err := z.Read(p)
		r.out += int64(n)
		switch {
		case r.out > r.limits.RatioAfter && r.out/r.limits.Ratio > r.in:
			return 0, fmt.Errorf("%w: %d bytes became more than %d: a decompression bomb", ErrUnsafe, r.in, r.out)
		case r.out > r.limits.Bytes+int64(r.limits.Entries)*1024:
			return 0, fmt.Errorf("%w: more than %d bytes", ErrUnsafe, r.limits.Bytes)
		}
		return n, err
	})
}

func (r *Ratio) readIn(p []byte) (int, error) {
	n, err := r.src.Read(p)
	r.in += int64(n)
	return n, err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
