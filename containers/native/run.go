//go:build linux

package native

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native/inside"
	"golang.org/x/sys/unix"
)

// Run implements containers.Runner.
func (r *Runner) Run(ctx context.Context, spec containers.Spec) (*containers.Exit, error) {
	exit, err := r.run(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("run container %s: %w", spec.Name, err)
	}
	return exit, nil
}

func (r *Runner) run(ctx context.Context, spec containers.Spec) (*containers.Exit, error) {
	start := time.Now()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	config, err := r.configure(&spec)
	if err != nil {
		return nil, err
	}
	b, err := r.spares.take(user{int(config.UID), int(config.GID)})
	if err != nil {
		return nil, err
	}
	run := &running{spec: &spec, config: config, box: b, runner: r}
	defer run.release()
	exit, err := run.complete(ctx)
	if err != nil {
		run.closeKept()
		return nil, err
	}
	exit.Usage.Wall = time.Since(start)
	return exit, nil
}

// running is one container under way.
type running struct {
	runner *Runner
	spec   *containers.Spec
	config *inside.Config
	box    *box
	ended  bool // the init has been waited for

	unenforced []string
	kept       map[string]*os.File
	timedOut   atomic.Bool
}

// release gives back what the container was made of, whatever became of it.
func (r *running) release() {
	if !r.ended {
		r.box.kill()
		_, _ = r.box.wait()
	}
	unix.Close(r.box.sock)
	r.runner.discard(r.box.leaf)
}

func (r *running) closeKept() {
	for _, f := range r.kept {
		f.Close()
	}
}

// complete takes the container from its config to its end.
func (r *running) complete(ctx context.Context) (*containers.Exit, error) {
	stop := context.AfterFunc(ctx, r.box.kill)
	defer stop()
	if limit := r.spec.Limits.Time; limit > 0 {
		timer := time.AfterFunc(limit, func() { r.timedOut.Store(true); r.box.kill() })
		defer timer.Stop()
	}
	r.limit()
	out, err := r.start()
	if err != nil {
		return nil, r.because(ctx, err)
	}
	filled := r.fill()
	if filled != nil {
		r.box.kill()
	}
	state, err := r.box.wait()
	r.ended = true
	out.wait()
	if err := errors.Join(context.Cause(ctx), filled, err); err != nil {
		return nil, err
	}
	return r.exit(state)
}

// because is why a step went wrong: ctx's end comes first, since it kills the
// box, and then nothing works any more.
func (r *running) because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// limit sets the limits that a cgroup can, and takes up a user namespace's
// own count of processes where there is no cgroup for them.
func (r *running) limit() {
	limits := r.spec.Limits
	if r.runner.rootless && r.runner.groups.missing["pids"] != "" && limits.PIDs > 0 {
		r.config.Processes = uint64(limits.PIDs + initTasks)
		limits.PIDs = 0
	}
	r.unenforced = r.box.leaf.limit(limits)
}

// start hands the config over, with the descriptors that go with it.
func (r *running) start() (*output, error) {
	out, err := newOutput(r.spec.Stdout, r.spec.Stderr)
	if err != nil {
		return nil, fmt.Errorf("make pipes: %w", err)
	}
	tasks, err := r.box.leaf.tasks()
	if err != nil {
		out.closeInner()
		out.wait()
		return nil, err
	}
	r.config.Stdout, r.config.Stderr, r.config.Tasks = out.stdout, out.stderr, uint8(len(tasks))
	var fds []int
	for _, f := range append(out.inner, tasks...) {
		fds = append(fds, int(f.Fd()))
	}
	err = r.box.send(r.config, fds)
	out.closeInner()
	closeFiles(tasks)
	if err != nil {
		r.box.kill()
		out.wait()
	}
	return out, err
}

