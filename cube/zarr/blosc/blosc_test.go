package blosc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
)

var configs = func() []Config {
	var all []Config
	for _, c := range []Compressor{Store, BloscLZ, LZ4, LZ4HC, Zlib, Zstd} {
		for _, s := range []Shuffle{NoShuffle, ByteShuffle, BitShuffle} {
			for _, size := range []int{1, 2, 3, 4, 8, 16, 17, 255} {
				all = append(all, Config{Compressor: c, Level: 1 + size%9, Shuffle: s, TypeSize: size, BlockSize: size % 2 * 4096})
			}
		}
	}
	return all
}()

// waves is n bytes that compress, with some noise.
func waves(n int) []byte {
	b := noise(n)
	for i := range b {
		if i%7 != 0 {
			b[i] = byte(i / 100)
		}
	}
	return b
}

func TestBuffersDecodeToWhatWasCompressed(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 100, 127, 128, 4096, 4097, 100_000, 300_000} {
		src := waves(n)
		if n == 4097 {
			src = noise(n) // does not compress
		}
		for _, conf := range configs {
			out, err := AppendCompress([]byte("head"), src, conf)
			if err != nil {
				t.Fatal(err)
			}
			out = out[4:]
			if len(out) > n+headerSize {
				t.Errorf("%d bytes with %+v became %d", n, conf, len(out))
			}
			if size, err := DecodedSize(out); err != nil || size != n {
				t.Fatalf("%d bytes with %+v: decoded size %d, %v", n, conf, size, err)
			}
			got := make([]byte, n)
			if err := Decompress(got, out); err != nil || !bytes.Equal(got, src) {
				t.Fatalf("%d bytes with %+v: %v, or bytes differ", n, conf, err)
			}
			for _, r := range [][2]int{{0, 0}, {0, n}, {n / 3, n / 2}, {n / 2, n}, {n - n/7, n}} {
				part := make([]byte, r[1]-r[0])
				if err := DecompressRange(part, out, r[0]); err != nil || !bytes.Equal(part, src[r[0]:r[1]]) {
					t.Fatalf("bytes %v of %d with %+v: %v, or bytes differ", r, n, conf, err)
				}
			}
		}
	}
}

func TestSizesThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	out, err := AppendCompress(nil, waves(5000), Config{Compressor: LZ4, Level: 5, TypeSize: 4})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 4999, 5001} {
		if err := Decompress(make([]byte, n), out); !errors.Is(err, ErrFormat) {
			t.Errorf("into %d bytes: %v", n, err)
		}
	}
	for _, at := range []int{-1, 4991, 5001, 1 << 62} {
		if err := DecompressRange(make([]byte, 10), out, at); !errors.Is(err, ErrFormat) {
			t.Errorf("10 bytes at %d: %v", at, err)
		}
	}
}

func TestHeadersThatLieAreRefused(t *testing.T) {
	t.Parallel()
	good, err := AppendCompress(nil, waves(50_000), Config{Compressor: Zstd, Level: 1, Shuffle: ByteShuffle, TypeSize: 4, BlockSize: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	word := func(at int, v uint32) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint32(b[at:], v) }
	}
	for name, change := range map[string]func(b []byte){
		"version":           func(b []byte) { b[0] = 3 },
		"stream version":    func(b []byte) { b[1] = 9 },
		"future flag":       func(b []byte) { b[2] |= flagFuture },
		"compressor":        func(b []byte) { b[2] |= 7 << formatShift },
		"element of 0":      func(b []byte) { b[3] = 0 },
		"decoded size":      word(4, 1<<31),
		"block size of 0":   word(8, 0),
		"vast block":        word(8, 1<<30),
		"tiny block":        word(8, 1),
		"buffer size":       word(12, 99),
		"block outside":     word(16, 1<<31),
		"block at the end":  word(16, uint32(len(good)-3)),
		"stored, too large": func(b []byte) { b[2] |= flagStored },
		"stream too large":  func(b []byte) { binary.LittleEndian.PutUint32(b[binary.LittleEndian.Uint32(b[16:]):], 1<<31) },
		"stream of 0":       func(b []byte) { binary.LittleEndian.PutUint32(b[binary.LittleEndian.Uint32(b[16:]):], 0) },
	} {
		bad := bytes.Clone(good)
		change(bad)
		if err := Decompress(make([]byte, 50_000), bad); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want ErrFormat", name, err)
		}
	}
}

