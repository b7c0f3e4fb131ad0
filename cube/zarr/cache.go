package zarr

import (
	"container/list"
	"context"
	"sync"
)

// A Cache keeps decoded chunks in memory, up to a number of bytes, and drops
// those that were not used for longest. Windows that overlap, as those with a
// halo do, then decode each chunk once. One Cache may serve many arrays; its
// zero value keeps nothing.
type Cache struct {
	limit int

	mu      sync.Mutex
	used    int
	order   list.List // of *cached, the latest first
	entries map[cacheKey]*list.Element
}

type cacheKey struct {
	array *Array
	key   string
}

// cached is a chunk that is there or being decoded.
type cached struct {
	key   cacheKey
	ready chan struct{} // closed once the fields below are set
	chunk []byte        // nil where the chunk is missing
	err   error
}

// NewCache makes a cache of at most limit bytes of chunks.
func NewCache(limit int) *Cache {
	return &Cache{limit: limit, entries: make(map[cacheKey]*list.Element)}
}

// chunk returns a chunk of a, which it decodes where it has not got it. Callers
// that ask for one chunk at the same time wait for one of them.
func (c *Cache) chunk(ctx context.Context, a *Array, index []int, b *buffers) ([]byte, bool, error) {
	key := cacheKey{a, a.key(index, b)}
	c.mu.Lock()
	if e, ok := c.entries[key]; ok {
		c.order.MoveToFront(e)
		c.mu.Unlock()
		entry := e.Value.(*cached)
		select {
		case <-entry.ready:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
		if entry.err == nil {
			return entry.chunk, entry.chunk != nil, nil
		}
		// What failed may have been the other caller's context.
		return c.load(ctx, a, index, b)
	}
	entry := &cached{key: key, ready: make(chan struct{})}
	c.add(entry)
	c.mu.Unlock()
	chunk, found, err := c.load(ctx, a, index, b)
	entry.chunk, entry.err = chunk, err
	close(entry.ready)
	c.settle(entry)
	return chunk, found, err
}

// load decodes a chunk into memory of its own.
func (c *Cache) load(ctx context.Context, a *Array, index []int, b *buffers) ([]byte, bool, error) {
	chunk, found, err := a.fetch(ctx, index, b, nil)
	if !found {
		chunk = nil
	}
	return chunk, found, err
}

// add enters entry; c.mu is held.
func (c *Cache) add(entry *cached) {
	if c.entries == nil {
		c.entries = make(map[cacheKey]*list.Element)
	}
	c.entries[entry.key] = c.order.PushFront(entry)
}

// settle accounts for an entry that is ready, and drops what is too much.
func (c *Cache) settle(entry *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[entry.key]
	if !ok || e.Value != entry {
		return // dropped meanwhile
	}
	if entry.err != nil {
		c.remove(e)
		return
	}
	c.used += entry.cost()
	for e := c.order.Back(); e != nil && c.used > c.limit; {
		before := e.Prev()
		if e.Value.(*cached).settled() {
			c.used -= e.Value.(*cached).cost()
			c.remove(e)
		}
		e = before
	}
}

// entryCost is what an entry takes besides its chunk, roughly.
const entryCost = 256

func (e *cached) cost() int { return len(e.chunk) + entryCost }

func (e *cached) settled() bool {
	select {
	case <-e.ready:
		return e.err == nil
	default:
		return false
	}
}

// remove takes an entry out; c.mu is held.
func (c *Cache) remove(e *list.Element) {
	c.order.Remove(e)
	delete(c.entries, e.Value.(*cached).key)
}

// drop forgets a chunk of a that is being written.
func (c *Cache) drop(a *Array, key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[cacheKey{a, key}]
	if !ok {
		return
	}
	if e.Value.(*cached).settled() {
		c.used -= e.Value.(*cached).cost()
	}
	c.remove(e)
}
