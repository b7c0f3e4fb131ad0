package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

var chunk = Chunk{Shape: []int{6, 50, 7}, Size: 8, Unit: 4}

// specs are chains that hold every codec and option.
func specs() map[string][]Spec {
	checked := Spec{Name: "zstd", Configuration: json.RawMessage(`{"level":1,"checksum":true}`)}
	return map[string][]Spec{
		"little":    {Little()},
		"big":       {Big()},
		"transpose": {Transpose(1, 2, 0), Transpose(2, 1, 0), Big(), CRC32C()},
		"gzip":      {Little(), Gzip(6)},
		"zstd":      {Little(), Zstd(3)},
		"checked":   {Little(), checked},
		"crc32c":    {Little(), CRC32C(), CRC32C()},
		"lz4":       {Little(), Blosc("lz4", 5, 4)},
		"lz4hc":     {Little(), Blosc("lz4hc", 5, 8)},
		"zlib":      {Little(), Blosc("zlib", 5, 4)},
		"blosc":     {Little(), Blosc("zstd", 1, 4)},
		"blosc1":    {Little(), Blosc("zstd", 1, 1)},
		"stored":    {Little(), Blosc("zstd", 0, 4)},
		"numcodecs": {Little(), {Name: "numcodecs.lz4"}, {Name: "numcodecs.zlib", Configuration: json.RawMessage(`{"level":1}`)}},
		"many":      {Transpose(2, 0, 1), Big(), Blosc("lz4", 1, 4), Gzip(1), Zstd(1), CRC32C()},
	}
}

func pipelines(t testing.TB) map[string]*Pipeline {
	t.Helper()
	all := map[string]*Pipeline{}
	for name, s := range specs() {
		p, err := New(s, chunk)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = p
	}
	return all
}

// smooth is a chunk that compresses, with some noise.
func smooth(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		if b[i] = byte(i / 40); r.IntN(9) == 0 {
			b[i] = byte(r.Uint32())
		}
	}
	return b
}

func TestEveryChainDecodesWhatItEncodes(t *testing.T) {
	t.Parallel()
	for name, p := range pipelines(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(3) {
				raw := smooth(p.Size(), seed)
				kept := bytes.Clone(raw)
				enc, err := p.Encode([]byte("head"), raw)
				if err != nil || !bytes.HasPrefix(enc, []byte("head")) {
					t.Fatalf("encode: %v", err)
				}
				enc = enc[4:]
				if len(enc) > p.Bound() {
					t.Errorf("encoded to %d bytes, more than the bound %d", len(enc), p.Bound())
				}
				got, err := p.Decode([]byte("tail"), enc)
				if err != nil || !bytes.Equal(got[4:], raw) || string(got[:4]) != "tail" {
					t.Fatalf("decode: %v, or values differ", err)
				}
				for _, r := range [][2]int{{0, 0}, {0, 100}, {777, 5000}, {16000, p.Size()}, {p.Size(), p.Size()}} {
					part := make([]byte, r[1]-r[0])
					if err := p.DecodeRange(part, enc, r[0]); err != nil || !bytes.Equal(part, raw[r[0]:r[1]]) {
						t.Fatalf("decode of bytes %v: %v, or values differ", r, err)
					}
				}
				if err := p.DecodeRange(make([]byte, 2), enc, p.Size()-1); err == nil {
					t.Fatal("bytes beyond the end were decoded")
				}
				if !bytes.Equal(raw, kept) {
					t.Fatal("encoding changed its input")
				}
			}
		})
	}
}

