package ui

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
)

func TestAThousandFailuresAreNotAllShown(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := &Plain{Out: &out, Err: &out}
	v := &graph.Vertex{Name: "slope"}
	for range 1000 {
		if err := p.Event(solve.TileDone{Vertex: v, Outcome: solve.Failed, Err: errors.New("exited with code 1"), Log: []byte("why\n")}); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(out.String(), "exited with code 1"); n != maxFailures {
		t.Errorf("%d failures are shown, want %d", n, maxFailures)
	}
	if n := strings.Count(out.String(), "cube failed lists them"); n != 1 {
		t.Errorf("the rest is mentioned %d times", n)
	}
}
