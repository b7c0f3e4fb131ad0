package zarr_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/cube/zarr/codec"
)

func createArray(t testing.TB, store zarr.Store, path string, meta zarr.ArrayMeta) *zarr.Array {
	t.Helper()
	a, err := zarr.CreateArray(t.Context(), store, path, &meta)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// model is an array kept in plain memory.
type model struct {
	shape  []int
	size   int
	values []byte
}

// box copies a box out of the model, or into it.
func (m *model) box(start, shape []int, buf []byte, write bool) {
	origin := make([]int, len(shape))
	if write {
		zarr.CopyRegion(m.values, m.shape, start, buf, shape, origin, shape, m.size)
	} else {
		zarr.CopyRegion(buf, shape, origin, m.values, m.shape, start, shape, m.size)
	}
}

func TestRegionsReadBackWhatAnyOrderOfWritesLeaves(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 7))
	for round := range 60 {
		var shape, chunk []int
		for range r.IntN(4) {
			shape, chunk = append(shape, 1+r.IntN(20)), append(chunk, 1+r.IntN(9))
		}
		d := dtypes[r.IntN(len(dtypes))]
		fill := someValues(r, d, 1)
		a := createArray(t, new(zarr.MemStore), "a", zarr.ArrayMeta{Shape: shape, ChunkShape: chunk, DataType: d, Fill: fill, Codecs: []codec.Spec{codec.Little()}})
		a.Workers = 1 + round%3
		if round%2 == 0 {
			a.Cache = zarr.NewCache(1 << (r.IntN(16)))
		}
		m := &model{shape: shape, size: d.Size(), values: bytes.Repeat(fill, product(shape))}
		for range 20 {
			start, box := make([]int, len(shape)), make([]int, len(shape))
			for i, n := range shape {
				start[i] = r.IntN(n)
				box[i] = r.IntN(n - start[i] + 1)
			}
			buf, want := make([]byte, product(box)*d.Size()), make([]byte, product(box)*d.Size())
			if r.IntN(2) == 0 {
				buf = someValues(r, d, product(box))
				m.box(start, box, buf, true)
				if err := a.WriteRegion(t.Context(), start, box, buf); err != nil {
					t.Fatal(err)
				}
				continue
			}
			m.box(start, box, want, false)
			if err := a.ReadRegion(t.Context(), start, box, buf); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(buf, want) {
				t.Fatalf("%s %v in chunks of %v: region of %v at %v differs", d, shape, chunk, box, start)
			}
		}
	}
}

