package zarr_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/cube/zarr/codec"
)

// terrain is a smooth float32 field of n by n with a little noise.
func terrain(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]byte, 0, 4*n*n)
	for y := range n {
		for x := range n {
			u, v := float64(x)/1e3, float64(y)/1e3
			z := 900 + 300*math.Sin(5*u+3*v) + 120*math.Cos(17*u-11*v) + r.NormFloat64()*0.05
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(z)))
		}
	}
	return out
}

// benchArray is 2048 by 2048 elements in chunks of 512 by 512, on disk.
func benchArray(b *testing.B, specs []codec.Spec, values []byte) *zarr.Array {
	b.Helper()
	store, err := zarr.OpenDir(b.TempDir(), zarr.DirConfig{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	a := createArray(b, store, "", zarr.ArrayMeta{Shape: []int{2048, 2048}, ChunkShape: []int{512, 512}, DataType: zarr.Float32, Codecs: specs})
	if err := a.WriteRegion(b.Context(), []int{0, 0}, []int{2048, 2048}, values); err != nil {
		b.Fatal(err)
	}
	return a
}

var benchChains = []struct {
	name  string
	specs []codec.Spec
}{
	{"none", []codec.Spec{codec.Little()}},
	{"zstd3", []codec.Spec{codec.Little(), codec.Zstd(3)}},
	{"default", nil},
	{"lz4", []codec.Spec{codec.Little(), codec.Blosc("lz4", 5, 4)}},
}

func BenchmarkReadRegion(b *testing.B) {
	values := terrain(2048)
	got := make([]byte, len(values))
	for _, c := range benchChains {
		b.Run(c.name, func(b *testing.B) {
			a := benchArray(b, c.specs, values)
			b.SetBytes(int64(len(values)))
			b.ReportAllocs()
			for b.Loop() {
				if err := a.ReadRegion(b.Context(), []int{0, 0}, []int{2048, 2048}, got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWriteRegion(b *testing.B) {
	values := terrain(2048)
	for _, c := range benchChains {
		b.Run(c.name, func(b *testing.B) {
			a := benchArray(b, c.specs, values)
			b.SetBytes(int64(len(values)))
			b.ReportAllocs()
			for b.Loop() {
				if err := a.WriteRegion(b.Context(), []int{0, 0}, []int{2048, 2048}, values); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHaloWindows reads tiles of 256 by 256 with a halo of 1, as a build
// does, in order.
func BenchmarkHaloWindows(b *testing.B) {
	values := terrain(2048)
	got := make([]byte, 258*258*4)
	for _, cached := range []int{0, 64 << 20} {
		for _, c := range benchChains {
			b.Run(fmt.Sprintf("cache=%dMiB/%s", cached>>20, c.name), func(b *testing.B) {
				a := benchArray(b, c.specs, values)
				b.SetBytes(36 * int64(len(got)))
				b.ReportAllocs()
				for b.Loop() {
					if cached > 0 {
						a.Cache = zarr.NewCache(cached)
					}
					for i := range 36 {
						start := []int{i/6*256 + 255, i%6*256 + 255}
						if err := a.ReadRegion(b.Context(), start, []int{258, 258}, got); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}
