package containers

import (
	"context"
	"os"
	"time"

	"github.com/cubebuild/cube/graph"
)

// Ingest takes in what lies in a directory.
func Ingest(ctx context.Context, dir string, want map[string]graph.RequestOutput, disk int64) (map[string]Output, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return (&left{root, dir, disk}).ingest(ctx, want)
}

// Fill writes windows as a container sees them.
func Fill(ctx context.Context, root *os.Root, inputs []Input) error {
	return fillAll(ctx, root, inputs)
}

// Watch sets how often an executor looks at what an action has on disk.
func (x *Executor) Watch(every time.Duration) { x.watch = every }

// IdleSessions is how many containers wait for another action.
func (x *Executor) IdleSessions() int {
	x.pool.mu.Lock()
	defer x.pool.mu.Unlock()
	return len(x.pool.idle)
}

// Drop removes the windows that nobody uses, and says how many there were.
func (s *Staging) Drop() (n int) {
	for s.evict() {
		n++
	}
	return n
}
