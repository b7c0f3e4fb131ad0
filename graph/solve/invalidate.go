package solve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/cas"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// Invalidation says which results are void.
type Invalidation struct {
	Selections []Selection
	// Actions are further ones whose results are void, and Derivations those
	// that may hold them: what the records of earlier builds tell.
	Actions     []graph.ActionID
	Derivations []graph.Digest
	// DryRun counts and changes nothing.
	DryRun bool
}

// Selection is tiles of one vertex of the plan.
type Selection struct {
	Vertex *graph.Vertex
	Boxes  []grid.Box // of cells of the vertex's grid: the tiles that meet one of them; nil: all
}

// Has reports whether a tile is among those that are selected.
func (s Selection) Has(tile grid.Box) bool {
	for _, b := range s.Boxes {
		if inTime := b.T.Len() == 0 || tile.T.Len() == 0 || b.T.Intersect(tile.T).Len() > 0; inTime && !b.Intersect(tile).Empty() {
			return true
		}
	}
	return s.Boxes == nil
}

// Voided counts what an invalidation took away.
type Voided struct {
	Results     int64 // of actions
	Failures    int64 // that were known
	Aliases     int64 // cover keys that led to the actions
	Derivations int64
}

// Invalidate takes away the results of the selected tiles, so that the next
// build runs their actions: of the actions that a build would look up now, and
// of those that the heads were made by. Their objects stay.
//
// Derivations that may hold one of the results are void from then on, before
// any result is gone: where the work is cut off, a derivation that is still
// known has all its results. No build may use the cube meanwhile: that is
// cube.ErrBusy. Of c it uses Cube, Imports, Host and Chunks.
func Invalidate(ctx context.Context, ws *graph.Workspace, plan *graph.Plan, c Config, in Invalidation) (Voided, error) {
	var out Voided
	if !in.DryRun {
		// A build that has looked up a result would still use it.
		unlock, err := c.Cube.Exclusive()
		if err != nil {
			return out, err
		}
		defer unlock()
	}
	f := finding{ws: ws, plan: plan, conf: c, actions: map[graph.ActionID]bool{}, shared: map[graph.Digest]bool{}}
	for _, id := range in.Actions {
		f.actions[id] = true
	}
	for _, d := range in.Derivations {
		if err := f.derivation(d); err != nil {
			return out, err
		}
	}
	for _, s := range in.Selections {
		if err := f.selection(ctx, s); err != nil {
			return out, fmt.Errorf("%s: %w", s.Vertex.Name, err)
		}
	}
	keys, err := f.entries(ctx, &out)
	if err != nil {
		return out, err
	}
	void, err := f.void(ctx)
	out.Derivations = int64(len(void))
	if err != nil || in.DryRun {
		return out, err
	}
	return out, discard(ctx, c.Cube, void, keys)
}

// finding is what is to be voided, as far as it is known.
type finding struct {
	ws      *graph.Workspace
	plan    *graph.Plan
	conf    Config
	actions map[graph.ActionID]bool
	shared  map[graph.Digest]bool // every action holds one, and so does each derivation that it belongs to
}

// derivation finds what the actions of a derivation share.
func (f *finding) derivation(key graph.Digest) error {
	d, err := LoadDerived(f.conf.Cube, key)
	if err != nil || d == nil {
		return err
	}
	o, err := graph.ReadOutline(d.Preimage)
	f.shared[o.Shared] = true
	return err
}

// selection finds the actions of selected tiles, now and as the heads were made.
func (f *finding) selection(ctx context.Context, s Selection) error {
	now, err := f.present(ctx, s.Vertex)
	if err != nil {
		return err
	}
	if err := f.tiles(ctx, now, s); err != nil {
		return err
	}
	pinned, err := HeadVertex(ctx, f.conf.Cube, f.ws, f.conf.Host, s.Vertex)
	if err != nil || pinned == nil {
		return err
	}
	then, err := newBuild(f.ws, &graph.Plan{Vertices: []*graph.Vertex{pinned}}, f.conf)
	if err != nil {
		return err
	}
	return f.tiles(ctx, then, Selection{pinned, s.Boxes})
}

// present is a build that knows of what a vertex reads all that a preview does.
func (f *finding) present(ctx context.Context, v *graph.Vertex) (*build, error) {
	b, err := newBuild(f.ws, f.plan, f.conf)
	if err != nil {
		return nil, err
	}
	needed := upstream(v)
	for i, u := range f.plan.Vertices {
		if !needed[u] {
			continue
		}
		p := VertexPreview{Vertex: u}
		if err := b.preview(ctx, b.verts[u], b.sched.nodes[i], &p, glance{tiles: previewTiles}); err != nil {
			return nil, fmt.Errorf("%s: %w", u.Name, err)
		}
	}
	return b, nil
}

// upstream are the vertices that a vertex reads, near and far.
func upstream(v *graph.Vertex) map[*graph.Vertex]bool {
	out := map[*graph.Vertex]bool{}
	var visit func(*graph.Vertex)
	visit = func(v *graph.Vertex) {
		for _, in := range v.Inputs {
			if in.From != nil && !out[in.From.Vertex] {
				out[in.From.Vertex] = true
				visit(in.From.Vertex)
			}
		}
	}
	visit(v)
	return out
}

