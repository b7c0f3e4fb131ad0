package containers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/cubebuild/cube/graph"
)

// Attendance is a command that a person runs in an action's sandbox.
type Attendance struct {
	Args []string
	Env  []string // beside the action's own
	// Terminal, where it is set, is the command's terminal, and the rest unset.
	Terminal       *os.File
	Stdin          *os.File
	Stdout, Stderr io.Writer
}

// Attend runs a command in the very sandbox of an action, with its inputs laid
// out as the action would see them, in place of the action's own. Nothing that
// it leaves is taken in, and it has no time limit. The caller closes the Exit.
func (x *Executor) Attend(ctx context.Context, a Action, with Attendance) (*Exit, error) {
	a.Limits.Disk = cmp.Or(a.Limits.Disk, graph.DefaultDisk)
	a.Limits.Timeout, a.Batch = 0, 0
	st, err := x.stage(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("stage %s: %w", a.Name, err)
	}
	defer st.remove()
	spec := &st.spec
	spec.Args, spec.Env = with.Args, append(slices.Clone(spec.Env), with.Env...)
	spec.Stdin, spec.Stdout, spec.Stderr = with.Stdin, with.Stdout, with.Stderr
	if with.Terminal != nil {
		spec.Stdin, spec.Stdout, spec.Stderr, spec.Terminal = with.Terminal, nil, nil, true
	}
	watched, stop := x.watchAll(ctx, st, a)
	defer stop()
	exit, err := x.runner.Run(watched, *spec)
	if full := diskFull(watched); err != nil && full != nil {
		return nil, full
	}
	return exit, err
}

// LayOut writes what an action is given into a directory, which must be there
// and empty: cube/request.json, cube/in and cube/sources, as the container has
// them below /.
func LayOut(ctx context.Context, a Action, dir string) error {
	at := func(target string) string { return filepath.Join(dir, filepath.FromSlash(target)) }
	if err := os.MkdirAll(at(graph.InputDir), 0o777); err != nil {
		return err
	}
	if err := os.WriteFile(at(graph.RequestPath), a.Request, 0o666); err != nil {
		return err
	}
	root, err := os.OpenRoot(at(graph.InputDir))
	if err != nil {
		return err
	}
	defer root.Close()
	var windows []Input
	for _, in := range a.Inputs {
		if in.Spec.Kind != graph.File {
			windows = append(windows, in)
			continue
		}
		if err := copyInto(at(in.Window.File), in.File); err != nil {
			return err
		}
	}
	for _, dir := range a.PartDirs {
		if err := os.MkdirAll(at(dir), 0o777); err != nil {
			return err
		}
	}
	for _, s := range a.Sources {
		if err := copyInto(at(s.Target), s.Path); err != nil {
			return err
		}
	}
	return fillAll(ctx, root, windows)
}

// copyInto copies a file to a place whose directory it makes.
func copyInto(to, from string) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
