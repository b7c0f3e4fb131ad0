package cube

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"sync"

	"github.com/cubebuild/cube/graph"
)

// page holds the refs of up to pageSize chunks.
type page struct {
	refs    []ChunkRef
	covered []bool
	count   int // covered ones
}

func newPage(n int) *page { return &page{refs: make([]ChunkRef, n), covered: make([]bool, n)} }

// set enters a chunk and reports whether that changed the page.
func (p *page) set(i int, r ChunkRef) bool {
	if p.covered[i] && p.refs[i] == r {
		return false
	}
	if !p.covered[i] {
		p.count++
	}
	p.refs[i], p.covered[i] = r, true
	return true
}

// digest names the page's values and coverage.
func (p *page) digest() graph.Digest {
	h := sha256.New()
	io.WriteString(h, "cube.page\x00")
	b := make([]byte, 0, 33*len(p.refs))
	for i, r := range p.refs {
		if p.covered[i] {
			b = append(append(b, 1), r.Value[:]...)
		} else {
			b = append(b, 0)
		}
	}
	h.Write(b)
	return graph.Digest(h.Sum(nil))
}

// store puts the page as an object and returns what a manifest says of it.
func (c *Cube) storePage(ctx context.Context, p *page) (pageInfo, error) {
	info := pageInfo{Values: p.digest(), Covered: int64(p.count)}
	for i, r := range p.refs {
		if p.covered[i] && !r.Object.IsZero() {
			info.Stored++
			info.Bytes += r.Size
		}
	}
	var err error
	info.Object, err = c.objects.Put(ctx, appendRefs(nil, pageMagic, p.refs, p.covered))
	return info, err
}

func (c *Cube) loadPage(ctx context.Context, d graph.Digest) (*page, error) {
	b, err := c.objects.Get(ctx, d, nil)
	if err != nil {
		return nil, err
	}
	return parsePage(b)
}

func parsePage(b []byte) (*page, error) {
	refs, covered, err := decodeRefs(b, pageMagic, pageSize)
	if err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	p := &page{refs: refs, covered: covered}
	for _, ok := range covered {
		if ok {
			p.count++
		}
	}
	return p, nil
}

// maxPages is how many pages of one array are held in memory at once.
const maxPages = 64

// pageCache holds the pages of a version that were used last. Its zero value is
// empty.
type pageCache struct {
	mu    sync.Mutex
	pages map[int]*cachedPage
	clock int64
}

type cachedPage struct {
	once func() (*page, error)
	used int64
}

// get returns page n, which load reads where it is not at hand.
func (c *pageCache) get(ctx context.Context, n int, load func() (*page, error)) (*page, error) {
	for {
		e := c.entry(n, load)
		p, err := e.once()
		if err == nil {
			return p, nil
		}
		c.forget(n, e)
		if !othersEnd(ctx, err) {
			return nil, err
		}
	}
}

func (c *pageCache) entry(n int, load func() (*page, error)) *cachedPage {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pages == nil {
		c.pages = map[int]*cachedPage{}
	}
	e := c.pages[n]
	if e == nil {
		c.evict()
		e = &cachedPage{once: sync.OnceValues(load)}
		c.pages[n] = e
	}
	c.clock++
	e.used = c.clock
	return e
}

// forget takes out a page that could not be loaded: the next one tries again.
func (c *pageCache) forget(n int, e *cachedPage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pages[n] == e {
		delete(c.pages, n)
	}
}

// drop takes out a page that is not what it was.
func (c *pageCache) drop(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pages, n)
}

// evict makes room for one page.
func (c *pageCache) evict() {
	if len(c.pages) < maxPages {
		return
	}
	oldest := -1
	for n, e := range c.pages {
		if oldest < 0 || e.used < c.pages[oldest].used {
			oldest = n
		}
	}
	delete(c.pages, oldest)
}
