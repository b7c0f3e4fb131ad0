//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cubebuild/cube/internal/peers"
)

// zarrPeers reads and writes arrays with cube/zarr, zarr-python, zarrs and
// tensorstore in turns: see zarr_peers.py, which drives them all.
func zarrPeers(ctx context.Context, l *lab) ([]comparison, error) {
	python, err := peers.Interpreter()
	if err != nil {
		l.skip("Zarr beside its other implementations: %v", err)
		return nil, nil
	}
	peer := l.path("zarrpeer")
	build := exec.CommandContext(ctx, "go", "build", "-o", peer, "./tests/bench/zarrpeer")
	build.Dir = l.root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build zarrpeer: %w: %s", err, tail(out))
	}
	result := l.path("zarr.json")
	side := 8192
	if l.scale < 1 {
		side = max(1024, int(float64(side)*l.scale)/1024*1024)
	}
	if err := l.do(ctx, l.root, python, filepath.Join("tests", "bench", "zarr_peers.py"), peer,
		"--dir", l.dir, "--reps", strconv.Itoa(l.rounds(5, 2)), "--side", strconv.Itoa(side), "--json", result); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(result)
	if err != nil {
		return nil, err
	}
	var works []zarrWork
	if err := json.Unmarshal(data, &works); err != nil {
		return nil, err
	}
	var rows []comparison
	for _, w := range works {
		rows = append(rows, w.comparison("by the clock", w.Clock), w.comparison("by CPU time", w.CPU))
	}
	return rows, nil
}

// zarrWork is what zarr_peers.py says of one operation on one array: MB/s of
// each round, by peer.
type zarrWork struct {
	Work      string
	Operation string
	Clock     map[string]sample
	CPU       map[string]sample
}

// comparison is ours beside the fastest other.
func (w zarrWork) comparison(how string, speeds map[string]sample) comparison {
	c := comparison{ours: fmt.Sprintf("Zarr %s, %s, %s", w.Operation, w.Work, how), unit: "MB/s", a: speeds["cube"], atLeast: true, limit: 1.2}
	if w.Operation == "write" {
		c.limit = 1
	}
	for _, name := range slices.Sorted(maps.Keys(speeds)) {
		if name == "cube" {
			continue
		}
		if c.theirs == "" || speeds[name].spread().Median > c.b.spread().Median {
			c.theirs, c.b = name, speeds[name]
		}
	}
	return c
}
