package containers

import (
	"cmp"
	"context"
	"os"

	"github.com/cubebuild/cube/graph"
)

// makeRoom decides where an action's windows and outputs lie, and takes the room
// for them: in memory where there is some, and on disk otherwise. Nobody waits for
// disk while he has a window that others may wait for.
func (x *Executor) makeRoom(ctx context.Context, st *staged, a *Action) error {
	own, err := x.takePart(ctx, st, a)
	if err != nil {
		return err
	}
	if own, err = x.takeMemory(ctx, st, a, own); err != nil {
		return err
	}
	disk := a.onDisk(own, st.inMemory)
	if disk == 0 {
		return nil
	}
	if len(st.shared) > 0 {
		if release, ok := x.staging.atOnce(disk); ok {
			st.give = append(st.give, release)
			return nil
		}
		st.partWith()
		a.OwnWindows = true
		return x.makeRoom(ctx, st, a)
	}
	release, err := x.staging.TakeDisk(ctx, disk)
	if err == nil {
		st.give = append(st.give, release)
	}
	return err
}

// takeMemory takes the memory for an action with so many bytes of windows that it
// shares with nobody, and returns how many bytes of windows are to be on disk, all
// where there is none. Only what no disk could ever hold waits for memory.
func (x *Executor) takeMemory(ctx context.Context, st *staged, a *Action, own int64) (onDisk int64, err error) {
	parts := partBytes(a.Sources)
	rest := parts + outputBytes(a)
	release, ok := x.staging.inMemory(own + rest)
	if !ok {
		st.partWith()
		own = windowBytes(a.Inputs)
		if a.onDisk(own, false) > x.staging.conf.Disk && own+rest <= x.staging.conf.Memory {
			if release, err = x.staging.waitForMemory(ctx, own+rest); err != nil {
				return 0, err
			}
			ok = true
		}
	}
	if st.inMemory = ok; !ok {
		return own, nil
	}
	st.give, st.parts = append(st.give, release), parts
	return 0, nil
}

// onDisk is how many bytes of disk an action takes with so many of windows there,
// where the rest fits into memory or does not.
func (a *Action) onDisk(windows int64, fits bool) int64 {
	if !fits || a.Limits.Disk > graph.DefaultDisk {
		windows += a.Limits.Disk
	}
	return windows
}

// OnDisk is how many bytes of a staging area's disk an action takes that has its
// memory, of so many bytes, to itself, and whose windows nobody shares.
func OnDisk(a Action, memory int64) int64 {
	a.Limits.Disk = cmp.Or(a.Limits.Disk, graph.DefaultDisk)
	windows := windowBytes(a.Inputs)
	fits := windows+partBytes(a.Sources)+outputBytes(&a) <= memory
	if fits {
		windows = 0
	}
	return a.onDisk(windows, fits)
}

// takePart has the action see the windows that others have, too, and returns
// the size of its other windows.
func (x *Executor) takePart(ctx context.Context, st *staged, a *Action) (own int64, err error) {
	st.shared = map[string]string{}
	if a.OwnWindows {
		return windowBytes(a.Inputs), nil
	}
	for _, in := range a.Inputs {
		key, err := in.key()
		if err != nil {
			return 0, err
		}
		dir, leave, err := x.staging.share(ctx, key, int64(len(in.Values)), func(dir string) error {
			root, err := os.OpenRoot(dir)
			if err != nil {
				return err
			}
			defer root.Close()
			return fill(root, func(t *tree) error { return t.input(ctx, ".", in) })
		})
		if err != nil {
			return 0, err
		}
		if leave == nil {
			own += int64(len(in.Values))
			continue
		}
		st.shared[in.Role], st.give = dir, append(st.give, leave)
	}
	return own, nil
}

// partWith gives up the windows that others have, too.
func (s *staged) partWith() {
	for _, leave := range s.give {
		leave()
	}
	s.give, s.shared = nil, nil
}

// key names all that is laid out for a window; it is zero where nobody has
// hashed its values.
func (in *Input) key() (graph.Digest, error) {
	if in.Digest.IsZero() || len(in.Values) < worthSharing {
		return graph.Digest{}, nil
	}
	b, err := graph.Canonical(struct {
		Role   string             `json:"role"`
		Window graph.RequestInput `json:"window"`
		Values graph.Digest       `json:"values"`
	}{in.Role, in.Window, in.Digest})
	return graph.Sum(b), err
}

func windowBytes(inputs []Input) (n int64) {
	for _, in := range inputs {
		n += int64(len(in.Values))
	}
	return n
}

// outputBytes is what an action's outputs take: a file may be as large as the
// action's limit.
func outputBytes(a *Action) (n int64) {
	for _, o := range a.Outputs {
		if o.Kind == graph.File {
			return a.Limits.Disk
		}
		bytes := int64(o.DType.Size())
		for _, size := range o.Shape {
			bytes *= size
		}
		n += bytes
	}
	return n
}
