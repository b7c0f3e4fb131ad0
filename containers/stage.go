package containers

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/npy"
)

// maxFilled is how many filled mounts an action may have, beside its outputs.
const maxFilled = 64

// stageInputs lays the windows out below /cube/in, as their needs ask for it,
// in memory where they are small and on disk otherwise.
func (x *Executor) stageInputs(ctx context.Context, st *staged, inputs []Input) error {
	var windows []Input
	var values int64
	for _, in := range inputs {
		if in.Spec.Kind != graph.File {
			windows = append(windows, in)
			values += int64(len(in.Values))
		}
	}
	files := len(inputs) - len(windows)
	switch {
	case len(inputs) == 0:
		return nil
	case values > x.inMemory, files > 0 && len(windows) > maxFilled:
		return x.stageOnDisk(ctx, st, inputs)
	case files == 0:
		st.mountTogether(ctx, windows)
	default:
		st.mountApart(ctx, windows)
	}
	st.mountFiles(inputs)
	return nil
}

// mountTogether shows all windows in one place.
func (s *staged) mountTogether(ctx context.Context, windows []Input) {
	m := Mount{Kind: Tmpfs, Target: graph.InputDir}
	for _, in := range windows {
		m.Size += in.room()
		m.Dirs = append(m.Dirs, in.Role)
	}
	m.Fill = func(root *os.Root) error { return fill(ctx, root, windows) }
	s.mount(m)
}

// mountApart shows each window in a place of its own, so that files can be
// mounted beside them: a place that is filled is empty until all mounts are
// made.
func (s *staged) mountApart(ctx context.Context, windows []Input) {
	for _, in := range windows {
		s.mount(Mount{Kind: Tmpfs, Target: in.Window.Path, Size: in.room(), Fill: func(root *os.Root) error {
			t := newTree(root)
			if err := t.input(ctx, ".", in); err != nil {
				return fmt.Errorf("input %s: %w", in.Role, err)
			}
			return t.finish()
		}})
	}
}

// room is more than the memory that a window takes, with its metadata and its
// coordinates, each file in pages of its own. It is a bound: only what is
// written is used.
func (in *Input) room() int64 {
	room := int64(len(in.Values)) + 8<<20
	for _, n := range in.Window.Shape {
		room += 64 * n
	}
	return room
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

// fill writes each window below root, in a directory of its role.
func fill(ctx context.Context, root *os.Root, inputs []Input) error {
	t := newTree(root)
	for _, in := range inputs {
		if err := t.input(ctx, in.Role, in); err != nil {
			return fmt.Errorf("input %s: %w", in.Role, err)
		}
	}
	return t.finish()
}

// tree is what is written for a payload to read: everybody may read it, whatever
// this process's umask says, and every time in it is 1970.
type tree struct {
	root *os.Root
	made map[string]bool
	dirs []string // in the order in which they were made
}

func newTree(root *os.Root) *tree {
	return &tree{root: root, made: map[string]bool{".": true}, dirs: []string{"."}}
}

// input writes an input in a directory.
func (t *tree) input(ctx context.Context, at string, in Input) error {
	switch {
	case in.Spec.Kind == graph.File:
		return t.write(path.Join(at, "data")) // to mount the file on
	case in.Window.Format == graph.NPY:
		head, err := npy.AppendHeader(nil, npy.Header{DType: string(in.Spec.DType), Shape: in.Window.Shape})
		if err != nil {
			return err
		}
		return t.write(path.Join(at, graph.ArrayFile), head, in.Values)
	}
	// A Zarr v3 group with one array of the role's name, and its coordinates. It
	// tells nothing that the request does not: what is not hashed, such as a
	// long name, stays out.
	return cube.WriteWindow(ctx, t, at, in.Role, in.Spec.Semantic(), in.Grid, in.Box, in.Values)
}

// Set implements zarr.Writer.
func (t *tree) Set(_ context.Context, key string, value []byte) error { return t.write(key, value) }

// mkdir makes a directory and those above it.
func (t *tree) mkdir(name string) error {
	if t.made[name] {
		return nil
	}
	if err := t.mkdir(path.Dir(name)); err != nil {
		return err
	}
	if err := t.root.Mkdir(name, 0o755); err != nil && !os.IsExist(err) {
		return err
	}
	t.made[name], t.dirs = true, append(t.dirs, name)
	return nil
}

// write makes a file that holds the parts.
func (t *tree) write(name string, parts ...[]byte) error {
	if err := t.mkdir(path.Dir(name)); err != nil {
		return err
	}
	f, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range parts {
		if _, err := f.Write(p); err != nil {
			return err
		}
	}
	if err := f.Chmod(0o444); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return t.root.Chtimes(name, epoch, epoch)
}

// finish is for when all is written: what is made in a directory changes its
// times.
func (t *tree) finish() error {
	for _, name := range t.dirs {
		if err := t.root.Chmod(name, 0o755); err != nil {
			return err
		}
		if err := t.root.Chtimes(name, epoch, epoch); err != nil {
			return err
		}
	}
	return nil
}

var epoch = time.Unix(0, 0)
