package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/project"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/spf13/cobra"
)

// State says whether a variable is what a build would make of it now.
type state string

const (
	stateClean   state = "clean"
	stateDirty   state = "dirty"   // a build would make it anew
	stateUnknown state = "unknown" // an image or a source is not at hand: only cube plan can tell
	stateNone    state = "none"    // it was not built yet
	stateHeld    state = "held"    // cube hold keeps it as it is
	stateOrphan  state = "orphan"  // nothing in the workspace makes it any more
)

// word is the state as people see it.
func (st state) word(s ui.Style) string {
	switch st {
	case stateClean:
		return s.Good(string(st))
	case stateDirty, stateOrphan:
		return s.Bad(string(st))
	case stateHeld:
		return s.Bold(string(st))
	}
	return s.Dim(string(st))
}

// gallery is a workspace whose variables are looked at. Nothing is built,
// fetched or written for it.
type gallery struct {
	app   *app
	proj  *project.Project
	cube  *cube.Cube // nil where nothing was built yet
	heads map[string]cube.Head
}

// look opens the workspace and reads its heads.
func (a *app) look(ctx context.Context) (*gallery, error) {
	p, err := a.open(projectFlags{dryRun: true, known: true, offline: true}, nil)
	if err != nil {
		return nil, err
	}
	g := &gallery{app: a, proj: p, heads: map[string]cube.Head{}}
	if g.cube, err = p.Cube(); errors.Is(err, cube.ErrNotCube) {
		g.cube = nil
		return g, nil
	} else if err != nil {
		return nil, err
	}
	g.heads, err = g.cube.Heads(ctx)
	return g, err
}

// names are the variables that were built, in order.
func (g *gallery) names() []string { return slices.Sorted(maps.Keys(g.heads)) }

// head returns a variable's head and its version, or says which name is meant.
func (g *gallery) head(ctx context.Context, name string) (cube.Head, *cube.Version, error) {
	h, ok := g.heads[name]
	if !ok {
		return h, nil, g.unknown(ctx, name)
	}
	v, err := g.cube.LoadVersion(ctx, h.Version)
	return h, v, err
}

// unknown is the error for a variable that was not built.
func (g *gallery) unknown(ctx context.Context, name string) error {
	outline, err := g.proj.Outline(ctx)
	if err != nil {
		outline = graph.Workspace{} // it is broken; what was built can still be looked at
	}
	all := outline.Variables()
	if slices.Contains(all, name) {
		return &usageError{fmt.Errorf("%s was not built yet\n  make it with: cube build %s", name, name)}
	}
	if makes := outline.Makes(name); len(makes) > 0 {
		return &usageError{fmt.Errorf("there is no variable %s; it is a producer, and makes %s", name, strings.Join(makes, ", "))}
	}
	all = append(all, g.names()...)
	if near := graph.Nearest(name, all); near != "" {
		return &usageError{fmt.Errorf("there is no variable %s; did you mean %s?", name, near)}
	}
	return &usageError{fmt.Errorf("there is no variable %s\n  all variables: cube ls --all", name)}
}

// states says of every variable that was built, and that the workspace makes,
// what a build would do.
func (g *gallery) states(ctx context.Context) (map[string]state, map[string]*graph.Output, error) {
	out, outputs := map[string]state{}, map[string]*graph.Output{}
	all, err := g.proj.Variables(ctx)
	if err != nil {
		return nil, nil, err
	}
	for name := range g.heads {
		out[name] = stateOrphan
	}
	for _, name := range all {
		out[name] = stateUnknown
	}
	if err := g.preview(ctx, all, out, outputs); errors.Is(err, context.Canceled) {
		return nil, nil, err
	} else if err != nil {
		// One of them cannot be planned now: each is looked at for itself.
		for _, name := range all {
			if err := g.preview(ctx, []string{name}, out, outputs); errors.Is(err, context.Canceled) {
				return nil, nil, err
			}
		}
	}
	for name, im := range g.proj.Lock.Imports {
		if h, ok := g.heads[name]; ok {
			out[name] = stateDirty
			if h.Version == im.Version {
				out[name] = stateClean
			}
		}
	}
	for name := range g.proj.Lock.Holds {
		out[name] = stateHeld
	}
	for name := range out {
		if _, built := g.heads[name]; !built {
			out[name] = stateNone
		}
	}
	return out, outputs, nil
}