func TestConcurrentUnalignedWritesLoseNothing(t *testing.T) {
	t.Parallel()
	a := createArray(t, openDir(t, t.TempDir()), "", zarr.ArrayMeta{Shape: []int{64, 64}, ChunkShape: []int{40, 40}, DataType: zarr.Uint8, Codecs: []codec.Spec{codec.Little()}})
	var wg sync.WaitGroup
	for y := range 64 {
		wg.Go(func() {
			if err := a.WriteRegion(t.Context(), []int{y, 0}, []int{1, 64}, bytes.Repeat([]byte{byte(y + 1)}, 64)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := make([]byte, 64*64)
	if err := a.ReadRegion(t.Context(), []int{0, 0}, []int{64, 64}, got); err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if int(v) != i/64+1 {
			t.Fatalf("row %d holds %d", i/64, v)
		}
	}
}

func TestChunksOfOnlyFillAreNotStored(t *testing.T) {
	t.Parallel()
	store := new(zarr.MemStore)
	nan := binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(math.NaN())))
	a := createArray(t, store, "v", zarr.ArrayMeta{Shape: []int{4, 3}, ChunkShape: []int{2, 2}, DataType: zarr.Float32, Fill: nan})
	values := make([]float32, 12)
	whole := func() []string {
		t.Helper()
		if err := a.WriteRegion(t.Context(), []int{0, 0}, []int{4, 3}, zarr.Bytes(values)); err != nil {
			t.Fatal(err)
		}
		return append(list(t, store, "v/c/0"), list(t, store, "v/c/1")...)
	}
	if got := whole(); len(got) != 4 {
		t.Errorf("chunks of zeros: %q", got)
	}
	for i := range values {
		values[i] = float32(math.NaN())
	}
	values[0] = 1
	if got := whole(); !slices.Equal(got, []string{"0"}) {
		t.Errorf("chunks of NaN, and one value: %q", got)
	}
	a.StoreFill = true
	if got := whole(); len(got) != 4 {
		t.Errorf("chunks, with StoreFill: %q", got)
	}
	negative := createArray(t, store, "z", zarr.ArrayMeta{Shape: []int{1}, ChunkShape: []int{1}, DataType: zarr.Float32})
	if err := negative.WriteRegion(t.Context(), []int{0}, []int{1}, zarr.Bytes([]float32{float32(math.Copysign(0, -1))})); err != nil {
		t.Fatal(err)
	}
	if got := list(t, store, "z/c"); len(got) != 1 {
		t.Error("a negative zero was taken for the fill value")
	}
}

func TestEdgeChunksAreStoredWholeAndPaddedWithFill(t *testing.T) {
	t.Parallel()
	store := new(zarr.MemStore)
	a := createArray(t, store, "", zarr.ArrayMeta{Shape: []int{3, 3}, ChunkShape: []int{2, 2}, DataType: zarr.Uint8, Fill: []byte{9}, Codecs: []codec.Spec{codec.Little()}})
	if err := a.WriteRegion(t.Context(), []int{0, 0}, []int{3, 3}, []byte{1, 2, 3, 4, 5, 6, 7, 8, 10}); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"c/0/0": "\x01\x02\x04\x05", "c/0/1": "\x03\x09\x06\x09", "c/1/0": "\x07\x08\x09\x09", "c/1/1": "\x0a\x09\x09\x09"} {
		if got, err := store.Get(t.Context(), key, nil); err != nil || string(got) != want {
			t.Errorf("chunk %s: %x, %v; want %x", key, got, err, want)
		}
	}
	chunk, found, err := a.ReadChunk(t.Context(), []int{1, 0}, []byte{42})
	if err != nil || !found || !bytes.Equal(chunk, []byte{42, 7, 8, 9, 9}) {
		t.Errorf("read chunk: %v, %v, %v", chunk, found, err)
	}
	if err := a.WriteChunk(t.Context(), []int{1, 0}, []byte{9, 9, 9, 9}); err != nil {
		t.Fatal(err)
	}
	if chunk, found, err = a.ReadChunk(t.Context(), []int{1, 0}, chunk[:0]); err != nil || found || !bytes.Equal(chunk, []byte{9, 9, 9, 9}) {
		t.Errorf("read missing chunk: %v, %v, %v", chunk, found, err)
	}
}

func TestWhatLiesOutsideTheArrayIsRefused(t *testing.T) {
	t.Parallel()
	a := createArray(t, new(zarr.MemStore), "", zarr.ArrayMeta{Shape: []int{4, 6}, ChunkShape: []int{2, 4}, DataType: zarr.Int16})
	for _, c := range []struct {
		start, shape []int
		bytes        int
	}{
		{[]int{0, 0}, []int{5, 6}, 60}, {[]int{-1, 0}, []int{2, 2}, 8}, {[]int{0, 5}, []int{1, 2}, 4}, {[]int{0}, []int{4}, 8},
		{[]int{0, 0}, []int{4, 6}, 47}, {[]int{0, 0}, []int{-1, 2}, 0}, {[]int{1, 1}, []int{math.MaxInt, math.MaxInt}, 0}, {[]int{math.MaxInt, 0}, []int{1, 1}, 2},
	} {
		buf := make([]byte, c.bytes)
		if err := a.ReadRegion(t.Context(), c.start, c.shape, buf); !errors.Is(err, zarr.ErrRange) {
			t.Errorf("read %v at %v: %v, want ErrRange", c.shape, c.start, err)
		}
		if err := a.WriteRegion(t.Context(), c.start, c.shape, buf); !errors.Is(err, zarr.ErrRange) {
			t.Errorf("write %v at %v: %v, want ErrRange", c.shape, c.start, err)
		}
	}
	for _, index := range [][]int{{2, 0}, {0, 2}, {-1, 0}, {0}} {
		if _, _, err := a.ReadChunk(t.Context(), index, nil); !errors.Is(err, zarr.ErrRange) {
			t.Errorf("read chunk %v: %v, want ErrRange", index, err)
		}
		if err := a.WriteChunk(t.Context(), index, make([]byte, a.ChunkBytes())); !errors.Is(err, zarr.ErrRange) {
			t.Errorf("write chunk %v: %v, want ErrRange", index, err)
		}
	}
	if err := a.WriteChunk(t.Context(), []int{0, 0}, make([]byte, 3)); !errors.Is(err, zarr.ErrRange) {
		t.Errorf("write of a short chunk: %v, want ErrRange", err)
	}
}

