package zarr_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/cube/zarr/codec"
	"github.com/cubebuild/cube/internal/peers"
)

// A peerCase is an array that this package and other programs exchange.
type peerCase struct {
	Name  string          `json:"name"`
	DType string          `json:"dtype"`
	Shape []int           `json:"shape"`
	Skip  []string        `json:"skip"` // programs that cannot read it
	Meta  json.RawMessage `json:"meta"`

	Format int `json:"format"` // of Zarr

	meta   *zarr.ArrayMeta
	values []byte
}

var dtypes = []zarr.DType{
	zarr.Bool, zarr.Int8, zarr.Int16, zarr.Int32, zarr.Int64, zarr.Uint8, zarr.Uint16, zarr.Uint32, zarr.Uint64,
	zarr.Float16, zarr.Float32, zarr.Float64, zarr.Complex64, zarr.Complex128,
}

// blosc makes a codec with every option of it.
func blosc(cname, shuffle string, typeSize int) codec.Spec {
	conf := fmt.Sprintf(`{"typesize":%d,"cname":%q,"clevel":5,"shuffle":%q,"blocksize":0}`, typeSize, cname, shuffle)
	return codec.Spec{Name: "blosc", Configuration: json.RawMessage(conf)}
}

// chains are codec chains for elements of size bytes, by name.
func chains(size int) map[string][]codec.Spec {
	checked := codec.Spec{Name: "zstd", Configuration: json.RawMessage(`{"level":5,"checksum":true}`)}
	little := codec.Little()
	all := map[string][]codec.Spec{
		"none":           {little},
		"big":            {codec.Big()},
		"gzip0":          {little, codec.Gzip(0)},
		"gzip6":          {little, codec.Gzip(6)},
		"zstd":           {little, codec.Zstd(3)},
		"zstd-negative":  {little, codec.Zstd(-5)},
		"zstd-checked":   {little, checked},
		"crc32c":         {little, codec.CRC32C()},
		"gzip-crc32c":    {codec.Big(), codec.Gzip(1), codec.CRC32C()},
		"transpose":      {codec.Transpose(2, 0, 1), little},
		"transpose-zstd": {codec.Transpose(2, 1, 0), codec.Big(), codec.Zstd(1)},
		"transpose-two":  {codec.Transpose(1, 2, 0), codec.Transpose(1, 2, 0), little, codec.CRC32C()},
		"default":        nil,
		"blosc-store":    {little, {Name: "blosc", Configuration: json.RawMessage(`{"typesize":4,"cname":"lz4","clevel":0,"shuffle":"shuffle","blocksize":0}`)}},
	}
	for _, cname := range []string{"blosclz", "lz4", "lz4hc", "zlib", "zstd"} {
		for _, shuffle := range []string{"noshuffle", "shuffle", "bitshuffle"} {
			all["blosc-"+cname+"-"+shuffle] = []codec.Spec{little, blosc(cname, shuffle, size)}
		}
	}
	return all
}

// peerCases is what is exchanged: every data type, every codec, every key
// encoding, with chunks that overhang the edges.
func peerCases(t *testing.T) []*peerCase {
	t.Helper()
	var cases []*peerCase
	add := func(name string, meta zarr.ArrayMeta, skip ...string) {
		r := rand.New(rand.NewPCG(uint64(len(cases)), 3))
		c := &peerCase{Name: name, DType: string(meta.DataType), Shape: append([]int{}, meta.Shape...), Skip: append([]string{}, skip...), Format: 3, meta: &meta}
		c.values = someValues(r, meta.DataType, product(meta.Shape))
		doc, err := meta.Encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c.Meta = doc
		cases = append(cases, c)
	}
	for _, d := range dtypes {
		add("dtype-"+string(d), zarr.ArrayMeta{Shape: []int{5, 7, 3}, ChunkShape: []int{2, 3, 2}, DataType: d, DimensionNames: []string{"time", "", "x"}})
		add("line-"+string(d), zarr.ArrayMeta{Shape: []int{50}, ChunkShape: []int{7}, DataType: d, Codecs: []codec.Spec{codec.Big(), codec.Zstd(1)}})
	}
	for _, d := range []zarr.DType{zarr.Int16, zarr.Float32, zarr.Float64} {
		all := chains(d.Size())
		for _, name := range slices.Sorted(maps.Keys(all)) {
			specs := all[name]
			add(name+"-"+string(d), zarr.ArrayMeta{Shape: []int{40, 41, 9}, ChunkShape: []int{16, 20, 9}, DataType: d, Codecs: specs})
		}
	}
	for _, keys := range []zarr.KeyEncoding{{}, {Separator: "."}, {Name: "v2"}, {Name: "v2", Separator: "/"}} {
		name := fmt.Sprintf("keys-%s-%x", keys.Name, keys.Separator)
		add(name, zarr.ArrayMeta{Shape: []int{5, 7}, ChunkShape: []int{2, 3}, DataType: zarr.Int32, Keys: keys})
		add(name+"-scalar", zarr.ArrayMeta{DataType: zarr.Int32, Keys: keys, DimensionNames: []string{}})
	}
	add("empty", zarr.ArrayMeta{Shape: []int{0, 7}, ChunkShape: []int{2, 3}, DataType: zarr.Int32})
	return cases
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// someValues makes n elements: smooth and noisy stretches, and the special
// values of the type.
func someValues(r *rand.Rand, d zarr.DType, n int) []byte {
	b := make([]byte, n*d.Size())
	for i := range b {
		switch {
		case d == zarr.Bool:
			b[i] = byte(r.Uint32() & 1)
		case i%97 < 40:
			b[i] = byte(i / d.Size() / 5)
		default:
			b[i] = byte(r.Uint32())
		}
	}
	return b
}

// writeCases writes the list that the scripts read, and the values.
func writeCases(t *testing.T, dir string, cases []*peerCase) {
	t.Helper()
	list, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "cases.json"), list)
	for _, c := range cases {
		writeFile(t, filepath.Join(dir, c.Name+".bin"), c.values)
	}
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func script(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// openDir opens a directory store for the length of a test.
func openDir(t *testing.T, dir string) *zarr.DirStore {
	t.Helper()
	store, err := zarr.OpenDir(dir, zarr.DirConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func TestOtherProgramsReadEveryArrayThatIsWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := openDir(t, dir)
	cases := peerCases(t)
	writeCases(t, dir, cases)
	for _, c := range cases {
		a, err := zarr.CreateArray(t.Context(), store, c.Name, c.meta)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.WriteRegion(t.Context(), make([]int, len(c.Shape)), c.Shape, c.values); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{"zarr", "tensorstore"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			peers.Run(t, script(t, "check.py"), program, dir)
		})
	}
}

func TestEveryArrayThatOtherProgramsWriteIsRead(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"zarr", "tensorstore"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cases := peerCases(t)
			writeCases(t, dir, cases)
			peers.Run(t, script(t, "write.py"), program, dir)
			store := openDir(t, filepath.Join(dir, program))
			for _, c := range cases {
				a, err := zarr.OpenArray(t.Context(), store, c.Name)
				if err != nil {
					t.Errorf("%s: %v", c.Name, err)
					continue
				}
				got := make([]byte, len(c.values))
				if err := a.ReadRegion(t.Context(), make([]int, len(c.Shape)), c.Shape, got); err != nil {
					t.Errorf("%s: %v", c.Name, err)
				} else if !bytes.Equal(got, c.values) {
					t.Errorf("%s: values differ", c.Name)
				}
			}
		})
	}
}
