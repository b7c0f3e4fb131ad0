package containers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"syscall"

	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/npy"
)

// bad says that an output is not what was declared.
func bad(role, format string, args ...any) *Failure {
	return &Failure{Kind: FailedOutput, Detail: fmt.Sprintf("output %s: ", role) + fmt.Sprintf(format, args...)}
}

// left is what a producer wrote: /cube/out after its end. Everything in it is
// hostile; no path leads out of root.
type left struct {
	root *os.Root
	dir  string // root's own path
}

// Close gives the directory up.
func (l *left) Close() error { return l.root.Close() }

// ingest takes in what a producer left. An entry that is not declared, is no
// regular file, or is not of the declared dtype and shape is a *Failure.
func (l *left) ingest(ctx context.Context, want map[string]graph.RequestOutput) (map[string]Output, error) {
	entries, err := fs.ReadDir(l.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if _, ok := want[e.Name()]; !ok {
			return nil, bad(e.Name(), "the producer declares no such output")
		}
	}
	outputs := map[string]Output{}
	for _, role := range slices.Sorted(maps.Keys(want)) {
		o, err := l.ingestOne(ctx, role, want[role])
		if err != nil {
			r := Result{Outputs: outputs}
			return nil, errors.Join(err, r.Close())
		}
		outputs[role] = o
	}
	return outputs, nil
}

func (l *left) ingestOne(ctx context.Context, role string, want graph.RequestOutput) (Output, error) {
	if want.Kind == graph.File {
		return ingestFile(l.root, role)
	}
	entries, err := fs.ReadDir(l.root.FS(), role)
	if err != nil || len(entries) == 0 {
		return Output{}, bad(role, "the producer wrote nothing")
	}
	array := func(e fs.DirEntry) bool { return e.Name() == graph.ArrayFile }
	if !slices.ContainsFunc(entries, array) {
		return l.ingestZarr(ctx, role, want)
	}
	for _, e := range entries {
		if !array(e) {
			return Output{}, bad(role, "%s lies beside %s: the producer declares no such file", e.Name(), graph.ArrayFile)
		}
	}
	return ingestNPY(l.root, role, want)
}

func ingestNPY(root *os.Root, role string, want graph.RequestOutput) (Output, error) {
	f, err := openRegular(root, role+"/"+graph.ArrayFile)
	if err != nil {
		return Output{}, bad(role, "%v", err)
	}
	defer f.Close()
	h, err := npy.ReadHeader(f)
	if err != nil {
		return Output{}, bad(role, "%s: %v", graph.ArrayFile, err)
	}
	if err := sameArray(role, want, h.DType, h.Shape); err != nil {
		return Output{}, err
	}
	if _, err := f.Seek(0, 0); err != nil {
		return Output{}, err
	}
	limit, err := h.Size()
	if err != nil {
		return Output{}, bad(role, "%v", err)
	}
	_, values, err := npy.Read(f, limit)
	if err != nil {
		return Output{}, bad(role, "%s: %v", graph.ArrayFile, err)
	}
	return Output{Values: values}, nil
}

// sameArray says how an array differs from the declared one, or nil.
func sameArray(role string, want graph.RequestOutput, dtype string, shape []int64) error {
	if dtype != string(want.DType) {
		return bad(role, "its dtype is %s, the producer declares %s", dtype, want.DType)
	}
	if !slices.Equal(shape, want.Shape) {
		return bad(role, "its shape is %v, the tile asks for %v (%v)", shape, want.Shape, want.Dims)
	}
	return nil
}

// ingestZarr reads a Zarr array: the node at the output's directory itself, or
// the array of the output's name in the group there.
func (l *left) ingestZarr(ctx context.Context, role string, want graph.RequestOutput) (Output, error) {
	store, err := zarr.OpenDir(l.dir, zarr.DirConfig{})
	if err != nil {
		return Output{}, err
	}
	defer store.Close()
	a, err := findArray(ctx, store, role)
	if err != nil {
		return Output{}, bad(role, "%v", err)
	}
	shape := make([]int64, len(a.Meta().Shape))
	for i, n := range a.Meta().Shape {
		shape[i] = int64(n)
	}
	if err := sameArray(role, want, a.Meta().DataType.String(), shape); err != nil {
		return Output{}, err
	}
	n := int64(want.DType.Size())
	for _, s := range shape {
		n *= s
	}
	values := make([]byte, n)
	if err := a.ReadRegion(ctx, make([]int, len(shape)), a.Meta().Shape, values); err != nil {
		return Output{}, bad(role, "%v", err)
	}
	return Output{Values: values}, nil
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
	if a, err = g.Array(ctx, role); err == nil {
		return a, nil
	}
	return nil, fmt.Errorf("the Zarr group holds no array named %s", role)
}

// ingestFile takes the one file in an output's directory, whatever its name.
func ingestFile(root *os.Root, role string) (Output, error) {
	entries, err := fs.ReadDir(root.FS(), role)
	if err != nil || len(entries) != 1 {
		return Output{}, bad(role, "want one file in its directory, found %d entries", len(entries))
	}
	return openOutput(root, role, role+"/"+entries[0].Name())
}

func openOutput(root *os.Root, role, path string) (Output, error) {
	f, err := openRegular(root, path)
	if err != nil {
		return Output{}, bad(role, "%v", err)
	}
	return Output{File: f, Name: path}, nil
}

// openRegular opens a regular file without ever waiting for a pipe's writer,
// and refuses everything else.
func openRegular(root *os.Root, path string) (*os.File, error) {
	info, err := root.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("%s: the producer did not write it", path)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is no regular file", path)
	}
	return root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
}
