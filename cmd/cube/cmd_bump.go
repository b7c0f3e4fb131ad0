package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/project"
	"github.com/spf13/cobra"
)

func newBumpCommand(a *app) *cobra.Command {
	var reset bool
	c := &cobra.Command{
		Use:     "bump PRODUCER...",
		Short:   "have everything that a producer made be made anew",
		GroupID: groupBuild,
		Long: `Bump raises a producer's salt in cube.lock, which enters the identity of all that
it does: no result that it has so far counts any more, here and for everybody who
builds from this cube.lock. What comes out as it was stops the change, as always.

PRODUCER is a name under producers: in cube.yaml. Nothing is deleted: --reset takes
the salt away, and the results of before count again. To void results of single
tiles, in this cube only, see cube invalidate.`,
		Example: `  cube bump slope
  cube bump slope aspect && cube build
  cube bump slope --reset`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeInstances,
		RunE:              func(c *cobra.Command, args []string) error { return runBump(c.Context(), a, reset, args) },
	}
	c.Flags().BoolVar(&reset, "reset", false, "take the salt away: results of before the first bump count again")
	return c
}

// bumped is a line of cube bump --json.
type bumped struct {
	Type     string `json:"type"` // bump
	Producer string `json:"producer"`
	Old      int    `json:"old"`
	New      int    `json:"new"`
}

func runBump(ctx context.Context, a *app, reset bool, names []string) error {
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	p := g.proj
	outline, err := p.Outline(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if p.File.Producer(name) == nil {
			return unknownProducer(&outline, name)
		}
	}
	var lines []bumped
	for _, name := range names {
		line := bumped{Type: "bump", Producer: name, Old: p.Lock.Salts[name]}
		if line.New = line.Old + 1; reset {
			line.New = 0
		}
		if p.Lock.Salts[name] = line.New; reset {
			delete(p.Lock.Salts, name)
		}
		lines = append(lines, line)
	}
	if err := p.Lock.Write(filepath.Join(p.File.Dir(), config.LockName)); err != nil {
		return err
	}
	if err := a.printBumps(lines); err != nil {
		return err
	}
	var made []string
	for i := range outline.Instances {
		if inst := &outline.Instances[i]; slices.Contains(names, inst.Name) {
			made = append(made, inst.Makes()...)
		}
	}
	return g.printComing(ctx, &outline, made)
}

func (a *app) printBumps(lines []bumped) error {
	if a.json {
		return a.printLines(anySlice(lines)...)
	}
	for _, l := range lines {
		text := fmt.Sprintf("%s: salt %d → %d in %s", l.Producer, l.Old, l.New, config.LockName)
		if l.Old == l.New {
			text = fmt.Sprintf("%s has no salt in %s", l.Producer, config.LockName)
		}
		if _, err := fmt.Fprintln(a.stdout, text); err != nil {
			return err
		}
	}
	return nil
}

// unknownProducer is the error for a name that no producer has.
func unknownProducer(ws *graph.Workspace, name string) error {
	var all []string
	for i := range ws.Instances {
		inst := &ws.Instances[i]
		if all = append(all, inst.Name); slices.Contains(inst.Makes(), name) {
			return &usageError{fmt.Errorf("%s is a variable; the producer that makes it is %s", name, inst.Name)}
		}
	}
	if near := graph.Nearest(name, all); near != "" {
		return &usageError{fmt.Errorf("there is no producer %s; did you mean %s?", name, near)}
	}
	return &usageError{fmt.Errorf("there is no producer %s; there are: %s", name, strings.Join(all, ", "))}
}

// dependents are variables and all that are made of them, near and far.
func dependents(ws *graph.Workspace, variables []string) []string {
	seen := map[string]bool{}
	out := slices.Clone(variables)
	for _, v := range out {
		seen[v] = true
	}
	for i := 0; i < len(out); i++ {
		for j := range ws.Instances {
			inst := &ws.Instances[j]
			reads := func(n graph.DataNeed) bool { return inst.Input(n.Variable) == out[i] }
			if !slices.ContainsFunc(inst.Manifest.Needs, reads) {
				continue
			}
			for _, v := range inst.Makes() {
				if !seen[v] {
					seen[v] = true
					out = append(out, v)
				}
			}
		}
	}
	return out
}

// printComing prints what a build would do of the variables, and of those in
// the cube that are made of them, without the steps that it would leave as they
// are.
func (g *gallery) printComing(ctx context.Context, ws *graph.Workspace, variables []string) error {
	targets := slices.Clone(variables)
	for _, name := range dependents(ws, variables) {
		if _, built := g.heads[name]; built && !slices.Contains(targets, name) {
			targets = append(targets, name)
		}
	}
	x, err := g.app.foresee(ctx, projectFlags{}, 0, targets)
	if errors.Is(err, project.ErrUnready) {
		g.app.notice("what would run can be told when the images are there: cube plan")
		return nil
	}
	if err != nil {
		return err
	}
	x.previews = slices.DeleteFunc(x.previews, func(p solve.VertexPreview) bool { return p.Known && !p.HeadElsewhere() })
	if len(x.previews) == 0 && !g.app.json {
		g.app.notice("nothing would run")
		return nil
	}
	return g.app.printForesight(x)
}

// completeInstances completes the names of producers in cube.yaml.
func (a *app) completeInstances(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	p, err := a.open(projectFlags{dryRun: true, known: true, offline: true}, nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, inst := range p.File.Producers {
		if !slices.Contains(args, inst.Name) {
			names = append(names, inst.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
