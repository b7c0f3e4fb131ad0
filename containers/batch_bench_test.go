//go:build linux

package containers_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph"
)

// small is about the least that a tile can be: a window in, an array out.
func small(b *testing.B) containers.Action {
	a := tile(b, step{Do: "copy", Path: "out/data.npy", To: "/cube/in/in/data.npy"})
	a.Inputs = []containers.Input{window(b, "in", graph.VarSpec{DType: graph.Uint8, Kind: graph.Static}, graph.NPY, make([]byte, 48))}
	a.Outputs = map[string]graph.RequestOutput{"out": grids(graph.Uint8, 6, 8)}
	a.Batch = 1 << 16
	return a
}

// BenchmarkBatchedTile is one tile within a batch, from staging to taking in;
// alone, each has a container of its own.
func BenchmarkBatchedTile(b *testing.B) {
	for name, alone := range map[string]bool{"batched": false, "alone": true} {
		b.Run(name, func(b *testing.B) {
			x, a := newBatch(b), small(b)
			a.Alone = alone
			for b.Loop() {
				r, err := x.Run(b.Context(), a)
				if err != nil {
					b.Fatal(err)
				}
				r.Close()
			}
		})
	}
}

// BenchmarkForkExec is the start of the same program by itself, which then does
// nothing: no sandbox, no window, no output.
func BenchmarkForkExec(b *testing.B) {
	build(b)
	program := filepath.Join(built.layer, "payload")
	for b.Loop() {
		cmd := exec.Command(program)
		cmd.Env = []string{"CUBE_SERVE=1"} // it reads the end of its input, and ends
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
	}
}
