package cube

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/cube/zarr/codec"
	"github.com/cubebuild/cube/graph"
)

// byShape holds what there is one of for each sort of chunk.
type byShape[T any] struct {
	mu sync.RWMutex
	m  map[string]T
}

// shapeKey names a sort of chunk, in a buffer.
func shapeKey(buf []byte, dtype graph.DType, shape []int64, fill []byte) []byte {
	buf = append(append(buf, dtype...), 0)
	for _, n := range shape {
		buf = binary.LittleEndian.AppendUint64(buf, uint64(n))
	}
	return append(buf, fill...)
}

func (s *byShape[T]) get(key []byte) (T, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, ok := s.m[string(key)]
	return v, ok
}

func (s *byShape[T]) set(key []byte, v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]T{}
	}
	s.m[string(key)] = v
}

// coder returns the pipeline of an array's chunks.
func (c *Cube) coder(l Layout) (*codec.Pipeline, error) {
	shape := l.ChunkShape()
	var buf [128]byte
	key := shapeKey(buf[:0], l.Spec.DType, shape, nil)
	if p, ok := c.coders.get(key); ok {
		return p, nil
	}
	size := l.Spec.DType.Size()
	chunk := codec.Chunk{Size: size, Unit: size}
	for _, n := range shape {
		chunk.Shape = append(chunk.Shape, int(n))
	}
	p, err := codec.New(c.codecs(size), chunk)
	if err != nil {
		return nil, fmt.Errorf("chunks of %s: %w", l.Spec.Name, err)
	}
	c.coders.set(key, p)
	return p, nil
}

func (c *Cube) codecs(size int) []codec.Spec {
	return []codec.Spec{codec.Little(), codec.Blosc(c.conf.Compressor, c.conf.Level, size)}
}

// fillDigest returns the digest of a chunk that is all fill.
func (c *Cube) fillDigest(dtype graph.DType, shape []int64, fill []byte) graph.Digest {
	var buf [128]byte
	key := shapeKey(buf[:0], dtype, shape, fill)
	if d, ok := c.fills.get(key); ok {
		return d
	}
	d := FillDigest(dtype, shape, fill)
	c.fills.set(key, d)
	return d
}

// PutTile stores the values of a box of whole chunks (where the domain ends
// within a chunk, the box does too) and returns a ref for each chunk, in C
// order. values are little-endian, in C order, in the shape that l has for box;
// they are made canonical in place. Chunks that are all fill are not stored.
// Nothing is waited for to be durable; see Sync.
func (c *Cube) PutTile(ctx context.Context, l Layout, box grid.Box, values []byte) ([]ChunkRef, error) {
	l = l.normal()
	refs, err := c.putTile(ctx, l, box, values)
	if err != nil {
		return nil, fmt.Errorf("put %s %s: %w", l.Spec.Name, box, err)
	}
	return refs, nil
}

func (c *Cube) putTile(ctx context.Context, l Layout, box grid.Box, values []byte) ([]ChunkRef, error) {
	if err := l.Valid(); err != nil {
		return nil, err
	}
	if err := l.wholeChunks(box); err != nil {
		return nil, err
	}
	if want := l.Bytes(box); int64(len(values)) != want {
		return nil, fmt.Errorf("%d bytes, want %d: %w", len(values), want, ErrOutside)
	}
	if err := c.Use(ctx); err != nil {
		return nil, err
	}
	if l.Spec.DType == graph.Bool {
		canonicalBool(values)
	}
	CanonicalNaN(l.Spec.DType, values)
	w, err := c.newTileWriter(l, box, values)
	if err != nil {
		return nil, err
	}
	refs := make([]ChunkRef, w.span.Len())
	err = parallel(ctx, c.hands(len(values)), len(refs), func(ctx context.Context, i int) (err error) {
		refs[i], err = w.put(ctx, i)
		return err
	})
	return refs, err
}

// Recut stores a box of an array in whole chunks of its layout that is stored
// in whole chunks of another size already, as refs, and returns the new refs.
// Where an object cannot be read the error is as ReadWindow's.
func (c *Cube) Recut(ctx context.Context, l Layout, box grid.Box, was grid.Tiling, refs []ChunkRef) ([]ChunkRef, error) {
	old := l.normal()
	// The domain was another one then, perhaps. The box was whole chunks of it.
	old.Chunk, old.Grid.Box = was, box
	b, err := c.NewBuilder(ctx, old)
	if err == nil {
		err = b.Set(ctx, box, refs)
	}
	if err != nil {
		return nil, fmt.Errorf("recut %s %s: %w", l.Spec.Name, box, err)
	}
	values, err := c.ReadWindow(ctx, b, box, nil)
	if err != nil {
		return nil, err
	}
	return c.PutTile(ctx, l, box, values)
}

