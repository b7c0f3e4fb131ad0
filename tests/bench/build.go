//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cubebuild/cube/tests/program"
)

// workspace copies a workspace of the repository into the lab, under a name.
func (l *lab) workspace(folder, name string) (string, error) {
	to := l.path(name)
	return to, program.CopyTree(folder, to)
}

// trivial makes a workspace of tests/workspaces/trivial with so many rows and
// columns of tiles.
func (l *lab) trivial(name string, rows, cols int) (string, error) {
	return l.sized("trivial", name, rows, cols)
}

// sized is trivial for a workspace that is as large.
func (l *lab) sized(workspace, name string, rows, cols int) (string, error) {
	dir, err := l.workspace(filepath.Join("tests", "workspaces", workspace), name)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "cube.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	const side = 80 // metres along a tile
	const written = "bounds: [400000, 4400000, 401600, 4402000]"
	bounds := fmt.Sprintf("bounds: [400000, 4400000, %d, %d]", 400000+side*cols, 4400000+side*rows)
	changed := strings.Replace(string(text), written, bounds, 1)
	if !strings.Contains(changed, bounds) {
		return "", fmt.Errorf("%s does not say %q", file, written)
	}
	return dir, os.WriteFile(file, []byte(changed), 0o644)
}

// idle builds what is built already, beside the least that the program can do:
// what is over is reading the workspace and seeing that nothing changed.
func idle(ctx context.Context, l *lab) ([]comparison, error) {
	dir, err := l.workspace("examples/rockies", "rockies")
	if err != nil {
		return nil, err
	}
	c := comparison{ours: "`cube build slope` with nothing to do, examples/rockies", theirs: "`cube version`", unit: "ms", limit: 3}
	for range 3 { // the first builds, the others warm up
		if err := l.do(ctx, dir, l.cube, "build", "slope"); err != nil {
			return nil, err
		}
	}
	for range l.rounds(100, 5) {
		a, err := l.time(ctx, dir, l.cube, "build", "slope")
		if err != nil {
			return nil, err
		}
		b, err := l.time(ctx, dir, l.cube, "version")
		if err != nil {
			return nil, err
		}
		c.a, c.b = append(c.a, a.ms()), append(c.b, b.ms())
	}
	return []comparison{c}, os.RemoveAll(dir)
}
