package cube

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"

	"github.com/cubebuild/cube/graph"
)

// The canonical NaNs.
const (
	nan32 uint32 = 0x7fc00000
	nan64 uint64 = 0x7ff8000000000000
)

// CanonicalNaN gives every NaN among values, little-endian floats, the same
// bits, in place. Other dtypes are left alone.
func CanonicalNaN(dtype graph.DType, values []byte) {
	switch dtype {
	case graph.Float32:
		for ; len(values) >= 4; values = values[4:] {
			if binary.LittleEndian.Uint32(values)&0x7fffffff > 0x7f800000 {
				binary.LittleEndian.PutUint32(values, nan32)
			}
		}
	case graph.Float64:
		for ; len(values) >= 8; values = values[8:] {
			if binary.LittleEndian.Uint64(values)&(1<<63-1) > 0x7ff<<52 {
				binary.LittleEndian.PutUint64(values, nan64)
			}
		}
	}
}

// canonicalBool makes every true 1.
func canonicalBool(values []byte) {
	for i, v := range values {
		if v > 1 {
			values[i] = 1
		}
	}
}

// ChunkDigest names the decoded values of a chunk: little-endian, in C order,
// canonical, of the part of the chunk that lies within the domain.
func ChunkDigest(dtype graph.DType, shape []int64, values []byte) graph.Digest {
	return valuesDigest("cube.chunk", dtype, shape, values)
}

// WindowDigest names the values of a window that an action is given. All else
// that describes the window stands in the action's request.
func WindowDigest(dtype graph.DType, shape []int64, values []byte) graph.Digest {
	return valuesDigest("cube.window", dtype, shape, values)
}

func valuesDigest(domain string, dtype graph.DType, shape []int64, values []byte) graph.Digest {
	const few = 1 << 10
	if len(values) <= few { // at once, without a hash on the heap
		var buf [few + 128]byte
		return graph.Sum(append(appendShape(buf[:0], domain, dtype, shape), values...))
	}
	h := startValues(domain, dtype, shape)
	h.Write(values)
	return graph.Digest(h.Sum(nil))
}

// startValues hashes all that comes before the values.
func startValues(domain string, dtype graph.DType, shape []int64) hash.Hash {
	h := sha256.New()
	h.Write(appendShape(make([]byte, 0, 64+8*len(shape)), domain, dtype, shape))
	return h
}

// appendShape appends all that comes before the values.
func appendShape(b []byte, domain string, dtype graph.DType, shape []int64) []byte {
	b = append(append(b, domain...), 0)
	b = append(append(b, dtype...), 0, byte(len(shape)))
	for _, n := range shape {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	return b
}

// FillDigest is the ChunkDigest of a chunk that holds nothing but fill, the
// bytes of one value.
func FillDigest(dtype graph.DType, shape []int64, fill []byte) graph.Digest {
	h := startValues("cube.chunk", dtype, shape)
	left := int64(len(fill))
	for _, n := range shape {
		left = saturate(left, n)
	}
	b := make([]byte, min(left, 64<<10))
	fillBytes(b, fill)
	for ; left > 0; left -= int64(len(b)) {
		b = b[:min(int64(len(b)), left)]
		h.Write(b)
	}
	return graph.Digest(h.Sum(nil))
}

// fillBytes repeats fill over b.
func fillBytes(b, fill []byte) {
	for n := copy(b, fill); n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}

// identity is the part of a spec that an array's digest covers.
func identity(v graph.VarSpec) graph.VarSpec {
	v = v.Semantic()
	v.Name, v.Merge, v.Refine, v.MediaType = "", "", 0, ""
	return v
}

// hashJSON digests a domain and v's canonical JSON.
func hashJSON(domain string, v any) (graph.Digest, error) {
	b, err := graph.Canonical(v)
	if err != nil {
		return graph.Digest{}, err
	}
	return hashBytes(domain, b), nil
}

func hashBytes(domain string, b []byte) graph.Digest {
	h := sha256.New()
	io.WriteString(h, domain+"\x00")
	h.Write(b)
	return graph.Digest(h.Sum(nil))
}

// arrayDigest names a version of an array by its pages' digests.
func arrayDigest(l Layout, pages []graph.Digest) (graph.Digest, error) {
	root := make([]byte, 0, len(pages)*len(graph.Digest{}))
	for _, p := range pages {
		root = append(root, p[:]...)
	}
	l.Spec = identity(l.Spec)
	return hashJSON("cube.version", struct {
		Layout
		PageSize int          `json:"page_size"`
		Pages    graph.Digest `json:"pages"`
	}{l, pageSize, hashBytes("cube.pages", root)})
}

// fileDigest names a version of a file.
func fileDigest(f File) (graph.Digest, error) { return hashJSON("cube.file", f) }
