package solve

import (
	"context"
	"fmt"
	"slices"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// TilePreview is what a build would make of one tile, and what it would read
// beside what was read when the head's version was made.
type TilePreview struct {
	Vertex   VertexPreview // none of whose other tiles were looked at
	Tile     grid.Tile
	Forecast Forecast
	Action   graph.ActionID // zero where it is open
	Windows  []WindowPreview
	// Err says why it fails where that is foreseen.
	Err error
}

// WindowPreview is what a tile would read of one input.
type WindowPreview struct {
	graph.Window
	// Now is what it is read from and Was what was read before, each with the
	// cube that holds it. Now is nil where nothing of it is to be had, or nothing
	// is read; Was, where it is not known or gone.
	Now, Was       cube.Array
	NowIn, WasIn   *cube.Cube
	Version, Older graph.Digest // of Now, zero while it is being made, and of Was
	// Pending are the first tiles of the input's vertex that it reads and that
	// are still to be made, Missing is how many there are.
	Pending []grid.Tile
	Missing int64
}

// Look is [Preview] of one tile of a vertex of the plan. Of the vertices that
// it needs only those that are not known are looked at tile by tile.
func Look(ctx context.Context, ws *graph.Workspace, plan *graph.Plan, c Config, v *graph.Vertex, tile grid.Tile) (*TilePreview, error) {
	b, err := newPreview(ctx, ws, plan, c)
	if err != nil {
		return nil, err
	}
	needs := ancestors(v)
	p := &TilePreview{Tile: tile}
	for i, u := range plan.Vertices {
		switch {
		case u == v:
			err = b.previewAt(ctx, i, &p.Vertex, glance{})
		case needs[u]:
			err = b.previewAt(ctx, i, &VertexPreview{}, glance{tiles: previewTiles})
		}
		if err != nil {
			return nil, err
		}
	}
	if err := b.look(ctx, b.verts[v], p); err != nil {
		return nil, fmt.Errorf("%s tile %s: %w", v.Name, tile.Box, err)
	}
	return p, nil
}

// ancestors are the vertices that a vertex needs.
func ancestors(v *graph.Vertex) map[*graph.Vertex]bool {
	out := map[*graph.Vertex]bool{}
	todo := []*graph.Vertex{v}
	for len(todo) > 0 {
		v, todo = todo[0], todo[1:]
		for _, in := range v.Inputs {
			if in.From != nil && !out[in.From.Vertex] {
				out[in.From.Vertex] = true
				todo = append(todo, in.From.Vertex)
			}
		}
	}
	return out
}

func (b *build) look(ctx context.Context, v *vertex, p *TilePreview) error {
	j := &job{vertex: v, tile: p.Tile, windows: v.Windows(p.Tile)}
	before := graph.Outline{}
	if p.Vertex.Before != nil {
		var err error
		if before, err = graph.ReadOutline(p.Vertex.Before); err != nil {
			return err
		}
	}
	for i, w := range j.windows {
		wp := WindowPreview{Window: w, Older: before.Version(v.Vertex, i)}
		if err := b.sides(ctx, &wp); err != nil {
			return fmt.Errorf("%s: %w", w.Binding.Variable, err)
		}
		p.Windows = append(p.Windows, wp)
	}
	if b.Cube == nil {
		if len(v.Inputs) == 0 {
			p.Forecast = Miss
		}
		return nil
	}
	b.sketch(v)
	windows := previewWindows
	var err error
	p.Forecast, err = b.foresee(ctx, j, &windows)
	switch {
	case err != nil:
		return err
	case p.Forecast == Failing:
		p.Err = b.failureOf(j)
	case p.Vertex.Known:
		p.Forecast = Known
	}
	p.Action = j.id
	return nil
}

// failureOf says why a tile is known to fail.
func (b *build) failureOf(j *job) error {
	if err := j.outside(); err != nil {
		return err
	}
	done, _, err := b.knownFailure(j)
	if err != nil {
		return err
	}
	return done.Err
}

// sides finds what a window is read from and was read from before.
func (b *build) sides(ctx context.Context, w *WindowPreview) error {
	if b.Cube == nil {
		return nil
	}
	w.Version = b.version(w.Binding)
	now, err := b.array(ctx, w.Binding)
	if ignoreUnseen(err) != nil {
		return err
	}
	if err == nil {
		w.Now, w.NowIn = now, b.holder(now)
	}
	if from := w.Binding.From; from != nil && w.Version.IsZero() {
		if err := b.pending(ctx, w, from); err != nil {
			return err
		}
	}
	if w.Older.IsZero() {
		return nil
	}
	b.mu.Lock()
	was, err := b.pinned(ctx, w.Older)
	b.mu.Unlock()
	if err != nil {
		return ignoreUnseen(err)
	}
	w.Was, w.WasIn = was, b.holder(was)
	return nil
}

// shownPending is how many tiles that are still to be made a look names.
const shownPending = 8

// pending finds the tiles of an input that a window reads and that are not
// there.
func (b *build) pending(ctx context.Context, w *WindowPreview, from *graph.Output) error {
	s, seen := w.Now.(*sketch)
	if from.Spec.Kind == graph.File && seen && s.file != nil {
		return nil
	}
	u := b.sched.nodes[b.verts[from.Vertex].place]
	for index := range u.touched(from, w.Read) {
		tile := u.tile(index)
		if seen && from.Spec.Kind != graph.File {
			covered, err := cube.Covers(ctx, s, from.OutputBox(tile.Box))
			if err != nil {
				return err
			}
			if covered {
				continue
			}
		}
		w.Missing++
		w.Pending = append(w.Pending[max(0, len(w.Pending)-shownPending+1):], tile) // the last come first
	}
	slices.Reverse(w.Pending)
	return nil
}
