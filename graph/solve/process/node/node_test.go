//go:build linux

package node

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph/solve/process/wire"
)

// leaves is an executor whose every action leaves so many files.
type leaves int

func (n leaves) Run(context.Context, containers.Action) (*containers.Result, error) {
	r := &containers.Result{Outputs: map[string]containers.Output{}}
	for i := range int(n) {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return nil, err
		}
		r.Outputs[strings.Repeat("a", i+1)] = containers.Output{File: f}
	}
	return r, nil
}

func TestAnAnswerThatCannotBeSentIsAFault(t *testing.T) {
	t.Parallel()
	engine, theirs, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	worker, err := wire.NewSocket(theirs)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- Serve(worker, leaves(1000)) }() // more than the kernel passes at once
	f, err := wire.SayAction(1, containers.Action{Name: "a"})
	if err == nil {
		err = engine.Send(f)
	}
	if err != nil {
		t.Fatal(err)
	}
	answer, err := engine.Receive()
	if err != nil {
		t.Fatal(err)
	}
	fault, err := wire.Hear[wire.Fault](answer)
	if answer.Kind != wire.Broken || answer.Action != 1 || !strings.Contains(fault.Text, "1000 files at once") || err != nil {
		t.Errorf("the answer is %c %+v, %v", answer.Kind, fault, err)
	}
	engine.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
	worker.Close()
}