// tiles finds the actions of the selected tiles of one build. A tile whose
// inputs are not there has none yet.
func (f *finding) tiles(ctx context.Context, b *build, s Selection) error {
	v := b.verts[s.Vertex]
	f.shared[v.digest] = true
	for tile := range s.Vertex.Tiles() {
		if !s.Has(tile.Box) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		j := &job{vertex: v, tile: tile, windows: v.Windows(tile)}
		if j.outside() != nil {
			continue
		}
		ids, err := b.identify(ctx, j)
		if err != nil {
			return j.wrap(err)
		}
		for _, id := range ids {
			f.actions[id] = true
		}
	}
	return nil
}

// identify returns the action of a tile: by its cover key, and where that does
// not tell by its exact windows. There is none where its inputs are not there.
func (b *build) identify(ctx context.Context, j *job) ([]graph.ActionID, error) {
	err := b.describe(ctx, j)
	if unseen(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	alias, ok, err := b.Cube.Results().Get(j.cover)
	if err != nil {
		return nil, err
	}
	if ok {
		copy(j.id[:], alias)
		return []graph.ActionID{j.id}, nil
	}
	if err := b.read(ctx, j); unseen(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return []graph.ActionID{j.id}, nil
}

// HeadVertex returns the vertex as it made the head of one of its outputs, with
// the versions pinned that it read then. It is nil where there is no such head,
// or where each was made by another recipe: other params, code, sources or
// tiles.
func HeadVertex(ctx context.Context, c *cube.Cube, ws *graph.Workspace, host graph.Host, v *graph.Vertex) (*graph.Vertex, error) {
	s, err := v.Shared(ws, host)
	if err != nil {
		return nil, err
	}
	for _, o := range v.Outputs {
		h, ok, err := c.Head(ctx, o.Variable)
		if err != nil {
			return nil, err
		}
		if !ok || h.Derivation.IsZero() {
			continue
		}
		versions, err := readBy(c, h.Derivation, s, v)
		if err != nil {
			return nil, err
		}
		if versions != nil {
			return v.Pinned(versions), nil
		}
	}
	return nil, nil
}

// readBy returns the versions that a derivation read, in the order of the
// inputs of the vertex that it is of; nil where it is not of that vertex.
func readBy(c *cube.Cube, derivation graph.Digest, s graph.Shared, v *graph.Vertex) ([]graph.Digest, error) {
	d, err := LoadDerived(c, derivation)
	if err != nil || d == nil {
		return nil, err
	}
	o, err := graph.ReadOutline(d.Preimage)
	if err != nil {
		return nil, err
	}
	versions, ok := o.Versions(v)
	if !ok {
		return nil, nil
	}
	then := v.Derivation(s, versions)
	then.Chunks = o.Chunks // how it was stored changes no recipe
	then.Parts = o.Parts   // nor does what there was of a source
	key, _, err := then.Key()
	if err != nil || key != derivation {
		return nil, err
	}
	return versions, nil
}

// entries finds the keys in the results log that belong to the actions, and
// counts them.
func (f *finding) entries(ctx context.Context, n *Voided) ([]graph.Digest, error) {
	failures := make(map[graph.Digest]bool, len(f.actions))
	for id := range f.actions {
		failures[failureKey(id)] = true
	}
	var keys []graph.Digest
	err := f.conf.Cube.Results().Range(ctx, func(key graph.Digest, value []byte) error {
		switch {
		case f.actions[key]:
			n.Results++
		case failures[key]:
			n.Failures++
		case isAlias(value) && f.actions[graph.ActionID(value)]:
			n.Aliases++
		default:
			return nil
		}
		keys = append(keys, key)
		return nil
	})
	return keys, err
}

// isAlias reports whether an entry of the results log leads from a cover key to
// an action.
func isAlias(value []byte) bool { return len(value) == len(graph.Digest{}) }

// void finds the derivations that hold actions with one of the shared parts:
// more of them than hold the very actions, which costs the next build a look at
// their tiles.
func (f *finding) void(ctx context.Context) (map[graph.Digest]Derived, error) {
	out := map[graph.Digest]Derived{}
	err := f.conf.Cube.Derivations().Range(ctx, func(key graph.Digest, value []byte) error {
		var d Derived
		if err := json.Unmarshal(value, &d); err != nil {
			return fmt.Errorf("derivation %s: %w", key.Short(), err)
		}
		if o, err := graph.ReadOutline(d.Preimage); err != nil || d.Void || !f.shared[o.Shared] {
			return err
		}
		out[key] = d
		return nil
	})
	return out, err
}

// discard makes derivations void and then takes entries of the results log away.
func discard(ctx context.Context, c *cube.Cube, void map[graph.Digest]Derived, keys []graph.Digest) error {
	derivations, results := c.Derivations(), c.Results()
	for key, d := range void {
		d.Void = true
		if err := replace(ctx, derivations, key, d); err != nil {
			return err
		}
	}
	if err := derivations.Sync(ctx); err != nil {
		return err
	}
	for _, key := range keys {
		if err := results.Delete(ctx, key); err != nil {
			return err
		}
	}
	return results.Sync(ctx)
}

// replace sets the value of a key anew.
func replace(ctx context.Context, log *cas.Log, key graph.Digest, d Derived) error {
	value, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if err := log.Delete(ctx, key); err != nil {
		return err
	}
	_, err = log.Put(ctx, key, value)
	return errors.Join(err, ctx.Err())
}
