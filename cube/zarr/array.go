package zarr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/cubebuild/cube/cube/zarr/codec"
)

// document is the name of a node's metadata below its path.
const document = "zarr.json"

// An Array reads and writes the chunks of an array. Its methods may be called
// from many goroutines at once.
type Array struct {
	// Workers bounds how many chunks one call works on at a time; 0 is
	// GOMAXPROCS. Set it before the first call.
	Workers int
	// Cache, if not nil, keeps decoded chunks that were read. It must not be
	// used for an array whose chunks another Array or process changes. Set it
	// before the first call.
	Cache *Cache
	// StoreFill makes chunks that hold only the fill value be written too. They
	// are otherwise deleted, which reads the same. Set it before the first call.
	StoreFill bool

	path     string
	meta     *ArrayMeta
	pipeline *codec.Pipeline
	fill     []byte
	reader   Reader
	writer   Writer // nil if the store cannot be written
	deleter  Deleter
	buffers  sync.Pool      // of *buffers
	locks    [64]sync.Mutex // chunks by hash; held while one is written
	seed     maphash.Seed
}

// buffers is what one worker needs for a chunk.
type buffers struct {
	key   []byte
	enc   []byte
	chunk []byte
}

// NewArray makes an Array from metadata that is at hand, such as a group's
// consolidated metadata; it reads nothing. Writing works if store is a Writer.
func NewArray(store Reader, path string, meta *ArrayMeta) (*Array, error) {
	pipeline, err := meta.Pipeline()
	if err != nil {
		return nil, fmt.Errorf("array %q: %w", path, err)
	}
	a := &Array{path: path, meta: meta.Clone(), pipeline: pipeline, fill: meta.fill(), reader: store, seed: maphash.MakeSeed()}
	a.meta.Codecs = a.meta.codecs()
	a.writer, _ = store.(Writer)
	a.deleter, _ = store.(Deleter)
	a.buffers.New = func() any { return new(buffers) }
	return a, nil
}

// OpenArray opens the array at path, "" for the store's root. Arrays of version
// 2 are opened too, unless they have filters. It fails with ErrNotExist where
// there is none.
func OpenArray(ctx context.Context, store Reader, path string) (*Array, error) {
	meta, err := readArray(ctx, store, path)
	if err != nil {
		return nil, fmt.Errorf("open array %q: %w", path, err)
	}
	return NewArray(store, path, meta)
}

// CreateArray writes the metadata of a new array at path, whose chunks are all
// missing. It fails with ErrExist where there is a node already.
func CreateArray(ctx context.Context, store Store, path string, meta *ArrayMeta) (*Array, error) {
	a, err := NewArray(store, path, meta)
	if err != nil {
		return nil, fmt.Errorf("create %w", err)
	}
	doc, err := meta.Encode()
	if err != nil {
		return nil, fmt.Errorf("create array %q: %w", path, err)
	}
	if err := create(ctx, store, path, doc); err != nil {
		return nil, fmt.Errorf("create array %q: %w", path, err)
	}
	return a, nil
}

// create writes the document of a new node.
func create(ctx context.Context, store Store, path string, doc []byte) error {
	key := join(path, document)
	switch _, err := store.Get(ctx, key, nil); {
	case err == nil:
		return ErrExist
	case !errors.Is(err, ErrNotExist):
		return err
	}
	return store.Set(ctx, key, doc)
}

// Meta is the array's metadata, defaults filled in. It must not be changed.
func (a *Array) Meta() *ArrayMeta { return a.meta }

// Path is where in the store the array is.
func (a *Array) Path() string { return a.path }

// ChunkBytes is the number of bytes of a decoded chunk.
func (a *Array) ChunkBytes() int { return a.pipeline.Size() }

// Chunks yields the indices of the chunks that the region meets, in C order.
// The slice is the iterator's own and changes with each step.
func (a *Array) Chunks(start, shape []int) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		r, err := a.region(start, shape)
		if err != nil {
			return
		}
		index := make([]int, len(start))
		for i := range r.chunks {
			r.index(i, index)
			if !yield(index) {
				return
			}
		}
	}
}

