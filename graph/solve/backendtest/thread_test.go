//go:build linux

package backendtest_test

import (
	"os"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native"
	"github.com/cubebuild/cube/graph/solve/backendtest"
)

// open makes a backend in this process.
func open(t *testing.T, m backendtest.Machine) *containers.Executor {
	t.Helper()
	r, err := native.New(native.Config{StateDir: m.State, Worker: m.Init})
	if err != nil {
		t.Fatal(err)
	}
	x := containers.NewExecutor(containers.ExecutorConfig{Runner: r, Staging: containers.NewStaging(containers.StagingConfig{Dir: m.Stage})})
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

func TestThread(t *testing.T) {
	t.Parallel()
	backendtest.Run(t, os.Getenv("CUBE_SOAK") != "", func(t *testing.T, m backendtest.Machine) backendtest.Subject {
		return backendtest.Subject{Backend: open(t, m)}
	})
}

func TestSerial(t *testing.T) {
	t.Parallel()
	backendtest.Run(t, os.Getenv("CUBE_SOAK") != "", func(t *testing.T, m backendtest.Machine) backendtest.Subject {
		return backendtest.Subject{Backend: open(t, m), Serial: true}
	})
}
