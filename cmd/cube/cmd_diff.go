package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/compare"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/spf13/cobra"
)

type diffOptions struct {
	compareFlags
	exitCode bool
}

func newDiffCommand(a *app) *cobra.Command {
	var o diffOptions
	c := &cobra.Command{
		Use:     "diff VARIABLE [OLD [NEW]]",
		Short:   "compare two versions of a variable",
		GroupID: groupLook,
		Long: `Diff compares two versions that a variable has had, cell by cell: how many cells
differ, the first of them with both its values, the largest difference, and a map
of them with -o. It reads only chunks that differ.

OLD and NEW are the first digits of a version's digest (cube show --json lists them), or
head, or head~1 for the one before it, head~2 and so on. Without OLD the head is
compared with the version before it; without NEW, OLD with the head.`,
		Example: `  cube diff slope
  cube diff slope 3f9c0a -o slope-diff.png
  cube diff slope head~2 head~1 --tolerance abs=0.01
  cube diff slope --exit-code -q || echo changed`,
		Args:              cobra.RangeArgs(1, 3),
		ValidArgsFunction: a.completeVersions,
		RunE:              func(c *cobra.Command, args []string) error { return runDiff(c.Context(), a, o, args) },
	}
	o.add(c)
	c.Flags().BoolVar(&o.exitCode, "exit-code", false, "exit 1 where they differ")
	return c
}

// diffed is the line of cube diff --json.
type diffed struct {
	Type     string       `json:"type"` // diff
	Variable string       `json:"variable"`
	Old      graph.Digest `json:"old"`
	New      graph.Digest `json:"new"`
	Same     bool         `json:"same"`
	differs

	spec graph.VarSpec
}

func runDiff(ctx context.Context, a *app, o diffOptions, args []string) error {
	options, err := o.options()
	if err != nil {
		return err
	}
	name := args[0]
	tolerances, err := o.tolerances(name)
	if err != nil {
		return err
	}
	options.Tolerance = tolerances.For(name)
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	old, now, err := g.twoVersions(ctx, name, args[1:])
	if err != nil {
		return err
	}
	before, err := g.versionOf(ctx, name, old.Version)
	if err != nil {
		return err
	}
	after, err := g.versionOf(ctx, name, now.Version)
	if err != nil {
		return err
	}
	r, err := compare.Versions(ctx, before, after, options)
	if err != nil {
		return err
	}
	l := after.Version.Layout()
	line := diffed{Type: "diff", Variable: name, Old: old.Version, New: now.Version, Same: r.Same(), spec: l.Spec,
		differs: newDiffers(r, l, g.tileIn(now, l, r.First), options.Tolerance)}
	if a.json {
		err = a.printLines(line)
	} else if !a.quiet {
		err = line.write(a.stdout, a.style(a.stdout))
	}
	if err != nil {
		return err
	}
	if err := a.drawDifference(o.compareFlags, r, l, name+" changed", "version "+old.Version.Short()+" → "+now.Version.Short()); err != nil {
		return err
	}
	if o.exitCode && !r.Same() {
		return &exitError{code: exitFailed}
	}
	return nil
}

