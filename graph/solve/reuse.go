package solve

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// A vertex whose derivation is not known differs, more often than not, from
// what its head was made of by a few chunks of its inputs. What its other tiles
// read is then what they read before: their keys are what they were, and their
// results are what the head's version holds. Such a vertex begins with that
// version, and only the tiles that meet a change are looked at.

// reuse has a vertex that is not known begin with the version of its head,
// where that was made of the same things but for the versions of its inputs. One
// that is damaged is no beginning.
func (b *build) reuse(ctx context.Context, v *vertex, n *node) error {
	if b.Shuffle != 0 || n.total < 2 {
		return nil
	}
	was, versions, err := b.formerly(ctx, v)
	if err != nil || was == nil {
		return err
	}
	change := &change{node: n, most: n.total / 2, tiles: map[int64]struct{}{}}
	for i := range v.Inputs {
		if ok, err := b.changed(ctx, change, i, versions[i]); err != nil || !ok {
			return err
		}
	}
	if !change.rest() {
		return nil
	}
	bases := make([]*cube.Version, len(v.Outputs))
	for i := range v.Outputs {
		if bases[i], err = b.Cube.LoadVersion(ctx, was.Outputs[i]); err != nil {
			return ignoreUnseen(err)
		}
		if !bases[i].Layout().Alike(b.layout(v, v.Outputs[i])) {
			return nil
		}
	}
	todo := change.sorted()
	if err := b.makeBuilders(ctx, v, bases, todo); err != nil {
		return ignoreUnseen(err)
	}
	v.once.Do(func() {}) // it has begun
	n.keep(todo)
	return nil
}

// formerly is the derivation of a vertex's head, and the versions that it read
// by input; nil where it differs from today's in anything else, or is not whole.
func (b *build) formerly(ctx context.Context, v *vertex) (*Derived, []graph.Digest, error) {
	heads, err := b.headsNow(ctx)
	if err != nil {
		return nil, nil, err
	}
	h, ok := heads[v.Outputs[0].Variable]
	if !ok || h.Derivation.IsZero() {
		return nil, nil, nil
	}
	d, err := LoadDerived(b.Cube, h.Derivation)
	if err != nil || d == nil || d.Void || len(d.Outputs) != len(v.Outputs) {
		return nil, nil, err
	}
	outline, err := graph.ReadOutline(d.Preimage)
	if err != nil {
		return nil, nil, nil // why says more of it
	}
	versions, ok := outline.Versions(v.Vertex)
	if !ok {
		return nil, nil, nil
	}
	_, preimage, err := b.derive(v, versions).Key()
	if err != nil || !bytes.Equal(preimage, d.Preimage) {
		return nil, nil, err
	}
	for _, version := range d.Outputs {
		if !b.Cube.HasVersion(version) {
			return nil, nil, nil
		}
	}
	return d, versions, nil
}

// headsNow are the heads as they were when the first vertex asked.
func (b *build) headsNow(ctx context.Context) (map[string]cube.Head, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.heads != nil {
		return b.heads, nil
	}
	heads, err := b.Cube.Heads(ctx)
	b.heads = heads
	return heads, err
}

// changed adds the tiles of a vertex that an input's change may reach; false
// where that is not known, or is too much.
func (b *build) changed(ctx context.Context, c *change, i int, was graph.Digest) (bool, error) {
	in := c.node.vertex.Inputs[i]
	if u := c.node.inputs[i]; u != nil && u.state != complete {
		base := b.verts[u.vertex].bases
		if base == nil || base[outputIndex(in.From)].Digest() != was {
			return false, nil
		}
		for _, tile := range u.todo {
			if !c.reach(i, in.From.OutputBox(u.tile(tile).Box)) {
				return false, nil
			}
		}
		return true, nil
	}
	if b.version(in) == was {
		return true, nil
	}
	return b.compared(ctx, c, i, was)
}

// compared adds the tiles that the chunks reach by which a version that is
// known differs from the one that was read before.
func (b *build) compared(ctx context.Context, c *change, i int, was graph.Digest) (bool, error) {
	in := c.node.vertex.Inputs[i]
	a, err := b.array(ctx, in)
	if err != nil {
		return false, err
	}
	is, ok := a.(*cube.Version)
	if !ok || in.Need.Kind == graph.File {
		return false, nil
	}
	b.mu.Lock()
	old, err := b.pinned(ctx, was)
	b.mu.Unlock()
	if err != nil {
		return false, ignoreUnseen(err)
	}
	if !is.Layout().Alike(old.Layout()) {
		return false, nil
	}
	err = is.Changed(ctx, old, func(box grid.Box) error {
		if !c.reach(i, box) {
			return errTooMuch
		}
		return nil
	})
	if errors.Is(err, errTooMuch) {
		return false, nil
	}
	return err == nil, ignoreUnseen(err)
}

var errTooMuch = errors.New("too many tiles")

// ignoreUnseen drops an error that says that something is gone or damaged:
// then everything is looked at.
func ignoreUnseen(err error) error {
	if unseen(err) {
		return nil
	}
	return err
}

// change gathers the tiles of a node that are to be looked at.
type change struct {
	node  *node
	most  int64 // more are not worth it
	tiles map[int64]struct{}
	apart map[int][]grid.Box // by input, of those on another lattice: what changed
}

// reach adds the tiles whose windows of an input may meet a box of its own
// cells; false where there are too many.
func (c *change) reach(i int, box grid.Box) bool {
	v := c.node.vertex
	in := v.Inputs[i]
	if in.Grid().Lattice != v.Grid.Lattice {
		c.elsewhere(i, box)
		return true
	}
	readers := v.Readers(in, box)
	if readers.Empty() {
		return true
	}
	s := v.Tiling.Span(readers)
	for t := s.T.Lo; t < s.T.Hi; t++ {
		for y := s.Y.Lo; y < s.Y.Hi; y++ {
			for x := s.X.Lo; x < s.X.Hi; x++ {
				c.tiles[c.node.index(t, y, x)] = struct{}{}
			}
		}
		if int64(len(c.tiles)) > c.most {
			return false
		}
	}
	return true
}

// elsewhere notes what changed on another lattice: box by box, and beyond a
// few all within one.
func (c *change) elsewhere(i int, box grid.Box) {
	const few = 64
	if c.apart == nil {
		c.apart = map[int][]grid.Box{}
	}
	boxes := append(c.apart[i], box)
	for len(boxes) > few {
		last := boxes[len(boxes)-1]
		boxes = boxes[:len(boxes)-1]
		boxes[0] = boxes[0].Union(last)
	}
	c.apart[i] = boxes
}

// rest adds the tiles that changes on other lattices reach, which is asked of
// every tile's windows: nothing says where a cell goes, only where a window
// comes from.
func (c *change) rest() bool {
	if c.apart == nil {
		return true
	}
	for index := range c.node.total {
		if _, ok := c.tiles[index]; ok {
			continue
		}
		if c.meets(c.node.vertex.Windows(c.node.tile(index))) {
			if c.tiles[index] = struct{}{}; int64(len(c.tiles)) > c.most {
				return false
			}
		}
	}
	return true
}

func (c *change) meets(windows []graph.Window) bool {
	for i, boxes := range c.apart {
		for _, b := range boxes {
			if b.Meets(windows[i].Read) {
				return true
			}
		}
	}
	return false
}

func (c *change) sorted() []int64 {
	out := make([]int64, 0, len(c.tiles))
	for i := range c.tiles {
		out = append(out, i)
	}
	slices.Sort(out)
	return out
}
