//go:build linux

package process_test

import (
	"os"
	"testing"

	"github.com/cubebuild/cube/graph/solve/backendtest"
	"github.com/cubebuild/cube/graph/solve/process"
)

func open(t *testing.T, m backendtest.Machine) *process.Backend {
	b := process.New(process.Config{State: m.State, Stage: m.Stage, Workers: m.Workers, Program: m.Node, Init: m.Init})
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
