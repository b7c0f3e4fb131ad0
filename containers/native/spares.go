//go:build linux

package native

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// spares keeps inits ready. One is made in the place of each that is taken but
// the first, so that making it overlaps with a payload's own work, and a single
// action costs one. An init has a copy of the mounts that there were when it was
// started: when the host's change, the spares are let go.
type spares struct {
	runner *Runner
	max    int
	mounts *os.File // /proc/self/mountinfo, which polls as changed

	mu     sync.Mutex
	ready  []*box
	coming int
	change int  // counts the changes of the host's mounts
	begun  bool // one was taken
	closed bool
	work   sync.WaitGroup
}

func newSpares(r *Runner, max int) *spares {
	s := &spares{runner: r, max: max}
	if max > 0 {
		if s.mounts = openMounts(); s.mounts == nil {
			s.max = 0
		}
	}
	return s
}

// openMounts opens the list of mounts, which says once that it has changed.
// os.Open would have the runtime's poller wait for that, too, and hear of it
// first.
func openMounts() *os.File {
	const list = "/proc/self/mountinfo"
	fd, err := unix.Open(list, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), list)
}

// take returns a box for the user and has another one made ready, unless this
// is the first.
func (s *spares) take(u user) (*box, error) {
	s.mu.Lock()
	if s.max > 0 && s.mountsChanged() {
		s.change++
		s.drop()
	}
	var b *box
	for i, have := range s.ready {
		if have.user == u || !s.runner.rootless {
			b = have
			s.ready = append(s.ready[:i], s.ready[i+1:]...)
			break
		}
	}
	if s.begun && len(s.ready)+s.coming < s.max && !s.closed {
		s.coming++
		change := s.change
		s.work.Go(func() { s.add(u, change) })
	}
	s.begun = true
	s.mu.Unlock()
	if b != nil {
		return b, nil
	}
	return s.runner.spawn(u)
}

func (s *spares) add(u user, change int) {
	b, err := s.runner.spawn(u)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.coming--
	if err != nil {
		return // the Run that needs one makes its own, and says why it cannot
	}
	if s.closed || s.change != change || len(s.ready) >= s.max {
		s.work.Go(func() { s.runner.abandon(b) })
		return
	}
	s.ready = append(s.ready, b)
}

// drop lets go of all that is ready. The lock is held.
func (s *spares) drop() {
	for _, b := range s.ready {
		s.work.Go(func() { s.runner.abandon(b) })
	}
	s.ready = nil
}

func (s *spares) mountsChanged() bool {
	poll := []unix.PollFd{{Fd: int32(s.mounts.Fd()), Events: unix.POLLPRI}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0 && poll[0].Revents&(unix.POLLPRI|unix.POLLERR) != 0
}

func (s *spares) close() {
	s.mu.Lock()
	s.closed = true
	s.drop()
	s.mu.Unlock()
	s.work.Wait()
	if s.mounts != nil {
		s.mounts.Close()
	}
}

// abandon ends a box, waits for its end and removes what it was in. Waiting
// twice does no harm.
func (r *Runner) abandon(b *box) {
	b.kill()
	_, _ = b.init.Wait()
	r.networks.back(b.net)
	unix.Close(b.sock)
	r.discard(b.leaf)
}
