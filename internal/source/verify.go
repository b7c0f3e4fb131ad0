package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/cubebuild/cube/graph"
)

// ErrDamaged says that the cache's own copy of a source was not what it should
// be. It has been removed: pin the source again.
var ErrDamaged = errors.New("the copy in the cache was damaged")

// verified remembers which copies were found whole, each as it then was.
type verified struct {
	mu   sync.Mutex
	done map[graph.Digest]stat
}

// Verified returns the file that holds a source's bytes, after having compared
// them with the digest: once, as long as the file stays what it is. A copy that
// does not fit is removed and is ErrDamaged; where there is none, the error is
// os.ErrNotExist.
func (c *Cache) Verified(ctx context.Context, d graph.Digest) (string, error) {
	path := c.path(d)
	c.verified.mu.Lock() // whoever comes meanwhile wants to know the same
	defer c.verified.mu.Unlock()
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if c.verified.done[d] == statOf(info) {
		return path, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, &contextReader{ctx, f}); err != nil {
		return "", err
	}
	if graph.Digest(h.Sum(nil)) != d {
		return "", errors.Join(fmt.Errorf("source %s: %w", d.Short(), ErrDamaged), ignoreNotExist(os.Remove(path)))
	}
	if c.verified.done == nil {
		c.verified.done = map[graph.Digest]stat{}
	}
	c.verified.done[d] = statOf(info)
	return path, nil
}

// Take copies what comes into the cache, and says what it is.
func (c *Cache) Take(ctx context.Context, r io.Reader) (Pin, error) { return c.take(ctx, r) }

// Find is Verified, and looks into the folders that stand in for the network
// too, first for files that are called as the URI's last part.
func (c *Cache) Find(ctx context.Context, d graph.Digest, uri string) (string, error) {
	path, err := c.Verified(ctx, d)
	if err == nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, os.ErrNotExist) {
		return path, err
	}
	if _, ok, fromErr := c.fromFolders(ctx, uri, d); !ok || fromErr != nil {
		return "", errors.Join(err, fromErr)
	}
	return c.Verified(ctx, d)
}
