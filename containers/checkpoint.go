package containers

import (
	"context"

	"github.com/cubebuild/cube/graph"
)

// mountCheckpoint shows the directory that stays from one attempt to the next.
// What it holds is the producer's own business: it is neither hashed nor read,
// and nothing of it becomes a result.
func (s *staged) mountCheckpoint(dir string) {
	if dir != "" {
		s.mount(Mount{Kind: Bind, Source: dir, Target: graph.CheckpointDir, Writable: true})
	}
}

// watchAll returns a context that ends when the staged action, or its
// checkpoint, holds more than the disk limit.
func (x *Executor) watchAll(ctx context.Context, st *staged, a Action) (context.Context, context.CancelFunc) {
	watched, stop := watchDisk(ctx, st.watch, a.Limits.Disk, x.watch)
	watched, stopCheckpoint := watchDisk(watched, a.Checkpoint, a.Limits.Disk, x.watch)
	return watched, func() { stopCheckpoint(); stop() }
}
