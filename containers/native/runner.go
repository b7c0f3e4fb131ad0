//go:build linux

package native

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native/filter"
	"github.com/cubebuild/cube/containers/native/worker"
	"golang.org/x/sys/unix"
)

// Config says how a Runner works.
type Config struct {
	// StateDir is a directory of the runner's own, made if need be. Runners of
	// several processes may share it. It must allow to be mounted over.
	StateDir string

	// Worker is the path of cube-worker; empty means the embedded one.
	Worker string

	// Spares is how many sandboxes are kept ready ahead of their payloads,
	// from the second Run on. Zero means one for each processor, at most four;
	// a negative number means none.
	Spares int

	// TmpSize is how many bytes /tmp and /dev/shm hold together. Zero means
	// 64 MiB.
	TmpSize int64
}

// Runner makes native sandboxes. Its methods may be called at once.
type Runner struct {
	config     Config
	base       string   // the directory that inits are started in
	skeleton   string   // the lowest layer of every image
	worker     *os.File // sealed, in memory, or the file of Config.Worker
	owner      string   // begins the name of every cgroup of this process's
	rootless   bool
	groups     groups
	filter     func() []byte
	networks   networks
	spawner    *spawner
	spares     *spares
	sequence   atomic.Uint64
	background sync.WaitGroup // what is let go of without being waited for
	leaving    chan struct{}  // the sandboxes among that
}

var _ containers.Runner = (*Runner)(nil)

// New prepares a Runner and removes what killed ones left. The caller must
// close it.
func New(config Config) (*Runner, error) {
	if config.StateDir == "" {
		return nil, errors.New("native sandbox: no state directory")
	}
	dir, err := filepath.Abs(config.StateDir)
	if err != nil {
		return nil, fmt.Errorf("native sandbox: %w", err)
	}
	r := &Runner{
		config:   config,
		base:     filepath.Join(dir, "base"),
		skeleton: filepath.Join(dir, "skeleton"),
		rootless: !privileged(),
		groups:   findGroups(),
		filter:   sync.OnceValue(filter.Program),
		leaving:  make(chan struct{}, runtime.NumCPU()),
	}
	if err := r.prepare(dir); err != nil {
		return nil, fmt.Errorf("native sandbox: %w", err)
	}
	r.spawner = newSpawner(r)
	r.spares = newSpares(r, spareCount(config.Spares))
	return r, nil
}

func (r *Runner) prepare(dir string) error {
	if err := os.MkdirAll(r.base, 0o755); err != nil {
		return err
	}
	if err := makeSkeleton(r.skeleton); err != nil {
		return fmt.Errorf("make skeleton: %w", err)
	}
	owner, err := ownName()
	if err != nil {
		return err
	}
	r.owner = fmt.Sprintf("%s%08x.", owner, rand.Uint32())
	if err := sweep(filepath.Join(dir, noteFile), r.groups.dirs()); err != nil {
		return fmt.Errorf("sweep cgroups: %w", err)
	}
	r.worker, err = worker.Open(context.Background(), worker.Init, r.config.Worker)
	return err
}

func spareCount(n int) int {
	switch {
	case n < 0:
		return 0
	case n == 0:
		return min(runtime.NumCPU(), 4)
	}
	return n
}

// privileged reports whether this process may make namespaces and mounts as it
// is: root may not be, in a container.
func privileged() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil || os.Geteuid() != 0 {
		return false
	}
	const needed = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETPCAP | 1<<unix.CAP_CHOWN
	return data[0].Effective&needed == needed
}

// Close ends the sandboxes kept ready and waits until all cgroups are removed.
// No Run may be under way.
func (r *Runner) Close() error {
	r.spares.close()
	r.background.Wait()
	r.spawner.close()
	return r.worker.Close()
}

// discard removes the leaf, in the background where need be: a process that has
// been waited for may stay in its cgroup for an instant.
func (r *Runner) discard(l *leaf) {
	if len(l.remove()) == 0 {
		return
	}
	r.background.Go(func() {
		for wait := 100 * time.Microsecond; len(l.remove()) > 0 && wait < time.Second; wait *= 2 {
			time.Sleep(wait)
		}
	})
}
