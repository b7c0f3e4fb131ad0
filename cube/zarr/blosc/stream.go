package blosc

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/zlib"
	"github.com/pierrec/lz4/v4"

	"github.com/cubebuild/cube/cube/zarr/internal/zstd"
)

// decodeStream decompresses src into dst and returns the decoded size, which is
// never more than dst has.
func decodeStream(dst, src []byte, format int) (int, error) {
	if len(src) == 0 {
		return 0, fmt.Errorf("%w: empty stream", ErrFormat)
	}
	var n int
	var err error
	switch format {
	case formatBloscLZ:
		n, err = decodeBloscLZ(dst, src)
	case formatLZ4:
		n, err = lz4.UncompressBlock(src, dst)
	case formatZlib:
		n, err = inflate(dst, src)
	case formatZstd:
		n, err = zstd.Decompress(dst, src)
	default:
		err = fmt.Errorf("compressor %d", format)
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	return n, nil
}

// appendStream appends the compressed form of src to dst; it may append nothing
// where src does not compress.
func appendStream(dst, src []byte, conf Config) ([]byte, error) {
	switch conf.Compressor {
	case Zstd:
		return zstd.AppendCompress(dst, src, zstdLevel(conf.Level))
	case Zlib:
		return deflate(dst, src, conf.Level)
	case LZ4HC:
		c := hc.Get().(*lz4.CompressorHC)
		defer hc.Put(c)
		c.Level = lz4.Level1 << (min(max(conf.Level, 1), 9) - 1)
		return appendLZ4(dst, src, c.CompressBlock)
	default:
		c := fast.Get().(*lz4.Compressor)
		defer fast.Put(c)
		return appendLZ4(dst, src, c.CompressBlock)
	}
}

// zstdLevel is the level that Blosc gives to Zstandard for its own.
func zstdLevel(level int) int {
	switch {
	case level >= 9:
		return zstd.MaxLevel
	case level == 8:
		return zstd.MaxLevel - 2
	}
	return 2*max(level, 1) - 1
}

var (
	fast = sync.Pool{New: func() any { return new(lz4.Compressor) }}
	hc   = sync.Pool{New: func() any { return new(lz4.CompressorHC) }}
)

// appendLZ4 appends what compress makes of src.
func appendLZ4(dst, src []byte, compress func(src, dst []byte) (int, error)) ([]byte, error) {
	n, bound := len(dst), lz4.CompressBlockBound(len(src))
	dst = slices.Grow(dst, bound)[:n+bound]
	m, err := compress(src, dst[n:])
	if err != nil {
		return dst[:n], fmt.Errorf("blosc: lz4: %w", err)
	}
	return dst[:n+m], nil
}

// inflater is a zlib reader with the source that it is reset to.
type inflater struct {
	src bytes.Reader
	z   io.ReadCloser
}

var inflaters = sync.Pool{New: func() any { return new(inflater) }}

// inflate decompresses a zlib stream that fills dst.
func inflate(dst, src []byte) (int, error) {
	r := inflaters.Get().(*inflater)
	defer inflaters.Put(r)
	r.src.Reset(src)
	var err error
	if r.z == nil {
		r.z, err = zlib.NewReader(&r.src)
	} else {
		err = r.z.(zlib.Resetter).Reset(&r.src, nil)
	}
	if err != nil {
		return 0, err
	}
	return io.ReadFull(r.z, dst)
}

// deflaters pools zlib writers by level.
var deflaters [10]sync.Pool

func deflate(dst, src []byte, level int) ([]byte, error) {
	level = min(max(level, 1), 9)
	out := bytes.NewBuffer(dst)
	w, _ := deflaters[level].Get().(*zlib.Writer)
	if w == nil {
		var err error
		if w, err = zlib.NewWriterLevel(out, level); err != nil {
			return dst, fmt.Errorf("blosc: zlib: %w", err)
		}
	} else {
		w.Reset(out)
	}
	defer deflaters[level].Put(w)
	if _, err := w.Write(src); err != nil {
		return dst, fmt.Errorf("blosc: zlib: %w", err)
	}
	if err := w.Close(); err != nil {
		return dst, fmt.Errorf("blosc: zlib: %w", err)
	}
	return out.Bytes(), nil
}

// maxNear is the distance at which a BloscLZ match needs two more bytes.
const maxNear = 8191

// decodeBloscLZ decompresses a BloscLZ stream: runs of literals, and matches
// that copy from what was decoded.
func decodeBloscLZ(dst, src []byte) (int, error) {
	in, out := 0, 0
	ctrl := int(src[0] & 31)
	in++
	for {
		if ctrl < 32 {
			n := ctrl + 1
			if n > len(dst)-out || n > len(src)-in {
				return 0, io.ErrUnexpectedEOF
			}
			copy(dst[out:out+n], src[in:])
			in, out = in+n, out+n
			if in >= len(src) {
				return out, nil
			}
			ctrl = int(src[in])
			in++
			continue
		}
		n, distance, next, err := bloscLZMatch(src, in, ctrl)
		if err != nil {
			return 0, err
		}
		if in = next; n > len(dst)-out || distance > out {
			return 0, io.ErrUnexpectedEOF
		}
		if in >= len(src) {
			return out, nil
		}
		ctrl = int(src[in])
		in++
		for range n {
			dst[out] = dst[out-distance]
			out++
		}
	}
}

// bloscLZMatch reads the match that began with ctrl: its length and distance,
// and where the input goes on.
func bloscLZMatch(src []byte, in, ctrl int) (n, distance, next int, err error) {
	n, high := ctrl>>5-1, (ctrl&31)<<8
	for more := n == 6; more; in++ {
		if in+1 >= len(src) {
			return 0, 0, 0, io.ErrUnexpectedEOF
		}
		n += int(src[in])
		more = src[in] == 255
	}
	if in+1 >= len(src) {
		return 0, 0, 0, io.ErrUnexpectedEOF
	}
	low := int(src[in])
	in++
	distance = high + low + 1
	if low == 255 && high == 31<<8 {
		if in+1 >= len(src) {
			return 0, 0, 0, io.ErrUnexpectedEOF
		}
		distance = int(src[in])<<8 + int(src[in+1]) + maxNear + 1
		in += 2
	}
	return n + 3, distance, in, nil
}