// ReadChunk appends the decoded chunk with that index, padding included, to dst.
// A missing one is the fill value everywhere, and found is false.
func (a *Array) ReadChunk(ctx context.Context, index []int, dst []byte) (chunk []byte, found bool, err error) {
	if err := a.checkIndex(index); err != nil {
		return dst, false, err
	}
	n := len(dst)
	dst = slices.Grow(dst, a.ChunkBytes())
	b := a.buffers.Get().(*buffers)
	defer a.buffers.Put(b)
	out, found, err := a.fetch(ctx, index, b, dst)
	if err != nil {
		return dst[:n], false, err
	}
	if !found {
		out = dst[:n+a.ChunkBytes()]
		fillBytes(out[n:], a.fill)
	}
	return out, found, nil
}

// WriteChunk writes the chunk with that index: ChunkBytes bytes, of which those
// beyond the array's edge ought to be the fill value.
func (a *Array) WriteChunk(ctx context.Context, index []int, chunk []byte) error {
	if err := a.checkIndex(index); err != nil {
		return err
	}
	if len(chunk) != a.ChunkBytes() {
		return fmt.Errorf("array %q: chunk of %d bytes, want %d: %w", a.path, len(chunk), a.ChunkBytes(), ErrRange)
	}
	if err := a.writable(); err != nil {
		return err
	}
	b := a.buffers.Get().(*buffers)
	defer a.buffers.Put(b)
	lock := a.lock(index, b)
	lock.Lock()
	defer lock.Unlock()
	return a.put(ctx, index, b, chunk)
}

func (a *Array) writable() error {
	if a.writer == nil {
		return fmt.Errorf("array %q: the store is read-only: %w", a.path, errors.ErrUnsupported)
	}
	return nil
}

func (a *Array) checkIndex(index []int) error {
	if len(index) != len(a.meta.Shape) {
		return fmt.Errorf("array %q: chunk %v of %d dimensions: %w", a.path, index, len(a.meta.Shape), ErrRange)
	}
	for i, x := range index {
		if x < 0 || x >= (a.meta.Shape[i]+a.meta.ChunkShape[i]-1)/a.meta.ChunkShape[i] {
			return fmt.Errorf("array %q: chunk %v of %v: %w", a.path, index, a.meta.Grid(), ErrRange)
		}
	}
	return nil
}

// key makes the chunk's key in b.
func (a *Array) key(index []int, b *buffers) string {
	b.key = b.key[:0]
	if a.path != "" {
		b.key = append(append(b.key, a.path...), '/')
	}
	b.key = a.meta.Keys.Append(b.key, index)
	return string(b.key)
}

// lock is the lock of the chunk with that index.
func (a *Array) lock(index []int, b *buffers) *sync.Mutex {
	b.key = a.meta.Keys.Append(b.key[:0], index)
	return &a.locks[maphash.Bytes(a.seed, b.key)%uint64(len(a.locks))]
}

// fetch decodes a chunk behind dst, which has room for it. found is false if it
// is missing.
func (a *Array) fetch(ctx context.Context, index []int, b *buffers, dst []byte) (out []byte, found bool, err error) {
	if found, err = a.load(ctx, index, b); err != nil || !found {
		return dst, false, err
	}
	if out, err = a.pipeline.Decode(dst, b.enc); err != nil {
		return dst, false, fmt.Errorf("array %q: chunk %v: %w", a.path, index, err)
	}
	return out, true, nil
}

// load reads an encoded chunk into b. found is false if it is missing.
func (a *Array) load(ctx context.Context, index []int, b *buffers) (found bool, err error) {
	b.enc, err = a.reader.Get(ctx, a.key(index, b), b.enc[:0])
	if errors.Is(err, ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("array %q: chunk %v: %w", a.path, index, err)
	}
	return true, nil
}

// put writes a whole chunk, whose lock is held.
func (a *Array) put(ctx context.Context, index []int, b *buffers, chunk []byte) (err error) {
	key := a.key(index, b)
	if a.Cache != nil {
		a.Cache.drop(a, key)
		defer a.Cache.drop(a, key)
	}
	if !a.StoreFill && a.deleter != nil && a.allFill(chunk) {
		return a.deleter.Delete(ctx, key)
	}
	if b.enc, err = a.pipeline.Encode(b.enc[:0], chunk); err != nil {
		return fmt.Errorf("array %q: chunk %v: %w", a.path, index, err)
	}
	if err := a.writer.Set(ctx, key, b.enc); err != nil {
		return fmt.Errorf("array %q: chunk %v: %w", a.path, index, err)
	}
	return nil
}

// allFill reports whether chunk is the fill value everywhere.
func (a *Array) allFill(chunk []byte) bool {
	n := len(a.fill)
	return bytes.Equal(chunk[:n], a.fill) && bytes.Equal(chunk[n:], chunk[:len(chunk)-n])
}

