package solve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/deadletter"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// job is one tile on its way to a result.
type job struct {
	*vertex
	tile    grid.Tile
	windows []graph.Window
	parts   graph.Parts
	arrays  []cube.Array // by window
	request []byte
	told    *graph.Request      // what request says
	covers  []graph.CoverWindow // by window
	cover   graph.Digest        // key
	values  [][]byte            // by window, once they are read
	action  graph.Action        // its windows, once they are read
	id      graph.ActionID
}

// tile brings one tile to its end. The error is the machine's.
func (b *build) tile(ctx context.Context, v *vertex, t task) (TileDone, error) {
	j := &job{vertex: v, tile: t.node.tile(t.index)}
	if j.windows = t.windows; j.windows == nil {
		j.windows = v.Windows(j.tile)
	}
	if b.sched.blocked(t, j.windows) {
		return j.done(Blocked, nil), nil
	}
	if err := j.outside(); err != nil {
		return j.done(Failed, err), nil
	}
	if err := b.begin(ctx, v); err != nil {
		return TileDone{}, err
	}
	if err := b.describe(ctx, j); err != nil {
		return TileDone{}, j.wrap(err)
	}
	if hit, err := b.coverHit(ctx, j); hit || err != nil {
		return j.done(Hit, nil), j.wrap(err)
	}
	if err := b.read(ctx, j); err != nil {
		return TileDone{}, j.wrap(err)
	}
	done, ok, err := b.known(ctx, j)
	if ok || err != nil {
		return done, j.wrap(err)
	}
	done, err = b.claimAndRun(ctx, j)
	return done, j.wrap(err)
}

func (j *job) wrap(err error) error {
	if err == nil {
		return nil
	}
	return &ActionError{Vertex: j.Name, Tile: j.tile.Box.String(), Action: j.id, Err: err}
}

func (j *job) done(o Outcome, err error) TileDone {
	return TileDone{Vertex: j.Vertex, Tile: j.tile, Outcome: o, Action: j.id, Err: err}
}

// outside says which input has no cells of its own where the tile lies. One
// that is resampled is nodata there.
func (j *job) outside() error {
	for _, w := range j.windows {
		if w.Read.Empty() && !w.Resampled() && w.Binding.Spec().Kind != graph.File {
			return fmt.Errorf("%s, which is read on its own grid, does not reach here", w.Binding.Variable)
		}
	}
	return nil
}

// begin makes the builders of a vertex before its first tile. Where that fails
// it fails for every tile.
func (b *build) begin(ctx context.Context, v *vertex) error {
	v.once.Do(func() { v.broken = b.makeBuilders(ctx, v, nil, nil) })
	return v.broken
}

// makeBuilders makes the builders of a vertex: with nothing, or with what bases
// hold but for the tiles of todo. Of an error there is none.
func (b *build) makeBuilders(ctx context.Context, v *vertex, bases []*cube.Version, todo []int64) error {
	builders := make([]*cube.Builder, len(v.Outputs))
	for i, o := range v.Outputs {
		if o.Spec.Kind == graph.File {
			continue
		}
		var err error
		if bases == nil {
			builders[i], err = b.Cube.NewBuilder(ctx, b.layout(v, o))
		} else {
			builders[i], err = b.builderOn(ctx, v, o, bases[i], todo)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", o.Variable, err)
		}
	}
	v.started, v.bases = time.Now(), bases
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, builder := range builders {
		if builder != nil {
			v.arrays[i], v.builders[i] = builder, builder
		}
	}
	return nil
}

// builderOn makes the builder of an output with what a former version has, but
// for the tiles that are to be looked at.
func (b *build) builderOn(ctx context.Context, v *vertex, o *graph.Output, base *cube.Version, todo []int64) (*cube.Builder, error) {
	builder, err := b.Cube.NewBuilderOn(ctx, b.layout(v, o), base)
	if err != nil {
		return nil, err
	}
	n := b.sched.nodes[v.place]
	for _, tile := range todo {
		if err := builder.Uncover(ctx, o.OutputBox(n.tile(tile).Box)); err != nil {
			return nil, err
		}
	}
	return builder, nil
}

// layout is how an output is stored: tiles are whole chunks.
func (b *build) layout(v *vertex, o *graph.Output) cube.Layout {
	t, r := v.Tiling, max(1, o.Spec.Refine)
	t.Y, t.X = t.Y*r, t.X*r
	l := cube.NewLayout(o.Spec, o.Grid, t)
	if c := b.Chunks; c != (grid.Tiling{}) {
		custom := l
		custom.Chunk = c
		if o.Spec.Kind != graph.Time {
			custom.Chunk.T = 0
		}
		if custom.Fits(t) == nil {
			return custom
		}
	}
	return l
}

