package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/lineage"
)

// restage finds the action that an argument begins the id of, among those that
// failed and those of earlier runs, and lays it out anew.
func (a *app) restage(ctx context.Context, f projectFlags, arg string) (*gallery, *solve.Restaged, error) {
	f.dryRun = true
	if _, err := a.open(f, a.step); err != nil {
		return nil, nil, err
	}
	g, err := a.look(ctx)
	if err != nil {
		return nil, nil, err
	}
	if g.cube == nil {
		return nil, nil, &usageError{errors.New("nothing ran yet")}
	}
	id, at, err := g.action(arg)
	if err != nil {
		return nil, nil, err
	}
	variables, err := g.madeBy(ctx, at.Instance)
	if err != nil {
		return nil, nil, err
	}
	prep, err := g.proj.Prepare(ctx, variables...)
	if err != nil {
		return nil, nil, err
	}
	if err := a.sweep(ctx, g.cube); err != nil { // from here on gc waits
		return nil, nil, err
	}
	r, err := solve.Restage(ctx, &prep.Workspace, prep.Plan, solve.Config{Cube: g.cube, Backend: lazyBackend{g.proj.Executor},
		Provider: g.proj, Host: hostOf(prep.Plan), Retry: g.proj.File.Retry, Chunks: g.proj.File.Storage.Chunks}, id, at.Place)
	if errors.Is(err, solve.ErrGone) {
		advice := ""
		if given := givenTo(g.cube, at.run); given != "" && given != typed(f.sets) {
			advice = "its build was given other params; give them here, too:" + given + "\n  "
		}
		err = fmt.Errorf("%w\n  %swhat it reads is made by: cube build -k %s%s", err, advice, strings.Join(variables, " "), typed(f.sets))
	}
	return g, r, err
}

// ranAt is where an action was run, and in which run.
type ranAt struct {
	solve.Place
	run string
}

// action is the one action that an argument begins the id of, and its place.
func (g *gallery) action(arg string) (id graph.ActionID, at ranAt, err error) {
	prefix, ok := actionPrefix(arg)
	if !ok {
		return id, at, &usageError{fmt.Errorf("%q is no action: give at least the first 4 digits of its id\n  those that failed: cube failed", arg)}
	}
	found, err := g.actions(prefix)
	switch {
	case err != nil:
		return id, at, err
	case len(found) == 0:
		return id, at, &usageError{fmt.Errorf("no action begins with %s\n  those that failed: cube failed", prefix)}
	case len(found) > 1:
		return id, at, &usageError{fmt.Errorf("%d actions begin with %s: give more digits", len(found), prefix)}
	}
	for id, at = range found {
	}
	return id, at, nil
}

// actions are those that failed, and those of earlier runs, whose ids begin so.
func (g *gallery) actions(prefix string) (map[graph.ActionID]ranAt, error) {
	found := map[graph.ActionID]ranAt{}
	letters := solve.DeadLetters(g.cube)
	ids, err := letters.IDs()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if !strings.HasPrefix(id.Hex(), prefix) {
			continue
		}
		l, err := letters.Get(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found[id] = ranAt{solve.Place{Instance: l.Instance, Grid: l.Grid, Tile: l.Tile}, l.Run}
	}
	if len(found) > 0 {
		return found, nil
	}
	runs := lineage.Open(g.cube.Path("runs"))
	names, err := runs.IDs()
	if err != nil {
		return nil, err
	}
	for _, run := range slices.Backward(names) {
		for x, err := range runs.Actions(run) {
			if err == nil && x.Sandbox != "" && strings.HasPrefix(x.ID.Hex(), prefix) {
				found[x.ID] = ranAt{solve.Place{Instance: x.Instance, Grid: x.Grid, Tile: x.Tile}, run}
			}
		}
		if len(found) > 0 {
			break
		}
	}
	return found, nil
}

// madeBy are the variables that an instance makes.
func (g *gallery) madeBy(ctx context.Context, instance string) ([]string, error) {
	outline, err := g.proj.Outline(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range outline.Instances {
		inst := &outline.Instances[i]
		if inst.Name != instance {
			continue
		}
		for _, v := range inst.Manifest.Produces {
			out = append(out, inst.Output(v.Name))
		}
	}
	if merged, ok := strings.CutPrefix(instance, graph.MergePrefix); ok {
		return nil, &usageError{fmt.Errorf("%s is merged by the engine itself: there is no sandbox to open\n  what it is made of: cube lineage %s", merged, merged)}
	}
	if len(out) == 0 {
		return nil, &usageError{fmt.Errorf("%s is not in the workspace any more", instance)}
	}
	return out, nil
}
