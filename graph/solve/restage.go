package solve

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// ErrGone says that an action cannot be laid out as it was: the plan has no such
// tile, what it reads has changed, or is not there.
var ErrGone = errors.New("it cannot be laid out as it was")

// Place says which tile of a plan an action computes.
type Place struct {
	Instance string
	Grid     string
	Tile     grid.Box
}

// Restaged is an action laid out anew from what a cube holds, outside of any
// build.
type Restaged struct {
	Action containers.Action
	ID     graph.ActionID

	b *build
	j *job
}

// Restage lays an action out as a build would, with nothing but what the cube
// holds: the versions and results of what it reads. It runs nothing and writes
// nothing. Of c it uses Cube, Imports, Provider, Host, Chunks and Retry. Where
// the plan does not come to the action id, the error is ErrGone.
func Restage(ctx context.Context, ws *graph.Workspace, plan *graph.Plan, c Config, id graph.ActionID, at Place) (*Restaged, error) {
	c.Events, c.RetryFailed = nil, true
	b, err := newBuild(ws, plan, c)
	if err != nil {
		return nil, err
	}
	for i, v := range plan.Vertices {
		n := b.sched.nodes[i]
		if n.inputsKnown() {
			known, err := b.probe(ctx, b.verts[v])
			if err != nil {
				return nil, err
			}
			if known {
				n.end(complete)
			}
		}
		if v.Name != at.Instance || v.GridName != at.Grid || v.IsMerge() {
			continue
		}
		j, err := b.restage(ctx, n, at.Tile)
		if err != nil {
			return nil, err
		}
		if j.id != id {
			return nil, fmt.Errorf("action %s: %w: what it reads or runs has changed since; it would be %s now", id.Short(), ErrGone, j.id.Short())
		}
		r := &Restaged{ID: id, b: b, j: j}
		r.Action, err = b.containerAction(ctx, j)
		r.Action.Alone = true
		return r, err
	}
	return nil, fmt.Errorf("action %s: %w: %s is not in the plan any more", id.Short(), ErrGone, at.Instance)
}

// restage reads one tile's windows, and names its action.
func (b *build) restage(ctx context.Context, n *node, box grid.Box) (*job, error) {
	s := n.vertex.Tiling.Span(box.Intersect(n.vertex.Box))
	if s.Len() != 1 || n.vertex.Tiling.Tile(s.T.Lo, s.Y.Lo, s.X.Lo, n.vertex.Box).Box != box {
		return nil, fmt.Errorf("%s %s: %w: the plan has no such tile any more", n.vertex.Name, box, ErrGone)
	}
	j := &job{vertex: b.verts[n.vertex], tile: n.vertex.Tiling.Tile(s.T.Lo, s.Y.Lo, s.X.Lo, n.vertex.Box)}
	j.windows = n.vertex.Windows(j.tile)
	err := b.reveal(ctx, n, j, map[*node]map[int64]bool{})
	if err == nil {
		err = b.describe(ctx, j)
	}
	if err == nil {
		err = b.read(ctx, j)
	}
	if unseen(err) {
		err = fmt.Errorf("%w: what it reads is not there (%w)", ErrGone, err)
	}
	return j, j.wrap(err)
}

// reveal looks up the results of the tiles that a tile reads and that no version
// holds, and of those that they read.
func (b *build) reveal(ctx context.Context, n *node, j *job, seen map[*node]map[int64]bool) error {
	for i, u := range n.inputs {
		if u == nil || u.state == complete {
			continue
		}
		if seen[u] == nil {
			seen[u] = map[int64]bool{}
			b.sketch(b.verts[u.vertex])
		}
		for tile := range u.touched(n.vertex.Inputs[i].From, j.windows[i].Read) {
			if seen[u][tile] {
				continue
			}
			seen[u][tile] = true
			up := &job{vertex: b.verts[u.vertex], tile: u.tile(tile)}
			up.windows = u.vertex.Windows(up.tile)
			if err := b.reveal(ctx, u, up, seen); err != nil {
				return err
			}
			windows := 1
			if _, err := b.foresee(ctx, up, &windows); err != nil {
				return up.wrap(err)
			}
		}
	}
	return nil
}