// describe makes the request and the cover key.
func (b *build) describe(ctx context.Context, j *job) (err error) {
	if j.parts, err = j.partsOf(j.tile); err != nil {
		return err
	}
	if j.told, j.request, err = j.Request(j.shared, j.digest, j.tile, j.windows, j.parts); err != nil {
		return err
	}
	j.action = graph.Action{Shared: j.digest, Request: graph.Sum(j.request), Windows: make(map[string]graph.Digest, len(j.windows)), Parts: j.parts}
	cover := graph.Cover{Shared: j.digest, Request: j.action.Request, Windows: make(map[string]graph.CoverWindow, len(j.windows)), Parts: j.parts}
	j.arrays, j.covers = make([]cube.Array, 0, len(j.windows)), make([]graph.CoverWindow, 0, len(j.windows))
	for i, w := range j.windows {
		a, cw, err := b.coverWindow(ctx, w)
		if err != nil {
			return fmt.Errorf("%s: %w", w.Binding.Variable, err)
		}
		j.arrays, j.covers = append(j.arrays, a), append(j.covers, cw)
		cover.Windows[j.WindowKey(i)] = cw
	}
	j.cover, err = cover.Key()
	return err
}

// coverWindow also returns what the window is read from: nil where it lies
// outside of the variable's grid, and the variable need not be there.
func (b *build) coverWindow(ctx context.Context, w graph.Window) (cube.Array, graph.CoverWindow, error) {
	file := w.Binding.Spec().Kind == graph.File
	if !file && w.Read.Empty() {
		return nil, graph.CoverWindow{Lattice: w.Binding.Grid().Lattice, Method: w.Binding.Method}, nil
	}
	a, err := b.array(ctx, w.Binding)
	if err != nil {
		return nil, graph.CoverWindow{}, err
	}
	if file {
		f, ok := fileOf(a)
		if !ok {
			return nil, graph.CoverWindow{}, fs.ErrNotExist
		}
		return a, graph.CoverWindow{Chunks: f.Object}, nil
	}
	chunks, err := b.Cube.CoverDigests(ctx, a, w.Read)
	if err != nil {
		return nil, graph.CoverWindow{}, err
	}
	var few [16 * len(graph.Digest{})]byte
	all := few[:0]
	for _, d := range chunks {
		all = append(all, d[:]...)
	}
	layout := a.Layout()
	// The same chunks, cut by other edges of the domain, hold other cells.
	cw := graph.CoverWindow{Chunks: graph.Sum(all), Lattice: layout.Grid.Lattice, Read: w.Read, Cells: layout.Cells(w.Read), Chunk: layout.Chunk}
	if w.Resampled() {
		cw.Method, cw.MinValid = w.Binding.Method, w.Binding.Need.MinValid
	}
	return a, cw, nil
}

// coverHit answers a tile from its cover key.
func (b *build) coverHit(ctx context.Context, j *job) (bool, error) {
	alias, ok, err := b.Cube.Results().Get(j.cover)
	if err != nil || !ok {
		return false, err
	}
	copy(j.id[:], alias)
	rec, err := b.usable(ctx, j)
	if err != nil || rec == nil {
		return false, err
	}
	return true, b.adopt(ctx, j, rec)
}

// read reads and hashes the exact windows, and so knows the ActionID.
func (b *build) read(ctx context.Context, j *job) error {
	j.values = make([][]byte, 0, len(j.windows))
	for i, w := range j.windows {
		if f, ok := fileOf(j.arrays[i]); ok {
			j.values = append(j.values, nil)
			j.action.Windows[j.WindowKey(i)] = f.Object
			continue
		}
		last, err := b.lookAt(ctx, j, i)
		if err != nil {
			return fmt.Errorf("%s: %w", w.Binding.Variable, err)
		}
		j.values = append(j.values, last.values)
		j.action.Windows[j.WindowKey(i)] = last.digest
	}
	var err error
	j.id, err = j.action.Key()
	return err
}

// view is a window that was read. Its values are changed by nobody.
type view struct {
	cover  graph.CoverWindow
	grid   grid.Grid
	box    grid.Box
	values []byte
	digest graph.Digest
}

// lookAt reads and hashes a window, or has it from the last tile that was given
// the same: one that lies elsewhere in time alone, most often.
func (b *build) lookAt(ctx context.Context, j *job, i int) (*view, error) {
	w := j.windows[i]
	place := &j.vertex.last[i]
	if v := place.Load(); v != nil && v.cover == j.covers[i] && v.grid == w.Grid && v.box == w.Box {
		return v, nil
	}
	values, err := b.window(ctx, j.arrays[i], w)
	if err != nil {
		return nil, err
	}
	spec := w.Binding.Spec()
	v := &view{j.covers[i], w.Grid, w.Box, values, cube.WindowDigest(spec.DType, graph.ShapeOf(spec, w.Box), values)}
	place.Store(v)
	return v, nil
}