// wholeChunks says where a box is not made of whole chunks.
func (l Layout) wholeChunks(box grid.Box) error {
	d := l.Domain()
	if box.Empty() || !d.Contains(box) || (d.T.Len() > 0) != (box.T.Len() > 0) {
		return fmt.Errorf("domain is %s: %w", d, ErrOutside)
	}
	s := l.Touched(box)
	first, last := l.ChunkBox(s.T.Lo, s.Y.Lo, s.X.Lo), l.ChunkBox(s.T.Hi-1, s.Y.Hi-1, s.X.Hi-1)
	if first.T.Lo != box.T.Lo || first.Y.Lo != box.Y.Lo || first.X.Lo != box.X.Lo ||
		last.T.Hi != box.T.Hi || last.Y.Hi != box.Y.Hi || last.X.Hi != box.X.Hi {
		return fmt.Errorf("box is not whole chunks of %+v: %w", l.Chunk, ErrOutside)
	}
	return nil
}

// hands is how many goroutines are worth their price for so many bytes.
func (c *Cube) hands(bytes int) int {
	const alone = 128 << 10
	if bytes <= alone {
		return 1
	}
	return c.conf.Parallel
}

// parallel calls f with 0 to n−1, at most limit at once. Without an error it has
// called it with each: where ctx ended before, that is the error.
func parallel(ctx context.Context, limit, n int, f func(context.Context, int) error) error {
	if n == 1 || limit == 1 {
		for i := range n {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := f(ctx, i); err != nil {
				return err
			}
		}
		return nil
	}
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(limit)
	for i := range n {
		if each.Err() != nil {
			break
		}
		g.Go(func() error { return f(each, i) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// tileWriter cuts a tile into chunks and stores them.
type tileWriter struct {
	c      *Cube
	l      Layout
	box    grid.Box
	span   grid.Span
	values []byte
	fill   []byte
	coder  *codec.Pipeline
}

// tileBuffers are what one chunk needs on its way to the store.
type tileBuffers struct{ values, whole, encoded []byte }

func (c *Cube) newTileWriter(l Layout, box grid.Box, values []byte) (*tileWriter, error) {
	fill, err := l.Fill()
	if err != nil {
		return nil, err
	}
	coder, err := c.coder(l)
	if err != nil {
		return nil, err
	}
	return &tileWriter{c: c, l: l, box: box, span: l.Touched(box), values: values, fill: fill,
		coder: coder}, nil
}

// put stores chunk i of the tile.
func (w *tileWriter) put(ctx context.Context, i int) (ChunkRef, error) {
	ny, nx := w.span.Y.Len(), w.span.X.Len()
	ti, yi, xi := w.span.T.Lo+int64(i)/nx/ny, w.span.Y.Lo+int64(i)/nx%ny, w.span.X.Lo+int64(i)%nx
	in := w.l.ChunkBox(ti, yi, xi)
	buf, _ := w.c.buffers.Get().(*tileBuffers)
	if buf == nil {
		buf = new(tileBuffers)
	}
	defer w.c.buffers.Put(buf)
	values := w.values
	if in != w.box {
		values = resize(&buf.values, int(w.l.Bytes(in)))
		w.l.copyBox(values, in, w.values, w.box, in)
	}
	shape := w.l.Shape(in)
	if allOf(values, w.fill) {
		return ChunkRef{Value: w.c.fillDigest(w.l.Spec.DType, shape, w.fill)}, nil
	}
	ref := ChunkRef{Value: ChunkDigest(w.l.Spec.DType, shape, values)}
	if whole := w.l.fullBox(ti, yi, xi); whole != in {
		padded := resize(&buf.whole, int(w.l.Bytes(whole)))
		fillBytes(padded, w.fill)
		w.l.copyBox(padded, whole, values, in, in)
		values = padded
	}
	var err error
	if buf.encoded, err = w.coder.Encode(buf.encoded[:0], values); err != nil {
		return ref, err
	}
	ref.Object, ref.Size = graph.Sum(buf.encoded), int64(len(buf.encoded))
	return ref, w.c.objects.PutDigest(ctx, ref.Object, buf.encoded)
}

func resize(b *[]byte, n int) []byte {
	*b = slices.Grow((*b)[:0], n)[:n]
	return *b
}

// allOf reports whether b is fill, over and over.
func allOf(b, fill []byte) bool {
	n := len(fill)
	return bytes.Equal(b[:n], fill) && bytes.Equal(b[n:], b[:len(b)-n])
}

// copyBox copies the cells of part from an array of box from to one of box to.
func (l Layout) copyBox(dst []byte, to grid.Box, src []byte, from, part grid.Box) {
	size := l.Spec.DType.Size()
	a, b, n := l.block(to), l.block(from), l.block(part)
	at := func(r, base grid.Range) int64 { return r.Lo - base.Lo }
	if l.Spec.Kind != graph.Time {
		to.T, from.T, part.T = grid.Range{}, grid.Range{}, grid.Range{}
	}
	row := int(n[3]) * size
	for t := range n[0] {
		for k := range n[1] {
			i := offset(a, size, at(part.T, to.T)+t, k, at(part.Y, to.Y), at(part.X, to.X))
			j := offset(b, size, at(part.T, from.T)+t, k, at(part.Y, from.Y), at(part.X, from.X))
			if a[3] == n[3] && b[3] == n[3] {
				copy(dst[i:i+row*int(n[2])], src[j:])
				continue
			}
			for range n[2] {
				copy(dst[i:i+row], src[j:j+row])
				i += int(a[3]) * size
				j += int(b[3]) * size
			}
		}
	}
}

// offset is where the cell (t, k, y, x) of a block lies, in bytes.
func offset(block [4]int64, size int, t, k, y, x int64) int {
	return int(((t*block[1]+k)*block[2]+y)*block[3]+x) * size
}

// fillBox makes the cells of part fill, in an array of box to.
func (l Layout) fillBox(dst []byte, to, part grid.Box, fill []byte) {
	a, n := l.block(to), l.block(part)
	if l.Spec.Kind != graph.Time {
		to.T, part.T = grid.Range{}, grid.Range{}
	}
	row := int(n[3]) * len(fill)
	for t := range n[0] {
		for k := range n[1] {
			i := offset(a, len(fill), part.T.Lo-to.T.Lo+t, k, part.Y.Lo-to.Y.Lo, part.X.Lo-to.X.Lo)
			for range n[2] {
				fillBytes(dst[i:i+row], fill)
				i += int(a[3]) * len(fill)
			}
		}
	}
}

// File is the content of a variable of kind file.
type File struct {
	Object    graph.Digest `json:"sha256"` // of the content, which is the object as it is
	Size      int64        `json:"size"`
	MediaType string       `json:"media_type,omitempty"`
	Ext       string       `json:"ext,omitempty"` // of its name, as ".json"
}

// maxFile bounds a file.
const maxFile = 1 << 42

// FilePath returns the path of a file that is the content of a, after having
// compared it with its digest: once, as long as it stays what it is. A damaged
// one is a *cas.CorruptError, and a then no whole version any more. Everybody may
// read the file, whatever the umask was of those who put it there: a payload is
// another user, and sees the mode.
func (c *Cube) FilePath(ctx context.Context, a Array, f File) (string, error) {
	path := c.objects.Path(f.Object)
	info, err := os.Lstat(path)
	if err != nil {
		return "", c.doubtful(a, fmt.Errorf("object %s: %w", f.Object.Short(), err))
	}
	if mode := info.Mode().Perm(); mode != readable {
		if err := os.Chmod(path, readable); err != nil && mode&readable != readable {
			return "", fmt.Errorf("object %s: %w", f.Object.Short(), err)
		}
	}
	if seen, ok := c.verified.Load(f.Object); ok && sameFile(seen.(os.FileInfo), info) {
		return path, nil
	}
	if err := c.objects.Verify(ctx, f.Object); err != nil {
		return "", c.doubtful(a, err)
	}
	c.verified.Store(f.Object, info)
	return path, nil
}

// readable is the mode of a file that payloads are shown.
const readable = 0o444

// sameFile reports whether nothing says that a file has changed.
func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// PutFile stores a file's content.
func (c *Cube) PutFile(ctx context.Context, r io.Reader, mediaType, ext string) (File, error) {
	if err := c.Use(ctx); err != nil {
		return File{}, fmt.Errorf("put file: %w", err)
	}
	d, n, err := c.objects.PutFrom(ctx, r, maxFile)
	if err != nil {
		return File{}, err
	}
	return File{Object: d, Size: n, MediaType: mediaType, Ext: ext}, nil
}
