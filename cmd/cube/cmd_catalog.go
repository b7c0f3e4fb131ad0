package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func newCatalogCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "catalog",
		Short:   "look after the catalog, the cube's DuckDB index",
		GroupID: groupMachine,
		Long: `The catalog, .cube/catalog.duckdb, answers SQL about what was built ("cube query").
Nothing depends on it: everything in it stands in records beside it.`,
		Example: "  cube catalog rebuild",
		Args:    knownCommand,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use:     "rebuild",
		Short:   "make the catalog anew from the records beside it",
		Long:    "Rebuild makes the catalog anew from the cube and the records of its runs.",
		Example: "  cube catalog rebuild",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return runCatalogRebuild(c.Context(), a) },
	})
	return c
}

func runCatalogRebuild(ctx context.Context, a *app) (err error) {
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	if g.cube == nil {
		return nothingBuilt()
	}
	cat := a.catalog(g.cube)
	defer func() { err = errors.Join(err, cat.Close()) }()
	stats, err := cat.Rebuild(ctx)
	if err != nil {
		return err
	}
	if a.json {
		return a.printLines(map[string]any{"type": "catalog", "rows": stats.Rows})
	}
	_, err = fmt.Fprintf(a.stdout, "catalog.duckdb: %s\n", plural(int(stats.Rows), "row"))
	return err
}
