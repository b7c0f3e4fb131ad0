package cube

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/cubebuild/cube/graph"
)

// ChunkRef names the content of one chunk, and the object that holds it.
type ChunkRef struct {
	Value  graph.Digest // of the decoded values; see ChunkDigest
	Object graph.Digest // zero: all fill, nothing stored
	Size   int64        // of the object, in bytes
}

const (
	refsMagic = "cube-rf1"
	pageMagic = "cube-pg1"
	// pageSize is the number of chunks of a page.
	pageSize = 4096
	// maxRefs bounds the refs of one list.
	maxRefs = 1 << 24

	uncovered = 0
	allFill   = 1
	stored    = 2
)

// EncodeRefs returns the binary form of a list of refs.
func EncodeRefs(refs []ChunkRef) []byte { return appendRefs(nil, refsMagic, refs, nil) }

// DecodeRefs reads what EncodeRefs wrote, and nothing else.
func DecodeRefs(b []byte) ([]ChunkRef, error) {
	refs, covered, err := decodeRefs(b, refsMagic, maxRefs)
	if err != nil {
		return nil, fmt.Errorf("refs: %w", err)
	}
	for i, ok := range covered {
		if !ok {
			return nil, fmt.Errorf("refs: chunk %d is uncovered: %w", i, ErrFormat)
		}
	}
	return refs, nil
}

// appendRefs writes refs; covered nil says that all are.
func appendRefs(dst []byte, magic string, refs []ChunkRef, covered []bool) []byte {
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(refs)))
	for i, r := range refs {
		switch {
		case covered != nil && !covered[i]:
			dst = append(dst, uncovered)
		case r.Object.IsZero():
			dst = append(append(dst, allFill), r.Value[:]...)
		default:
			dst = append(append(append(dst, stored), r.Value[:]...), r.Object[:]...)
			dst = binary.LittleEndian.AppendUint64(dst, uint64(r.Size))
		}
	}
	return dst
}

func decodeRefs(b []byte, magic string, most int) ([]ChunkRef, []bool, error) {
	if len(b) < len(magic)+4 || string(b[:len(magic)]) != magic {
		return nil, nil, fmt.Errorf("begins otherwise: %w", ErrFormat)
	}
	n := int(binary.LittleEndian.Uint32(b[len(magic):]))
	b = b[len(magic)+4:]
	if n > most || n > len(b) {
		return nil, nil, fmt.Errorf("%d chunks in %d bytes: %w", n, len(b), ErrFormat)
	}
	refs, covered := make([]ChunkRef, n), make([]bool, n)
	for i := range refs {
		rest, err := refs[i].decode(b)
		if err != nil {
			return nil, nil, fmt.Errorf("chunk %d: %w", i, err)
		}
		covered[i] = b[0] != uncovered
		b = rest
	}
	if len(b) > 0 {
		return nil, nil, fmt.Errorf("%d bytes too many: %w", len(b), ErrFormat)
	}
	return refs, covered, nil
}

// decode reads one entry and returns what follows it.
func (r *ChunkRef) decode(b []byte) (rest []byte, err error) {
	const d = sha256.Size
	switch {
	case len(b) >= 1 && b[0] == uncovered:
		return b[1:], nil
	case len(b) >= 1+d && b[0] == allFill:
		copy(r.Value[:], b[1:])
		return b[1+d:], nil
	case len(b) >= 1+2*d+8 && b[0] == stored:
		copy(r.Value[:], b[1:])
		copy(r.Object[:], b[1+d:])
		r.Size = int64(binary.LittleEndian.Uint64(b[1+2*d:]))
		if r.Size < 0 || r.Object.IsZero() {
			return nil, fmt.Errorf("object %s of %d bytes: %w", r.Object, r.Size, ErrFormat)
		}
		return b[1+2*d+8:], nil
	}
	return nil, fmt.Errorf("no entry: %w", ErrFormat)
}
