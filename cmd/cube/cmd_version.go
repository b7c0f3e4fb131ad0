package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/cubebuild/cube/graph"
	"github.com/spf13/cobra"
)

// version is the program's own; it is set where a release is built.
var version = "0.1.0"

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "print the version",
		GroupID: groupMachine,
		Example: "  cube version\n  cube version --json",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return runVersion(a) },
	}
}

func runVersion(a *app) error {
	if a.json {
		return json.NewEncoder(a.stdout).Encode(map[string]any{"type": "version", "version": version,
			"key_version": graph.KeyVersion, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
	}
	_, err := fmt.Fprintf(a.stdout, "cube %s (%s/%s, %s, keys v%d)\n", version, runtime.GOOS, runtime.GOARCH, runtime.Version(), graph.KeyVersion)
	return err
}