// preview plans targets and notes the states of all that they need.
func (g *gallery) preview(ctx context.Context, targets []string, states map[string]state, outputs map[string]*graph.Output) error {
	if len(targets) == 0 {
		return nil
	}
	prep, err := g.proj.Prepare(ctx, targets...)
	if err != nil {
		return err
	}
	for _, v := range prep.Plan.Vertices {
		for _, o := range v.Outputs {
			outputs[o.Variable] = o
		}
	}
	if g.cube == nil {
		return nil
	}
	previews, err := solve.Settled(ctx, &prep.Workspace, prep.Plan,
		solve.Config{Cube: g.cube, Host: hostOf(prep.Plan), Chunks: g.proj.File.Storage.Chunks})
	for _, p := range previews {
		for i, o := range p.Vertex.Outputs {
			states[o.Variable] = stateDirty
			if h, ok := g.heads[o.Variable]; ok && p.Known && h.Version == p.Outputs[i] {
				states[o.Variable] = stateClean
			}
		}
	}
	return err
}

// completeHeads completes the names of variables that were built.
func (a *app) completeHeads(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	g, err := a.look(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names := slices.DeleteFunc(g.names(), func(n string) bool { return slices.Contains(args, n) })
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeHead completes the one variable of a command.
func (a *app) completeHead(c *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeHeads(c, args, text)
}

// versions are the different versions that a variable has had, the oldest
// first.
func (g *gallery) versions(ctx context.Context, name string) ([]cube.Head, error) {
	if g.cube == nil {
		return nil, nil
	}
	history, err := g.cube.History(ctx, name)
	if err != nil {
		return nil, err
	}
	seen := map[graph.Digest]bool{}
	return slices.DeleteFunc(history, func(h cube.Head) bool {
		twice := seen[h.Version]
		seen[h.Version] = true
		return twice
	}), nil
}

// madeBy is who made a head.
func madeBy(h cube.Head) string {
	switch {
	case h.Instance == "" || h.Instance == importInstance:
		return importInstance
	case h.Role != "" && h.Role != h.Variable:
		return fmt.Sprintf("%s (out: %s)", h.Instance, h.Role)
	}
	return h.Instance
}

// dimsText writes the dimensions of an array: y 174, x 140.
func dimsText(l cube.Layout) string {
	if l.Spec.Kind == graph.File {
		return ""
	}
	var parts []string
	for i, n := range l.Shape(l.Domain()) {
		parts = append(parts, fmt.Sprintf("%s %d", l.Dims()[i], n))
	}
	return strings.Join(parts, ", ")
}

// latticeText writes where an array lies: EPSG:32613, 250 m.
func latticeText(l grid.Lattice) string {
	crs := string(l.CRS)
	if crs == "" {
		crs = "no CRS"
	}
	return crs + ", " + cellSize(l)
}

// cellSize writes the size of a lattice's cells.
func cellSize(l grid.Lattice) string {
	unit := map[string]string{"metre": " m", "degree": "°"}[l.CRS.Unit()]
	if l.DX == l.DY {
		return ui.Value(l.DX) + unit
	}
	return ui.Value(l.DX) + " × " + ui.Value(l.DY) + unit
}

// headLine is a line of JSON of what was done with a variable's head.
type headLine struct {
	Type     string       `json:"type"` // removed, export or plot
	Variable string       `json:"variable"`
	Head     graph.Digest `json:"head"`
	File     string       `json:"file,omitempty"` // that was written
	Bytes    int64        `json:"bytes,omitempty"`
}

// plural is a count with its word.
func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	if strings.HasSuffix(word, "s") {
		word += "e"
	}
	return ui.Count(int64(n)) + " " + word + "s"
}
