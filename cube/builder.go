package cube

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// Builder gathers the chunks of a new version. It can be read while it is being
// built: a chunk is covered from its Set on. Its methods may be called from many
// goroutines at once. Pages that are full leave memory for the object store.
type Builder struct {
	cube   *Cube
	layout Layout
	span   grid.Span // the layout's
	base   *Version  // that it began with; nil: with nothing

	mu     sync.RWMutex
	pages  []*page    // nil: none of its chunks set, or stored
	stored []pageInfo // of pages that are in the object store; a zero Object where not
	full   []int      // pages that are stored and still in memory, oldest first
	cache  pageCache
}

var _ Array = (*Builder)(nil)

// NewBuilder begins a version with nothing covered. The layout must be valid.
func (c *Cube) NewBuilder(ctx context.Context, l Layout) (*Builder, error) {
	l = l.normal()
	if err := l.Valid(); err != nil {
		return nil, err
	}
	if err := c.Use(ctx); err != nil {
		return nil, err
	}
	n := l.pageCount()
	return &Builder{cube: c, layout: l, span: l.Span(), pages: make([]*page, n), stored: make([]pageInfo, n)}, nil
}

// Layout implements Array.
func (b *Builder) Layout() Layout { return b.layout }

// Set covers a box of whole chunks with refs, in C order, as PutTile returns
// them. A chunk that is set again takes the new ref.
func (b *Builder) Set(ctx context.Context, box grid.Box, refs []ChunkRef) error {
	if err := b.layout.wholeChunks(box); err != nil {
		return fmt.Errorf("set %s %s: %w", b.layout.Spec.Name, box, err)
	}
	s := b.layout.Touched(box)
	if int64(len(refs)) != s.Len() {
		return fmt.Errorf("set %s %s: %d refs, want %d: %w", b.layout.Spec.Name, box, len(refs), s.Len(), ErrOutside)
	}
	for ti := s.T.Lo; ti < s.T.Hi; ti++ {
		for yi := s.Y.Lo; yi < s.Y.Hi; yi++ {
			n := int(s.X.Len())
			if err := b.setRow(ctx, indexIn(b.span, ti, yi, s.X.Lo), refs[:n]); err != nil {
				return fmt.Errorf("set %s %s: %w", b.layout.Spec.Name, box, err)
			}
			refs = refs[n:]
		}
	}
	return nil
}

// setRow covers consecutive chunks from index i on.
func (b *Builder) setRow(ctx context.Context, i int64, refs []ChunkRef) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range refs {
		n := int(i / pageSize)
		p, err := b.open(ctx, n)
		if err != nil {
			return err
		}
		if p.set(int(i%pageSize), r) {
			b.stored[n] = pageInfo{}
			b.cache.drop(n)
			if p.count == len(p.refs) {
				if err := b.shelve(ctx, n); err != nil {
					return err
				}
			}
		}
		i++
	}
	return nil
}

// open returns page n for writing.
func (b *Builder) open(ctx context.Context, n int) (*page, error) {
	if p := b.pages[n]; p != nil {
		return p, nil
	}
	if d := b.stored[n].Object; !d.IsZero() {
		p, err := b.load(ctx, d)
		if err != nil {
			return nil, err
		}
		b.pages[n] = p
		b.full = append(b.full, n)
		return p, nil
	}
	b.pages[n] = newPage(b.layout.pageLen(n))
	return b.pages[n], nil
}

// load reads a page that is stored.
func (b *Builder) load(ctx context.Context, object graph.Digest) (*page, error) {
	p, err := b.cube.loadPage(ctx, object)
	return p, b.cube.doubtful(b, err)
}

// shelve stores the full page n, and drops the one that has been in memory
// longest where there are too many.
func (b *Builder) shelve(ctx context.Context, n int) error {
	info, err := b.cube.storePage(ctx, b.pages[n])
	if err != nil {
		return err
	}
	b.stored[n] = info
	if !slices.Contains(b.full, n) {
		b.full = append(b.full, n)
	}
	for len(b.full) > maxPages {
		if old := b.full[0]; !b.stored[old].Object.IsZero() {
			b.pages[old] = nil
		}
		b.full = b.full[1:]
	}
	return nil
}

// Ref implements Array.
func (b *Builder) Ref(ctx context.Context, ti, yi, xi int64) (ChunkRef, bool, error) {
	i := indexIn(b.span, ti, yi, xi)
	if i < 0 {
		return ChunkRef{}, false, nil
	}
	n := int(i / pageSize)
	b.mu.RLock()
	p, object := b.pages[n], b.stored[n].Object
	if p != nil {
		ref, covered := p.refs[i%pageSize], p.covered[i%pageSize]
		b.mu.RUnlock()
		return ref, covered, nil
	}
	b.mu.RUnlock()
	if object.IsZero() {
		return ChunkRef{}, false, nil
	}
	p, err := b.cache.get(ctx, n, func() (*page, error) { return b.load(ctx, object) })
	if err != nil {
		return ChunkRef{}, false, fmt.Errorf("%s: page %d: %w", b.layout.Spec.Name, n, err)
	}
	return p.refs[i%pageSize], p.covered[i%pageSize], nil
}

// Coverage says how much has been set so far.
func (b *Builder) Coverage() Coverage {
	b.mu.RLock()
	defer b.mu.RUnlock()
	c := Coverage{Chunks: b.layout.Chunks()}
	for n, p := range b.pages {
		if !b.stored[n].Object.IsZero() {
			c.add(b.stored[n])
		} else if p != nil {
			c.Covered += int64(p.count)
		}
	}
	return c
}

// Finish writes the version's pages and manifest. What is not covered stays so.
// The builder may be used further, and finished again. Nothing is waited for to
// be durable; see Cube.Sync.
func (b *Builder) Finish(ctx context.Context) (*Version, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := &Version{cube: b.cube, layout: b.layout, coverage: Coverage{Chunks: b.layout.Chunks()}}
	values := make([]graph.Digest, len(b.pages))
	for n := range b.pages {
		info := b.stored[n]
		if info.Object.IsZero() {
			p, err := b.open(ctx, n)
			if err == nil {
				info, err = b.cube.storePage(ctx, p)
			}
			if err != nil {
				return nil, fmt.Errorf("finish %s: page %d: %w", b.layout.Spec.Name, n, err)
			}
		}
		v.pages = append(v.pages, info)
		v.coverage.add(info)
		values[n] = info.Values
	}
	var err error
	if v.digest, err = arrayDigest(b.layout, values); err == nil {
		err = b.cube.save(v)
	}
	if err != nil {
		return nil, fmt.Errorf("finish %s: %w", b.layout.Spec.Name, err)
	}
	return v, nil
}
