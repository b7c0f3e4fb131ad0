package cube

import (
	"container/list"
	"context"
	"errors"
	"sync"

	"github.com/cubebuild/cube/graph"
)

// chunkCache holds decoded chunks by their objects' digests, up to a budget of
// bytes. A chunk that several ask for at once is decoded once.
type chunkCache struct {
	mu      sync.Mutex
	budget  int64
	used    int64
	entries map[chunkKey]*list.Element // of *chunkEntry
	order   *list.List                 // least recently used last
	free    map[int][][]byte           // buffers that nobody holds, by size
}

// chunkKey is an object as chunks of one size; the same bytes decode to one
// thing only.
type chunkKey struct {
	object graph.Digest
	size   int
}

type chunkEntry struct {
	key   chunkKey
	users int
	ready chan struct{} // closed when data or err is set
	data  []byte
	err   error
}

func newChunkCache(budget int64) *chunkCache {
	return &chunkCache{budget: budget, entries: map[chunkKey]*list.Element{}, order: list.New(), free: map[int][][]byte{}}
}

// use calls f with the chunk's decoded bytes, which load makes, in a buffer of
// key.size bytes, where they are not at hand. f must not keep them.
func (c *chunkCache) use(ctx context.Context, key chunkKey, load func(buf []byte) error, f func([]byte)) error {
	for {
		e, mine := c.acquire(key)
		if mine {
			if e.err = load(e.data); e.err != nil {
				c.forget(e)
			}
			close(e.ready)
		} else {
			<-e.ready
		}
		if e.err == nil {
			f(e.data)
		}
		c.release(e)
		if mine || !othersEnd(ctx, e.err) {
			return e.err
		}
	}
}

// othersEnd reports whether err is the end of somebody else's context, for whom
// this one was waiting.
func othersEnd(ctx context.Context, err error) bool {
	return (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) && ctx.Err() == nil
}

// acquire returns the entry of key; mine says that the caller must fill it.
func (c *chunkCache) acquire(key chunkKey) (e *chunkEntry, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.entries[key]; ok {
		c.order.MoveToFront(el)
		e = el.Value.(*chunkEntry)
		e.users++
		return e, false
	}
	c.used += int64(key.size)
	c.evict()
	e = &chunkEntry{key: key, users: 1, ready: make(chan struct{}), data: c.buffer(key.size)}
	c.entries[key] = c.order.PushFront(e)
	return e, true
}

func (c *chunkCache) release(e *chunkEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.users--
	c.evict()
}

// forget takes out an entry that could not be loaded.
func (c *chunkCache) forget(e *chunkEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order.Remove(c.entries[e.key])
	delete(c.entries, e.key)
	c.used -= int64(e.key.size)
}

// evict drops what was used least recently and is not in use, until the rest is
// within the budget.
func (c *chunkCache) evict() {
	for el := c.order.Back(); el != nil && c.used > c.budget; {
		prev := el.Prev()
		if el.Value.(*chunkEntry).users == 0 {
			c.drop(el)
		}
		el = prev
	}
}

func (c *chunkCache) drop(el *list.Element) {
	e := el.Value.(*chunkEntry)
	delete(c.entries, e.key)
	c.order.Remove(el)
	c.used -= int64(e.key.size)
	if len(c.free[e.key.size]) < 4 {
		c.free[e.key.size] = append(c.free[e.key.size], e.data)
	}
}

func (c *chunkCache) buffer(size int) []byte {
	if free := c.free[size]; len(free) > 0 {
		c.free[size] = free[:len(free)-1]
		return free[len(free)-1]
	}
	if len(c.free) > 8 {
		clear(c.free)
	}
	return make([]byte, size)
}
