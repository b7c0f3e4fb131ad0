package solve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/cas"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// VertexPreview is what a build would make of one vertex.
//
// Its tiles are Hits, Misses, Failing and Open, together Vertex.Len(). Those
// that are open read what is itself still to be made: they run unless it comes
// out as it was.
type VertexPreview struct {
	Vertex *graph.Vertex
	Known  bool // the derivation is known: no tile would be looked at
	// Unseen are those of the open tiles that nobody looked at, because there are
	// too many: where it is 0 the rest is counted.
	Unseen  int64
	Hits    int64
	Misses  int64
	Failing int64 // known to fail, and reported again without being run
	Open    int64
	Void    bool // the derivation was known until some of its results were invalidated

	// Derivation is the derivation key, zero while an input is still to be
	// made. Preimage is its preimage; in place of the version of an input that
	// is still to be made it has the version that the head was made from.
	Derivation graph.Digest
	Preimage   json.RawMessage
	// Pending are the indices of the inputs that are still to be made.
	Pending []int
	// Outputs are the versions, in the order of Vertex.Outputs, where Known.
	Outputs []graph.Digest

	// Head is that of the first output, nil where there is none, and Before the
	// preimage of the derivation that it came of, nil where none is remembered.
	Head   *cube.Head
	Before json.RawMessage
}

// Idle reports whether nothing of the vertex would run.
func (p *VertexPreview) Idle() bool { return p.Misses+p.Open == 0 }

// HeadElsewhere reports whether the result is known and shown by no head: a
// build would move the head and run nothing.
func (p *VertexPreview) HeadElsewhere() bool {
	return p.Known && (p.Head == nil || p.Head.Version != p.Outputs[0])
}

// glance bounds what is looked at of one vertex: how many tiles it may have for all
// of them to be looked at, and how many are otherwise, evenly spread.
type glance struct{ tiles, sample int64 }

const (
	previewTiles   = 50_000
	previewSample  = 5_000
	previewWindows = 5_000 // of so many tiles the windows are read
)

// Preview says what [Run] would do, vertex by vertex in the order of the plan.
// It runs nothing and writes nothing. Of c it uses Cube, Host, Chunks and
// RetryFailed. Without a Cube nothing is known.
func Preview(ctx context.Context, ws *graph.Workspace, plan *graph.Plan, c Config) ([]VertexPreview, error) {
	return preview(ctx, ws, plan, c, glance{previewTiles, previewSample})
}

// Settled is [Preview] without a look at tiles: it says which vertices are
// known, at the same cost for any number of tiles. The tiles of the others are
// open, and unseen.
func Settled(ctx context.Context, ws *graph.Workspace, plan *graph.Plan, c Config) ([]VertexPreview, error) {
	return preview(ctx, ws, plan, c, glance{})
}

func preview(ctx context.Context, ws *graph.Workspace, plan *graph.Plan, c Config, g glance) ([]VertexPreview, error) {
	b, err := newPreview(ctx, ws, plan, c)
	if err != nil {
		return nil, err
	}
	previews := make([]VertexPreview, len(plan.Vertices))
	for i := range previews {
		if err := b.previewAt(ctx, i, &previews[i], g); err != nil {
			return nil, err
		}
	}
	return previews, nil
}

// newPreview is a build that only looks.
func newPreview(ctx context.Context, ws *graph.Workspace, plan *graph.Plan, c Config) (*build, error) {
	c.Events = nil
	b, err := newBuild(ws, plan, c)
	if err != nil {
		return nil, err
	}
	b.heads = map[string]cube.Head{}
	if c.Cube != nil {
		b.heads, err = c.Cube.Heads(ctx)
	}
	return b, err
}

// previewAt previews vertex i of the plan, once those before it are.
func (b *build) previewAt(ctx context.Context, i int, p *VertexPreview, g glance) error {
	v := b.plan.Vertices[i]
	p.Vertex, p.Open = v, v.Len()
	if h, ok := b.heads[v.Outputs[0].Variable]; ok {
		p.Head = &h
	}
	if err := b.preview(ctx, b.verts[v], b.sched.nodes[i], p, g); err != nil {
		return fmt.Errorf("%s: %w", v.Name, err)
	}
	return nil
}

