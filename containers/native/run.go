//go:build linux

package native

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
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
	exit, err := run.complete(ctx)
	run.release(err == nil)
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
	began  bool // the payload was started

	unenforced []string
	kept       map[string]*os.File
	timedOut   atomic.Bool
}

// release lets go of what the container was made of, whatever became of it.
// Where the payload has ended, process 1 is alone and about to end: nobody
// need wait for that, but where as many end already as there are processors:
// they hold descriptors and cgroups until they are gone.
func (r *running) release(ended bool) {
	if ended {
		select {
		case r.runner.leaving <- struct{}{}:
			r.runner.background.Go(func() {
				r.runner.abandon(r.box)
				<-r.runner.leaving
			})
			return
		default:
		}
	}
	r.runner.abandon(r.box)
}

func (r *running) closeKept() {
	for _, f := range r.kept {
		f.Close()
	}
}

// complete takes the container from its config to its end.
func (r *running) complete(ctx context.Context) (_ *containers.Exit, err error) {
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
	hangUp, err := r.listen()
	defer hangUp()
	if err == nil {
		err = r.fill()
	}
	if err != nil {
		r.box.kill()
		out.wait()
		return nil, r.because(ctx, err)
	}
	exit, err := r.exit(ctx)
	out.wait()
	return exit, err
}

// because is why a step went wrong: ctx's end comes first, since it kills the
// box, and then nothing works any more.
func (r *running) because(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
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
	return out, r.startWith(out)
}

// startWith hands the config over; out is the payload's output, whose inner
// ends are closed.
func (r *running) startWith(out *output) error {
	tasks, err := r.box.leaf.tasks()
	if err != nil {
		out.closeInner()
		out.wait()
		return err
	}
	r.config.Stdout, r.config.Stderr, r.config.Tasks = out.stdout, out.stderr, uint8(len(tasks))
	given := slices.Clone(out.inner)
	if in := r.spec.Stdin; in != nil {
		given = append(given, in)
		r.config.Stdin, r.config.Terminal = uint8(len(given)), r.spec.Terminal
	}
	if to := r.spec.Answers; to != nil {
		given = append(given, to)
		r.config.Answers = uint8(len(given))
	}
	var fds []int
	for _, f := range append(given, tasks...) {
		fds = append(fds, int(f.Fd()))
	}
	err = r.box.send(r.config, fds)
	out.closeInner()
	closeFiles(tasks)
	if err != nil {
		r.box.kill()
		out.wait()
	}
	return err
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
	if len(indexes) != 2*len(fds) {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return inside.ErrFrame
	}
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "kept tmpfs")
		index := int(binary.LittleEndian.Uint16(indexes[2*i:]))
		if index == inside.Base && r.config.Serve {
			r.kept[""] = f
			continue
		}
		if index >= len(r.spec.Mounts) {
			f.Close()
			return inside.ErrFrame
		}
		r.kept[r.spec.Mounts[index].Target] = f
	}
	return nil
}

// exit waits for the container's end and says how it ended.
func (r *running) exit(ctx context.Context) (*containers.Exit, error) {
	end, ended, err := r.lastWords()
	if err != nil {
		return nil, err
	}
	if !ended {
		// Killed: by a limit, by ctx, or by its own payload.
		end, err = r.box.died()
		if err := errors.Join(err, context.Cause(ctx)); err != nil {
			return nil, err
		}
	}
	status := syscall.WaitStatus(end.Status)
	exit := &containers.Exit{Kept: r.kept, Unenforced: r.unenforced, Usage: r.usage(end)}
	switch success := ended && status.Exited() && status.ExitStatus() == 0; {
	case !ended && r.timedOut.Load():
		exit.Reason, exit.Signal = containers.TimedOut, syscall.SIGKILL
	case !success && r.box.leaf.killedForMemory():
		exit.Reason, exit.Signal = containers.OutOfMemory, syscall.SIGKILL
	case !ended && !r.began:
		return nil, errors.New("the sandbox's init ended without a word: it is not this program's cube-worker, or was killed")
	case !ended:
		exit.Reason, exit.Signal = containers.Signaled, syscall.SIGKILL
	case status.Signaled():
		exit.Reason, exit.Signal = containers.Signaled, status.Signal()
	default:
		exit.Code = status.ExitStatus()
	}
	if exit.Signal != 0 {
		exit.Code = 128 + int(exit.Signal)
	}
	return exit, nil
}

// lastWords reads what the init sends until it is done or gone.
func (r *running) lastWords() (end inside.Ending, ended bool, err error) {
	for {
		kind, body, fds, err := inside.Receive(r.box.sock)
		if err != nil { // nobody is there to send more
			return end, false, nil
		}
		switch kind {
		case inside.Handles:
			if err := r.keep(body, fds); err != nil {
				return end, false, err
			}
		case inside.Began:
			r.began = true
		case inside.Ended:
			end, err := inside.DecodeEnding(body)
			return end, true, err
		default:
			return end, false, r.failure(kind, body)
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

func (r *running) usage(end inside.Ending) containers.Usage {
	return containers.Usage{
		User:   time.Duration(end.User) * time.Microsecond,
		System: time.Duration(end.System) * time.Microsecond,
		MaxRSS: max(end.MaxRSS<<10, r.box.leaf.peakMemory()),
	}
}
