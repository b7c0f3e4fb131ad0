//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// snakefile is the graph of tests/workspaces/trivial in Snakemake's words: a
// file that all others are made from. Jobs run without any isolation.
const snakefile = `
rule all:
    input: expand("step/{i}.npy", i=range(%d))

rule step:
    input: "base.npy"
    output: "step/{i}.npy"
    shell: "%s %s {input} {output}"
`

// jobs builds a thousand trivial tiles with all isolation on, and has Snakemake
// run as many jobs of the same program.
func jobs(ctx context.Context, l *lab) ([]comparison, error) {
	snakemake, err := l.snakemake(ctx)
	if err != nil {
		l.skip("jobs beside Snakemake: %v", err)
		return nil, nil
	}
	p, err := newPayload(ctx, l)
	if err != nil {
		return nil, err
	}
	cols := 20
	n := max(1, l.rounds(1000, 40)/cols) * cols
	c := comparison{ours: fmt.Sprintf("%d trivial jobs, `cube build -j2`, a new cube", n), theirs: "`snakemake -c2`, no isolation", unit: "s", limit: 1.0 / 3}
	for range l.rounds(3, 1) {
		a, err := l.cubeJobs(ctx, n, cols)
		if err != nil {
			return nil, err
		}
		b, err := l.snakemakeJobs(ctx, snakemake, p, n)
		if err != nil {
			return nil, err
		}
		c.a, c.b = append(c.a, a.wall.Seconds()), append(c.b, b.wall.Seconds())
	}
	return []comparison{c}, nil
}

// cubeJobs is the cost of a whole build, from no cube to all tiles; images are
// built before.
func (l *lab) cubeJobs(ctx context.Context, n, cols int) (cost, error) {
	dir, err := l.trivial("jobs", n/cols, cols)
	if err != nil {
		return cost{}, err
	}
	defer os.RemoveAll(dir)
	small, err := l.trivial("jobs-images", 1, 1)
	if err != nil {
		return cost{}, err
	}
	defer os.RemoveAll(small)
	if err := l.do(ctx, small, l.cube, "build"); err != nil {
		return cost{}, err
	}
	return l.time(ctx, dir, l.cube, "build", "step", "-j2")
}

func (l *lab) snakemakeJobs(ctx context.Context, snakemake string, p *payload, n int) (cost, error) {
	dir := l.path("snakemake")
	defer os.RemoveAll(dir)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return cost{}, err
	}
	text := fmt.Sprintf(snakefile, n, filepath.Join(p.root, "producer"), p.request)
	if err := os.WriteFile(filepath.Join(dir, "Snakefile"), []byte(text), 0o644); err != nil {
		return cost{}, err
	}
	array, err := os.ReadFile(filepath.Join(p.in, "base", "data.npy"))
	if err != nil {
		return cost{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, "base.npy"), array, 0o644); err != nil {
		return cost{}, err
	}
	return l.time(ctx, dir, snakemake, "-c2", "--quiet", "all", "--nocolor")
}

// snakemake returns Snakemake of the pinned version, in an environment of the
// user's cache that is made once.
func (l *lab) snakemake(ctx context.Context) (string, error) {
	requirements := filepath.Join(l.root, "tests", "bench", "snakemake.txt")
	want, err := os.ReadFile(requirements)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "cube-test", "snakemake-venv")
	stamp := filepath.Join(dir, "requirements.txt")
	snakemake := filepath.Join(dir, "bin", "snakemake")
	if have, err := os.ReadFile(stamp); err == nil && string(have) == string(want) {
		return snakemake, nil
	}
	for _, argv := range [][]string{
		{"python3", "-m", "venv", dir},
		{filepath.Join(dir, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", "--requirement", requirements},
	} {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, tail(out))
		}
	}
	return snakemake, os.WriteFile(stamp, want, 0o644)
}

// tiles builds 10,000 tiles and then nothing, beside ninja with as many edges
// and nothing to do.
func tiles(ctx context.Context, l *lab) ([]comparison, error) {
	ninja, ok := l.find("ninja", "nothing to do beside ninja")
	if !ok {
		return nil, nil
	}
	side := 100
	if l.scale < 1 {
		side = max(10, int(float64(side)*l.scale))
	}
	n := side * side
	dir, err := l.trivial("tiles", side, side)
	if err != nil {
		return nil, err
	}
	edges, err := l.ninjaEdges(n)
	if err != nil {
		return nil, err
	}
	l.log("tiles: building %d of them", n)
	for _, argv := range [][]string{{l.cube, "build", "step"}, {l.cube, "build", "step"}} {
		if err := l.do(ctx, dir, argv...); err != nil {
			return nil, err
		}
	}
	for range 2 { // the first makes all files
		if err := l.do(ctx, edges, ninja); err != nil {
			return nil, err
		}
	}
	c := comparison{ours: fmt.Sprintf("`cube build` of %d tiles with nothing to do", n), theirs: fmt.Sprintf("`ninja` with %d edges and nothing to do", n), unit: "ms", limit: 0.8}
	var rss int64
	for range l.rounds(30, 3) {
		a, err := l.time(ctx, dir, l.cube, "build", "step")
		if err != nil {
			return nil, err
		}
		b, err := l.time(ctx, edges, ninja)
		if err != nil {
			return nil, err
		}
		rss = max(rss, a.rss)
		c.a, c.b = append(c.a, a.ms()), append(c.b, b.ms())
	}
	c.note = fmt.Sprintf("at most %d MiB resident", rss>>20)
	return []comparison{c}, os.RemoveAll(dir)
}

// ninjaEdges is a folder of n edges, each of a file of its own.
func (l *lab) ninjaEdges(n int) (string, error) {
	dir := l.path("ninja")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("rule touch\n  command = touch $out\n\n")
	for i := range n {
		b.WriteString("build out/" + strconv.Itoa(i) + ": touch base\n")
	}
	if err := os.WriteFile(filepath.Join(dir, "base"), nil, 0o644); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "build.ninja"), []byte(b.String()), 0o644)
}
