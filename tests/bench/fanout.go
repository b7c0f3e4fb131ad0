//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
)

// fanout builds tiles of tests/workspaces/burn, which take a processor a tenth
// of a second each, one after the other and then on all cores.
func fanout(ctx context.Context, l *lab) ([]comparison, error) {
	cores := runtime.NumCPU()
	rows := l.rounds(4, 1) * cores
	c := comparison{ours: fmt.Sprintf("%d tiles that keep a processor busy, `cube build -j1`", 10*rows), theirs: fmt.Sprintf("`cube build -j%d`, as many as cores", cores),
		unit: "s", limit: 0.9 * float64(cores), atLeast: true}
	for range l.rounds(5, 2) {
		a, err := l.burn(ctx, rows, 1)
		if err != nil {
			return nil, err
		}
		b, err := l.burn(ctx, rows, cores)
		if err != nil {
			return nil, err
		}
		c.a, c.b = append(c.a, a.wall.Seconds()), append(c.b, b.wall.Seconds())
	}
	return []comparison{c}, nil
}

// burn is the cost of a build of so many rows of ten tiles, in a new cube;
// images are built before.
func (l *lab) burn(ctx context.Context, rows, jobs int) (c cost, err error) {
	dir, err := l.workspace("tests/workspaces/burn", "burn")
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	const written = "bounds: [400000, 4400000, 400800, 4400800]"
	bounds := func(rows int) string {
		return fmt.Sprintf("bounds: [400000, 4400000, 400800, %d]", 4400000+80*rows)
	}
	file := filepath.Join(dir, "cube.yaml")
	if err := replace(file, written, bounds(1)); err != nil {
		return c, err
	}
	if err := l.do(ctx, dir, l.cube, "build", "--set", "producers.burn.params.rounds=0"); err != nil {
		return c, err
	}
	if err := replace(file, bounds(1), bounds(rows)); err != nil {
		return c, err
	}
	return l.time(ctx, dir, l.cube, "build", "-j", strconv.Itoa(jobs))
}
