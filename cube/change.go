package cube

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// Alike reports whether two layouts differ in nothing that a reader could tell
// but in their values: meaning, grid and chunks are the same.
func (l Layout) Alike(o Layout) bool {
	l, o = l.normal(), o.normal()
	if l.Spec.Kind == graph.File || l.Spec.Kind != o.Spec.Kind || l.Grid != o.Grid || l.Chunk != o.Chunk {
		return false
	}
	return sameMeaning(l.Spec, o.Spec)
}

// sameMeaning reports whether two specs differ in nothing that an array's digest
// covers.
func sameMeaning(v, w graph.VarSpec) bool {
	a, errA := graph.Canonical(identity(v))
	b, errB := graph.Canonical(identity(w))
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// Changed calls f with the box of each chunk whose value, or whether it is
// covered, is not as in an older version of a like layout, until f returns an
// error. Pages that are alike are not read.
func (v *Version) Changed(ctx context.Context, old *Version, f func(grid.Box) error) error {
	if !v.layout.Alike(old.layout) {
		return fmt.Errorf("changes from version %s to %s: their layouts differ: %w", old.digest.Short(), v.digest.Short(), ErrOutside)
	}
	for n := range v.pages {
		if v.pages[n].Values == old.pages[n].Values {
			continue
		}
		is, err := v.page(ctx, n)
		if err != nil {
			return err
		}
		was, err := old.page(ctx, n)
		if err != nil {
			return err
		}
		for i := range is.refs {
			if is.covered[i] == was.covered[i] && is.refs[i].Value == was.refs[i].Value {
				continue
			}
			if err := f(v.layout.ChunkBox(v.layout.At(int64(n*pageSize + i)))); err != nil {
				return err
			}
		}
	}
	return nil
}

// NewBuilderOn begins a version with all that another one of a like layout
// covers.
func (c *Cube) NewBuilderOn(ctx context.Context, l Layout, base *Version) (*Builder, error) {
	b, err := c.NewBuilder(ctx, l)
	if err != nil {
		return nil, err
	}
	if !b.layout.Alike(base.layout) {
		return nil, fmt.Errorf("build on version %s: its layout is another one: %w", base.digest.Short(), ErrOutside)
	}
	copy(b.stored, base.pages)
	b.base = base
	return b, nil
}

// Uncover takes a box of whole chunks out of what is covered.
func (b *Builder) Uncover(ctx context.Context, box grid.Box) error {
	if err := b.layout.wholeChunks(box); err != nil {
		return fmt.Errorf("uncover %s %s: %w", b.layout.Spec.Name, box, err)
	}
	s := b.layout.Touched(box)
	b.mu.Lock()
	defer b.mu.Unlock()
	for ti := s.T.Lo; ti < s.T.Hi; ti++ {
		for yi := s.Y.Lo; yi < s.Y.Hi; yi++ {
			for xi := s.X.Lo; xi < s.X.Hi; xi++ {
				if err := b.uncover(ctx, b.layout.Index(ti, yi, xi)); err != nil {
					return fmt.Errorf("uncover %s %s: %w", b.layout.Spec.Name, box, err)
				}
			}
		}
	}
	return nil
}

// uncover takes out chunk i. The lock is held.
func (b *Builder) uncover(ctx context.Context, i int64) error {
	n, at := int(i/pageSize), int(i%pageSize)
	p, err := b.open(ctx, n)
	if err != nil || !p.covered[at] {
		return err
	}
	p.refs[at], p.covered[at] = ChunkRef{}, false
	p.count--
	b.stored[n] = pageInfo{}
	b.cache.drop(n)
	return nil
}
