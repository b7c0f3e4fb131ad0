//go:build linux

package native

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"github.com/cubebuild/cube/containers/native/inside"
	"golang.org/x/sys/unix"
)

// namespaces are what an init is started in, beside its network namespace and
// its cgroup namespace, which it makes once it is in its cgroup.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// box is one sandbox: an init that waits for its config, or runs its payload.
type box struct {
	user user
	init *os.Process
	sock int
	leaf *leaf
	net  *network // nil where the init has made its own
}

// user is whom a payload runs as.
type user struct{ uid, gid int }

// spawner starts inits, all from one thread that lives as long as it does: the
// kernel ties a child's life to the thread that made it.
type spawner struct {
	requests chan func()
	done     sync.WaitGroup
}

func newSpawner(r *Runner) *spawner {
	s := &spawner{requests: make(chan func())}
	s.done.Go(func() {
		runtime.LockOSThread()
		for f := range s.requests {
			f()
		}
		// A thread that cannot go home must end with this goroutine.
		if r.networks.leave() {
			runtime.UnlockOSThread()
		}
	})
	return s
}

func (s *spawner) close() {
	close(s.requests)
	s.done.Wait()
}

// do calls f on the spawner's thread.
func (s *spawner) do(f func()) {
	done := make(chan struct{})
	s.requests <- func() { f(); close(done) }
	<-done
}

// spawn starts an init.
func (r *Runner) spawn(u user) (*box, error) {
	name := r.owner + strconv.FormatUint(r.sequence.Add(1), 10)
	l, err := r.groups.make(name)
	if err != nil {
		return nil, err
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.discard(l)
		return nil, fmt.Errorf("make socket: %w", err)
	}
	theirs := os.NewFile(uintptr(ends[1]), "init socket")
	b := &box{user: u, sock: ends[0], leaf: l}
	r.spawner.do(func() { err = r.start(b, theirs) })
	theirs.Close()
	if err != nil {
		r.networks.back(b.net)
		unix.Close(b.sock)
		r.discard(l)
		return nil, fmt.Errorf("start init: %w", err)
	}
	return b, nil
}

// start starts the box's init, on the spawner's thread.
func (r *Runner) start(b *box, sock *os.File) (err error) {
	// In a process group of its own it is not interrupted by the terminal: what
	// ends it is the engine, and the engine's end.
	sys := &syscall.SysProcAttr{Cloneflags: namespaces, Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if b.leaf.unified != nil {
		sys.UseCgroupFD, sys.CgroupFD = true, int(b.leaf.unified.Fd())
	}
	if r.rootless {
		sys.Cloneflags |= unix.CLONE_NEWUSER | unix.CLONE_NEWNET
		sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: b.user.uid, HostID: os.Geteuid(), Size: 1}}
		sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: b.user.gid, HostID: os.Getegid(), Size: 1}}
		// The init is not root inside, so its capabilities must survive exec.
		sys.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_SETPCAP}
	} else if b.net, err = r.networks.lend(); err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	path := "/proc/self/fd/" + strconv.Itoa(int(r.worker.Fd()))
	b.init, err = os.StartProcess(path, []string{"cube-worker", "init"}, &os.ProcAttr{
		Dir:   r.base,
		Env:   []string{"GOGC=off", "GOMAXPROCS=1", "GOTRACEBACK=none", "GODEBUG=asyncpreemptoff=1"},
		Files: []*os.File{null, null, null, sock},
		Sys:   sys,
	})
	return err
}

// kill ends the box and all that is in it. It may be called at any time.
func (b *box) kill() { _ = b.init.Kill() }

// died waits until the init, and so everything in the box, has ended, and says
// how.
func (b *box) died() (inside.Ending, error) {
	state, err := b.init.Wait()
	if err != nil {
		return inside.Ending{}, fmt.Errorf("wait for init: %w", err)
	}
	end := inside.Ending{User: state.UserTime().Microseconds(), System: state.SystemTime().Microseconds()}
	if u, ok := state.SysUsage().(*syscall.Rusage); ok {
		end.MaxRSS = u.Maxrss
	}
	return end, nil
}

// send gives the box its config.
func (b *box) send(c *inside.Config, fds []int) error {
	err := inside.Send(b.sock, inside.Start, c.Append([]byte{inside.Version}), fds...)
	if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("send config: %w", err)
	}
	return nil // an init that is gone has left word why
}