// TestBloscLZStreamsDecode holds the decoder against streams made by hand; those
// of the C library are in the tests of package zarr.
func TestBloscLZStreamsDecode(t *testing.T) {
	t.Parallel()
	far := append([]byte{31}, noise(32)...) // 32 literals, then the rest of 8400
	want := noise(32)
	for len(want) < 8400 {
		run := noise(len(want))[:min(32, 8400-len(want))]
		far = append(append(far, byte(len(run)-1)), run...)
		want = append(want, run...)
	}
	// A match of 3 at distance 8192+100, and a literal.
	far = append(far, 1<<5|31, 255, 0, 100, 0, 'z')
	want = append(append(want, want[8400-8292:8400-8292+3]...), 'z')
	for _, c := range []struct {
		src  []byte
		want string
	}{
		{[]byte{0, 'a'}, "a"},
		{[]byte{2, 'a', 'b', 'c', 1 << 5, 2, 0, 'd'}, "abcabcd"},
		{[]byte{0, 'x', 2 << 5, 0, 0, 'y'}, "xxxxxy"},
		{append([]byte{0, 'x', 7 << 5, 255, 3, 0, 0}, 'y'), "x" + string(bytes.Repeat([]byte("x"), 6+3+258)) + "y"},
		{far, string(want)},
	} {
		dst := make([]byte, len(c.want))
		n, err := decodeBloscLZ(dst, c.src)
		if err != nil || string(dst[:n]) != c.want {
			t.Errorf("%.20x: %.40q, %v; want %.40q", c.src, dst[:n], err, c.want)
		}
		if _, err := decodeBloscLZ(dst[:len(dst)-1], c.src); err == nil {
			t.Errorf("%.20x: fits in too few bytes", c.src)
		}
	}
	for _, src := range [][]byte{{0, 'a', 1 << 5}, {0, 'a', 7 << 5, 255, 255}, {0, 'a', 1 << 5, 1, 0, 'b'}, {31, 1}, {0, 'a', 1<<5 | 31, 255, 0}} {
		if n, err := decodeBloscLZ(make([]byte, 1000), src); err == nil {
			t.Errorf("%x decodes to %d bytes", src, n)
		}
	}
}

func FuzzDecompress(f *testing.F) {
	for _, conf := range configs {
		out, err := AppendCompress(nil, waves(3000), conf)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(out, uint16(100))
	}
	lz := append([]byte{2, 1, flagWhole, 1, 7, 0, 0, 0, 7, 0, 0, 0, 32, 0, 0, 0, 20, 0, 0, 0, 8, 0, 0, 0}, 2, 'a', 'b', 'c', 1<<5, 2, 0, 'd')
	f.Add(lz, uint16(0))
	f.Fuzz(func(t *testing.T, src []byte, at uint16) {
		n, err := DecodedSize(src)
		if err != nil || n > 1<<20 {
			return
		}
		whole := make([]byte, n)
		if err := Decompress(whole, src); err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		if int(at) > n {
			return
		}
		part := make([]byte, (n-int(at))/2)
		if err := DecompressRange(part, src, int(at)); err != nil || !bytes.Equal(part, whole[at:int(at)+len(part)]) {
			t.Fatalf("a range differs from the whole: %v", err)
		}
	})
}

func BenchmarkBlockSize(b *testing.B) {
	src := waves(1 << 20)
	for _, size := range []int{32, 64, 128, 256, 512, 1024} {
		conf := Config{Compressor: Zstd, Level: 1, Shuffle: ByteShuffle, TypeSize: 4, BlockSize: size << 10}
		b.Run(fmt.Sprintf("%dKiB", size), func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			var out []byte
			for b.Loop() {
				out, _ = AppendCompress(out[:0], src, conf)
			}
			b.ReportMetric(float64(len(src))/float64(len(out)), "ratio")
		})
	}
}
