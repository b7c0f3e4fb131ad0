//go:build linux

package process_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph/solve/backendtest"
	"github.com/cubebuild/cube/graph/solve/process"
)

func open(t *testing.T, m backendtest.Machine) *process.Backend {
	return openWith(t, m, process.Config{})
}

func openWith(t *testing.T, m backendtest.Machine, c process.Config) *process.Backend {
	c.State, c.Stage, c.Workers, c.Program, c.Init = m.State, m.Stage, m.Workers, m.Node, m.Init
	b := process.New(c)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if left := b.PIDs(); len(left) > 0 {
			t.Errorf("workers %v are left", left)
		}
	})
	return b
}

func TestProcess(t *testing.T) {
	t.Parallel()
	backendtest.RunLosing(t, os.Getenv("CUBE_SOAK") != "", func(t *testing.T, m backendtest.Machine) backendtest.Subject {
		b := open(t, m)
		return backendtest.Subject{Backend: b, Workers: b.PIDs}
	})
}

func TestTheDiskOfTheStagingAreaIsThatOfAllWorkersTogether(t *testing.T) {
	t.Parallel()
	backendtest.With(t, func(t *testing.T, m backendtest.Machine, action backendtest.Maker) {
		const disk = 300 << 20 // more than one of them takes, and less than two
		b := openWith(t, m, process.Config{Memory: 1, Disk: disk})
		first, stop := context.WithCancel(t.Context())
		defer stop()
		began, ended := make(chan struct{}), make(chan error)
		a := action("wait", 600_000)
		a.Log = writer(sync.OnceFunc(func() { close(began) }))
		go func() { _, err := b.Run(first, a); ended <- err }()
		<-began
		soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := b.Run(soon, action("wait", 1)); !errors.Is(err, context.DeadlineExceeded) || len(b.PIDs()) != 1 {
			t.Errorf("it came to %v, with workers %v, and should have waited for disk", err, b.PIDs())
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the first ended with %v", err)
		}
		r, err := b.Run(t.Context(), action("exit", 3))
		if f, ok := errors.AsType[*containers.Failure](err); !ok || f.Code != 3 {
			t.Errorf("it came to %v, %v", r, err)
		}
		large := action("wait", 1)
		large.Limits.Disk = disk + 1
		if _, err := b.Run(t.Context(), large); !errors.Is(err, containers.ErrStaging) {
			t.Errorf("more disk than there ever is came to %v", err)
		}
	})
}

func TestAWorkerThatWasStoppedKeepsNoBuildFromItsEnd(t *testing.T) {
	t.Parallel()
	backendtest.With(t, func(t *testing.T, m backendtest.Machine, action backendtest.Maker) {
		b := process.New(process.Config{State: m.State, Stage: m.Stage, Program: m.Node, Init: m.Init, Patience: 50 * time.Millisecond})
		if err := b.Ready(); err != nil {
			t.Fatal(err)
		}
		for _, pid := range b.PIDs() {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}
		ended := make(chan error)
		go func() { ended <- b.Close() }()
		select {
		case <-ended: // it says that the worker was killed
		case <-t.Context().Done():
		case <-time.After(20 * time.Second):
			t.Error("it waits for the worker")
			for _, pid := range b.PIDs() {
				syscall.Kill(pid, syscall.SIGCONT)
			}
			<-ended
		}
		if left := b.PIDs(); len(left) != 0 {
			t.Errorf("workers %v are left", left)
		}
	})
}

// writer calls a function for what is written to it.
type writer func()

func (w writer) Write(p []byte) (int, error) { w(); return len(p), nil }