// Hold claims the action and gives it its checkpoint, until release is called.
// ok is false where a build, or somebody else, is at it.
func (r *Restaged) Hold(ctx context.Context) (release func(), ok bool, err error) {
	release, ok, err = r.b.Cube.Claims().Claim(ctx, r.ID)
	if !ok || err != nil {
		return nil, false, err
	}
	if err = r.b.checkpoint(&r.Action, r.j); err != nil {
		release()
		return nil, false, err
	}
	return release, true, nil
}

// Repeated is what running an action again came to.
type Repeated struct {
	Failure *containers.Failure // nil where it succeeded
	Usage   containers.Usage
	Outputs map[string]graph.Digest // by role
	// Recorded are the outputs of the result that the cube has; nil: it has none.
	Recorded map[string]graph.Digest
	Kept     bool // it has become the action's result
}

// Same reports whether the outputs are those that are recorded.
func (r *Repeated) Same() bool {
	for role, d := range r.Recorded {
		if r.Outputs[role] != d {
			return false
		}
	}
	return len(r.Recorded) == len(r.Outputs)
}

// Repeat runs the action once, alone, while its log goes to log. The caller
// holds it. Its outputs are compared with the action's result. Where there is
// none and keep is set they become it, as in a build, and the dead letter goes;
// otherwise all that is left of it are objects that nothing names.
func (r *Restaged) Repeat(ctx context.Context, log io.Writer, keep bool) (*Repeated, error) {
	r.Action.Log = log
	rec, err := r.recorded(ctx)
	if err != nil {
		return nil, err
	}
	result, err := r.b.Backend.Run(ctx, r.Action)
	if f := (*containers.Failure)(nil); errors.As(err, &f) && ctx.Err() == nil {
		return &Repeated{Failure: f, Usage: f.Usage, Recorded: rec}, nil
	}
	if err != nil {
		return nil, err
	}
	defer result.Close()
	out := &Repeated{Usage: result.Usage, Recorded: rec, Outputs: map[string]graph.Digest{}}
	if keep && rec == nil {
		done := r.j.done(Ran, nil)
		if err := r.b.dropCheckpoint(r.Action, r.j); err != nil {
			return nil, err
		}
		r.b.RetryFailed = true // a known failure goes
		if err := r.b.commit(ctx, r.j, result, &done); err != nil {
			return nil, err
		}
		out.Outputs, out.Kept = done.Outputs, true
		return out, errors.Join(r.b.unbury(r.j), r.b.Cube.Sync(ctx))
	}
	for i, o := range r.j.Outputs {
		_, digest, err := r.b.put(ctx, r.j, i, result.Outputs[o.Role])
		if err != nil {
			return nil, fmt.Errorf("compare %s: %w", o.Variable, err)
		}
		out.Outputs[o.Role] = digest
	}
	return out, nil
}

// recorded are the digests of the outputs of the action's result, cut as this
// plan cuts them; nil where there is none.
func (r *Restaged) recorded(ctx context.Context) (map[string]graph.Digest, error) {
	b, j := r.b, r.j
	j.vertex.bases = nil
	for i := range j.Outputs {
		j.vertex.arrays[i] = nil
	}
	if err := b.begin(ctx, j.vertex); err != nil {
		return nil, err
	}
	rec, err := b.usable(ctx, j)
	if rec == nil || err != nil {
		return nil, err
	}
	out := map[string]graph.Digest{}
	for _, o := range rec.Outputs {
		if out[o.Role], err = o.digest(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// HasCheckpoint reports whether the action's contract asks for a checkpoint.
func (r *Restaged) HasCheckpoint() bool { return r.j.Instance.Manifest.Capabilities.Checkpoint }
