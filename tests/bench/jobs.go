//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
func (l *lab) cubeJobs(ctx context.Context, n, cols int) (_ cost, err error) {
	dir, err := l.trivial("jobs", n/cols, cols)
	if err != nil {
		return cost{}, err
	}
	defer func() { err = errors.Join(err, l.setAside(dir)) }()
	if err := l.makeImages(ctx); err != nil {
		return cost{}, err
	}
	return l.time(ctx, dir, l.cube, "build", "step", "-j2")
}

// makeImages makes the images of the trivial workspace.
func (l *lab) makeImages(ctx context.Context) error {
	small, err := l.trivial("images", 1, 1)
	if err != nil {
		return err
	}
	return errors.Join(l.do(ctx, small, l.cube, "build"), os.RemoveAll(small))
}

func (l *lab) snakemakeJobs(ctx context.Context, snakemake string, p *payload, n int) (_ cost, err error) {
	dir := l.path("snakemake")
	defer func() { err = errors.Join(err, l.setAside(dir)) }()
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
