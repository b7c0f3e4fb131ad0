//go:build linux

package inside

import (
	"errors"
	"math"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket is the descriptor that the engine leaves its end of the talk on.
const Socket = 3

// Main is the life of the init. It must be called as the first thing of the
// program, and does not return.
func Main() {
	err := live()
	if err != nil {
		var f *Failure
		if !errors.As(err, &f) {
			f = &Failure{Text: err.Error()}
		}
		Send(Socket, Failed, append([]byte{bit(f.Spec)}, f.Text...))
		syscall.Exit(1)
	}
	syscall.Exit(0)
}

func live() error {
	name := [...]byte{'i', 'n', 'i', 't', 0}
	unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
	unix.Umask(0)
	unix.CloseOnExec(Socket)
	unix.CloseRange(Socket+1, math.MaxUint32, 0)
	if err := raiseOOMScore(); err != nil {
		return err
	}
	if err := prepare(); err != nil {
		return err
	}
	c, fds, err := receiveConfig()
	if err != nil {
		return err
	}
	if err := resize(c.TmpSize); err != nil {
		return err
	}
	if err := listen(c.Listen, Socket); err != nil {
		return err
	}
	pids, err := openLastPID()
	if err != nil {
		return err
	}
	if err := assemble(c, Socket); err != nil {
		return err
	}
	// From here on it matters which thread does it: cgroups, identity and
	// privileges belong to threads, and the payload inherits this one's. (Before,
	// a locked thread would only have the runtime start another.)
	runtime.LockOSThread()
	if err := joinGroups(fds[len(fds)-int(c.Tasks):]); err != nil {
		return err
	}
	pid, err := startPayload(c, pids, fds)
	if err != nil {
		return err
	}
	closeAll(fds)
	if err := Send(Socket, Began, nil); err != nil {
		return err
	}
	status, err := reap(pid)
	if err != nil {
		return err
	}
	end := Ending{Status: uint32(status)}
	end.measure()
	return Send(Socket, Ended, end.append(nil))
}

// raiseOOMScore makes the payload go before the engine when the machine runs
// out of memory. A score that is higher already stays.
func raiseOOMScore() error {
	err := writeFile("/proc/self/oom_score_adj", "500", unix.O_WRONLY)
	if err == unix.EACCES {
		return nil
	}
	return wrong("raise oom_score_adj", err)
}

func receiveConfig() (*Config, []int, error) {
	kind, body, fds, err := Receive(Socket)
	if err != nil {
		return nil, nil, wrong("read config", err)
	}
	if kind != Start || len(body) == 0 {
		return nil, nil, wrong("read config", ErrFrame)
	}
	if body[0] != Version {
		return nil, nil, wrong("read config", errors.New("the engine and cube-worker are of different versions"))
	}
	c, err := Decode(body[1:])
	if err != nil {
		return nil, nil, wrong("read config", err)
	}
	if int(c.Tasks) > len(fds) || int(max(c.Stdin, c.Stdout, c.Stderr, c.Answers)) > len(fds)-int(c.Tasks) || len(c.Args) == 0 {
		return nil, nil, wrong("read config", ErrConfig)
	}
	return c, fds, nil
}

// resize changes how much /tmp and /dev/shm hold.
func resize(size uint64) error {
	if size == 0 {
		return nil
	}
	return wrong("resize /tmp", unix.Mount("", ".", "", unix.MS_REMOUNT|unix.MS_NOSUID, "size="+itoa(size)))
}

// openLastPID opens the file that says which process number comes next, while
// there still is a /proc to write to.
func openLastPID() (int, error) {
	fd, err := unix.Open("/proc/sys/kernel/ns_last_pid", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT { // a kernel that does not let anyone choose
		return -1, nil
	}
	return fd, wrong("open ns_last_pid", err)
}

// joinGroups moves this thread, and so the payload that it starts, into the
// cgroups whose task lists are given, and makes them the root of what the
// payload sees of cgroups. A thread that moves itself is let through without
// the lock over all processes that moving another one takes, which costs
// milliseconds.
func joinGroups(tasks []int) error {
	for _, fd := range tasks {
		if _, err := unix.Write(fd, []byte("0")); err != nil {
			return wrong("join cgroup", err)
		}
	}
	return wrong("make cgroup namespace", unix.Unshare(unix.CLONE_NEWCGROUP))
}

// startPayload gives up all privileges and starts the payload.
func startPayload(c *Config, pids int, fds []int) (pid int, err error) {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, wrong("open /dev/null", err)
	}
	defer unix.Close(null)
	if err := lockDown(c, pids); err != nil {
		return 0, err
	}
	if err := unix.Chdir(c.Dir); err != nil {
		return 0, blame("enter working directory "+c.Dir, err)
	}
	path, err := lookPath(c.Args[0], c.Env)
	if err != nil {
		return 0, err
	}
	stream := func(n uint8) uintptr {
		if n == 0 {
			return uintptr(null)
		}
		return uintptr(fds[n-1])
	}
	files := []uintptr{stream(c.Stdin), stream(c.Stdout), stream(c.Stderr)}
	if c.Answers != 0 {
		files = append(files, stream(c.Answers))
	}
	if c.Terminal {
		files = []uintptr{stream(c.Stdin), stream(c.Stdin), stream(c.Stdin)}
	}
	pid, err = syscall.ForkExec(path, c.Args, &syscall.ProcAttr{
		Env:   c.Env,
		Files: files,
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: c.Terminal},
	})
	return pid, blame("start "+path, err)
}

// reap waits for the payload to end, then ends whatever else it started, and
// returns when process 1 is alone.
func reap(payload int) (end syscall.WaitStatus, err error) {
	ended := false
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err == syscall.ECHILD:
			return end, nil
		case err != nil:
			return 0, wrong("wait for the payload", err)
		case pid == payload:
			end, ended = status, true
		}
		if !ended {
			continue
		}
		if err := syscall.Kill(-1, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			return 0, wrong("end what the payload left", err)
		}
	}
}
