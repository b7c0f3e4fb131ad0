package survey

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"golang.org/x/sync/errgroup"
)

// Source reads windows of arrays; a *cube.Cube is one.
type Source interface {
	ReadWindow(ctx context.Context, a cube.Array, box grid.Box, dst []byte) ([]byte, error)
}

// each calls f with the values of every chunk within box, on several goroutines.
// The values are f's only until it returns.
func each(ctx context.Context, src Source, a cube.Array, box grid.Box, f func(box grid.Box, values []float64) error) error {
	l := a.Layout()
	dec, err := newDecoder(l.Spec)
	if err != nil {
		return err
	}
	var spare sync.Pool
	type buffers struct {
		raw    []byte
		values []float64
	}
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	read := func(part grid.Box) error {
		b, _ := spare.Get().(*buffers)
		if b == nil {
			b = &buffers{}
		}
		defer spare.Put(b)
		var err error
		if b.raw, err = src.ReadWindow(inner, a, part, b.raw[:0]); err != nil {
			return err
		}
		b.values = dec.decode(b.values[:0], b.raw)
		return f(part, b.values)
	}
	s := l.Touched(box)
	for ti := s.T.Lo; ti < s.T.Hi; ti++ {
		for yi := s.Y.Lo; yi < s.Y.Hi; yi++ {
			for xi := s.X.Lo; xi < s.X.Hi; xi++ {
				if inner.Err() != nil {
					return errors.Join(g.Wait(), ctx.Err())
				}
				part := l.ChunkBox(ti, yi, xi).Intersect(box)
				g.Go(func() error { return read(part) })
			}
		}
	}
	return g.Wait()
}
