package cube

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cubebuild/cube/graph"
)

func TestAChunkIsDecodedOnceForAll(t *testing.T) {
	t.Parallel()
	c := newChunkCache(1 << 20)
	var loads atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			err := c.use(t.Context(), chunkKey{size: 10}, func(b []byte) error { loads.Add(1); b[0] = 7; return nil }, func(b []byte) {
				if b[0] != 7 {
					t.Error("not loaded")
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if loads.Load() != 1 {
		t.Errorf("decoded %d times", loads.Load())
	}
}

func TestTheCacheKeepsToItsBudget(t *testing.T) {
	t.Parallel()
	c := newChunkCache(100)
	for i := range 50 {
		key := chunkKey{object: graph.Digest{byte(i)}, size: 30}
		if err := c.use(t.Context(), key, func(b []byte) error { b[0] = byte(i); return nil }, func(b []byte) {
			if b[0] != byte(i) {
				t.Errorf("chunk %d holds %d", i, b[0])
			}
		}); err != nil {
			t.Fatal(err)
		}
		if c.used > 100 || len(c.entries) > 3 {
			t.Fatalf("%d bytes in %d entries", c.used, len(c.entries))
		}
	}
}

func TestWhoWaitsForSomebodyWhoGivesUpLoadsItself(t *testing.T) {
	t.Parallel()
	c := newChunkCache(1 << 20)
	key := chunkKey{size: 4}
	loading, waiting := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := c.use(t.Context(), key, func([]byte) error {
			close(loading)
			<-waiting
			return context.Canceled
		}, func([]byte) { t.Error("used what was not loaded") })
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	<-loading
	e, mine := c.acquire(key) // who waits from now on
	if mine {
		t.Fatal("not the one that is being loaded")
	}
	close(waiting)
	<-e.ready
	c.release(e)
	wg.Wait()
	used := false
	if err := c.use(t.Context(), key, func([]byte) error { return nil }, func([]byte) { used = true }); err != nil || !used {
		t.Fatalf("the next one: %v", err)
	}
	if !othersEnd(t.Context(), e.err) {
		t.Error("it is not seen that somebody else gave up")
	}
}

func TestAnObjectThatCannotBeLinkedIsCopied(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	d, err := c.Objects().Put(t.Context(), []byte("chunk"))
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "c")
	w := &linker{c: c, put: func(string, string) error { return syscall.EMLINK }}
	if err := w.place(d, to); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(to)
	if err != nil || info.Mode().Perm()&0o222 != 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if b, err := os.ReadFile(to); err != nil || string(b) != "chunk" {
		t.Errorf("%q, %v", b, err)
	}
}