func (b *build) preview(ctx context.Context, v *vertex, n *node, p *VertexPreview, g glance) error {
	if err := b.compare(v, p); err != nil {
		return err
	}
	if b.Cube == nil {
		if len(p.Pending) == 0 {
			p.Misses, p.Open = p.Open, 0
		}
		return nil
	}
	if len(p.Pending) == 0 {
		known, err := b.probe(ctx, v)
		if err != nil {
			return err
		}
		if known {
			p.Known, p.Outputs = true, v.versions
			p.Hits, p.Open = v.Len(), 0
			return nil
		}
		d, err := LoadDerived(b.Cube, p.Derivation)
		if err != nil {
			return err
		}
		p.Void = d != nil && d.Void
	}
	looked := v.Len()
	if looked > g.tiles {
		looked = g.sample
	}
	if looked == 0 {
		p.Unseen = v.Len()
		return nil
	}
	return b.count(ctx, v, n, p, looked)
}

// compare fills in what the vertex would be derived from, and what its head
// was.
func (b *build) compare(v *vertex, p *VertexPreview) error {
	var before graph.Outline
	if p.Head != nil && !p.Head.Derivation.IsZero() {
		d, err := LoadDerived(b.Cube, p.Head.Derivation)
		if err != nil {
			return err
		}
		if d != nil {
			p.Before = d.Preimage
			if before, err = graph.ReadOutline(d.Preimage); err != nil {
				return fmt.Errorf("derivation %s: %w", p.Head.Derivation.Short(), err)
			}
		}
	}
	inputs := make([]graph.Digest, len(v.Inputs))
	for i, in := range v.Inputs {
		if inputs[i] = b.version(in); inputs[i].IsZero() {
			p.Pending = append(p.Pending, i)
			inputs[i] = before.Version(v.Vertex, i)
		}
	}
	key, preimage, err := b.derive(v, inputs).Key()
	if err != nil {
		return err
	}
	if p.Preimage = preimage; len(p.Pending) == 0 {
		p.Derivation = key
	}
	return nil
}

// count looks at so many tiles of a vertex, evenly spread, and leaves what is known
// of them to the vertices that read it.
func (b *build) count(ctx context.Context, v *vertex, n *node, p *VertexPreview, looked int64) error {
	b.sketch(v)
	p.Unseen = n.total - looked
	p.Open = p.Unseen
	windows := previewWindows
	for k := range looked {
		if err := ctx.Err(); err != nil {
			return err
		}
		j := &job{vertex: v, tile: n.tile(spread(k, n.total, looked))}
		j.windows = v.Windows(j.tile)
		before := windows
		outcome, err := b.foresee(ctx, j, &windows)
		if err != nil {
			return j.wrap(err)
		}
		p.tally(outcome)
		if windows < before && windows < 0 { // it was not read
			p.Unseen++
		}
	}
	return nil
}

// spread is the k-th of so many numbers that lie evenly below total.
func spread(k, total, looked int64) int64 {
	hi, lo := bits.Mul64(uint64(k), uint64(total))
	q, _ := bits.Div64(hi, lo, uint64(looked))
	return int64(q)
}

// sketch gives a vertex arrays for what is found of its tiles.
func (b *build) sketch(v *vertex) {
	for i, o := range v.Outputs {
		layout := cube.Layout{Spec: o.Spec}
		if o.Spec.Kind != graph.File {
			layout = b.layout(v, o)
		}
		v.arrays[i] = &sketch{layout: layout, refs: map[int64]cube.ChunkRef{}}
	}
}

// Forecast is what a build would make of a tile.
type Forecast int

// The forecasts of a tile.
const (
	Open    Forecast = iota // it reads what is itself still to be made
	Known                   // its result is there
	Miss                    // it would run
	Failing                 // it is known to fail, and would be reported again
)

// String is the forecast in one word.
func (f Forecast) String() string { return [...]string{"open", "known", "miss", "failing"}[f] }