func TestAVastEmptyArrayIsReadWithoutAllocatingIt(t *testing.T) {
	t.Parallel()
	a := createArray(t, new(zarr.MemStore), "", zarr.ArrayMeta{Shape: []int{1 << 40, 1 << 40}, ChunkShape: []int{1 << 14, 1 << 14}, DataType: zarr.Float32})
	got := make([]byte, 4*100)
	if err := a.ReadRegion(t.Context(), []int{1<<40 - 10, 1 << 39}, []int{10, 10}, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, make([]byte, 400)) {
		t.Error("not the fill value")
	}
}

func TestChunksAreVisitedInOrder(t *testing.T) {
	t.Parallel()
	a := createArray(t, new(zarr.MemStore), "", zarr.ArrayMeta{Shape: []int{6, 9}, ChunkShape: []int{2, 3}, DataType: zarr.Int8})
	var got [][]int
	for index := range a.Chunks([]int{1, 4}, []int{3, 5}) {
		got = append(got, slices.Clone(index))
	}
	if diff := cmp.Diff([][]int{{0, 1}, {0, 2}, {1, 1}, {1, 2}}, got); diff != "" {
		t.Error(diff)
	}
	for range a.Chunks([]int{1, 4}, []int{0, 5}) {
		t.Error("an empty region has a chunk")
	}
}

func TestADamagedChunkIsNamed(t *testing.T) {
	t.Parallel()
	store := new(zarr.MemStore)
	a := createArray(t, store, "v", zarr.ArrayMeta{Shape: []int{40, 40}, ChunkShape: []int{20, 20}, DataType: zarr.Float64})
	if err := a.WriteRegion(t.Context(), []int{0, 0}, []int{40, 40}, bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8}, 1600)); err != nil {
		t.Fatal(err)
	}
	set(t, store, "v/c/1/0", "not a chunk")
	buf := make([]byte, 8*1600)
	err := a.ReadRegion(t.Context(), []int{0, 0}, []int{40, 40}, buf)
	if !errors.Is(err, zarr.ErrCorrupt) || !bytes.Contains([]byte(err.Error()), []byte(`array "v": chunk [1 0]`)) {
		t.Errorf("error %v, want ErrCorrupt that names the chunk", err)
	}
	if err := a.WriteRegion(t.Context(), []int{20, 0}, []int{1, 1}, buf[:8]); !errors.Is(err, zarr.ErrCorrupt) {
		t.Errorf("partial write onto the damaged chunk: %v, want ErrCorrupt", err)
	}
}

// failing is a store that fails after a number of calls.
type failing struct {
	zarr.Store
	mu   sync.Mutex
	left int
}

var errFailing = errors.New("the disk is full")

func (s *failing) spend() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left--; s.left < 0 {
		return errFailing
	}
	return nil
}

func (s *failing) Get(ctx context.Context, key string, dst []byte) ([]byte, error) {
	if err := s.spend(); err != nil {
		return dst, err
	}
	return s.Store.Get(ctx, key, dst)
}

func (s *failing) Set(ctx context.Context, key string, value []byte) error {
	if err := s.spend(); err != nil {
		return err
	}
	return s.Store.Set(ctx, key, value)
}

