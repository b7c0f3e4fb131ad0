package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/yamlfile"
)

// place gives errors of resolving the workspace the line of cube.yaml that
// they are about. Others, and those that are about the command line, stay.
func (a *app) place(ctx context.Context, err error) error {
	if err == nil || a.project == nil || !isPlanError(err) {
		return err
	}
	outline, outlineErr := a.project.Outline(context.WithoutCancel(ctx))
	if outlineErr != nil {
		return err
	}
	var placed yamlfile.Errors
	for _, e := range leaves(err) {
		path, ok := placeOf(&outline, e)
		if !ok {
			return err
		}
		placed = append(placed, a.project.File.Errorf(path, "", "%v", e))
	}
	return placed
}

// leaves are the errors that an error joins.
func leaves(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, leaves(e)...)
	}
	return out
}

// placeOf is the key of cube.yaml that an error is about.
func placeOf(ws *graph.Workspace, err error) ([]string, bool) {
	var (
		missing    *graph.MissingError
		ambiguous  *graph.AmbiguousError
		cycle      *graph.CycleError
		mismatch   *graph.MismatchError
		resolution *graph.ResolutionError
		grid       *graph.GridError
	)
	switch {
	case errors.As(err, &missing):
		if len(missing.Path) < 2 {
			return nil, false // a target of the command line
		}
		consumer := missing.Path[len(missing.Path)-2]
		return needPlace(ws, func(i *graph.Instance) bool { return makes(i, consumer) }, missing.Variable)
	case errors.As(err, &ambiguous):
		return outPlace(ws, ambiguous.Instances[len(ambiguous.Instances)-1], ambiguous.Variable)
	case errors.As(err, &cycle):
		return needPlace(ws, func(i *graph.Instance) bool { return makes(i, cycle.Path[0]) }, cycle.Path[1])
	case errors.As(err, &mismatch) && mismatch.Maker != "":
		return outPlace(ws, mismatch.Consumer, mismatch.Variable)
	case errors.As(err, &mismatch):
		return needPlace(ws, func(i *graph.Instance) bool { return i.Name == mismatch.Consumer }, mismatch.Variable)
	case errors.As(err, &resolution):
		return needPlace(ws, func(i *graph.Instance) bool { return i.Name == resolution.Consumer }, resolution.Variable)
	case errors.As(err, &grid):
		return []string{"producers", grid.Instance, "grid"}, true
	}
	return nil, false
}

func makes(i *graph.Instance, variable string) bool {
	for _, o := range i.Manifest.Produces {
		if i.Output(o.Name) == variable || graph.Contribution(i.Output(o.Name), i.Name) == variable {
			return true
		}
	}
	return false
}

// needPlace is the place of a need: where it is renamed, or its instance.
func needPlace(ws *graph.Workspace, consumer func(*graph.Instance) bool, variable string) ([]string, bool) {
	for i := range ws.Instances {
		inst := &ws.Instances[i]
		if !consumer(inst) {
			continue
		}
		for _, n := range inst.Manifest.Needs {
			if inst.Input(n.Variable) != variable {
				continue
			}
			if _, renamed := inst.In[n.Variable]; renamed {
				return []string{"producers", inst.Name, "in", n.Variable}, true
			}
			return []string{"producers", inst.Name}, true
		}
	}
	return nil, false
}

// outPlace is the place of an output: where it is renamed, or its instance.
func outPlace(ws *graph.Workspace, instance, variable string) ([]string, bool) {
	for i := range ws.Instances {
		inst := &ws.Instances[i]
		for role, name := range inst.Out {
			if inst.Name == instance && name == variable {
				return []string{"producers", instance, "out", role}, true
			}
		}
	}
	return []string{"producers", instance}, true
}

// local shortens the paths of files below the working directory.
func local(text string) string {
	dir, err := os.Getwd()
	if err != nil || dir == "/" {
		return text
	}
	return strings.ReplaceAll(text, dir+"/", "")
}
