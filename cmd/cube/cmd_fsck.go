package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
	"github.com/spf13/cobra"
)

func newFsckCommand(a *app) *cobra.Command {
	var repair bool
	c := &cobra.Command{
		Use:     "fsck",
		Short:   "check everything that the cube holds",
		GroupID: groupMachine,
		Long: `Fsck reads everything that variables and their versions are made of and checks it
against its digest. What is damaged is moved away, so that the next build makes it
anew and no build reads it. With --repair it also makes the file of heads anew,
from the history of their moves, where that is damaged, and lays out the plain
Zarr groups below .cube/zarr again.

It exits with 1 where something was found.`,
		Example: `  cube fsck
  cube fsck --repair && cube build`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runFsck(c.Context(), a, repair) },
	}
	c.Flags().BoolVar(&repair, "repair", false, "also mend the heads, and lay out the plain Zarr groups again")
	return c
}

// problemLine is a line of cube fsck --json.
type problemLine struct {
	Type   string       `json:"type"` // problem
	What   string       `json:"what"`
	Digest graph.Digest `json:"digest,omitzero"`
	Detail string       `json:"detail"`
}

func runFsck(ctx context.Context, a *app, repair bool) error {
	mended, err := a.mendHeads(ctx, repair)
	if err != nil {
		return err
	}
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	if g.cube == nil {
		return nothingBuilt()
	}
	versions, err := g.allVersions(ctx)
	if err != nil {
		return err
	}
	n, err := g.cube.Fsck(ctx, versions, func(p cube.Problem) {
		if a.json {
			_ = a.printLines(problemLine{"problem", p.What, p.Digest, p.Detail})
			return
		}
		fmt.Fprintln(a.stdout, local(p.Detail))
	})
	if err != nil {
		return err
	}
	if repair {
		// Of what is damaged no group can be laid out; that has been said.
		if err := g.cube.View(ctx); err != nil && n == 0 {
			return err
		}
	}
	n += mended
	if a.json {
		err = a.printLines(map[string]any{"type": "fsck", "problems": n, "variables": len(g.heads), "versions": len(versions)})
	} else if n == 0 {
		_, err = fmt.Fprintf(a.stdout, "%s and %s are whole\n", plural(len(g.heads), "variable"), plural(len(versions), "version"))
	} else {
		_, err = fmt.Fprintf(a.stdout, "%s; what was damaged is moved away, and cube build makes it anew\n", plural(n, "problem"))
	}
	if err == nil && n > 0 {
		return &exitError{code: exitFailed}
	}
	return err
}

// mendHeads mends the heads where that is asked for, and returns the number of
// problems that it solved.
func (a *app) mendHeads(ctx context.Context, repair bool) (int, error) {
	if !repair {
		return 0, nil
	}
	p, err := a.open(projectFlags{dryRun: true, known: true, offline: true}, nil)
	if err != nil {
		return 0, err
	}
	c, err := p.Cube()
	if errors.Is(err, cube.ErrNotCube) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	mended, err := c.MendHeads(ctx)
	if !mended || err != nil {
		return 0, err
	}
	if a.json {
		return 1, a.printLines(problemLine{Type: "problem", What: "heads", Detail: "damaged; made anew from their history"})
	}
	_, err = fmt.Fprintln(a.stdout, "heads: damaged; made anew from their history")
	return 1, err
}

// allVersions are the versions of all heads, now and before, that are there.
func (g *gallery) allVersions(ctx context.Context) ([]graph.Digest, error) {
	var out []graph.Digest
	for _, name := range g.names() {
		all, err := g.versions(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, h := range all {
			if _, err := g.cube.LoadVersion(ctx, h.Version); !errors.Is(err, cube.ErrNotExist) {
				out = append(out, h.Version)
			}
		}
	}
	return out, nil
}

func nothingBuilt() error {
	return &usageError{errors.New("there is no cube here: nothing was built yet\n  build everything with: cube build")}
}
