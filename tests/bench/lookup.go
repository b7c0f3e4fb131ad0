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

// lookup asks the catalog for the versions of a variable, and the heads whether
// they satisfy a need, beside DuckDB's own lookup in the same file. The
// benchmarks themselves stand in cube/catalog and cube, which know DuckDB.
func lookup(ctx context.Context, l *lab) ([]comparison, error) {
	count := l.rounds(7, 1)
	const among = "BenchmarkVersionsOfAVariableAmongAMillion"
	catalog, err := l.goBench(ctx, "./cube/catalog", "VersionsOfAVariableAmongAMillion", count)
	if err != nil {
		return nil, err
	}
	heads, err := l.goBench(ctx, "./cube", "Satisfies$", count)
	if err != nil {
		return nil, err
	}
	theirs := catalog[among+"/duckdb"]
	if len(theirs) == 0 || len(catalog[among+"/cube"]) == 0 || len(heads["BenchmarkSatisfies"]) == 0 {
		return nil, fmt.Errorf("the benchmarks named no figure: %v, %v", catalog, heads)
	}
	const duck = "DuckDB's own lookup among 1,000,000 rows"
	return []comparison{
		{ours: "`Satisfies`", theirs: duck, unit: "µs", a: heads["BenchmarkSatisfies"], b: theirs, limit: 1.5},
		{ours: "versions of a variable, by the catalog", theirs: duck, unit: "µs", a: catalog[among+"/cube"], b: theirs, limit: 1.5},
	}, nil
}

// goBench runs Go benchmarks so many times and returns, for each, what one
// operation took, in µs.
func (l *lab) goBench(ctx context.Context, pkg, pattern string, count int) (map[string]sample, error) {
	// A binary of a fixed name, outside go test's own cache of results.
	binary := l.path(strings.ReplaceAll(filepath.Base(pkg), "/", "-") + ".test")
	compile := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, pkg)
	compile.Dir = l.root
	if out, err := compile.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile %s: %w: %s", pkg, err, tail(out))
	}
	cmd := exec.CommandContext(ctx, binary, "-test.run", "^$", "-test.bench", pattern, "-test.benchtime", "300ms",
		"-test.count", strconv.Itoa(count))
	cmd.Dir = filepath.Join(l.root, pkg)
	cmd.Env = append(l.env, "CUBE_BENCH=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("benchmarks of %s: %w: %s", pkg, err, tail(out))
	}
	return parseBench(string(out))
}

// parseBench reads lines such as
//
//	BenchmarkSatisfies-2   12345   98.7 ns/op   0 B/op
func parseBench(text string) (map[string]sample, error) {
	out := map[string]sample{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") || f[3] != "ns/op" {
			continue
		}
		ns, err := strconv.ParseFloat(f[2], 64)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		name := f[0]
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i]
		}
		out[name] = append(out[name], ns/1000)
	}
	return out, nil
}