// A region is a box of the array, and the chunks that it meets.
type region struct {
	a      *Array
	start  []int
	shape  []int
	first  [maxDims]int // index of the first chunk
	count  [maxDims]int // number of chunks along each dimension
	chunks int
}

func (a *Array) region(start, shape []int) (region, error) {
	r := region{a: a, start: start, shape: shape, chunks: 1}
	nd := len(a.meta.Shape)
	if len(start) != nd || len(shape) != nd {
		return r, fmt.Errorf("array %q: region of %v at %v in %d dimensions: %w", a.path, shape, start, nd, ErrRange)
	}
	if _, ok := volume(shape, a.meta.DataType.Size()); !ok {
		return r, fmt.Errorf("array %q: region of %v: %w", a.path, shape, ErrRange)
	}
	for i, n := range shape {
		if start[i] < 0 || start[i] > a.meta.Shape[i]-n {
			return r, fmt.Errorf("array %q: region of %v at %v leaves shape %v: %w", a.path, shape, start, a.meta.Shape, ErrRange)
		}
		if n == 0 {
			r.chunks = 0
			return r, nil
		}
		c := a.meta.ChunkShape[i]
		r.first[i] = start[i] / c
		r.count[i] = (start[i]+n-1)/c - r.first[i] + 1
	}
	for i := range shape {
		r.chunks *= r.count[i] // at most the number of elements
	}
	return r, nil
}

// index puts the index of the region's i-th chunk into out.
func (r *region) index(i int, out []int) {
	for d := len(r.start) - 1; d >= 0; d-- {
		out[d] = r.first[d] + i%r.count[d]
		i /= r.count[d]
	}
}

// A part is what a region and a chunk have in common.
type part struct {
	index    []int
	inChunk  [maxDims]int // where it begins in the chunk
	inRegion [maxDims]int // where it begins in the region
	shape    [maxDims]int
	covers   bool // it is all of the chunk that lies in the array
	full     bool // it is all of the chunk
}

// part computes the i-th part into p.
func (r *region) part(i int, p *part) {
	r.index(i, p.index)
	p.covers, p.full = true, true
	for d, x := range p.index {
		c := r.a.meta.ChunkShape[d]
		lo, hi := max(x*c, r.start[d]), min(x*c+c, r.start[d]+r.shape[d])
		p.inChunk[d], p.inRegion[d], p.shape[d] = lo-x*c, lo-r.start[d], hi-lo
		p.full = p.full && hi-lo == c
		p.covers = p.covers && lo == x*c && hi == min(x*c+c, r.a.meta.Shape[d])
	}
}

// offset is where in the region's memory the part begins, if it is a whole chunk
// that lies there in one piece.
func (r *region) offset(p *part) (at int, ok bool) {
	if !p.full {
		return 0, false
	}
	step := r.a.meta.DataType.Size()
	single := false
	for d := len(r.shape) - 1; d >= 0; d-- {
		if single && p.shape[d] != 1 {
			return 0, false
		}
		single = single || p.shape[d] != r.shape[d]
		at += p.inRegion[d] * step
		step *= r.shape[d]
	}
	return at, true
}

// each calls work for every chunk of the region, on several goroutines.
func (r *region) each(ctx context.Context, work func(ctx context.Context, p *part, b *buffers) error) error {
	workers := r.a.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	if workers = min(workers, r.chunks); workers <= 1 {
		return r.some(ctx, new(atomic.Int64), work)
	}
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error { return r.some(ctx, &next, work) })
	}
	return g.Wait()
}

