//go:build linux

// Package process runs actions in worker processes, so that the end of one, by
// a fault of its own or for want of memory, takes nothing else with it: its
// action is lost ([solve.LostError]), and another worker is started for the next.
//
// A worker (cmd/cube-node, package node) is static and has its own executor and
// sandboxes. Engine and worker speak as package wire says. One worker runs one
// action at a time; an action goes to an idle worker that ran one of the same
// image last, if there is one, because that may have a container waiting for it.
//
// A worker ends with its engine: the kernel kills it when the engine's thread
// that started it is gone, and it ends by itself when its connection is. What it
// runs ends with it, in the same way. So nothing is left after kill -9 of either.
package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native/worker"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/graph/solve/process/wire"
)

// Config says how a Backend works.
type Config struct {
	// State is the sandboxes' state directory, as in native.Config.
	State string
	// Stage returns an existing directory of the engine's own for what is too
	// large for memory. It is called once, when the first worker is started.
	Stage func() (string, error)
	// Memory and Disk are the most bytes of windows and outputs that all workers
	// together hold in memory and on disk; as in containers.StagingConfig. Each
	// worker has its part of the memory. An action waits for the disk that it may
	// take before it goes to a worker.
	Memory, Disk int64
	// Workers is how many actions run at once. 0: one.
	Workers int
	// Program and Init are the paths of cube-node and cube-worker; empty means the
	// embedded ones.
	Program, Init string
	// Patience is how long a worker may take to stop an action that is cancelled, or
	// to end when it is no longer needed, before it is killed. 0: 10 seconds.
	Patience time.Duration
}

// Backend is a pool of workers. Its Run may be called at once; the caller closes
// it when no Run is under way.
type Backend struct {
	conf   Config
	memory int64               // of a worker
	disk   *containers.Staging // counts what all workers put on disk; nil: nobody bounds it

	starting sync.Mutex // guards starter, while it is made
	starter  *starter   // nil until there is something to run

	mu     sync.Mutex
	idle   []*process // that was used last is last
	alive  map[*process]bool
	closed bool
}

var _ solve.Backend = (*Backend)(nil)

// ErrClosed is returned by Run after Close.
var ErrClosed = errors.New("the backend is closed")

// New returns a Backend. It starts no worker before there is something to run.
func New(c Config) *Backend {
	c.Workers, c.Patience = max(1, c.Workers), cmp.Or(c.Patience, 10*time.Second)
	b := &Backend{conf: c, alive: map[*process]bool{}, memory: max(1, cmp.Or(c.Memory, containers.StagingMemory)/int64(c.Workers))}
	if c.Disk > 0 {
		b.disk = containers.NewStaging(containers.StagingConfig{Disk: c.Disk})
	}
	return b
}

// starter starts workers, from one thread that lives as long as it does: the
// kernel ties a child's life to the thread that made it.
type starter struct {
	program, init *os.File
	stage         string
	requests      chan func()
	done          sync.WaitGroup
}

// start returns what starts workers.
func (b *Backend) start() (_ *starter, err error) {
	b.starting.Lock()
	defer b.starting.Unlock()
	if b.starter == nil {
		b.starter, err = b.prepare()
	}
	return b.starter, err
}

func (b *Backend) prepare() (s *starter, err error) {
	s = &starter{requests: make(chan func())}
	if s.stage, err = b.conf.Stage(); err != nil {
		return nil, err
	}
	if s.program, err = worker.Open(context.Background(), worker.Node, b.conf.Program); err != nil {
		return nil, err
	}
	if s.init, err = worker.Open(context.Background(), worker.Init, b.conf.Init); err != nil {
		s.program.Close()
		return nil, err
	}
	s.done.Go(func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		for f := range s.requests {
			f()
		}
	})
	return s, nil
}

// do calls f on the starter's thread.
func (s *starter) do(f func()) {
	done := make(chan struct{})
	s.requests <- func() { f(); close(done) }
	<-done
}

