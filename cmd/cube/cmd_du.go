package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/spf13/cobra"
)

func newDuCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "du",
		Short:   "say what takes how much space",
		GroupID: groupMachine,
		Long: `Du says of each variable how large its values are, what its compressed chunks
take, and how much of that no other variable uses: what removing it would free.
Below stand the cube as a whole, with what older versions and known results keep,
and the caches that all workspaces of the user share.`,
		Example: `  cube du
  cube du --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runDu(c.Context(), a) },
	}
}

// used is a line of cube du --json.
type used struct {
	Type     string `json:"type"` // variable, cube or cache
	Name     string `json:"name"`
	Path     string `json:"path,omitempty"`
	Apparent int64  `json:"apparent_bytes,omitempty"`
	Stored   int64  `json:"stored_bytes"`
	Unique   int64  `json:"unique_bytes,omitempty"`
	Shared   int64  `json:"shared_bytes,omitempty"`
}

func runDu(ctx context.Context, a *app) error {
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	var lines []used
	if g.cube != nil {
		if lines, err = g.usage(ctx); err != nil {
			return err
		}
	}
	cache, err := a.cacheDir()
	if err != nil {
		return err
	}
	for _, name := range []string{"images", "sources", "inspections"} {
		n, err := diskUse(ctx, filepath.Join(cache, name))
		if err != nil {
			return err
		}
		lines = append(lines, used{Type: "cache", Name: name, Path: filepath.Join(cache, name), Stored: n})
	}
	if a.json {
		return a.printLines(anySlice(lines)...)
	}
	t := &ui.Table{Header: []string{"", "values", "stored", "alone", "shared"}, Right: []bool{false, true, true, true, true}}
	for _, l := range lines {
		name, style := l.Name, a.style(a.stdout)
		if l.Type != "variable" {
			name = style.Dim(l.Type+": ") + l.Name
			t.Add(name, "", ui.Bytes(l.Stored), "", "")
			continue
		}
		t.Add(name, ui.Bytes(l.Apparent), ui.Bytes(l.Stored), ui.Bytes(l.Unique), ui.Bytes(l.Shared))
	}
	return t.Write(a.stdout, a.style(a.stdout))
}

// usage is what the variables take, and the cube.
func (g *gallery) usage(ctx context.Context) ([]used, error) {
	use, err := g.cube.DiskUse(ctx)
	if err != nil {
		return nil, err
	}
	var lines []used
	for _, name := range g.names() {
		u := use[name]
		lines = append(lines, used{Type: "variable", Name: name, Apparent: u.Apparent, Stored: u.Stored, Unique: u.Unique, Shared: u.Stored - u.Unique})
	}
	for _, part := range []struct{ name, path string }{
		{"chunks of all versions and results", "objects"}, {"manifests", "versions"}, {"known results", "actions"},
		{"lineage", "runs"}, {"catalog", "catalog.duckdb"}, {"all", ""},
	} {
		n, err := diskUse(ctx, g.cube.Path(part.path))
		if err != nil {
			return nil, err
		}
		lines = append(lines, used{Type: "cube", Name: part.name, Path: filepath.Join(cube.Dir, part.path), Stored: n})
	}
	return lines, nil
}

// diskUse is the space that a file or a folder takes; what several names share
// counts once.
func diskUse(ctx context.Context, path string) (int64, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	var total int64
	seen := map[[2]uint64]bool{}
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil // it went away meanwhile, or is another user's
		}
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			total += info.Size()
			return nil
		}
		id := [2]uint64{uint64(st.Dev), st.Ino}
		if !seen[id] {
			total += st.Blocks * 512
		}
		if st.Nlink > 1 {
			seen[id] = true
		}
		return nil
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("disk use of %s: %w", path, err)
	}
	return total, nil
}
