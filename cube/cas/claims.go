package cas

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cubebuild/cube/graph"
)

// Claims says who works on what, among the processes that share a file. Its
// methods may be called from many goroutines at once.
type Claims struct {
	path string

	mu   sync.Mutex
	f    *os.File
	held map[int64]chan struct{} // closed on release
}

// OpenClaims names the file; it is made with the first claim.
func OpenClaims(path string) *Claims {
	return &Claims{path: path, held: map[int64]chan struct{}{}}
}

// Close gives up all claims.
func (c *Claims) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.f == nil {
		return nil
	}
	err := c.f.Close()
	c.f = nil
	return err
}

// Claim claims the work on key, without waiting. ok is false where somebody
// else, in this process or another, has it. release must be called once where
// ok is true. Where the file system has no such locks, only this process's own
// claims count.
func (c *Claims) Claim(ctx context.Context, key graph.Digest) (release func(), ok bool, err error) {
	release, _, err = c.try(ctx, key)
	return release, release != nil, err
}

// try claims key; where somebody of this process has it, it returns the channel
// that is closed when it is released.
func (c *Claims) try(ctx context.Context, key graph.Digest) (func(), <-chan struct{}, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.f == nil {
		if err := os.MkdirAll(filepath.Dir(c.path), 0o777); err != nil {
			return nil, nil, fmt.Errorf("claim: %w", err)
		}
		f, err := os.OpenFile(c.path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, nil, fmt.Errorf("claim: %w", err)
		}
		c.f = f
	}
	off := claimOffset(key)
	if done, taken := c.held[off]; taken {
		return nil, done, nil
	}
	if ok, _ := lockByte(c.f, off); !ok {
		return nil, nil, nil
	}
	done := make(chan struct{})
	c.held[off] = done
	return sync.OnceFunc(func() { c.release(off, done) }), nil, nil
}

func (c *Claims) release(off int64, done chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.f != nil {
		unlockByte(c.f, off)
	}
	delete(c.held, off)
	close(done)
}

// Wait claims the work on key, once everybody else has released it.
func (c *Claims) Wait(ctx context.Context, key graph.Digest) (release func(), err error) {
	pause := time.Millisecond
	for {
		release, done, err := c.try(ctx, key)
		if release != nil || err != nil {
			return release, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-done:
		case <-timer.C:
		}
		timer.Stop()
		pause = min(2*pause, 50*time.Millisecond)
	}
}

// claimOffset is the byte that stands for key.
func claimOffset(key graph.Digest) int64 {
	return int64(binary.BigEndian.Uint64(key[:8]) >> 2)
}
