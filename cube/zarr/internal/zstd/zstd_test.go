package zstd

import (
	"bytes"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// text is n bytes that compress.
func text(n int) []byte { return bytes.Repeat([]byte("elevation "), n/10+1)[:n] }

func TestFramesDecodeToWhatWasCompressed(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 1000, 1 << 20} {
		for _, level := range []int{-100, 0, 1, 3, 19, MaxLevel} {
			for name, compress := range map[string]func(dst, src []byte, level int) ([]byte, error){"plain": AppendCompress, "checksum": AppendCompressChecksum} {
				out, err := compress([]byte("head"), text(n), level)
				if err != nil || !bytes.HasPrefix(out, []byte("head")) {
					t.Fatalf("%s, %d bytes at level %d: %v", name, n, level, err)
				}
				if len(out)-4 > Bound(n) {
					t.Errorf("%s, %d bytes at level %d became %d", name, n, level, len(out)-4)
				}
				got := make([]byte, n)
				if m, err := Decompress(got, out[4:]); err != nil || m != n || !bytes.Equal(got, text(n)) {
					t.Errorf("%s, %d bytes at level %d: %d bytes, %v", name, n, level, m, err)
				}
			}
		}
	}
}

func TestTheOtherLibraryReadsTheFrames(t *testing.T) {
	t.Parallel()
	other, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	out, err := AppendCompress(nil, text(100_000), 3)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := other.DecodeAll(out, nil); err != nil || !bytes.Equal(got, text(100_000)) {
		t.Errorf("%v, or bytes differ", err)
	}
}

func TestFramesThatDoNotFitOrAreDamagedAreRefused(t *testing.T) {
	t.Parallel()
	frame, err := AppendCompressChecksum(nil, text(10_000), 3)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(frame)
	damaged[len(damaged)-1] ^= 1 // the checksum
	for name, c := range map[string]struct {
		size int
		src  []byte
	}{
		"too small": {9999, frame}, "no room": {0, frame}, "empty": {10, nil}, "truncated": {10_000, frame[:len(frame)/2]},
		"damaged": {10_000, damaged}, "no frame": {10_000, []byte("this is not a frame")},
	} {
		if n, err := Decompress(make([]byte, c.size), c.src); err == nil {
			t.Errorf("%s: %d bytes", name, n)
		}
	}
}