// fill fills the tmpfs that want it, once their handles have come.
func (r *running) fill() error {
	wanted := false
	for _, m := range r.spec.Mounts {
		wanted = wanted || m.Fill != nil
	}
	if !wanted {
		return nil
	}
	kind, body, fds, err := inside.Receive(r.box.sock)
	if err != nil {
		return nil // the init is gone: its exit says why
	}
	if kind != inside.Handles {
		return r.failure(kind, body)
	}
	if err := r.keep(body, fds); err != nil {
		return err
	}
	for i := range r.spec.Mounts {
		if err := r.fillOne(&r.spec.Mounts[i]); err != nil {
			return err
		}
	}
	if err := inside.Send(r.box.sock, inside.Go, nil); err != nil {
		return nil // likewise
	}
	return nil
}

func (r *running) fillOne(m *containers.Mount) error {
	if m.Fill == nil {
		return nil
	}
	handle := containers.Exit{Kept: r.kept}
	root, err := handle.OpenKept(m.Target)
	if err != nil {
		return fmt.Errorf("fill %s: %w", m.Target, err)
	}
	defer root.Close()
	if err := m.Fill(root); err != nil {
		return fmt.Errorf("fill %s: %w", m.Target, err)
	}
	if !m.Keep {
		r.kept[m.Target].Close()
		delete(r.kept, m.Target)
	}
	return nil
}

// keep takes the handles of tmpfs that came from the init.
func (r *running) keep(indexes []byte, fds []int) error {
	r.kept = make(map[string]*os.File, len(fds))
	if len(indexes) != len(fds) {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return inside.ErrFrame
	}
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "kept tmpfs")
		if int(indexes[i]) >= len(r.spec.Mounts) {
			f.Close()
			return inside.ErrFrame
		}
		r.kept[r.spec.Mounts[indexes[i]].Target] = f
	}
	return nil
}

// exit reads what the init left word of and says how the container ended.
func (r *running) exit(state *os.ProcessState) (*containers.Exit, error) {
	status, ended, err := r.lastWords()
	if err != nil {
		return nil, err
	}
	exit := &containers.Exit{Kept: r.kept, Unenforced: r.unenforced, Usage: r.usage(state)}
	switch {
	case r.timedOut.Load() && !(ended && status.Exited()):
		exit.Reason = containers.TimedOut
	case !(ended && status.Exited() && status.ExitStatus() == 0) && r.box.leaf.killedForMemory():
		exit.Reason = containers.OutOfMemory
	case !ended:
		// Process 1 was killed from outside, or by its own payload.
		exit.Reason, exit.Signal = containers.Signaled, syscall.SIGKILL
	case status.Signaled():
		exit.Reason, exit.Signal = containers.Signaled, status.Signal()
	default:
		exit.Code = status.ExitStatus()
	}
	switch exit.Reason {
	case containers.TimedOut, containers.OutOfMemory:
		exit.Signal = syscall.SIGKILL
	}
	if exit.Signal != 0 {
		exit.Code = 128 + int(exit.Signal)
	}
	return exit, nil
}

// lastWords reads what the init sent before it ended.
func (r *running) lastWords() (status syscall.WaitStatus, ended bool, err error) {
	for {
		kind, body, fds, err := inside.Receive(r.box.sock)
		if err != nil { // the end of the stream: nobody is there to send more
			return status, ended, nil
		}
		switch {
		case kind == inside.Handles:
			if err := r.keep(body, fds); err != nil {
				return 0, false, err
			}
		case kind == inside.Ended && len(body) == 4:
			status, ended = syscall.WaitStatus(binary.LittleEndian.Uint32(body)), true
		default:
			return 0, false, r.failure(kind, body)
		}
	}
}

// failure is the error that the init left.
func (r *running) failure(kind inside.Kind, body []byte) error {
	if kind != inside.Failed || len(body) == 0 {
		return inside.ErrFrame
	}
	if body[0] == 1 {
		return fmt.Errorf("%w: %s", containers.ErrSpec, body[1:])
	}
	return errors.New(string(body[1:]))
}

func (r *running) usage(state *os.ProcessState) containers.Usage {
	u := containers.Usage{User: state.UserTime(), System: state.SystemTime()}
	if ru, ok := state.SysUsage().(*syscall.Rusage); ok {
		u.MaxRSS = ru.Maxrss << 10
	}
	u.MaxRSS = max(u.MaxRSS, r.box.leaf.peakMemory())
	return u
}