func (b *build) window(ctx context.Context, a cube.Array, w graph.Window) ([]byte, error) {
	if a == nil {
		return cube.Nodata(w.Binding.Spec(), w.Box)
	}
	c := b.holder(a)
	if w.Resampled() {
		return c.ReadOnto(ctx, a, w.Grid, w.Box, w.Binding.Method, w.Binding.Need.MinValid)
	}
	return c.ReadWindow(ctx, a, w.Box, nil)
}

// fileOf returns the content of an array that is a variable of kind file.
func fileOf(a cube.Array) (cube.File, bool) {
	if v, ok := a.(interface{ File() (cube.File, bool) }); ok {
		return v.File()
	}
	return cube.File{}, false
}

// known answers a tile from its ActionID: with a result, or with the failure
// that it is known to come to.
func (b *build) known(ctx context.Context, j *job) (TileDone, bool, error) {
	rec, err := b.usable(ctx, j)
	if err != nil {
		return TileDone{}, false, err
	}
	if rec != nil {
		if err := b.adopt(ctx, j, rec); err != nil {
			return TileDone{}, false, err
		}
		return j.done(Hit, nil), true, b.alias(ctx, j)
	}
	if b.retries(j.id) {
		return TileDone{}, false, nil
	}
	if done, ok, err := b.knownFailure(j); ok || err != nil {
		return done, ok, err
	}
	return b.setAside(j)
}

// claimAndRun runs the action, unless another build does so first. An action
// is claimed when it can begin, and not sooner: another build may have room.
func (b *build) claimAndRun(ctx context.Context, j *job) (TileDone, error) {
	free, err := b.reserve(ctx, j, 0)
	if err != nil {
		return TileDone{}, err
	}
	defer func() { free() }()
	release, ok, err := b.Cube.Claims().Claim(ctx, j.id)
	if err != nil {
		return TileDone{}, err
	}
	if !ok {
		free()
		if release, err = b.await(ctx, j); err != nil {
			return TileDone{}, err
		}
	}
	defer func() { release() }()
	if done, known, err := b.known(ctx, j); known || err != nil {
		return done, err
	}
	if !ok { // the other build did not make it
		if free, err = b.reserve(ctx, j, 0); err != nil {
			return TileDone{}, err
		}
	}
	if b.sched.stopping() { // while it waited
		return TileDone{}, errUntried
	}
	return b.run(ctx, j, free)
}

// errUntried says that a build ended before an action began.
var errUntried = errors.New("not tried: the build ended")

// await waits until nobody else works on the action, and claims it.
func (b *build) await(ctx context.Context, j *job) (release func(), err error) {
	b.emit(Waiting{Vertex: j.Vertex, Tile: j.tile, Action: j.id, News: true})
	err = b.crew.stepAside(func() (err error) {
		release, err = b.Cube.Claims().Wait(ctx, j.id)
		return err
	})
	return release, err
}

// runMerge computes a tile of a merge. One that fails leaves a dead letter, as
// any action does, and fails again in every build that comes to it: all that
// decides is in its key.
func (b *build) runMerge(ctx context.Context, j *job, done TileDone) (TileDone, error) {
	o := j.Outputs[0]
	dst := make([]byte, len(j.values[0]))
	done.Attempts = 1
	if err := cube.Merge(o.Spec.Merge, o.Spec.DType, o.Spec.Fill, dst, j.values); err != nil {
		err = j.conflict(err)
		done.Outcome, done.Err = Failed, err
		return done, b.fail(ctx, j, graph.Resources{}, deadletter.Failure{Kind: deadletter.Merge, Detail: err.Error()}, &done)
	}
	err := b.commit(ctx, j, &containers.Result{Outputs: map[string]containers.Output{o.Role: {Values: dst}}}, &done)
	done.Wall = time.Since(done.Started)
	return done, err
}

// conflict says of a merge that failed where, and which variables it was.
func (j *job) conflict(err error) error {
	var c *cube.ConflictError
	if !errors.As(err, &c) {
		return err
	}
	box := j.Outputs[0].OutputBox(j.tile.Box)
	y, x := box.Y.Lo+c.Cell/box.X.Len()%box.Y.Len(), box.X.Lo+c.Cell%box.X.Len()
	return fmt.Errorf("at y %d, x %d %s is %s and %s is %s, and the merge policy is %s: %w", y, x, j.windows[c.First].Binding.Variable, c.A,
		j.windows[c.Next].Binding.Variable, c.B, j.Outputs[0].Spec.Merge, err)
}

