package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/cubebuild/cube/internal/project"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/spf13/cobra"
)

func newSourceCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "source",
		Short:   "look at the sources of the workspace",
		GroupID: groupData,
		Long: `A source is outside data: a file, a URI, or what a producer fetches itself, pinned
in cube.lock by its SHA-256. "cube lock" pins the sources that cube.yaml names.`,
		Example: "  cube source ls\n  cube source show dem",
		Args:    knownCommand,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newSourceLsCommand(a), newSourceShowCommand(a))
	return c
}

func newSourceLsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "list the sources, what they are pinned to, and whether they are here",
		Long: `Ls lists the sources of the workspace: what pins each, what its driver said of it,
into how many parts it is split, and its state. One that is here needs no network;
one that is away is fetched when something needs it; one that changed is a file that
is not as it is pinned ("cube lock" pins it anew); the rest is unpinned. Nothing is
fetched or read for it.`,
		Example: `  cube source ls
  cube source ls --json | jq -r 'select(.state == "away").uri'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runSourceLs(c.Context(), a) },
	}
}

func newSourceShowCommand(a *app) *cobra.Command {
	var parts bool
	c := &cobra.Command{
		Use:   "show SOURCE",
		Short: "say what a source is pinned to, where it lies, and what its parts are",
		Long: `Show tells all that cube.yaml, cube.lock and this machine know of a source. With
--parts it lists the parts that its driver split it into: tiles see those that they
meet.`,
		Example: `  cube source show dem
  cube source show detections --parts
  cube source show dem --json | jq .bounds`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeSources,
		RunE:              func(c *cobra.Command, args []string) error { return runSourceShow(c.Context(), a, args[0], parts) },
	}
	c.Flags().BoolVar(&parts, "parts", false, "list its parts")
	return c
}

func (a *app) sources(ctx context.Context) ([]project.KnownSource, error) {
	p, err := a.open(projectFlags{dryRun: true, known: true}, nil)
	if err != nil {
		return nil, err
	}
	return p.KnownSources(ctx)
}

func runSourceLs(ctx context.Context, a *app) error {
	all, err := a.sources(ctx)
	if err != nil {
		return err
	}
	t := &ui.Table{Header: []string{"source", "state", "sha256", "size", "crs", "native", "parts", "fetched", "from"}, Right: []bool{3: true, 6: true}}
	for _, k := range all {
		l := newSourceLine(k)
		if a.json {
			if err := a.printLines(l); err != nil {
				return err
			}
		}
		t.Add(l.Source, l.stateWord(a.style(a.stdout)), l.pin(), l.size(), l.crs(), l.native(), l.partCount(), l.fetched("2006-01-02"), l.from())
	}
	switch {
	case a.json:
		return nil
	case len(all) == 0:
		a.notice("cube.yaml names no source")
		return nil
	}
	return t.Write(a.stdout, a.style(a.stdout))
}

func runSourceShow(ctx context.Context, a *app, name string, parts bool) error {
	all, err := a.sources(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, k := range all {
		if names = append(names, k.Name); k.Name == name {
			return a.showSource(k, parts)
		}
	}
	do := "cube.yaml names none"
	if len(names) > 0 {
		do = "there are: " + strings.Join(names, ", ")
	}
	return &usageError{fmt.Errorf("there is no source %s\n  %s", name, do)}
}

func (a *app) showSource(k project.KnownSource, parts bool) error {
	l := newSourceLine(k)
	if !a.json {
		if err := l.table(a.style(a.stdout)).Write(a.stdout, a.style(a.stdout)); err != nil || !parts {
			return err
		}
		return a.printParts(k)
	}
	if err := a.printLines(l); err != nil || !parts {
		return err
	}
	for _, p := range k.Parts {
		if err := a.printLines(newPartLine(k.Name, p)); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printParts(k project.KnownSource) error {
	if len(k.Parts) == 0 {
		a.notice("source " + k.Name + ": no part of it is known")
		return nil
	}
	t := &ui.Table{Header: []string{"part", "from", "to", "bounds"}}
	for _, p := range k.Parts {
		l := newPartLine(k.Name, p)
		t.Add(p.SHA256.Short(), l.Start, l.End, extentText(l.Bounds, l.CRS))
	}
	return t.Write(a.stdout, a.style(a.stdout))
}

// completeSources knows the names of the workspace's sources.
func (a *app) completeSources(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, err := a.sources(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, k := range all {
		names = append(names, k.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
