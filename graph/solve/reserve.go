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
	slots := func() { b.slots.Release(weight) }
	if b.Reserver == nil || j.IsMerge() {
		if err := b.slots.Acquire(ctx, weight); err != nil {
			return func() {}, err
		}
		return sync.OnceFunc(slots), nil
	}
	d := resource.Of(j.Instance)
	if memory > d.Memory {
		d.Memory, d.Assumed = memory, false
	}
	var release func()
	for turn := 0; release == nil; turn++ {
		if turn > 0 {
			b.tell(j, resource.Shortage{Resource: resource.Worker, Want: weight})
		}
		if release, err = b.takeBoth(ctx, j, d, weight, turn >= resource.Patience); err != nil {
			return func() {}, err
		}
	}
	return sync.OnceFunc(func() { release(); slots() }), nil
}

// takeBoth takes so much room among this build's workers, and what an action takes of
// the machine. It waits for either without the other: what waits for the machine lets
// others work, and what waits for a worker leaves a licence to other builds. So
// release is nil where there was one and then the other, and not both. Who saw that
// too often keeps his worker.
func (b *build) takeBoth(ctx context.Context, j *job, d resource.Demand, weight int64, keeps bool) (release func(), err error) {
	if err := b.slots.Acquire(ctx, weight); err != nil {
		return nil, err
	}
	has := true
	defer func() {
		if has && release == nil {
			b.slots.Release(weight)
		}
	}()
	if release, err = b.Reserver.Try(ctx, d); err != nil || release != nil {
		return release, err
	}
	var ready func() bool
	if !keeps {
		b.slots.Release(weight)
		has, ready = false, func() bool { has = b.slots.TryAcquire(weight); return has }
	}
	err = b.crew.stepAside(func() (err error) {
		release, err = b.Reserver.Reserve(ctx, d, ready, func(s resource.Shortage) { b.tell(j, s) })
		return err
	})
	return release, err
}

// mostMemory is the most memory that an action can have, in bytes; 0 where that is
// unknown.
func (b *build) mostMemory() int64 {
	if b.Reserver != nil {
		return b.Reserver.Total()[resource.Memory]
	}
	return machineMemory()
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