// containerAction brings together what the container is given.
func (b *build) containerAction(ctx context.Context, j *job) (containers.Action, error) {
	inst := j.Instance
	a := containers.Action{Name: inst.Name + "-" + j.id.Short(), Image: inst.Image, Request: j.request,
		CPUs: j.shared.CPUs, Batch: inst.Manifest.Capabilities.Batch, Limits: inst.Limits()}
	req := j.told
	a.Outputs, a.Inputs = req.Outputs, make([]containers.Input, 0, len(j.windows))
	var err error
	if a.Layers, err = b.Provider.Layers(ctx, inst); err != nil {
		return a, err
	}
	if a.Secrets, err = b.Provider.Secrets(ctx, inst); err != nil {
		return a, err
	}
	if a.Sources, err = b.sources(ctx, j); err != nil {
		return a, err
	}
	for _, role := range slices.Sorted(maps.Keys(j.placed)) {
		a.PartDirs = append(a.PartDirs, j.told.Sources[role].Path)
	}
	for i, w := range j.windows {
		in := containers.Input{Role: w.Binding.Role, Window: req.Inputs[w.Binding.Role],
			Spec: w.Binding.Spec(), Grid: w.Grid, Box: w.Box, Values: j.values[i], Digest: j.action.Windows[j.WindowKey(i)]}
		if f, ok := fileOf(j.arrays[i]); ok {
			if in.File, err = b.holder(j.arrays[i]).FilePath(ctx, j.arrays[i], f); err != nil {
				return a, fmt.Errorf("%s: %w", w.Binding.Variable, err)
			}
		}
		a.Inputs = append(a.Inputs, in)
	}
	return a, nil
}

// sources are the files of sources that the container is shown: a whole one, or
// the parts that the tile meets.
func (b *build) sources(ctx context.Context, j *job) (files []containers.SourceFile, err error) {
	for _, role := range slices.Sorted(maps.Keys(j.Instance.Sources)) {
		name, told := j.Instance.Sources[role], j.told.Sources[role]
		if j.placed[role] == nil {
			path, err := b.Provider.Source(ctx, b.ws.Sources[name])
			if err != nil {
				return nil, fmt.Errorf("source %s: %w", name, err)
			}
			files = append(files, containers.SourceFile{Path: path, Target: told.File})
			continue
		}
		for i, part := range j.parts[role] {
			path, err := b.Provider.Part(ctx, j.Instance, role, part)
			if err != nil {
				return nil, fmt.Errorf("part %s of source %s: %w", part.Short(), name, err)
			}
			files = append(files, containers.SourceFile{Path: path, Target: told.Parts[i], Part: true})
		}
	}
	return files, nil
}

// commit stores the outputs of an action as one result, which nobody finds before
// it was told. Where another build committed first, its result is adopted.
func (b *build) commit(ctx context.Context, j *job, result *containers.Result, done *TileDone) error {
	rec := &record{Version: recordVersion, Outputs: make([]recordOutput, 0, len(j.Outputs))}
	done.Outputs = make(map[string]graph.Digest, len(j.Outputs))
	for i, o := range j.Outputs {
		out, digest, err := b.put(ctx, j, i, result.Outputs[o.Role])
		if err != nil {
			return fmt.Errorf("store %s: %w", o.Variable, err)
		}
		rec.Outputs = append(rec.Outputs, out)
		done.Outputs[o.Role] = digest
		done.Written += out.size()
	}
	if err := b.conclude(done); err != nil {
		return err
	}
	won, err := b.store(context.WithoutCancel(ctx), j, rec) // what is on record is kept
	if err != nil {
		return err
	}
	if err := b.forgetFailure(ctx, j); err != nil {
		return err
	}
	done.Disagrees = !won.sameValues(rec)
	return b.adopt(ctx, j, won)
}

// put stores one output's values.
func (b *build) put(ctx context.Context, j *job, i int, out containers.Output) (recordOutput, graph.Digest, error) {
	o := j.Outputs[i]
	rec := recordOutput{Role: o.Role}
	if out.File != nil {
		f, err := b.Cube.PutFile(ctx, out.File, o.Spec.MediaType, path.Ext(out.Name))
		rec.File = &f
		return rec, f.Object, err
	}
	layout := j.builders[i].Layout()
	refs, err := b.Cube.PutTile(ctx, layout, o.OutputBox(j.tile.Box), out.Values)
	rec.setRefs(refs, layout.Chunk)
	return rec, tileDigest(refs), err
}

func tileDigest(refs []cube.ChunkRef) graph.Digest {
	var few [4 * len(graph.Digest{})]byte
	all := few[:0]
	for _, r := range refs {
		all = append(all, r.Value[:]...)
	}
	return graph.Sum(all)
}
