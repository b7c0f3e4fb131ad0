package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/project"
	"github.com/cubebuild/cube/lineage"
	"github.com/spf13/cobra"
)

type invalidateOptions struct {
	where  tileFlags
	dryRun bool
}

func newInvalidateCommand(a *app) *cobra.Command {
	var o invalidateOptions
	c := &cobra.Command{
		Use:     "invalidate VARIABLE",
		Short:   "void results of a variable's tiles, so that they are made anew",
		GroupID: groupBuild,
		Long: `Invalidate voids the results of the actions that made a variable's tiles: all of
them, or those that --tile and --at name. The next build runs them again; where a
tile comes out as it was, the change stops there. Until then the variable shows
what it did.

It voids what a build would look up now, what the variable shows, and what earlier
runs in this cube made for the same tiles, under whichever params and code. Of a
variable that several producers contribute to, that is what each of them made.
Nothing is deleted: cube gc frees what nothing needs. To void all that a producer
made, for everybody who builds from this cube.lock, see cube bump.`,
		Example: `  cube invalidate slope
  cube invalidate slope --tile 0,1 --tile 0,2      # y,x: as cube verify names tiles
  cube invalidate slope --tile 'y[0,64) x[64,128)' # the cells: as failures and logs do
  cube invalidate wind --tile 3,0,1                # t,y,x
  cube invalidate wind --tile '*,0,1'              # at all times
  cube invalidate slope --at 446175,4464025 -n     # the tile there; say what would be void`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeVariable,
		RunE:              func(c *cobra.Command, args []string) error { return runInvalidate(c.Context(), a, o, args[0]) },
	}
	f := c.Flags()
	f.StringArrayVar(&o.where.tiles, "tile", nil, "a tile, as `[t,]y,x`; * is every one (repeatable)")
	f.StringArrayVar(&o.where.at, "at", nil, "the tile at coordinates `x,y` of the variable's grid (repeatable)")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "say what would be void, and change nothing")
	return c
}

// voided is the first line of cube invalidate --json.
type voided struct {
	Type        string `json:"type"` // invalidated
	Variable    string `json:"variable"`
	Results     int64  `json:"results"`
	Failures    int64  `json:"failures"` // known ones
	Derivations int64  `json:"derivations"`
	DryRun      bool   `json:"dry_run,omitempty"`
}

func runInvalidate(ctx context.Context, a *app, o invalidateOptions, name string) error {
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	prep, output, err := g.made(ctx, name)
	if err != nil {
		return err
	}
	in := solve.Invalidation{DryRun: o.dryRun}
	boxes, err := o.where.boxes(output.Vertex)
	if err != nil {
		return &usageError{fmt.Errorf("%w\n  tiles of %s: %s", err, name, tilesText(output.Vertex))}
	}
	in.Selections = makers(output, boxes)
	if err := g.recorded(ctx, &in); err != nil {
		return err
	}
	n, err := solve.Invalidate(ctx, &prep.Workspace, prep.Plan,
		solve.Config{Cube: g.cube, Host: hostOf(prep.Plan), Chunks: g.proj.File.Storage.Chunks}, in)
	if errors.Is(err, cube.ErrBusy) {
		return fmt.Errorf("%w: try again when it is over", err)
	}
	if err != nil {
		return err
	}
	if err := a.printVoided(name, n, o.dryRun); err != nil || o.dryRun || n.Results+n.Failures+n.Derivations == 0 {
		return err
	}
	outline, err := g.proj.Outline(ctx)
	if err != nil {
		return err
	}
	return g.printComing(ctx, &outline, []string{name})
}

func (a *app) printVoided(name string, n solve.Voided, dryRun bool) error {
	if a.json {
		return a.printLines(voided{"invalidated", name, n.Results, n.Failures, n.Derivations, dryRun})
	}
	what := plural(int(n.Results), "result")
	if n.Failures > 0 {
		what += " and " + plural(int(n.Failures), "known failure")
	}
	text := fmt.Sprintf("%s: %s void", name, what)
	switch {
	case n.Results+n.Failures == 0:
		text = fmt.Sprintf("%s: there is no result of these tiles", name)
	case dryRun:
		text = fmt.Sprintf("%s: %s would be void", name, what)
	}
	_, err := fmt.Fprintln(a.stdout, text)
	return err
}

// made plans a variable of a cube that was built, and refuses one that nothing
// makes.
func (g *gallery) made(ctx context.Context, name string) (*project.Prepared, *graph.Output, error) {
	_, imported := g.proj.Lock.Imports[name]
	if h, ok := g.heads[name]; imported || ok && h.Derivation.IsZero() {
		return nil, nil, &usageError{fmt.Errorf("%s was imported: nothing makes it", name)}
	}
	if g.cube == nil {
		return nil, nil, g.unknown(ctx, name)
	}
	prep, err := g.proj.Prepare(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	return prep, prep.Plan.Output(name), nil
}

// makers are the tiles of the vertex that makes an output, within boxes of its
// grid, and where that is a merge the tiles of those that contribute to it.
func makers(o *graph.Output, boxes []grid.Box) []solve.Selection {
	out := []solve.Selection{{Vertex: o.Vertex, Boxes: boxes}}
	if !o.Vertex.IsMerge() {
		return out
	}
	for _, in := range o.Vertex.Inputs {
		if in.From == nil {
			continue
		}
		n := max(1, in.From.Spec.Refine)
		var own []grid.Box
		for _, b := range boxes {
			b.Y, b.X = b.Y.Coarsen(n), b.X.Coarsen(n)
			own = append(own, b)
		}
		out = append(out, makers(in.From, own)...)
	}
	return out
}

// recorded adds what the records of earlier runs tell of the selected tiles.
func (g *gallery) recorded(ctx context.Context, in *solve.Invalidation) error {
	runs := lineage.Open(g.cube.Path("runs"))
	ids, err := runs.IDs()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, s := range in.Selections {
			for v, err := range runs.Vertices(id) {
				if err == nil && v.Instance == s.Vertex.Name && v.Grid == s.Vertex.GridName {
					in.Derivations = append(in.Derivations, v.Derivation)
				}
			}
			for x, err := range runs.Actions(id) {
				if err == nil && x.Instance == s.Vertex.Name && x.Grid == s.Vertex.GridName && s.Has(x.Tile) {
					in.Actions = append(in.Actions, x.ID)
				}
			}
		}
	}
	return nil
}

// completeVariable completes the one variable of a command.
func (a *app) completeVariable(c *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeVariables(c, args, text)
}
