package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/config"
	"github.com/spf13/cobra"
)

func newHoldCommand(a *app) *cobra.Command {
	var release bool
	c := &cobra.Command{
		Use:     "hold [VARIABLE...]",
		Short:   "use a variable as it is, whatever its producer would make now",
		GroupID: groupBuild,
		Long: `Hold pins the version that a variable shows now in cube.lock. Builds use it as it
is, also where its producer, its params or its sources have changed since, and make
neither it nor what only it needs. What is made of it says so in its lineage.

Without a variable it lists what is held. --release has a variable be made again as
its producer makes it; with no name, all of them. The version itself stays as long
as it is held: another machine needs it in its cube.`,
		Example: `  cube hold fuel_moisture
  cube hold                        # what is held
  cube hold --release fuel_moisture`,
		ValidArgsFunction: a.completeHeads,
		RunE:              func(c *cobra.Command, args []string) error { return runHold(c.Context(), a, release, args) },
	}
	c.Flags().BoolVar(&release, "release", false, "hold it no longer")
	return c
}

// holdLine is a line of cube hold --json.
type holdLine struct {
	Type     string       `json:"type"` // hold
	Variable string       `json:"variable"`
	Version  graph.Digest `json:"version"`
	Held     bool         `json:"held"` // false: it was, and is no longer
}

func runHold(ctx context.Context, a *app, release bool, names []string) error {
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	lock := g.proj.Lock
	var lines []holdLine
	switch {
	case release:
		lines, err = releaseHolds(lock, names)
	case len(names) == 0:
		return a.printHolds(listHolds(lock))
	default:
		lines, err = g.hold(ctx, names)
	}
	if err != nil {
		return err
	}
	if err := lock.Write(filepath.Join(g.proj.File.Dir(), config.LockName)); err != nil {
		return err
	}
	return a.printHolds(lines)
}

func listHolds(lock *config.Lock) (lines []holdLine) {
	for _, name := range slices.Sorted(maps.Keys(lock.Holds)) {
		lines = append(lines, holdLine{"hold", name, lock.Holds[name].Version, true})
	}
	return lines
}

// hold notes the versions that variables show. It uses the cube, so that gc leaves
// them alone until cube.lock names them.
func (g *gallery) hold(ctx context.Context, names []string) (lines []holdLine, err error) {
	if g.cube != nil {
		if err := g.cube.Use(ctx); err != nil {
			return nil, err
		}
		if g.heads, err = g.cube.Heads(ctx); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		h, v, err := g.head(ctx, name)
		if err != nil {
			return nil, err
		}
		if !g.cube.HasVersion(h.Version) {
			return nil, fmt.Errorf("%s: parts of its version are damaged or gone; mend the cube with: cube fsck --repair", name)
		}
		im := graph.Import{Spec: h.Spec, Version: h.Version, Native: h.Native, Held: true}
		im.Spec.Name, im.Spec.Refine, im.Spec.NativeFrom = name, 0, nil
		if _, file := v.File(); !file {
			im.Grid = v.Layout().Grid
		}
		g.proj.Lock.Holds[name] = im
		lines = append(lines, holdLine{"hold", name, h.Version, true})
	}
	return lines, nil
}

func releaseHolds(lock *config.Lock, names []string) (lines []holdLine, err error) {
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(lock.Holds))
	}
	for _, name := range names {
		h, ok := lock.Holds[name]
		if !ok {
			return nil, notHeld(lock, name)
		}
		delete(lock.Holds, name)
		lines = append(lines, holdLine{"hold", name, h.Version, false})
	}
	return lines, nil
}

func notHeld(lock *config.Lock, name string) error {
	held := slices.Sorted(maps.Keys(lock.Holds))
	if len(held) == 0 {
		return &usageError{fmt.Errorf("%s is not held; nothing is", name)}
	}
	return &usageError{fmt.Errorf("%s is not held; what is: %s", name, strings.Join(held, ", "))}
}

func (a *app) printHolds(lines []holdLine) error {
	if a.json {
		return a.printLines(anySlice(lines)...)
	}
	if len(lines) == 0 {
		a.notice("nothing is held")
	}
	var errs []error
	for _, l := range lines {
		text := fmt.Sprintf("%s is held at version %s", l.Variable, l.Version.Short())
		if !l.Held {
			text = fmt.Sprintf("%s is held no longer", l.Variable)
		}
		_, err := fmt.Fprintln(a.stdout, text)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// noticeHeld says which of the variables that a plan reads, or that are asked
// for, are held.
func (a *app) noticeHeld(lock *config.Lock, plan *graph.Plan) {
	var held []string
	for name := range lock.Holds {
		if slices.Contains(plan.Targets, name) || reads(plan, name) {
			held = append(held, fmt.Sprintf("%s at version %s", name, lock.Holds[name].Version.Short()))
		}
	}
	if slices.Sort(held); len(held) > 0 {
		a.notice("held (cube hold --release has it made again): " + strings.Join(held, ", "))
	}
}

func reads(plan *graph.Plan, variable string) bool {
	for _, v := range plan.Vertices {
		for _, b := range v.Inputs {
			if b.Variable == variable && b.Import != nil && b.Import.Held {
				return true
			}
		}
	}
	return false
}
