//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// peer is another program that builds, with a graph in its own words: so many
// files, each made by touching it, of one file or of a leaf of its own.
type peer struct {
	name   string
	what   string   // "ninja", with words on how it is run
	argv   []string // builds all
	limit  float64  // of ours, with nothing to do, beside it; 0: for reference
	write  func(dir string, n int, of leaf) error
	rounds int // at most, 0: as many as there are
	stop   func(context.Context) error
}

// leaf is what edges are made of: a name, or a pattern of names with its number.
type leaf string

const (
	shared leaf = "base"
	own    leaf = "in/%"
)

// name is the leaf of an edge.
func (f leaf) name(i int) string { return strings.Replace(string(f), "%", strconv.Itoa(i), 1) }

// peers are ninja, make, Snakemake and Bazel, where they are to be had for a
// purpose.
func (l *lab) peers(ctx context.Context, purpose string) (all []peer) {
	if path, ok := l.find("ninja", purpose+"ninja"); ok {
		all = append(all, peer{name: "ninja", what: "`ninja`", argv: []string{path}, limit: 0.8, write: writeNinja})
	}
	if path, ok := l.find("make", purpose+"make"); ok {
		all = append(all, peer{name: "make", what: "`make`", argv: []string{path, "--silent"}, write: writeMake})
	}
	if path, err := l.snakemake(ctx); err != nil {
		l.skip("%sSnakemake: %v", purpose, err)
	} else {
		all = append(all, peer{name: "snakemake", what: "`snakemake`", argv: []string{path, "-c2", "--quiet", "all", "--nocolor"}, write: writeSnakemake, rounds: 3})
	}
	if path, ok := l.find("bazel", purpose+"Bazel"); ok {
		all = append(all, l.bazel(path))
	}
	return all
}

// bazel is Bazel with a server that is warm, and that is gone afterwards.
func (l *lab) bazel(path string) peer {
	command := []string{path, "--output_user_root=" + l.path("bazel-root"), "--max_idle_secs=600"}
	p := peer{name: "bazel", what: "`bazel build //...`, its server warm", write: writeBazel, rounds: 20,
		argv: append(command, "build", "//...", "--spawn_strategy=local", "--color=no", "--curses=no", "--noshow_progress")}
	p.stop = func(ctx context.Context) error {
		return errors.Join(l.do(context.WithoutCancel(ctx), l.path("peers", p.name), append(command, "shutdown")...),
			// What Bazel has made nobody may write, its owner neither.
			l.do(context.WithoutCancel(ctx), l.dir, "chmod", "-R", "u+w", l.path("bazel-root")))
	}
	return p
}

// prepare writes a graph of n edges and has the peer build it.
func (l *lab) prepare(ctx context.Context, p peer, n int, of leaf) (dir string, err error) {
	dir = l.path("peers", p.name)
	if err := os.MkdirAll(filepath.Join(dir, "in"), 0o755); err != nil {
		return "", err
	}
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, of.name(i)), nil, 0o644); err != nil {
			return "", err
		}
	}
	if err := p.write(dir, n, of); err != nil {
		return "", err
	}
	return dir, l.do(ctx, dir, p.argv...)
}

func (l *lab) forget(ctx context.Context, p peer) (err error) {
	if p.stop != nil {
		err = p.stop(ctx)
	}
	return errors.Join(err, os.RemoveAll(l.path("peers", p.name)))
}

func writeNinja(dir string, n int, of leaf) error {
	var b strings.Builder
	b.WriteString("rule touch\n  command = touch $out\n\n")
	for i := range n {
		fmt.Fprintf(&b, "build out/%d: touch %s\n", i, of.name(i))
	}
	return os.WriteFile(filepath.Join(dir, "build.ninja"), []byte(b.String()), 0o644)
}

func writeMake(dir string, n int, of leaf) error {
	var b strings.Builder
	b.WriteString("all:")
	for i := range n {
		fmt.Fprintf(&b, " out/%d", i)
	}
	fmt.Fprintf(&b, "\n.SUFFIXES:\nout/%%: %s\n\ttouch $@\n", of)
	return errors.Join(os.Mkdir(filepath.Join(dir, "out"), 0o755), os.WriteFile(filepath.Join(dir, "Makefile"), []byte(b.String()), 0o644))
}

// writeSnakemake also makes the files: a job takes it some 20 ms, and how long
// those take is measured elsewhere.
func writeSnakemake(dir string, n int, of leaf) error {
	text := fmt.Sprintf(`rule all:
    input: expand("out/{i}", i=range(%d))

rule touch:
    input: "%s"
    output: "out/{i}"
    shell: "touch {output}"
`, n, strings.Replace(string(of), "%", "{i}", 1))
	err := errors.Join(os.Mkdir(filepath.Join(dir, "out"), 0o755), os.WriteFile(filepath.Join(dir, "Snakefile"), []byte(text), 0o644))
	for i := range n {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, "out", strconv.Itoa(i)), nil, 0o644))
	}
	return err
}

func writeBazel(dir string, n int, of leaf) error {
	text := fmt.Sprintf(`[genrule(
    name = "t%%d" %% i,
    srcs = ["%s"%s],
    outs = ["out/%%d" %% i],
    cmd = "touch $@",
) for i in range(%d)]
`, strings.Replace(string(of), "%", "%d", 1), map[leaf]string{own: " % i"}[of], n)
	return errors.Join(os.WriteFile(filepath.Join(dir, "WORKSPACE"), nil, 0o644), os.WriteFile(filepath.Join(dir, "BUILD"), []byte(text), 0o644))
}
