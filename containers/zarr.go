package containers

import (
	"context"
	"os"
	"path"

	"github.com/cubebuild/cube/cube"
)

// rootWriter is a zarr.Writer over a directory tree that nobody else writes to.
type rootWriter struct{ root *os.Root }

// Set implements zarr.Writer.
func (s rootWriter) Set(_ context.Context, key string, value []byte) error {
	if err := s.root.MkdirAll(path.Dir(key), 0o755); err != nil {
		return err
	}
	return s.root.WriteFile(key, value, 0o444)
}

// fillZarr writes a window as a Zarr v3 group with one array of the role's
// name, and its coordinates. It tells nothing that the request does not:
// what is not hashed, such as a long name, stays out.
func fillZarr(ctx context.Context, root *os.Root, in Input) error {
	return cube.WriteWindow(ctx, rootWriter{root}, in.Role, in.Role, in.Spec.Semantic(), in.Grid, in.Box, in.Values)
}
