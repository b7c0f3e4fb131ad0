// Command cube-node is a worker of the process backend: it runs actions for an
// engine that speaks to it over descriptor 3 (graph/solve/process/wire).
//
// It is static, embedded in cube and never started by hand. It is not one
// program with cube-worker, the sandbox's first process, because that one's start
// is most of what a container costs: as part of a program of this size it would
// start half a millisecond later.
package main

import (
	"fmt"
	"os"

	"github.com/cubebuild/cube/graph/solve/process/node"
)

func main() {
	if len(os.Args) != 2 || os.Args[1] != "serve" {
		fmt.Fprintln(os.Stderr, "cube-node is a part of cube and does nothing by itself")
		os.Exit(2)
	}
	if err := node.Main(os.NewFile(3, "engine")); err != nil {
		fmt.Fprintln(os.Stderr, "cube-node:", err)
		os.Exit(1)
	}
}
