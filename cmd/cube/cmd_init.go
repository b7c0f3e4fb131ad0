package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/cubebuild/cube/internal/config"
	"github.com/spf13/cobra"
)

func newInitCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "init [DIRECTORY]",
		Short:   "make a workspace that builds at once",
		GroupID: groupBuild,
		Long: `Init writes a small workspace: a cube.yaml, and two producers in Go, one of which
makes elevation out of nothing. It builds without network, and is there to be
changed. Nothing that exists is written over.`,
		Example: `  cube init hills && cd hills
  cube build slope`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(c *cobra.Command, args []string) error {
			dir := a.dir
			if len(args) > 0 {
				dir = args[0]
			}
			return runInit(c.Context(), a, dir)
		},
	}
}

func runInit(ctx context.Context, a *app, dir string) error {
	files, err := config.Init(dir, goVersion(ctx))
	if errors.Is(err, config.ErrExists) {
		return &usageError{fmt.Errorf("%w\n  a workspace is made where there is none: cube init DIRECTORY", err)}
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.printLines(map[string]any{"type": "init", "directory": dir, "files": files})
	}
	for _, f := range files {
		fmt.Fprintf(a.stdout, "  %s\n", f)
	}
	next := "cube build slope"
	if dir != "." {
		next = "cd " + dir + " && " + next
	}
	_, err = fmt.Fprintf(a.stdout, "next: %s\n", next)
	return err
}

// goVersion is the Go toolchain that would compile producers, "" where there is
// none.
func goVersion(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
