package containers

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path"

	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/cube/zarr/codec"
	"github.com/cubebuild/cube/graph"
)

// fillZarr writes a window as a Zarr v3 group with one array of the role's
// name, in one chunk that is not compressed: it is read once.
func fillZarr(ctx context.Context, root *os.Root, in Input) error {
	g, err := zarr.CreateGroup(ctx, rootStore{root}, in.Role, nil)
	if err != nil {
		return err
	}
	shape := make([]int, len(in.Window.Shape))
	for i, n := range in.Window.Shape {
		shape[i] = int(n)
	}
	a, err := g.CreateArray(ctx, in.Role, &zarr.ArrayMeta{
		Shape: shape, ChunkShape: shape, DataType: zarr.DType(in.Spec.DType), DimensionNames: graph.DimsOf(in.Spec),
		Codecs: []codec.Spec{{Name: "bytes", Configuration: []byte(`{"endian":"little"}`)}},
	})
	if err != nil {
		return err
	}
	a.StoreFill = true
	return a.WriteRegion(ctx, make([]int, len(shape)), shape, in.Values)
}

// rootStore is a zarr.Store over a directory tree that nobody else writes to.
type rootStore struct{ root *os.Root }

// Get implements zarr.Reader.
func (s rootStore) Get(_ context.Context, key string, dst []byte) ([]byte, error) {
	b, err := fs.ReadFile(s.root.FS(), key)
	return append(dst, b...), err
}

// Set implements zarr.Writer.
func (s rootStore) Set(_ context.Context, key string, value []byte) error {
	if err := s.root.MkdirAll(path.Dir(key), 0o755); err != nil {
		return err
	}
	return s.root.WriteFile(key, value, 0o444)
}

// Delete implements zarr.Deleter.
func (s rootStore) Delete(_ context.Context, key string) error {
	if err := s.root.Remove(key); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// List implements zarr.Lister.
func (s rootStore) List(_ context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		entries, err := fs.ReadDir(s.root.FS(), path.Clean("./"+prefix))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			yield("", err)
			return
		}
		for _, e := range entries {
			name := e.Name()
			if e.IsDir() {
				name += "/"
			}
			if !yield(name, nil) {
				return
			}
		}
	}
}
