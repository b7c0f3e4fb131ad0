package blosc

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// reference is the plain definition of the byte shuffle.
func reference(src []byte, size int) []byte {
	n := len(src) / size
	dst := bytes.Clone(src)
	for i := range n {
		for j := range size {
			dst[j*n+i] = src[i*size+j]
		}
	}
	return dst
}

// referenceBits is the plain definition of the bit shuffle.
func referenceBits(src []byte, size int) []byte {
	n := len(src) / size
	dst := bytes.Clone(src)
	if n%8 != 0 {
		return dst
	}
	clear(dst[:n*size])
	for i := range n {
		for bit := range 8 * size {
			if src[i*size+bit/8]>>(bit%8)&1 == 1 {
				dst[bit*n/8+i/8] |= 1 << (i % 8)
			}
		}
	}
	return dst
}

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestShufflesAreTheirDefinitionAndUndone(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 2, 3, 4, 5, 7, 8, 12, 16, 255} {
		for _, n := range []int{0, 1, 7, 8, 9, 31, 64, 65, 127, 1000, 4096, 4099} {
			src := noise(n * size)
			if n > 8 {
				src = append(src, noise(size-1)...)
			}
			got, back := make([]byte, len(src)), make([]byte, len(src))
			shuffleBytes(got, src, size)
			if !bytes.Equal(got, reference(src, size)) {
				t.Errorf("shuffleBytes of %d elements of %d bytes is not its definition", n, size)
			}
			if unshuffleBytes(back, got, size); !bytes.Equal(back, src) {
				t.Errorf("unshuffleBytes of %d elements of %d bytes does not undo", n, size)
			}
			shuffleBits(got, src, size)
			if !bytes.Equal(got, referenceBits(src, size)) {
				t.Errorf("shuffleBits of %d elements of %d bytes is not its definition", n, size)
			}
			if unshuffleBits(back, got, size); !bytes.Equal(back, src) {
				t.Errorf("unshuffleBits of %d elements of %d bytes does not undo", n, size)
			}
		}
	}
}

func BenchmarkShuffle(b *testing.B) {
	for _, size := range []int{2, 4, 8, 16} {
		src := noise(256 << 10)
		dst := make([]byte, len(src))
		b.Run(fmt.Sprintf("bytes/%d", size), func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				shuffleBytes(dst, src, size)
			}
		})
		b.Run(fmt.Sprintf("unbytes/%d", size), func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				unshuffleBytes(dst, src, size)
			}
		})
		b.Run(fmt.Sprintf("unbits/%d", size), func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				unshuffleBits(dst, src, size)
			}
		})
	}
}

func TestWordsDoWhatTheDefinitionSays(t *testing.T) {
	t.Parallel()
	type half func(dst, src []byte, n int) int
	for size, pair := range map[int][2]half{2: {shuffle2Words, unshuffle2Words}, 4: {shuffle4Words, unshuffle4Words}, 8: {shuffle8Words, unshuffle8Words}} {
		for _, n := range []int{8, 64, 1000} {
			src := noise(n * size)
			got, back := make([]byte, len(src)), make([]byte, len(src))
			if done := pair[0](got, src, n); done != n || !bytes.Equal(got, reference(src, size)) {
				t.Errorf("shuffle of %d elements of %d bytes: %d done, or not its definition", n, size, done)
			}
			if done := pair[1](back, got, n); done != n || !bytes.Equal(back, src) {
				t.Errorf("unshuffle of %d elements of %d bytes: %d done, or does not undo", n, size, done)
			}
		}
	}
}
