package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cubebuild/cube/internal/exchange"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/spf13/cobra"
)

type exportOptions struct {
	out   string
	force bool
}

func newExportCommand(a *app) *cobra.Command {
	var o exportOptions
	c := &cobra.Command{
		Use:     "export VARIABLE -o FILE",
		Short:   "write a variable as GeoTIFF, NetCDF or Zarr",
		GroupID: groupLook,
		Long: `Export writes a variable to a file that other programs read: GeoTIFF (.tif),
NetCDF (.nc) or a folder of Zarr version 3 (.zarr), with its reference system,
nodata, units and classes. Each value is checked against its digest on its way.

A GeoTIFF has a band for each time and for each place along further dimensions;
it is tiled and deflated. NetCDF is of the classic format, not compressed:
version 2, which every program reads, or version 5 where a type (unsigned or 64
bit integers) or a size needs it.

A variable that is a file is copied, whatever the name.`,
		Example: `  cube export slope -o slope.tif
  cube export fuel_moisture -o fuel_moisture.nc
  cube export wind -o wind.zarr --force`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeHead,
		RunE:              func(c *cobra.Command, args []string) error { return runExport(c.Context(), a, o, args[0]) },
	}
	c.Flags().StringVarP(&o.out, "output", "o", "", "the `file` to write (.tif, .nc or .zarr)")
	c.Flags().BoolVarP(&o.force, "force", "f", false, "replace what is there")
	_ = c.MarkFlagRequired("output")
	return c
}

func runExport(ctx context.Context, a *app, o exportOptions, name string) error {
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	h, v, err := g.head(ctx, name)
	if err != nil {
		return err
	}
	x := exchange.Export{Cube: g.cube, Head: h, Version: v}
	write, err := writerOf(ctx, x, o.out)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(o.out); err == nil && !o.force {
		return &usageError{fmt.Errorf("%s is there already\n  to replace it: --force", o.out)}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := write(o.out); err != nil {
		return fmt.Errorf("export %s: %w", name, err)
	}
	size, err := diskUse(ctx, o.out)
	if err != nil {
		return err
	}
	if a.json {
		return a.printLines(headLine{"export", name, h.Version, o.out, size})
	}
	if !a.quiet {
		fmt.Fprintf(a.stderr, "%s (%s)\n", o.out, ui.Bytes(size))
	}
	return nil
}

// writerOf chooses what writes a file of that name.
func writerOf(ctx context.Context, x exchange.Export, out string) (func(path string) error, error) {
	if _, ok := x.Version.File(); ok {
		return func(path string) error {
			return writeFileAt(path, func(f *os.File) error { return x.File(ctx, f) })
		}, nil
	}
	switch ext := strings.ToLower(filepath.Ext(out)); ext {
	case ".tif", ".tiff":
		return func(path string) error {
			return writeFileAt(path, func(f *os.File) error { return x.GeoTIFF(ctx, f) })
		}, nil
	case ".nc", ".nc4", ".cdf":
		return func(path string) error {
			return writeFileAt(path, func(f *os.File) error { return x.NetCDF(ctx, f) })
		}, nil
	case ".zarr":
		return func(path string) error { return writeFolder(path, func(dir string) error { return x.Zarr(ctx, dir) }) }, nil
	default:
		return nil, &usageError{fmt.Errorf("-o %s: the name says the format: .tif, .nc or .zarr", out)}
	}
}

// writeFileAt writes a file whole or not at all, in any order.
func writeFileAt(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".cube-*")
	if err != nil {
		return notWritten(path, err)
	}
	defer os.Remove(f.Name())
	if err := errors.Join(write(f), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return replace(f.Name(), path)
}

// writeFolder is writeFileAt for a folder.
func writeFolder(path string, write func(dir string) error) error {
	path = filepath.Clean(path)
	dir, err := os.MkdirTemp(filepath.Dir(path), ".cube-*")
	if err != nil {
		return notWritten(path, err)
	}
	defer os.RemoveAll(dir)
	if err := errors.Join(write(dir), os.Chmod(dir, 0o755)); err != nil {
		return err
	}
	return replace(dir, path)
}

// replace moves what was written to its place; a folder in the way is removed.
func replace(from, to string) error {
	if info, err := os.Lstat(to); err == nil && info.IsDir() {
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	return os.Rename(from, to)
}