// some calls work for the chunks that it takes from next.
func (r *region) some(ctx context.Context, next *atomic.Int64, work func(ctx context.Context, p *part, b *buffers) error) error {
	b := r.a.buffers.Get().(*buffers)
	defer r.a.buffers.Put(b)
	p := part{index: make([]int, len(r.start))}
	for {
		i := int(next.Add(1)) - 1
		if i >= r.chunks {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		r.part(i, &p)
		if err := work(ctx, &p, b); err != nil {
			return err
		}
	}
}

// checkBuffer checks that b holds the region.
func (r *region) checkBuffer(b []byte) error {
	if n, _ := volume(r.shape, r.a.meta.DataType.Size()); len(b) != n {
		return fmt.Errorf("array %q: buffer of %d bytes for a region of %v: %w", r.a.path, len(b), r.shape, ErrRange)
	}
	return nil
}

// ReadRegion reads the box of the given shape at start into dst, in C order,
// which must have just its size. What is missing is the fill value. On an error
// dst's content is undefined.
func (a *Array) ReadRegion(ctx context.Context, start, shape []int, dst []byte) error {
	r, err := a.region(start, shape)
	if err != nil {
		return err
	}
	if err := r.checkBuffer(dst); err != nil {
		return err
	}
	return r.each(ctx, func(ctx context.Context, p *part, b *buffers) error {
		return r.read(ctx, p, b, dst)
	})
}

// read copies one part into dst.
func (r *region) read(ctx context.Context, p *part, b *buffers, dst []byte) error {
	a, nd := r.a, len(r.shape)
	if at, ok := r.offset(p); ok && a.Cache == nil {
		room := dst[at : at : at+a.ChunkBytes()]
		_, found, err := a.fetch(ctx, p.index, b, room)
		if err == nil && !found {
			fillBytes(room[:a.ChunkBytes()], a.fill)
		}
		return err
	}
	chunk, found, err := r.decoded(ctx, p, b)
	if err != nil {
		return err
	}
	if !found {
		FillRegion(dst, r.shape, p.inRegion[:nd], p.shape[:nd], a.fill)
		return nil
	}
	CopyRegion(dst, r.shape, p.inRegion[:nd], chunk, a.meta.ChunkShape, p.inChunk[:nd], p.shape[:nd], a.meta.DataType.Size())
	return nil
}

// decoded is the chunk of a part, from the cache or in b. Only what the part
// needs of it is sure to be there. It must not be changed.
func (r *region) decoded(ctx context.Context, p *part, b *buffers) (chunk []byte, found bool, err error) {
	a := r.a
	if a.Cache != nil {
		return a.Cache.chunk(ctx, a, p.index, b)
	}
	b.chunk = slices.Grow(b.chunk[:0], a.ChunkBytes())[:a.ChunkBytes()]
	from, to := r.span(p)
	if to-from == a.ChunkBytes() || !a.pipeline.Partial() {
		return a.fetch(ctx, p.index, b, b.chunk[:0])
	}
	if found, err := a.load(ctx, p.index, b); err != nil || !found {
		return nil, false, err
	}
	if err := a.pipeline.DecodeRange(b.chunk[from:to], b.enc, from); err != nil {
		return nil, false, fmt.Errorf("array %q: chunk %v: %w", a.path, p.index, err)
	}
	return b.chunk, true, nil
}

// span is where in the chunk's memory the part begins and ends.
func (r *region) span(p *part) (from, to int) {
	step := r.a.meta.DataType.Size()
	to = step
	for d := len(p.index) - 1; d >= 0; d-- {
		from += p.inChunk[d] * step
		to += (p.inChunk[d] + p.shape[d] - 1) * step
		step *= r.a.meta.ChunkShape[d]
	}
	return from, to
}

// WriteRegion writes src, in C order, to the box of the given shape at start.
// Chunks that the box covers only in part are read first. On an error some
// chunks may have been written.
func (a *Array) WriteRegion(ctx context.Context, start, shape []int, src []byte) error {
	r, err := a.region(start, shape)
	if err != nil {
		return err
	}
	if err := r.checkBuffer(src); err != nil {
		return err
	}
	if err := a.writable(); err != nil {
		return err
	}
	return r.each(ctx, func(ctx context.Context, p *part, b *buffers) error {
		return r.write(ctx, p, b, src)
	})
}

// write copies one part from src into its chunk.
func (r *region) write(ctx context.Context, p *part, b *buffers, src []byte) error {
	a, nd := r.a, len(r.shape)
	lock := a.lock(p.index, b)
	lock.Lock()
	defer lock.Unlock()
	if at, ok := r.offset(p); ok {
		return a.put(ctx, p.index, b, src[at:at+a.ChunkBytes()])
	}
	found := p.full // nothing of the old chunk shows
	b.chunk = slices.Grow(b.chunk[:0], a.ChunkBytes())[:a.ChunkBytes()]
	if !p.covers {
		var err error
		if _, found, err = a.fetch(ctx, p.index, b, b.chunk[:0]); err != nil {
			return err
		}
	}
	if !found {
		fillBytes(b.chunk, a.fill)
	}
	CopyRegion(b.chunk, a.meta.ChunkShape, p.inChunk[:nd], src, r.shape, p.inRegion[:nd], p.shape[:nd], a.meta.DataType.Size())
	return a.put(ctx, p.index, b, b.chunk)
}
