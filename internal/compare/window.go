package compare

import (
	"context"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// WindowResult is how what two arrays hold within a box differs.
type WindowResult struct {
	Result
	// Chunks are the boxes of b's chunks that meet the box and differ by their
	// digests, as far as they lie within both domains. Values may differ there
	// outside of the box alone: Differ is 0 then.
	Chunks []grid.Box
}

// Window compares the cells of a box that two arrays have, bit for bit. It
// reads only chunks that meet the box and differ by their digests. The arrays
// are not files. An uncovered chunk is a *cube.UncoveredError.
func Window(ctx context.Context, ca *cube.Cube, a cube.Array, cb *cube.Cube, b cube.Array, box grid.Box) (*WindowResult, error) {
	la, lb := a.Layout(), b.Layout()
	r := &WindowResult{}
	r.Comparable = r.means(la, lb)
	box = box.Intersect(la.Domain()).Intersect(lb.Domain())
	if !r.Comparable || box.Empty() || lb.Spec.Kind == graph.Time && box.T.Len() == 0 {
		return r, nil
	}
	c, err := newComparison(source{ca, a}, source{cb, b}, box, Tolerance{}, &r.Result)
	if err != nil {
		return nil, err
	}
	s := lb.Touched(box)
	for t := s.T.Lo; t < s.T.Hi; t++ {
		for y := s.Y.Lo; y < s.Y.Hi; y++ {
			for x := s.X.Lo; x < s.X.Hi; x++ {
				same, err := c.sameChunk(ctx, t, y, x)
				if err != nil {
					return nil, err
				}
				if !same {
					r.Chunks = append(r.Chunks, lb.ChunkBox(t, y, x).Intersect(lb.Domain()).Intersect(la.Domain()))
				}
			}
		}
	}
	if len(r.Chunks) == 0 {
		return r, nil
	}
	return r, c.run(ctx)
}
