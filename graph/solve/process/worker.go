//go:build linux

package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/graph/solve/process/wire"
)

// process is one worker. One goroutine has it at a time.
type process struct {
	cmd    *exec.Cmd
	conn   *wire.Socket
	said   *lastWords
	family string // of the action that it ran last
	number uint64 // of that action
	// patience is how long it may take to stop what is cancelled, or to end, before
	// it is killed.
	patience time.Duration

	once  sync.Once
	ended error
}

// lastWords keeps the end of what a worker printed: what Go says of a crash.
type lastWords struct {
	mu   sync.Mutex
	text []byte
}

const maxWords = 2 << 10

// Write implements io.Writer and never fails.
func (w *lastWords) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if room := maxWords - len(w.text); room > 0 { // the first words of a crash say what it was
		w.text = append(w.text, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	line, _, _ := bytes.Cut(bytes.TrimSpace(w.text), []byte("\n"))
	return string(line)
}

// spawn starts a worker and waits until it is ready.
func (s *starter) spawn(setup wire.Setup, patience time.Duration) (*process, error) {
	conn, theirs, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	p := &process{conn: conn, said: &lastWords{}, patience: patience}
	p.cmd = &exec.Cmd{
		Path:       "/proc/self/fd/" + strconv.Itoa(int(s.program.Fd())),
		Args:       []string{"cube-node", "serve"},
		Env:        []string{"GOTRACEBACK=single"},
		Dir:        "/",
		Stderr:     p.said,
		ExtraFiles: []*os.File{theirs},
		// In a process group of its own it is not interrupted by the terminal: what
		// ends it is the engine, and the engine's end.
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true},
		WaitDelay:   time.Second,
	}
	s.do(func() { err = p.cmd.Start() })
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("start worker: %w", err)
	}
	if err := p.greet(s, setup); err != nil {
		if words := p.said.String(); words != "" {
			err = fmt.Errorf("%w: %s", err, words)
		}
		p.kill()
		_ = p.end()
		return nil, fmt.Errorf("start worker: %w", err)
	}
	return p, nil
}

// greet sets the worker up.
func (p *process) greet(s *starter, setup wire.Setup) error {
	f, err := wire.Say(wire.SetUp, 0, setup, wire.Blob{File: s.init})
	if err == nil {
		err = p.conn.Send(f)
	}
	if err != nil {
		return err
	}
	if f, err = p.conn.Receive(); err != nil {
		return err
	}
	f.Close()
	hello, err := wire.Hear[wire.Hello](f)
	switch {
	case err != nil:
		return err
	case f.Kind != wire.Ready || hello.Version != wire.Version:
		return fmt.Errorf("it speaks version %d, and the engine %d: they are of different versions of cube", hello.Version, wire.Version)
	case hello.Error != "":
		return errors.New(hello.Error)
	}
	return nil
}

// run has the worker run an action. usable is false where it can run no other.
func (p *process) run(ctx context.Context, a containers.Action) (r *containers.Result, usable bool, err error) {
	p.number++
	f, err := wire.SayAction(p.number, a)
	if err != nil {
		return nil, true, err
	}
	sent, over := make(chan struct{}), make(chan struct{})
	defer close(over)
	defer context.AfterFunc(ctx, func() { p.cancel(f.Action, sent, over) })()
	err = p.conn.Send(f)
	close(sent)
	for err == nil {
		var answer wire.Frame
		if answer, err = p.conn.Receive(); err != nil {
			break
		}
		if answer.Kind == wire.Log && len(answer.Blobs) == 1 {
			err = p.log(a.Log, answer)
			continue
		}
		r, err = p.answer(ctx, answer)
		return r, !errors.Is(err, wire.ErrFrame), err
	}
	return nil, false, p.lost(ctx, err)
}

// log passes on what the payload printed.
func (p *process) log(to io.Writer, f wire.Frame) error {
	defer f.Close()
	if to == nil {
		return nil
	}
	if f.Blobs[0].File == nil {
		_, err := to.Write(f.Blobs[0].Bytes)
		return err
	}
	_, err := io.Copy(to, io.NewSectionReader(f.Blobs[0].File, 0, 1<<62))
	return err
}

// answer is what the last frame of an action says.
func (p *process) answer(ctx context.Context, f wire.Frame) (*containers.Result, error) {
	switch f.Kind {
	case wire.Ended:
		return wire.HearResult(f)
	case wire.Failed:
		failure, err := wire.Hear[*containers.Failure](f)
		if err == nil && failure != nil {
			return nil, failure
		}
	case wire.Broken:
		fault, err := wire.Hear[wire.Fault](f)
		switch {
		case context.Cause(ctx) != nil:
			return nil, context.Cause(ctx)
		case err == nil && fault.Spec:
			return nil, &specError{fault.Text}
		case err == nil:
			return nil, errors.New(fault.Text)
		}
	}
	f.Close()
	return nil, fmt.Errorf("worker %d: %w", p.cmd.Process.Pid, wire.ErrFrame)
}

// specError is an error of a worker that has containers.ErrSpec in its chain.
type specError struct{ text string }

func (e *specError) Error() string { return e.text }
func (e *specError) Unwrap() error { return containers.ErrSpec }

// lost is why a worker that is of no use any more ran its action to no end.
func (p *process) lost(ctx context.Context, cause error) error {
	p.kill()
	why := "it hung up"
	if err := p.end(); err != nil {
		why = err.Error()
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if words := p.said.String(); words != "" {
		why += ": " + words
	} else if !errors.Is(cause, io.EOF) && !errors.Is(cause, syscall.EPIPE) {
		why += ": " + cause.Error()
	}
	return &solve.LostError{Where: fmt.Sprintf("worker %d", p.cmd.Process.Pid), Why: why}
}

// cancel has the worker stop an action once it was sent, and ends the worker where
// it does not.
func (p *process) cancel(number uint64, sent, over <-chan struct{}) {
	timer := time.AfterFunc(p.patience, p.kill)
	defer timer.Stop()
	<-sent
	// A worker that is gone, or takes nothing more, is found by whoever receives.
	_ = p.conn.Send(wire.Frame{Kind: wire.Cancel, Action: number})
	<-over
}

// kill ends the worker at once. It may be called at any time.
func (p *process) kill() { _ = p.cmd.Process.Kill() }

// end hangs up and waits for the worker's end. One that does not come to it, because
// it was stopped, is killed.
func (p *process) end() error {
	p.once.Do(func() {
		p.conn.Close()
		defer time.AfterFunc(p.patience, p.kill).Stop()
		p.ended = p.cmd.Wait()
	})
	return p.ended
}