func (s *starter) close() error {
	close(s.requests)
	s.done.Wait()
	return errors.Join(s.program.Close(), s.init.Close())
}

// Close ends all workers and waits for their ends.
func (b *Backend) Close() error {
	b.mu.Lock()
	b.closed = true
	idle := b.idle
	b.idle = nil
	b.mu.Unlock()
	var errs []error
	for _, p := range idle {
		errs = append(errs, p.end())
		b.mu.Lock()
		delete(b.alive, p)
		b.mu.Unlock()
	}
	b.starting.Lock()
	defer b.starting.Unlock()
	if b.starter != nil {
		errs = append(errs, b.starter.close())
	}
	return errors.Join(errs...)
}

// EndIdle ends the workers that run nothing, and the containers that wait in them.
func (b *Backend) EndIdle() {
	b.mu.Lock()
	idle := b.idle
	b.idle = nil
	for _, p := range idle {
		delete(b.alive, p)
	}
	b.mu.Unlock()
	for _, p := range idle {
		_ = p.end() // it has no action that could be lost
	}
}

// PIDs are the workers that there are.
func (b *Backend) PIDs() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	var pids []int
	for p := range b.alive {
		pids = append(pids, p.cmd.Process.Pid)
	}
	slices.Sort(pids)
	return pids
}

// Ready says why no worker can be started, or nil.
func (b *Backend) Ready() error {
	p, err := b.take("")
	if err == nil {
		b.give(p, true)
	}
	return err
}

// Run implements solve.Backend.
func (b *Backend) Run(ctx context.Context, a containers.Action) (*containers.Result, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	release, err := b.room(ctx, &a)
	if err != nil {
		return nil, err
	}
	defer release()
	p, err := b.take(family(a))
	if err != nil {
		return nil, err
	}
	r, usable, err := p.run(ctx, a)
	b.give(p, usable)
	return r, err
}

// room waits for the disk that an action may take. Where that is bounded no window
// is shared: what a worker keeps for the next action nobody would count.
func (b *Backend) room(ctx context.Context, a *containers.Action) (release func(), err error) {
	if b.disk == nil {
		return func() {}, nil
	}
	a.OwnWindows = true
	if release, err = b.disk.TakeDisk(ctx, containers.OnDisk(*a, b.memory)); err != nil {
		return nil, fmt.Errorf("stage %s: %w", a.Name, err)
	}
	return release, nil
}

// family is what actions have in common that one container may serve.
func family(a containers.Action) string {
	return strings.Join(slices.Concat(a.Layers, a.Image.Command), "\x00")
}

// take returns an idle worker, or a new one.
func (b *Backend) take(family string) (*process, error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil, ErrClosed
	}
	if n := len(b.idle); n > 0 {
		at := n - 1
		for i, p := range b.idle {
			if p.family == family {
				at = i
			}
		}
		p := b.idle[at]
		b.idle = slices.Delete(b.idle, at, at+1)
		b.mu.Unlock()
		p.family = family
		return p, nil
	}
	b.mu.Unlock()
	s, err := b.start()
	if err != nil {
		return nil, err
	}
	p, err := s.spawn(b.setup(s), b.conf.Patience)
	if err != nil {
		return nil, err
	}
	p.family = family
	b.mu.Lock()
	defer b.mu.Unlock()
	b.alive[p] = true
	return p, nil
}

func (b *Backend) setup(s *starter) wire.Setup {
	return wire.Setup{Version: wire.Version, State: b.conf.State, Stage: s.stage, Memory: b.memory, Disk: b.conf.Disk, Spares: 1}
}

// give takes a worker back, or ends it where it is of no use any more.
func (b *Backend) give(p *process, usable bool) {
	b.mu.Lock()
	usable = usable && !b.closed
	if usable {
		b.idle = append(b.idle, p)
	} else {
		delete(b.alive, p)
	}
	b.mu.Unlock()
	if !usable {
		_ = p.end() // how it ended is in what its action came to
	}
}
