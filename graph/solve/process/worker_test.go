//go:build linux

package process

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph/solve/process/wire"
)

// A worker knows nothing of an action that it has not been sent, and would run it to
// its end.
func TestAnActionIsCancelledAfterItWasSent(t *testing.T) {
	t.Parallel()
	conn, theirs, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	worker, err := wire.NewSocket(theirs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); worker.Close() })
	p := &process{conn: conn, said: &lastWords{}, patience: time.Hour}
	ended := errors.New("the build ended")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ended)
	a := containers.Action{Name: "a", Inputs: []containers.Input{{Values: make([]byte, 1<<20)}}} // takes its time to send
	for range 20 {
		done := make(chan error)
		go func() { _, _, err := p.run(ctx, a); done <- err }()
		for _, want := range []wire.Kind{wire.Run, wire.Cancel} {
			f, err := worker.Receive()
			if err != nil || f.Kind != want {
				t.Fatalf("the engine said %c, want %c: %v", f.Kind, want, err)
			}
			f.Close()
		}
		fault, err := wire.Say(wire.Broken, p.number, wire.Fault{Text: "cancelled"})
		if err == nil {
			err = worker.Send(fault)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, ended) {
			t.Fatal(err)
		}
	}
}
