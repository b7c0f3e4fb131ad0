//go:build linux

// Package node is the worker's side of the process backend: it runs the actions
// that an engine sends, each in a sandbox, until the engine hangs up.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native"
	"github.com/cubebuild/cube/graph/solve/process/wire"
)

// errCancelled is why an action ended that the engine cancelled.
var errCancelled = errors.New("cancelled by the engine")

// Main is the life of a worker that speaks over a connected Unix socket. The
// first frame sets it up, and brings the program that sandboxes begin with.
func Main(socket *os.File) error {
	conn, err := wire.NewSocket(socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	yieldMemory()
	f, err := conn.Receive()
	if err != nil {
		return fmt.Errorf("receive setup: %w", err)
	}
	x, end, err := setUp(f)
	f.Close()
	hello := wire.Hello{Version: wire.Version}
	if err != nil {
		hello.Error = err.Error()
	}
	ready, sayErr := wire.Say(wire.Ready, 0, hello)
	if sendErr := errors.Join(sayErr, conn.Send(ready)); err != nil || sendErr != nil {
		return errors.Join(err, sendErr)
	}
	return errors.Join(Serve(conn, x), end())
}

// yieldMemory has this process go before the engine when the machine runs out of
// memory, and after what it runs.
func yieldMemory() {
	// A score that may not be raised stays: it is a preference.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("250"), 0)
}

// setUp makes what runs actions, and a function that ends it.
func setUp(f wire.Frame) (*containers.Executor, func() error, error) {
	s, err := wire.Hear[wire.Setup](f)
	switch {
	case err != nil:
		return nil, nil, err
	case f.Kind != wire.SetUp || len(f.Blobs) != 1 || f.Blobs[0].File == nil:
		return nil, nil, wire.ErrFrame
	case s.Version != wire.Version:
		return nil, nil, fmt.Errorf("the engine speaks version %d and this worker %d: they are of different versions of cube", s.Version, wire.Version)
	}
	runner, err := native.New(native.Config{StateDir: s.State, Worker: fmt.Sprintf("/proc/self/fd/%d", f.Blobs[0].File.Fd()), Spares: s.Spares})
	if err != nil {
		return nil, nil, err
	}
	x := containers.NewExecutor(containers.ExecutorConfig{Runner: runner, Sessions: 1, Staging: containers.NewStaging(containers.StagingConfig{
		Memory: s.Memory, Disk: s.Disk, Dir: func() (string, error) { return s.Stage, nil }})})
	return x, func() error { return errors.Join(x.Close(), runner.Close()) }, nil
}

// Executor runs one action, as containers.Executor does.
type Executor interface {
	Run(ctx context.Context, a containers.Action) (*containers.Result, error)
}

// Serve runs what comes over a connection until the other side is gone, ends
// what then still runs, and waits for that.
func Serve(conn wire.Conn, x Executor) error {
	s := &server{conn: conn, x: x, running: map[uint64]context.CancelCauseFunc{}}
	err := s.serve()
	s.mu.Lock()
	for _, cancel := range s.running {
		cancel(errCancelled)
	}
	s.mu.Unlock()
	s.wait.Wait()
	return err
}

// server is one connection being served.
type server struct {
	conn wire.Conn
	x    Executor
	wait sync.WaitGroup

	mu      sync.Mutex
	running map[uint64]context.CancelCauseFunc
}

func (s *server) serve() error {
	for {
		f, err := s.conn.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		switch f.Kind {
		case wire.Run:
			s.start(f)
		case wire.Cancel:
			s.cancel(f.Action)
			f.Close()
		default:
			f.Close()
			return fmt.Errorf("%w: kind %q", wire.ErrFrame, f.Kind)
		}
	}
}

// start runs an action beside what else comes.
func (s *server) start(f wire.Frame) {
	ctx, cancel := context.WithCancelCause(context.Background())
	s.mu.Lock()
	s.running[f.Action] = cancel
	s.mu.Unlock()
	s.wait.Go(func() {
		defer f.Close()
		defer s.cancel(f.Action)
		answer, end := s.answer(ctx, f)
		defer end()
		if err := s.conn.Send(answer); err != nil {
			s.sayFault(f.Action, err)
		}
	})
}

// sayFault says of an action why its answer could not be sent. Where nothing can be,
// it hangs up: the engine waits for an answer, or is gone.
func (s *server) sayFault(number uint64, err error) {
	// A text always has an encoding.
	fault, _ := wire.Say(wire.Broken, number, wire.Fault{Text: fmt.Sprintf("send what came of it: %v", err)})
	if s.conn.Send(fault) != nil {
		s.conn.Close()
	}
}

func (s *server) cancel(number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel, ok := s.running[number]; ok {
		cancel(errCancelled)
		delete(s.running, number)
	}
}

// answer runs an action and says how it ended. end gives up what the answer
// refers to.
func (s *server) answer(ctx context.Context, f wire.Frame) (answer wire.Frame, end func()) {
	end = func() {}
	a, release, err := wire.HearAction(f)
	var r *containers.Result
	if err == nil {
		defer release()
		a.Log = &logger{s.conn, f.Action}
		r, err = s.x.Run(ctx, a)
	}
	if err == nil {
		end = func() { r.Close() }
		if answer, err = wire.SayResult(f.Action, r); err == nil {
			return answer, end
		}
	}
	if failed := (*containers.Failure)(nil); errors.As(err, &failed) {
		if answer, sayErr := wire.Say(wire.Failed, f.Action, failed); sayErr == nil {
			return answer, end
		}
	}
	// Text and a flag always have an encoding.
	answer, _ = wire.Say(wire.Broken, f.Action, wire.Fault{Text: err.Error(), Spec: errors.Is(err, containers.ErrSpec)})
	return answer, end
}

// logger sends what is written to it.
type logger struct {
	conn   wire.Conn
	action uint64
}

// Write implements io.Writer. It never fails: an engine that is gone reads no
// log.
func (l *logger) Write(p []byte) (int, error) {
	_ = l.conn.Send(wire.Frame{Kind: wire.Log, Action: l.action, Blobs: []wire.Blob{{Bytes: p}}})
	return len(p), nil
}
