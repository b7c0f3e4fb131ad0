package containers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/graph"
)

// Bounds of the chunks that an array may come in: how many there are, and how
// many bytes they decode to, which is more than the array has where they reach
// beyond its edge.
const (
	maxChunks   = 1 << 20
	maxPadding  = 16
	smallChunks = 64 << 20
)

// ingestZarr reads a Zarr array: the node at the output's directory itself, or
// the array of the output's name in the group there.
func (l *left) ingestZarr(ctx context.Context, role string, want graph.RequestOutput) (Output, error) {
	n := int64(want.DType.Size())
	for _, s := range want.Shape {
		n *= s
	}
	decoded := maxPadding*n + smallChunks
	// No chunk is longer once encoded than it is, but for a few bytes.
	store, err := zarr.OpenDir(l.dir, zarr.DirConfig{MaxValue: decoded + decoded/8})
	if err != nil {
		return Output{}, err
	}
	defer store.Close()
	a, err := findArray(ctx, store, role)
	if err != nil {
		return Output{}, blame(ctx, role, err)
	}
	if err := sameZarr(role, want, a, decoded); err != nil {
		return Output{}, err
	}
	values := make([]byte, n)
	if err := a.ReadRegion(ctx, make([]int, len(want.Shape)), a.Meta().Shape, values); err != nil {
		return Output{}, blame(ctx, role, err)
	}
	return Output{Values: values}, nil
}

// blame says whose fault it is that an output cannot be read: the producer's,
// unless nobody waits for it any more or this machine cannot read files.
func blame(ctx context.Context, role string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var errno syscall.Errno
	if errors.As(err, &errno) && !slices.Contains(treeErrors, errno) {
		return fmt.Errorf("read output %s: %w", role, err)
	}
	return bad(role, "%v", err)
}

// treeErrors are what the kernel says of a tree that is not as it should be.
var treeErrors = []syscall.Errno{syscall.ENOENT, syscall.ENOTDIR, syscall.EISDIR, syscall.ENAMETOOLONG, syscall.EACCES}

// sameZarr says how an array differs from the declared one, or nil. The chunks
// must not decode to more than that many bytes together.
func sameZarr(role string, want graph.RequestOutput, a *zarr.Array, decoded int64) error {
	meta := a.Meta()
	shape := make([]int64, len(meta.Shape))
	for i, n := range meta.Shape {
		shape[i] = int64(n)
	}
	if err := sameArray(role, want, meta.DataType.String(), shape); err != nil {
		return err
	}
	if swapped(meta.DimensionNames, want.Dims) {
		return bad(role, "its dimensions are %q, the tile asks for %q", meta.DimensionNames, want.Dims)
	}
	if units, ok := meta.Attributes["units"].(string); ok && units != "" && want.Units != "" && units != want.Units {
		return bad(role, "its units are %q, the producer declares %q", units, want.Units)
	}
	if why := packed(want, meta); why != "" {
		return bad(role, "%s", why)
	}
	chunks := int64(1)
	for i, n := range meta.Shape {
		chunks *= int64((n + meta.ChunkShape[i] - 1) / meta.ChunkShape[i])
	}
	if chunks > maxChunks {
		return bad(role, "it comes in %d chunks of shape %v; at most %d are read", chunks, meta.ChunkShape, maxChunks)
	}
	if chunks*int64(a.ChunkBytes()) > decoded {
		return bad(role, "its chunks of shape %v are far larger than the array of shape %v", meta.ChunkShape, shape)
	}
	return nil
}

// swapped reports whether dimensions are those asked for in another order: on
// a square tile no shape would tell.
func swapped(have, want []string) bool {
	return !slices.Equal(have, want) && slices.Equal(slices.Sorted(slices.Values(have)), slices.Sorted(slices.Values(want)))
}

func findArray(ctx context.Context, store zarr.Reader, role string) (*zarr.Array, error) {
	a, err := zarr.OpenArray(ctx, store, role)
	if err == nil {
		return a, nil
	}
	g, groupErr := zarr.OpenGroup(ctx, store, role)
	if errors.Is(groupErr, zarr.ErrNotExist) {
		return nil, fmt.Errorf("neither %s nor a Zarr array is there", graph.ArrayFile)
	}
	if groupErr != nil {
		return nil, err
	}
	a, err = g.Array(ctx, role)
	if errors.Is(err, zarr.ErrNotExist) {
		return nil, fmt.Errorf("the Zarr group holds no array named %s", role)
	}
	return a, err
}
