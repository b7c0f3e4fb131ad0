//go:build linux

package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// scale plans, schedules and records builds of thirty variables that have ten
// thousand tiles together, and a million, with a backend that does nothing
// (BenchmarkTiles and BenchmarkRecordedTiles of graph/solve, each in a process
// of its own).
func scale(ctx context.Context, l *lab) ([]comparison, error) {
	binary := l.path("solve.test")
	compile := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "./graph/solve")
	compile.Dir = l.root
	if out, err := compile.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile ./graph/solve: %w: %s", err, tail(out))
	}
	many := "1000k"
	if l.scale < 1 {
		many = "100k"
	}
	overhead := comparison{ours: "the engine for a tile, of 10k of 30 variables, a backend that does nothing", theirs: "a fixed 50 µs", unit: "µs", limit: 1}
	flat := comparison{ours: "the engine for a tile, of " + many, theirs: "of 10k", unit: "µs", limit: 1.25}
	recorded := comparison{ours: "the same and its lineage, of " + many, theirs: "of 10k", unit: "µs", limit: 1.25}
	memory := comparison{ours: "most memory of a build of " + many + " tiles, with its lineage", theirs: "1 GiB", unit: "MiB", limit: 1}
	for range l.rounds(3, 1) {
		for _, c := range []*comparison{&flat, &recorded} {
			name := "Tiles"
			if c == &recorded {
				name = "RecordedTiles"
			}
			a, rss, err := l.perTile(ctx, binary, name, many)
			if err != nil {
				return nil, err
			}
			b, _, err := l.perTile(ctx, binary, name, "10k")
			if err != nil {
				return nil, err
			}
			c.a, c.b = append(c.a, a), append(c.b, b)
			if c == &recorded {
				memory.a, memory.b = append(memory.a, float64(rss>>20)), append(memory.b, 1024)
				continue
			}
			overhead.a, overhead.b = append(overhead.a, b), append(overhead.b, 50)
		}
	}
	return []comparison{overhead, flat, recorded, memory}, nil
}

// perTile runs one benchmark once, and returns what it took for each tile, in
// µs, and the memory of its process.
func (l *lab) perTile(ctx context.Context, binary, name, tiles string) (float64, int64, error) {
	pattern := fmt.Sprintf("^Benchmark%s$/^%s$", name, tiles)
	cost, out, err := l.run(ctx, filepath.Join(l.root, "graph", "solve"), append(l.env, "CUBE_SOAK=1"),
		binary, "-test.run", "^$", "-test.bench", pattern, "-test.benchtime", "1x", "-test.timeout", "1h")
	if err != nil {
		return 0, 0, err
	}
	f := strings.Fields(out)
	for i, unit := range f {
		if unit == "ns/tile" && i > 0 {
			ns, err := strconv.ParseFloat(f[i-1], 64)
			return ns / 1000, cost.rss, err
		}
	}
	return 0, 0, fmt.Errorf("%s named no figure: %s", pattern, tail([]byte(out)))
}