func TestPipelinesServeManyGoroutines(t *testing.T) {
	t.Parallel()
	for name, p := range pipelines(t) {
		var wg sync.WaitGroup
		for g := range uint64(4) {
			wg.Go(func() {
				raw := smooth(p.Size(), g)
				var enc, dec []byte
				for range 8 {
					var err error
					if enc, err = p.Encode(enc[:0], raw); err != nil {
						t.Errorf("%s: %v", name, err)
					}
					if dec, err = p.Decode(dec[:0], enc); err != nil || !bytes.Equal(dec, raw) {
						t.Errorf("%s: %v, or values differ", name, err)
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestTruncatedAndTamperedChunksAreCorruptOrEqual(t *testing.T) {
	t.Parallel()
	for name, p := range pipelines(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := smooth(p.Size(), 5)
			enc, err := p.Encode(nil, raw)
			if err != nil {
				t.Fatal(err)
			}
			for cut := 0; cut < len(enc); cut += 1 + cut/3 {
				if got, err := p.Decode(nil, enc[:cut]); !errors.Is(err, ErrCorrupt) || len(got) != 0 {
					t.Errorf("first %d of %d bytes: %v, want ErrCorrupt", cut, len(enc), err)
				}
			}
			if err := p.DecodeRange(make([]byte, 1), enc[:len(enc)-1], 0); !errors.Is(err, ErrCorrupt) {
				t.Errorf("a part of a truncated chunk: %v, want ErrCorrupt", err)
			}
			for at := 0; at < len(enc); at += 1 + at/5 {
				damaged := bytes.Clone(enc)
				damaged[at] ^= 0x55
				if got, err := p.Decode(nil, damaged); err != nil && !errors.Is(err, ErrCorrupt) {
					t.Errorf("byte %d changed: %v, want ErrCorrupt or values", at, err)
				} else if err == nil && len(got) != p.Size() {
					t.Errorf("byte %d changed: %d bytes", at, len(got))
				}
			}
		})
	}
}

func TestAChunkThatDecodesToMoreIsRefused(t *testing.T) {
	t.Parallel()
	small, large := Chunk{Shape: []int{1000}, Size: 1, Unit: 1}, Chunk{Shape: []int{50 << 20}, Size: 1, Unit: 1}
	for _, s := range []Spec{Gzip(9), Zstd(3), Blosc("zstd", 9, 1), Blosc("lz4", 9, 1), Blosc("zlib", 9, 1), Blosc("lz4", 0, 1), CRC32C()} {
		from, err := New([]Spec{Little(), s}, large)
		if err != nil {
			t.Fatal(err)
		}
		bomb, err := from.Encode(nil, make([]byte, from.Size()))
		if err != nil {
			t.Fatal(err)
		}
		into, err := New([]Spec{Little(), s}, small)
		if err != nil {
			t.Fatal(err)
		}
		got, err := into.Decode(nil, bomb)
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", s.Name, err)
		}
		if cap(got) > 1<<20 {
			t.Errorf("%s: %d bytes were allocated", s.Name, cap(got))
		}
	}
}

func TestOneByteTooFewOrManyIsRefused(t *testing.T) {
	t.Parallel()
	p, err := New([]Spec{Little()}, Chunk{Shape: []int{4}, Size: 2, Unit: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 7, 9} {
		if _, err := p.Decode(nil, make([]byte, n)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("decode of %d bytes: %v", n, err)
		}
		if _, err := p.Encode(nil, make([]byte, n)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("encode of %d bytes: %v", n, err)
		}
	}
}

func TestWrongChainsAndConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	one := func(name, config string) []Spec {
		s := Spec{Name: name, Configuration: json.RawMessage(config)}
		switch name {
		case "bytes":
			return []Spec{s}
		case "transpose":
			return []Spec{s, Little()}
		}
		return []Spec{Little(), s}
	}
	for _, c := range []struct {
		specs []Spec
		want  error
	}{
		{nil, ErrCorrupt},
		{[]Spec{Zstd(1)}, ErrCorrupt},
		{[]Spec{Little(), Little()}, ErrCorrupt},
		{[]Spec{Little(), Transpose(0, 1, 2)}, ErrCorrupt},
		{[]Spec{Transpose(0, 1, 2)}, ErrCorrupt},
		{[]Spec{Little(), {Name: "bitround"}}, ErrUnsupported},
		{one("bytes", ``), ErrCorrupt},
		{one("bytes", `{"endian":"middle"}`), ErrCorrupt},
		{one("bytes", `{"endian":"little","x":1}`), ErrCorrupt},
		{one("bytes", `{"endian":"little"} {}`), ErrCorrupt},
		{one("bytes", `[]`), ErrCorrupt},
		{one("transpose", `{}`), ErrCorrupt},
		{one("transpose", `{"order":[0,1]}`), ErrCorrupt},
		{one("transpose", `{"order":[0,1,1]}`), ErrCorrupt},
		{one("transpose", `{"order":[0,1,3]}`), ErrCorrupt},
		{one("transpose", `{"order":"C"}`), ErrCorrupt},
		{one("gzip", ``), ErrCorrupt},
		{one("gzip", `{"level":10}`), ErrCorrupt},
		{one("zstd", `{"level":23}`), ErrCorrupt},
		{one("zstd", `{"checksum":true}`), ErrCorrupt},
		{one("crc32c", `{"x":1}`), ErrCorrupt},
		{one("blosc", `{"cname":"snappy","clevel":1,"shuffle":"noshuffle","blocksize":0}`), ErrUnsupported},
		{one("blosc", `{"cname":"lz4","clevel":10,"shuffle":"noshuffle","blocksize":0}`), ErrCorrupt},
		{one("blosc", `{"cname":"lz4","clevel":1,"shuffle":"riffle","blocksize":0}`), ErrCorrupt},
		{one("blosc", `{"cname":"lz4","clevel":1,"shuffle":"shuffle","typesize":-1,"blocksize":0}`), ErrCorrupt},
		{one("blosc", `{"cname":"lz4","shuffle":"shuffle","typesize":4,"blocksize":0}`), ErrCorrupt},
	} {
		if _, err := New(c.specs, chunk); !errors.Is(err, c.want) {
			t.Errorf("%v: %v, want %v", c.specs, err, c.want)
		}
	}
	for _, c := range []Chunk{{Size: 0, Unit: 1}, {Size: 3, Unit: 2}, {Shape: []int{0}, Size: 1, Unit: 1}, {Shape: []int{-1}, Size: 1, Unit: 1}} {
		if _, err := New([]Spec{Little()}, c); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v: %v, want ErrCorrupt", c, err)
		}
	}
	for _, shape := range [][]int{{1<<30 + 1}, {1 << 62, 1 << 62}, {1 << 15, 1 << 15, 2}} {
		if _, err := New([]Spec{Little()}, Chunk{Shape: shape, Size: 1, Unit: 1}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("chunk of %v: %v, want ErrUnsupported", shape, err)
		}
	}
}

func TestTransposeIsItsDefinition(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 2, 3, 4, 8, 16} {
		shape, order := []int{3, 4, 5}, []int{2, 0, 1}
		p, err := New([]Spec{Transpose(order...), Little()}, Chunk{Shape: shape, Size: size, Unit: 1})
		if err != nil {
			t.Fatal(err)
		}
		raw := smooth(p.Size(), uint64(size))
		got, err := p.Encode(nil, raw)
		if err != nil {
			t.Fatal(err)
		}
		at := 0
		for k := range shape[2] {
			for i := range shape[0] {
				for j := range shape[1] {
					from := ((i*shape[1]+j)*shape[2] + k) * size
					if !bytes.Equal(got[at:at+size], raw[from:from+size]) {
						t.Fatalf("element %d,%d,%d of %d bytes is not where it belongs", i, j, k, size)
					}
					at += size
				}
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	all := pipelines(f)
	for name, p := range all {
		enc, err := p.Encode(nil, smooth(p.Size(), 9))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, enc)
	}
	f.Fuzz(func(t *testing.T, name string, enc []byte) {
		p, ok := all[name]
		if !ok {
			return
		}
		part := make([]byte, 99)
		if err := p.DecodeRange(part, enc, 1000); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		got, err := p.Decode(nil, enc)
		switch {
		case err == nil && len(got) != p.Size():
			t.Fatalf("%d bytes", len(got))
		case err != nil && !errors.Is(err, ErrCorrupt):
			t.Fatal(err)
		}
	})
}

func BenchmarkChunk(b *testing.B) {
	c := Chunk{Shape: []int{512, 512}, Size: 4, Unit: 4}
	raw := terrain(512)
	var blosc []Spec
	for level := range 6 {
		blosc = append(blosc, Blosc("zstd", level, 4))
	}
	blosc = append(blosc, Blosc("lz4", 5, 4), Zstd(1), Zstd(3), Gzip(1), Gzip(5), CRC32C())
	for _, s := range blosc {
		p, err := New([]Spec{Little(), s}, c)
		if err != nil {
			b.Fatal(err)
		}
		enc, err := p.Encode(nil, raw)
		if err != nil {
			b.Fatal(err)
		}
		name := s.Name + strings.NewReplacer(`"`, "", "{", " ", "}", "").Replace(string(s.Configuration))
		name = fmt.Sprintf("%.40s", name)
		b.Run("encode/"+name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			var out []byte
			for b.Loop() {
				out, _ = p.Encode(out[:0], raw)
			}
			b.ReportMetric(float64(len(raw))/float64(len(out)), "ratio")
		})
		b.Run("decode/"+name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			var out []byte
			for b.Loop() {
				out, _ = p.Decode(out[:0], enc)
			}
		})
	}
}
