package exchange

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/graph"
)

// Zarr writes to a folder a copy of the variable's view, with each chunk checked.
func (x Export) Zarr(ctx context.Context, dir string) error {
	if err := x.Cube.View(ctx); err != nil {
		return err
	}
	view := x.Cube.Path("zarr", x.Head.Variable)
	if err := x.copyDocuments(view, dir); err != nil {
		return err
	}
	from, err := zarr.OpenDir(view, zarr.DirConfig{})
	if err != nil {
		return err
	}
	defer from.Close()
	a, err := zarr.OpenArray(ctx, from, x.Head.Variable)
	if err != nil {
		return err
	}
	to, err := zarr.OpenDir(dir, zarr.DirConfig{})
	if err != nil {
		return err
	}
	defer to.Close()
	return x.copyChunks(ctx, to, a.Meta())
}

// copyDocuments copies the group's documents and its coordinates.
func (x Export) copyDocuments(view, dir string) error {
	return filepath.WalkDir(view, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(view, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && filepath.Dir(rel) == x.Head.Variable:
			return filepath.SkipDir // the chunks
		case d.IsDir():
			return os.MkdirAll(filepath.Join(dir, rel), 0o755)
		case filepath.Dir(rel) == x.Head.Variable && d.Name() != "zarr.json":
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, rel), b, 0o644)
	})
}

// copyChunks writes the version's chunks, as the objects that the cube keeps.
func (x Export) copyChunks(ctx context.Context, to zarr.Writer, meta *zarr.ArrayMeta) error {
	l, n := x.layout(), len(meta.Shape)
	span := l.Span()
	index := make([]int, n)
	var buf []byte
	return x.Version.Refs(ctx, func(ti, yi, xi int64, r cube.ChunkRef) error {
		if r.Object.IsZero() {
			return nil
		}
		if l.Spec.Kind == graph.Time {
			index[0] = int(ti - span.T.Lo)
		}
		index[n-2], index[n-1] = int(yi-span.Y.Lo), int(xi-span.X.Lo)
		var err error
		if buf, err = x.Cube.Objects().Get(ctx, r.Object, buf[:0]); err != nil {
			return err
		}
		return to.Set(ctx, x.Head.Variable+"/"+meta.ChunkKey(index...), buf)
	})
}
