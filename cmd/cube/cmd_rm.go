package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/spf13/cobra"
)

func newRmCommand(a *app) *cobra.Command {
	var yes, gc bool
	c := &cobra.Command{
		Use:     "rm VARIABLE...",
		Short:   "remove variables from the cube",
		GroupID: groupMachine,
		Long: `Rm removes the named variables from the cube, and their Zarr groups. What they
hold stays until cube gc frees it; until then a build brings them back without
running anything. An imported variable is taken out of cube.lock, too.`,
		Example: `  cube rm hillshade
  cube rm hillshade aspect --yes --gc`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeHeads,
		RunE:              func(c *cobra.Command, args []string) error { return runRm(c.Context(), a, yes, gc, args) },
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&gc, "gc", false, "free what they held, as cube gc does")
	return c
}

func runRm(ctx context.Context, a *app, yes, gc bool, names []string) error {
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := g.heads[name]; !ok {
			return g.unknown(ctx, name)
		}
	}
	if !yes {
		if err := a.confirm(fmt.Sprintf("remove %s from the cube?", strings.Join(names, ", "))); err != nil {
			return err
		}
	}
	if err := g.unpin(names); err != nil {
		return err
	}
	for _, name := range names {
		if err := g.cube.RemoveVariable(ctx, name); err != nil {
			return err
		}
		if a.json {
			if err := a.printLines(headLine{Type: "removed", Variable: name, Head: g.heads[name].Version}); err != nil {
				return err
			}
		}
	}
	if !a.json && !a.quiet {
		fmt.Fprintf(a.stderr, "removed %s\n", strings.Join(names, ", "))
	}
	if gc {
		return g.collect(ctx, gcOptions{keep: 1})
	}
	return nil
}

// unpin takes imported variables out of cube.lock.
func (g *gallery) unpin(names []string) error {
	pinned := false
	for _, name := range names {
		_, ok := g.proj.Lock.Imports[name]
		pinned = pinned || ok
		delete(g.proj.Lock.Imports, name)
	}
	if !pinned {
		return nil
	}
	return g.proj.Lock.Write(filepath.Join(g.proj.File.Dir(), config.LockName))
}

// confirm asks a question, and is an error unless the answer is yes.
func (a *app) confirm(question string) error {
	if !ui.IsTerminal(a.stdin) {
		return &usageError{errors.New("nobody is there to be asked: say --yes")}
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	answer, err := bufio.NewReader(a.stdin).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was changed")
}

// importedVersions are the versions that cube.lock pins.
func importedVersions(l *config.Lock) []graph.Digest {
	var out []graph.Digest
	for _, pins := range []map[string]graph.Import{l.Imports, l.Holds} {
		for _, im := range pins {
			out = append(out, im.Version)
		}
	}
	return out
}
