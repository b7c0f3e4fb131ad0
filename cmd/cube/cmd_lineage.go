package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/lineage"
	"github.com/spf13/cobra"
)

func newLineageCommand(a *app) *cobra.Command {
	var methods bool
	c := &cobra.Command{
		Use:     "lineage VARIABLE[@VERSION]",
		Short:   "say how a variable was made, down to its sources",
		GroupID: groupExplain,
		Long: `Lineage draws how the version that the cube shows was made: by which producers,
images, params and software, from which inputs, down to the sources with their
address, SHA-256, license and citation. Other versions are named by the first
digits of their digest.`,
		Example: `  cube lineage slope
  cube lineage slope@3f9c0a
  cube lineage slope --methods        # the paragraph for a paper
  cube lineage slope --json | jq '.nodes[].sources[]?.uri'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeHead,
		RunE:              func(c *cobra.Command, args []string) error { return runLineage(c.Context(), a, args[0], methods) },
	}
	c.Flags().BoolVar(&methods, "methods", false, "write the paragraph for the methods section of a paper")
	return c
}

func runLineage(ctx context.Context, a *app, name string, methods bool) error {
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	variable, version, err := g.version(ctx, name)
	if err != nil {
		return err
	}
	tree, err := lineage.Trace(lineage.Open(g.cube.Path("runs")), variable, version)
	if err != nil {
		return err
	}
	switch {
	case a.json:
		return a.printLines(struct {
			Type string `json:"type"`
			*lineage.Tree
		}{"lineage", tree})
	case methods:
		return tree.Methods(a.stdout)
	}
	return tree.WriteText(a.stdout)
}

// version finds a version of a variable: the head, or, behind an @, the one
// whose digest begins so.
func (g *gallery) version(ctx context.Context, name string) (string, graph.Digest, error) {
	name, prefix, named := strings.Cut(name, "@")
	if !named {
		h, _, err := g.head(ctx, name)
		return name, h.Version, err
	}
	all, err := g.versions(ctx, name)
	if err != nil {
		return "", graph.Digest{}, err
	}
	prefix = strings.TrimPrefix(prefix, "sha256:")
	var found []graph.Digest
	for _, h := range all {
		if strings.HasPrefix(h.Version.Hex(), prefix) {
			found = append(found, h.Version)
		}
	}
	switch {
	case len(all) == 0:
		return "", graph.Digest{}, g.unknown(ctx, name)
	case len(found) == 0:
		return "", graph.Digest{}, &usageError{fmt.Errorf("%s has no version %s\n  its versions: cube show %s --json", name, prefix, name)}
	case len(found) > 1:
		return "", graph.Digest{}, &usageError{fmt.Errorf("%d versions of %s begin with %s; give more digits", len(found), name, prefix)}
	}
	return name, found[0], nil
}
