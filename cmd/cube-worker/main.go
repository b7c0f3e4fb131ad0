// Command cube-worker is the small static program that runs on the far side of
// the engine:
//
//	cube-worker init    the first process of a native sandbox (containers/native/inside)
//
// It is embedded in cube and never started by hand. It stays small because its
// start is most of what a container costs.
package main

import (
	"os"
	"syscall"

	"github.com/cubebuild/cube/containers/native/inside"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "init" {
		inside.Main()
	}
	const usage = "cube-worker is a part of cube and does nothing by itself\n"
	syscall.Write(2, []byte(usage))
	syscall.Exit(2)
}