func (d diffed) write(w io.Writer, s ui.Style) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s → %s", s.Bold(d.Variable), d.Old.Short(), d.New.Short())
	switch {
	case d.Same && d.Within > 0:
		fmt.Fprintf(&b, ": the same within %s, %s differ", d.Tolerance, plural(int(d.Within), "cell"))
		if d.Largest != nil {
			fmt.Fprintf(&b, " by at most %s", ui.Value(*d.Largest))
		}
	case d.Same:
		b.WriteString(": the same")
	case d.Comparable && d.Differ == 0:
		b.WriteString(": the same values, and another meaning")
	case d.Comparable:
		for i, line := range d.lines(d.spec) {
			b.WriteString([]string{": ", "\n  "}[min(i, 1)] + line)
		}
	default:
		b.WriteString(": no cell of one is a cell of the other")
	}
	b.WriteString("\n")
	for _, m := range d.Meaning {
		b.WriteString("  " + m + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// twoVersions finds the versions that the arguments of cube diff mean.
func (g *gallery) twoVersions(ctx context.Context, name string, args []string) (old, now cube.Head, err error) {
	if _, _, err := g.head(ctx, name); err != nil {
		return old, now, err
	}
	history, err := g.cube.History(ctx, name)
	if err != nil {
		return old, now, err
	}
	words := [2]string{"head~1", "head"}
	copy(words[:], args)
	if len(args) == 0 && len(history) < 2 {
		return old, now, &usageError{fmt.Errorf("%s has had only one version, %s", name, g.heads[name].Version.Short())}
	}
	if old, err = g.findVersion(name, history, words[0]); err == nil {
		now, err = g.findVersion(name, history, words[1])
	}
	return old, now, err
}

// findVersion finds a version in a variable's history: head, head~N, or the
// beginning of its digest.
func (g *gallery) findVersion(name string, history []cube.Head, word string) (cube.Head, error) {
	if rest, ok := strings.CutPrefix(word, "head"); ok {
		n := 0
		if rest != "" {
			var err error
			if n, err = strconv.Atoi(strings.TrimPrefix(rest, "~")); err != nil || n < 0 || rest[0] != '~' {
				return cube.Head{}, &usageError{fmt.Errorf("%s: want head, head~1, head~2 …", word)}
			}
		}
		if n == 0 {
			return g.heads[name], nil
		}
		if n >= len(history) {
			return cube.Head{}, &usageError{fmt.Errorf("%s: %s has had %s", word, name, plural(len(history), "version"))}
		}
		return history[len(history)-1-n], nil
	}
	prefix := strings.ToLower(strings.TrimPrefix(word, "sha256:"))
	found := map[graph.Digest]cube.Head{}
	for _, h := range append(slices.Clone(history), g.heads[name]) {
		if strings.HasPrefix(h.Version.Hex(), prefix) {
			found[h.Version] = h
		}
	}
	switch {
	case len(prefix) < 4:
		return cube.Head{}, &usageError{fmt.Errorf("version %q: at least four digits are needed", word)}
	case len(found) == 0:
		return cube.Head{}, &usageError{fmt.Errorf("%s has had no version %s\n  its versions: cube show %s --json", name, word, name)}
	case len(found) > 1:
		return cube.Head{}, &usageError{fmt.Errorf("version %s: %d versions of %s begin so", word, len(found), name)}
	}
	for _, h := range found {
		return h, nil
	}
	return cube.Head{}, nil
}

// versionOf loads a version of a variable, which gc may have freed.
func (g *gallery) versionOf(ctx context.Context, name string, d graph.Digest) (compare.Side, error) {
	s, err := g.side(ctx, d)
	if errors.Is(err, cube.ErrNotExist) {
		return s, fmt.Errorf("version %s of %s was freed by cube gc", d.Short(), name)
	}
	return s, err
}

// outline is what is remembered of a derivation, nil where nothing is.
func (g *gallery) outline(derivation graph.Digest) (*graph.Outline, error) {
	d, err := solve.LoadDerived(g.cube, derivation)
	if err != nil || d == nil {
		return nil, err
	}
	o, err := graph.ReadOutline(d.Preimage)
	return &o, err
}

// completeVersions completes a variable and then its versions.
func (a *app) completeVersions(c *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.completeHead(c, args, text)
	}
	g, err := a.look(c.Context())
	if err != nil || len(args) > 2 || g.cube == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	history, err := g.cube.History(c.Context(), args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for i, h := range slices.Backward(history) {
		word := "head"
		if n := len(history) - 1 - i; n > 0 {
			word = fmt.Sprintf("head~%d", n)
		}
		made := ""
		if h.Time > 0 {
			made = time.Unix(h.Time, 0).UTC().Format("2006-01-02 15:04")
		}
		out = append(out, word+"\t"+made, h.Version.Short()+"\t"+strings.TrimSpace(word+" "+made))
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}
