package solve

import (
	"context"
	"math"
	"sync"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve/resource"
)

// shown is something that is waited for, which is news once.
type shown struct {
	vertex *graph.Vertex
	name   resource.Name
}

// reserve waits until there is room for an action with that memory limit, or,
// where it is 0, that of its instance: one of this build's workers, or as many as it
// has threads, and what it takes of what all builds share. free may be called
// more than once.
func (b *build) reserve(ctx context.Context, j *job, memory int64) (free func(), err error) {
	weight := min(int64(b.Workers), max(1, int64(math.Ceil(j.shared.CPUs))))
	if err := b.slots.Acquire(ctx, weight); err != nil {
		return func() {}, err
	}
	slots := func() { b.slots.Release(weight) }
	if b.Reserver == nil || j.IsMerge() {
		return sync.OnceFunc(slots), nil
	}
	d := resource.Of(j.Instance)
	if memory > d.Memory {
		d.Memory, d.Assumed = memory, false
	}
	release, err := b.Reserver.Try(ctx, d)
	if err == nil && release == nil {
		slots() // others work meanwhile
		if release, err = b.waitForMachine(ctx, j, d); err == nil {
			if err = b.waitForWorker(ctx, j, weight); err != nil {
				release()
			}
		}
	} else if err != nil {
		slots()
	}
	if err != nil {
		return func() {}, err
	}
	return sync.OnceFunc(func() { release(); slots() }), nil
}

// waitForMachine waits until other actions, of any build, leave what this one
// needs.
func (b *build) waitForMachine(ctx context.Context, j *job, d resource.Demand) (release func(), err error) {
	err = b.crew.stepAside(func() (err error) {
		release, err = b.Reserver.Reserve(ctx, d, func(s resource.Shortage) { b.tell(j, s) })
		return err
	})
	return release, err
}

// waitForWorker takes room among this build's workers.
func (b *build) waitForWorker(ctx context.Context, j *job, weight int64) error {
	if b.slots.TryAcquire(weight) {
		return nil
	}
	b.tell(j, resource.Shortage{Resource: resource.Worker, Want: weight})
	return b.slots.Acquire(ctx, weight)
}

// tell passes on what an action waits for.
func (b *build) tell(j *job, s resource.Shortage) {
	w := Waiting{Vertex: j.Vertex, Tile: j.tile, Action: j.id, For: &s}
	if s.Foreign() {
		key := shown{j.Vertex, s.Resource}
		b.mu.Lock()
		w.News = !b.told[key]
		b.told[key] = true
		b.mu.Unlock()
	}
	b.emit(w)
}