func TestErrorsOfTheStoreComeOut(t *testing.T) {
	t.Parallel()
	store := &failing{Store: new(zarr.MemStore), left: 1000}
	meta := zarr.ArrayMeta{Shape: []int{100, 100}, ChunkShape: []int{10, 10}, DataType: zarr.Uint8}
	a := createArray(t, store, "", meta)
	values := bytes.Repeat([]byte{1}, 10000)
	region := func(start, side int) ([]int, []int) { return []int{start, start}, []int{side, side} }
	for _, left := range []int{0, 1, 50} {
		for _, cached := range []bool{false, true} {
			if a.Cache = nil; cached {
				a.Cache = zarr.NewCache(1 << 20)
			}
			start, shape := region(5, 90)
			store.left = left
			if err := a.WriteRegion(t.Context(), start, shape, values[:8100]); !errors.Is(err, errFailing) {
				t.Errorf("write with %d calls left: %v", left, err)
			}
			store.left = left
			if err := a.ReadRegion(t.Context(), start, shape, make([]byte, 8100)); !errors.Is(err, errFailing) {
				t.Errorf("read with %d calls left: %v", left, err)
			}
			store.left = 1000
			if err := a.ReadRegion(t.Context(), start, shape, make([]byte, 8100)); err != nil {
				t.Errorf("read after the failure: %v", err)
			}
		}
	}
	store.left = 0
	if _, err := zarr.CreateArray(t.Context(), store, "b", &meta); !errors.Is(err, errFailing) {
		t.Errorf("create: %v", err)
	}
	if _, err := zarr.OpenArray(t.Context(), store, ""); !errors.Is(err, errFailing) {
		t.Errorf("open: %v", err)
	}
}

// counting counts the reads of chunks.
type counting struct {
	zarr.Store
	mu   sync.Mutex
	gets map[string]int
}

func (s *counting) Get(ctx context.Context, key string, dst []byte) ([]byte, error) {
	s.mu.Lock()
	s.gets[key]++
	s.mu.Unlock()
	return s.Store.Get(ctx, key, dst)
}

func TestOverlappingWindowsReadEachChunkOnceThroughACache(t *testing.T) {
	t.Parallel()
	store := &counting{Store: new(zarr.MemStore), gets: map[string]int{}}
	a := createArray(t, store, "", zarr.ArrayMeta{Shape: []int{64, 64}, ChunkShape: []int{16, 16}, DataType: zarr.Uint8})
	values := make([]byte, 64*64)
	for i := range values {
		values[i] = byte(i * 7)
	}
	if err := a.WriteRegion(t.Context(), []int{0, 0}, []int{64, 64}, values); err != nil {
		t.Fatal(err)
	}
	read := func() {
		var wg sync.WaitGroup
		for y := 0; y+18 <= 64; y += 4 {
			wg.Go(func() {
				got := make([]byte, 18*64)
				if err := a.ReadRegion(t.Context(), []int{y, 0}, []int{18, 64}, got); err != nil || !bytes.Equal(got, values[y*64:(y+18)*64]) {
					t.Errorf("window at %d: %v, or values differ", y, err)
				}
			})
		}
		wg.Wait()
	}
	reads := func(key string) int {
		store.mu.Lock()
		defer store.mu.Unlock()
		return store.gets[key]
	}
	clear(store.gets)
	a.Cache = zarr.NewCache(1 << 20)
	read()
	for y := range 4 {
		for x := range 4 {
			if n := reads(fmt.Sprintf("c/%d/%d", y, x)); n != 1 {
				t.Errorf("chunk %d,%d was read %d times", y, x, n)
			}
		}
	}
	if err := a.WriteRegion(t.Context(), []int{0, 0}, []int{1, 1}, []byte{99}); err != nil {
		t.Fatal(err)
	}
	values[0] = 99
	read()
	if n := reads("c/3/3"); n != 1 {
		t.Errorf("a chunk that was not written to was read %d times", n)
	}
	a.Cache = zarr.NewCache(600) // one chunk and no more
	read()
}

func TestDecodingAllocatesNothingPerChunk(t *testing.T) {
	for name, specs := range chains(4) {
		p, err := (&zarr.ArrayMeta{Shape: []int{64, 64, 9}, ChunkShape: []int{64, 64, 9}, DataType: zarr.Float32, Codecs: specs}).Pipeline()
		if err != nil {
			t.Fatal(err)
		}
		raw := someValues(rand.New(rand.NewPCG(1, 1)), zarr.Float32, 64*64*9)
		enc, err := p.Encode(nil, raw)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 0, p.Size())
		allocs := testing.AllocsPerRun(50, func() {
			if buf, err = p.Decode(buf[:0], enc); err != nil {
				t.Error(err)
			}
		})
		if allocs > 0 {
			t.Errorf("%s: %v allocations for a chunk", name, allocs)
		}
		if !bytes.Equal(buf, raw) {
			t.Errorf("%s: values differ", name)
		}
	}
}
