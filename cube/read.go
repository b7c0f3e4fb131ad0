package cube

import (
	"context"
	"fmt"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/cube/zarr/codec"
	"github.com/cubebuild/cube/graph"
)

// ReadWindow reads a box of an array: little-endian, in C order, in the shape
// that the layout has for the box. The values are in dst where it has the
// capacity. The box lies within the domain, and every chunk that it meets must
// be covered: an uncovered one is an *UncoveredError. Every object is verified
// as it is read; a damaged one is a *cas.CorruptError.
func (c *Cube) ReadWindow(ctx context.Context, a Array, box grid.Box, dst []byte) ([]byte, error) {
	l := a.Layout()
	if err := l.inside(box); err != nil {
		return nil, fmt.Errorf("read %s %s: %w", l.Spec.Name, box, err)
	}
	n := l.Bytes(box)
	if n > maxWindow {
		return nil, fmt.Errorf("read %s %s: %d bytes: %w", l.Spec.Name, box, n, ErrTooLarge)
	}
	if int64(cap(dst)) < n {
		dst = make([]byte, n)
	}
	if err := c.readWindow(ctx, a, box, dst[:n]); err != nil {
		return nil, fmt.Errorf("read %s %s: %w", l.Spec.Name, box, err)
	}
	return dst[:n], nil
}

// maxWindow bounds what is read at once.
const maxWindow = 1 << 36

func (c *Cube) readWindow(ctx context.Context, a Array, box grid.Box, dst []byte) error {
	l := a.Layout()
	r, err := c.newWindowReader(l, box, dst)
	if err != nil {
		return err
	}
	s := l.Touched(box)
	ny, nx := s.Y.Len(), s.X.Len()
	return parallel(ctx, c.hands(len(dst)), int(s.Len()), func(ctx context.Context, i int) error {
		n := int64(i)
		return r.chunk(ctx, a, s.T.Lo+n/nx/ny, s.Y.Lo+n/nx%ny, s.X.Lo+n%nx)
	})
}

// inside says that a box leaves the array's domain, or has no cells.
func (l Layout) inside(box grid.Box) error {
	d := l.Domain()
	if box.Empty() || !d.Contains(box) || l.Spec.Kind == graph.Time && box.T.Len() == 0 {
		return fmt.Errorf("domain is %s: %w", d, ErrOutside)
	}
	return nil
}

// windowReader fills a window from chunks.
type windowReader struct {
	c     *Cube
	l     Layout
	box   grid.Box
	dst   []byte
	fill  []byte
	coder *codec.Pipeline
}

func (c *Cube) newWindowReader(l Layout, box grid.Box, dst []byte) (*windowReader, error) {
	fill, err := l.Fill()
	if err != nil {
		return nil, err
	}
	coder, err := c.coder(l)
	if err != nil {
		return nil, err
	}
	return &windowReader{c, l, box, dst, fill, coder}, nil
}

// chunk copies what the window wants of one chunk.
func (r *windowReader) chunk(ctx context.Context, a Array, ti, yi, xi int64) error {
	ref, err := covered(ctx, a, ti, yi, xi)
	if err != nil {
		return err
	}
	part := r.l.ChunkBox(ti, yi, xi).Intersect(r.box)
	if ref.Object.IsZero() {
		r.l.fillBox(r.dst, r.box, part, r.fill)
		return nil
	}
	key := chunkKey{ref.Object, r.coder.Size()}
	load := func(buf []byte) error { return r.c.decode(ctx, r.coder, ref, buf) }
	err = r.c.chunks.use(ctx, key, load, func(values []byte) {
		r.l.copyBox(r.dst, r.box, values, r.l.fullBox(ti, yi, xi), part)
	})
	return r.c.doubtful(a, err)
}

// covered returns the ref of a chunk, or an *UncoveredError.
func covered(ctx context.Context, a Array, ti, yi, xi int64) (ChunkRef, error) {
	ref, ok, err := a.Ref(ctx, ti, yi, xi)
	if err == nil && !ok {
		l := a.Layout()
		err = &UncoveredError{l.Spec.Name, l.ChunkBox(ti, yi, xi)}
	}
	return ref, err
}

// decode reads, verifies and decodes one chunk's object into buf.
func (c *Cube) decode(ctx context.Context, coder *codec.Pipeline, ref ChunkRef, buf []byte) error {
	b, _ := c.encoded.Get().(*[]byte)
	if b == nil {
		b = new([]byte)
	}
	defer c.encoded.Put(b)
	var err error
	if *b, err = c.objects.Get(ctx, ref.Object, (*b)[:0]); err != nil {
		return err
	}
	out, err := coder.Decode(buf[:0], *b)
	if err != nil {
		return fmt.Errorf("object %s: %w", ref.Object.Short(), err)
	}
	if len(out) != len(buf) || &out[0] != &buf[0] {
		return fmt.Errorf("object %s: decodes to %d bytes, want %d: %w", ref.Object.Short(), len(out), len(buf), ErrFormat)
	}
	return nil
}

// CoverDigests returns the value digests of the chunks that a box meets, in C
// order: all that its values depend on, without reading them. An uncovered
// chunk is an *UncoveredError.
func (c *Cube) CoverDigests(ctx context.Context, a Array, box grid.Box) ([]graph.Digest, error) {
	l := a.Layout()
	if err := l.inside(box); err != nil {
		return nil, fmt.Errorf("cover %s %s: %w", l.Spec.Name, box, err)
	}
	s := l.Touched(box)
	out := make([]graph.Digest, 0, s.Len())
	for ti := s.T.Lo; ti < s.T.Hi; ti++ {
		for yi := s.Y.Lo; yi < s.Y.Hi; yi++ {
			for xi := s.X.Lo; xi < s.X.Hi; xi++ {
				ref, err := covered(ctx, a, ti, yi, xi)
				if err != nil {
					return nil, fmt.Errorf("cover %s %s: %w", l.Spec.Name, box, err)
				}
				out = append(out, ref.Value)
			}
		}
	}
	return out, nil
}

// Covers reports whether all chunks that a box meets are covered.
func Covers(ctx context.Context, a Array, box grid.Box) (bool, error) {
	s := a.Layout().Touched(box)
	for ti := s.T.Lo; ti < s.T.Hi; ti++ {
		for yi := s.Y.Lo; yi < s.Y.Hi; yi++ {
			for xi := s.X.Lo; xi < s.X.Hi; xi++ {
				if _, ok, err := a.Ref(ctx, ti, yi, xi); !ok || err != nil {
					return false, err
				}
			}
		}
	}
	return true, nil
}
