package containers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/cubebuild/cube/graph"
	"golang.org/x/sync/semaphore"
)

// ErrStaging is in the chain where an action can never be staged: it wants more
// room than the staging area may ever have.
var ErrStaging = errors.New("staging area too small")

// Staging is the room in which actions find their windows and leave their
// outputs: memory up to a budget, and disk beyond it up to another. All actions
// of a process share it. Its methods may be called at once.
//
// A large window that one action after the other is given is put together once,
// on disk, and shown to each of them.
type Staging struct {
	conf   StagingConfig
	memory *semaphore.Weighted
	disk   *semaphore.Weighted

	mu      sync.Mutex
	once    [256]graph.Digest // windows that one action was given; a later one takes a place by its digest
	windows map[graph.Digest]*sharedWindow
	unused  []*sharedWindow // that was used last is last
	wanting int             // actions that wait for disk
}

// StagingConfig says how much room there is.
type StagingConfig struct {
	// Memory is the most bytes of windows and outputs in memory. 0: 1 GiB.
	Memory int64
	// Disk is the most bytes of them on disk. 0: as much as there is.
	Disk int64
	// Dir returns an existing directory of the engine's own, which is removed
	// with it. It is asked for when disk is first needed.
	Dir func() (string, error)
}

// StagingMemory is the default of StagingConfig.Memory.
const StagingMemory = 1 << 30

const unlimited = 1 << 60

// NewStaging returns a staging area.
func NewStaging(c StagingConfig) *Staging {
	c.Memory, c.Disk = cmp.Or(c.Memory, StagingMemory), cmp.Or(c.Disk, unlimited)
	return &Staging{conf: c, memory: semaphore.NewWeighted(c.Memory), disk: semaphore.NewWeighted(c.Disk),
		windows: map[graph.Digest]*sharedWindow{}}
}

// inMemory takes n bytes of memory, if there are as many.
func (s *Staging) inMemory(n int64) (release func(), ok bool) {
	if !s.memory.TryAcquire(n) {
		return nil, false
	}
	return func() { s.memory.Release(n) }, true
}

// waitForMemory takes n bytes of memory, which are no more than there ever are, and
// waits until others give as many back.
func (s *Staging) waitForMemory(ctx context.Context, n int64) (release func(), err error) {
	if err := s.memory.Acquire(ctx, n); err != nil {
		return nil, context.Cause(ctx)
	}
	return func() { s.memory.Release(n) }, nil
}

// TakeDisk takes n bytes of disk, and waits until others give as many back. Where
// there never are so many the error is [ErrStaging].
func (s *Staging) TakeDisk(ctx context.Context, n int64) (release func(), err error) {
	if n > s.conf.Disk {
		return nil, fmt.Errorf("%w: %d MiB are wanted on disk, and %d MiB are allowed: raise staging.disk, or lower the producer's disk limit",
			ErrStaging, (n+1<<20-1)>>20, s.conf.Disk>>20)
	}
	s.want(1) // from here on, a window that falls out of use gives its room back
	defer s.want(-1)
	if release, ok := s.atOnce(n); ok {
		return release, nil
	}
	if err := s.disk.Acquire(ctx, n); err != nil {
		return nil, context.Cause(ctx)
	}
	return func() { s.disk.Release(n) }, nil
}

// atOnce takes n bytes of disk if there are as many that nobody uses.
func (s *Staging) atOnce(n int64) (release func(), ok bool) {
	for !s.disk.TryAcquire(n) {
		if !s.evict() {
			return nil, false
		}
	}
	return func() { s.disk.Release(n) }, true
}

func (s *Staging) want(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanting += n
}

// dir makes a directory on disk.
func (s *Staging) dir(pattern string) (string, error) {
	parent, err := s.conf.Dir()
	if err != nil {
		return "", err
	}
	return os.MkdirTemp(parent, pattern)
}
