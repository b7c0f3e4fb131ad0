//go:build linux

// Command bench measures cube beside the programs that it is held against, all
// on this machine and in one run: each round does the same work with ours and
// with theirs, in turns, so that what else the machine is doing troubles both.
// What counts is the ratio within a round; the median over the rounds is held
// against a limit, and the least and the greatest show how noisy it was.
//
//	bench                          # all, a table on standard output
//	bench -only action,jobs        # some
//	bench -scale 0.1               # less work, for a first look
//	bench -o result.json           # all that was measured, for machines
//	bench -update BENCHMARKS.md    # the same table between the marks in that file
//
// A program that is not there is said to be missing, and nothing is measured
// against it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cubebuild/cube/tests/program"
)

// bench is one experiment. It returns what it compared, also where it could
// not do all.
type bench struct {
	name string
	what string
	run  func(context.Context, *lab) ([]comparison, error)
}

var benches = []bench{
	{"idle", "a build with nothing to do", idle},
	{"action", "what the engine adds to an action", action},
	{"batch", "what a tile within a batch costs", batch},
	{"jobs", "a thousand trivial jobs", jobs},
	{"tiles", "builds of 10,000 and of 1,000,000 tiles with nothing to do", tiles},
	{"changed", "one changed cell among 10,000 tiles", changed},
	{"scale", "the engine's own work on 10,000 and on 1,000,000 tiles of thirty variables", scale},
	{"fanout", "a fan-out that the processors bound", fanout},
	{"hash", "naming values", hashing},
	{"lookup", "asking for one variable among a million versions", lookup},
	{"zarr", "reading and writing Zarr", zarrPeers},
}

type options struct {
	only   string
	scale  float64
	dir    string
	output string
	update string
}

func main() {
	var o options
	flag.StringVar(&o.only, "only", "", "run these `benches` (comma-separated) and no others")
	flag.Float64Var(&o.scale, "scale", 1, "do this `fraction` of the rounds and of the work")
	flag.StringVar(&o.dir, "dir", "", "work in this `directory` (default: the temporary one)")
	flag.StringVar(&o.output, "o", "", "write what was measured to this `file`: .json or .md")
	flag.StringVar(&o.update, "update", "", "replace the table in this Markdown `file`")
	flag.Usage = usage
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: bench [flags]\n\nbenches:")
	for _, b := range benches {
		fmt.Fprintf(os.Stderr, "  %-8s %s\n", b.name, b.what)
	}
	fmt.Fprintln(os.Stderr, "\nflags:")
	flag.PrintDefaults()
}

func run(ctx context.Context, o options) (err error) {
	chosen, err := choose(o.only)
	if err != nil {
		return err
	}
	l, err := newLab(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	report := report{Machine: describe(l.dir), Scale: o.scale}
	var failed []error
	for _, b := range chosen {
		started := time.Now()
		l.log("%s: %s", b.name, b.what)
		rows, err := b.run(ctx, l)
		for _, c := range rows {
			report.Rows = append(report.Rows, c.row(b.name))
		}
		l.log("%s: %v", b.name, time.Since(started).Round(time.Second))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", b.name, err))
			l.log("%s: %v", b.name, err)
		}
	}
	report.Machine.LoadAfter = load()
	report.Missing = l.missing
	return errors.Join(append(failed, report.publish(os.Stdout, o))...)
}

func choose(only string) ([]bench, error) {
	if only == "" {
		return benches, nil
	}
	var chosen []bench
	for _, name := range strings.Split(only, ",") {
		i := slices.IndexFunc(benches, func(b bench) bool { return b.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no bench %q", name)
		}
		chosen = append(chosen, benches[i])
	}
	return chosen, nil
}

// lab is where benches work: a directory and a home of their own, which are
// gone afterwards, and the programs.
type lab struct {
	options
	root    string // of the repository
	cube    string
	dir     string
	env     []string
	missing []string
	aside   int // folders that were set aside
}

func newLab(o options) (*lab, error) {
	l := &lab{options: o}
	var err error
	if l.root, err = program.Root(); err != nil {
		return nil, err
	}
	if l.cube, err = program.Path(); err != nil {
		return nil, err
	}
	if l.cube, err = filepath.Abs(l.cube); err != nil {
		return nil, err
	}
	if l.dir, err = os.MkdirTemp(o.dir, "cube-bench-"); err != nil {
		return nil, err
	}
	own, err := program.Environment(l.dir)
	l.env = append(os.Environ(), own...)
	return l, err
}

// close removes what benches left: the lab is a directory.
func (l *lab) close() error { return os.RemoveAll(l.dir) }

func (l *lab) log(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s "+format+"\n", append([]any{time.Now().Format("15:04:05")}, args...)...)
}

// skip says that a peer is missing.
func (l *lab) skip(format string, args ...any) {
	l.missing = append(l.missing, fmt.Sprintf(format, args...))
	l.log("not measured: "+format, args...)
}

// rounds scales a number of rounds or of jobs, to least at the least.
func (l *lab) rounds(n, least int) int { return max(least, int(float64(n)*l.scale)) }

// setAside keeps a folder until the end, under another name. Where ext4 has no
// journal it makes no file in the place of one that was removed minutes ago,
// but looks at each such place first: whoever removes the folder of one round
// measures that in the next.
func (l *lab) setAside(dir string) error {
	l.aside++
	return os.Rename(dir, fmt.Sprintf("%s-%d", dir, l.aside))
}

// path is a new name in the lab.
func (l *lab) path(elem ...string) string { return filepath.Join(append([]string{l.dir}, elem...)...) }