func (p *VertexPreview) tally(f Forecast) {
	switch f {
	case Known:
		p.Hits++
	case Miss:
		p.Misses++
	case Failing:
		p.Failing++
	default:
		p.Open++
	}
}

// foresee asks of a tile what a build would ask before it ran anything.
func (b *build) foresee(ctx context.Context, j *job, windows *int) (Forecast, error) {
	if j.outside() != nil {
		return Failing, nil
	}
	err := b.describe(ctx, j)
	if unseen(err) {
		return Open, nil
	}
	if err != nil {
		return Open, err
	}
	alias, ok, err := b.Cube.Results().Get(j.cover)
	if err != nil {
		return Open, err
	}
	if ok {
		copy(j.id[:], alias)
		if rec, err := b.load(j); err != nil || rec != nil {
			return Known, errors.Join(err, j.sketch(rec))
		}
	}
	if len(j.windows) > 0 {
		if *windows--; *windows < 0 {
			return Open, nil
		}
	}
	if err := b.read(ctx, j); unseen(err) {
		return Open, nil
	} else if err != nil {
		return Open, err
	}
	if rec, err := b.load(j); err != nil || rec != nil {
		return Known, errors.Join(err, j.sketch(rec))
	}
	if b.retries(j.id) {
		return Miss, nil
	}
	if _, known, err := b.knownFailure(j); known || err != nil {
		return Failing, err
	}
	return Miss, nil
}

// unseen reports whether an error says that what a tile reads is not there,
// and so will be made first.
func unseen(err error) bool {
	var uncovered *cube.UncoveredError
	var corrupt *cas.CorruptError
	return errors.As(err, &uncovered) || errors.As(err, &corrupt) || errors.Is(err, cube.ErrNotExist)
}

// sketch is an array of which only the chunks with known results are there. It
// is never written.
type sketch struct {
	layout cube.Layout
	refs   map[int64]cube.ChunkRef // by Layout.Index
	file   *cube.File
}

// Layout implements cube.Array.
func (s *sketch) Layout() cube.Layout { return s.layout }

// Ref implements cube.Array.
func (s *sketch) Ref(_ context.Context, ti, yi, xi int64) (cube.ChunkRef, bool, error) {
	ref, ok := s.refs[s.layout.Index(ti, yi, xi)]
	return ref, ok, nil
}

// File is the content of a variable of kind file, where it is known.
func (s *sketch) File() (cube.File, bool) {
	if s.file == nil {
		return cube.File{}, false
	}
	return *s.file, true
}

// sketch makes a result's chunks part of the vertex's sketches.
func (j *job) sketch(rec *record) error {
	if rec == nil {
		return nil
	}
	for i, o := range j.Outputs {
		s := j.vertex.arrays[i].(*sketch)
		if f := rec.Outputs[i].File; f != nil {
			s.file = f
			continue
		}
		if *rec.Outputs[i].Chunk != s.layout.Chunk {
			continue // a build cuts it anew: what reads it is open
		}
		refs, err := cube.DecodeRefs(rec.Outputs[i].Refs)
		if err != nil {
			return fmt.Errorf("result %s: %w", j.id.Short(), err)
		}
		if err := s.set(o.OutputBox(j.tile.Box), refs); err != nil {
			return fmt.Errorf("result %s: %s: %w", j.id.Short(), o.Variable, err)
		}
	}
	return nil
}

func (s *sketch) set(box grid.Box, refs []cube.ChunkRef) error {
	span := s.layout.Touched(box)
	if int64(len(refs)) != span.Len() {
		return fmt.Errorf("%d chunks for %d: %w", len(refs), span.Len(), cube.ErrFormat)
	}
	for t := span.T.Lo; t < span.T.Hi; t++ {
		for y := span.Y.Lo; y < span.Y.Hi; y++ {
			for x := span.X.Lo; x < span.X.Hi; x++ {
				s.refs[s.layout.Index(t, y, x)], refs = refs[0], refs[1:]
			}
		}
	}
	return nil
}
