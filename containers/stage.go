package containers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/npy"
)

// stageInputs lays the windows out below /cube/in, as their needs ask for it,
// in memory where they are small and on disk otherwise.
func (x *Executor) stageInputs(ctx context.Context, st *staged, inputs []Input) error {
	if len(inputs) == 0 {
		return nil
	}
	var size int64
	for _, in := range inputs {
		size += int64(len(in.Values))
	}
	if size > inMemory {
		return x.stageOnDisk(ctx, st, inputs)
	}
	st.mount(Mount{Kind: Tmpfs, Target: graph.InputDir, Size: 2*size + 1<<20, Dirs: roles(inputs),
		Fill: func(root *os.Root) error { return fill(ctx, root, inputs) }})
	st.mountFiles(inputs)
	return nil
}

func (x *Executor) stageOnDisk(ctx context.Context, st *staged, inputs []Input) error {
	dir, err := x.dir(st)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "in")
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := fill(ctx, root, inputs); err != nil {
		return err
	}
	st.mount(Mount{Kind: Bind, Source: path, Target: graph.InputDir})
	st.mountFiles(inputs)
	return nil
}

// mountFiles shows the inputs of kind: file where they are.
func (s *staged) mountFiles(inputs []Input) {
	for _, in := range inputs {
		if in.Spec.Kind == graph.File {
			s.mount(Mount{Kind: Bind, Source: in.File, Target: in.Window.File})
		}
	}
}

func roles(inputs []Input) []string {
	out := make([]string, len(inputs))
	for i, in := range inputs {
		out[i] = in.Role
	}
	return out
}

// fill writes each window below root, in a directory of its role.
func fill(ctx context.Context, root *os.Root, inputs []Input) error {
	for _, in := range inputs {
		if err := root.Mkdir(in.Role, 0o755); err != nil && !os.IsExist(err) {
			return err
		}
		var err error
		switch {
		case in.Spec.Kind == graph.File:
			err = root.WriteFile(in.Role+"/data", nil, 0o444) // to mount the file on
		case in.Window.Format == graph.NPY:
			err = fillNPY(root, in)
		default:
			err = fillZarr(ctx, root, in)
		}
		if err != nil {
			return fmt.Errorf("input %s: %w", in.Role, err)
		}
	}
	return nil
}

func fillNPY(root *os.Root, in Input) error {
	head, err := npy.AppendHeader(nil, npy.Header{DType: string(in.Spec.DType), Shape: in.Window.Shape})
	if err != nil {
		return err
	}
	f, err := root.Create(in.Role + "/" + graph.ArrayFile)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(head); err != nil {
		return err
	}
	if _, err := f.Write(in.Values); err != nil {
		return err
	}
	return f.Close()
}
