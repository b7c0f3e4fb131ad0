package containers

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/npy"
	"golang.org/x/sys/unix"
)

// maxFilled is how many filled mounts an action may have, beside its outputs.
const maxFilled = 64

// roomForAll is the size of a tmpfs that only the engine writes to, and that it
// takes no more of than it has counted.
const roomForAll = 1 << 40

// stageInputs lays the windows out below /cube/in, as their needs ask for it.
func (x *Executor) stageInputs(ctx context.Context, st *staged, inputs []Input) error {
	var windows []Input
	for _, in := range inputs {
		if in.Spec.Kind != graph.File && st.shared[in.Role] == "" {
			windows = append(windows, in)
		}
	}
	binds := len(inputs) - len(windows)
	switch {
	case len(inputs) == 0:
		return nil
	case !st.inMemory, binds > 0 && len(windows) > maxFilled:
		return x.stageOnDisk(ctx, st, inputs)
	case binds == 0:
		st.mountTogether(ctx, windows)
	default:
		st.mountApart(ctx, windows)
	}
	st.mountWhole(inputs)
	return nil
}

// mountTogether shows all windows in one place.
func (s *staged) mountTogether(ctx context.Context, windows []Input) {
	m := Mount{Kind: Tmpfs, Target: graph.InputDir}
	for _, in := range windows {
		m.Size += in.room()
		m.Dirs = append(m.Dirs, in.Role)
	}
	if s.serves { // what comes later is not the init's to make, and of any size
		m.Size, m.Dirs = roomForAll, nil
	}
	m.Fill = func(root *os.Root) error { return fillAll(ctx, root, windows) }
	s.mount(m)
}

// mountApart shows each window in a place of its own, so that files can be
// mounted beside them: a place that is filled is empty until all mounts are
// made.
func (s *staged) mountApart(ctx context.Context, windows []Input) {
	for _, in := range windows {
		size := in.room()
		if s.serves {
			size = roomForAll
		}
		s.mount(Mount{Kind: Tmpfs, Target: in.Window.Path, Size: size, Fill: func(root *os.Root) error {
			return fill(root, func(t *tree) error { return t.input(ctx, ".", in) })
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
	if err := fillAll(ctx, root, inputs); err != nil {
		return err
	}
	st.mount(Mount{Kind: Bind, Source: path, Target: graph.InputDir})
	st.shared = nil // they are all there
	st.mountWhole(inputs)
	return nil
}

// mountWhole shows the inputs of kind: file, and the windows that others have,
// too, where they are.
func (s *staged) mountWhole(inputs []Input) {
	for _, in := range inputs {
		if dir := s.shared[in.Role]; dir != "" {
			s.mount(Mount{Kind: Bind, Source: dir, Target: in.Window.Path})
		} else if in.Spec.Kind == graph.File {
			s.mount(Mount{Kind: Bind, Source: in.File, Target: in.Window.File})
		}
	}
}

// fillAll writes each input below root, in a directory of its role.
func fillAll(ctx context.Context, root *os.Root, inputs []Input) error {
	return fill(root, func(t *tree) error {
		for _, in := range inputs {
			if err := t.input(ctx, in.Role, in); err != nil {
				return err
			}
		}
		return nil
	})
}

// fill has the tree below root written, which nobody else writes to meanwhile.
func fill(root *os.Root, write func(*tree) error) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	t := &tree{at: int(dir.Fd()), made: map[string]bool{".": true}, dirs: []string{"."}}
	if err := write(t); err != nil {
		return err
	}
	return t.finish()
}

// tree is what is written for a payload to read: everybody may read it, whatever
// this process's umask says, and every time in it is 1970. There are many small
// files in it, so a file costs the fewest system calls that do.
type tree struct {
	at   int // descriptor of its root
	made map[string]bool
	dirs []string // in the order in which they were made
}

// input writes an input in a directory.
func (t *tree) input(ctx context.Context, at string, in Input) (err error) {
	switch {
	case in.Spec.Kind == graph.File:
		err = t.write(path.Join(at, "data")) // to mount the file on
	case in.Window.Format == graph.NPY:
		err = t.npy(path.Join(at, graph.ArrayFile), in)
	default:
		// A Zarr v3 group with one array of the role's name, and its coordinates.
		// It tells nothing that the request does not: what is not hashed, such as
		// a long name, stays out.
		err = cube.WriteWindow(ctx, t, at, in.Role, in.Spec.Semantic(), in.Grid, in.Box, in.Values)
	}
	if err != nil {
		return fmt.Errorf("input %s: %w", in.Role, err)
	}
	return nil
}

func (t *tree) npy(name string, in Input) error {
	head, err := npy.AppendHeader(nil, npy.Header{DType: string(in.Spec.DType), Shape: in.Window.Shape})
	if err != nil {
		return err
	}
	return t.write(name, head, in.Values)
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
	if err := unix.Mkdirat(t.at, name, 0o755); err != nil && err != unix.EEXIST {
		return &fs.PathError{Op: "mkdir", Path: name, Err: err}
	}
	t.made[name], t.dirs = true, append(t.dirs, name)
	return nil
}

// write makes a file that holds the parts.
func (t *tree) write(name string, parts ...[]byte) error {
	if err := t.mkdir(path.Dir(name)); err != nil {
		return err
	}
	fd, err := unix.Openat(t.at, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o444)
	if err != nil {
		return &fs.PathError{Op: "create", Path: name, Err: err}
	}
	err = writeAll(fd, parts)
	if err == nil {
		err = unix.Fchmod(fd, 0o444)
	}
	if closed := unix.Close(fd); err == nil {
		err = closed
	}
	if err != nil {
		return &fs.PathError{Op: "write", Path: name, Err: err}
	}
	return t.date(name)
}

func writeAll(fd int, parts [][]byte) error {
	for _, p := range parts {
		for len(p) > 0 {
			n, err := unix.Write(fd, p[:min(len(p), 1<<30)])
			if err != nil && err != unix.EINTR {
				return err
			}
			p = p[max(n, 0):]
		}
	}
	return nil
}

// finish is for when all is written: what is made in a directory changes its
// times.
func (t *tree) finish() error {
	for _, name := range t.dirs {
		if err := unix.Fchmodat(t.at, name, 0o755, 0); err != nil {
			return &fs.PathError{Op: "chmod", Path: name, Err: err}
		}
		if err := t.date(name); err != nil {
			return err
		}
	}
	return nil
}

// date sets the times of a file or directory to 1970.
func (t *tree) date(name string) error {
	if err := unix.UtimesNanoAt(t.at, name, make([]unix.Timespec, 2), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "set times", Path: name, Err: err}
	}
	return nil
}
