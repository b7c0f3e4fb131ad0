package solve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
)

// Derived is what a cube remembers of a derivation key: the versions that came
// of it, in the order of the vertex's outputs, and the key's preimage, which
// says later what has changed.
type Derived struct {
	Outputs  []graph.Digest  `json:"outputs"`
	Preimage json.RawMessage `json:"preimage"`
	// Void says that results among those that it stands for were invalidated:
	// it settles nothing, and tells only what was.
	Void bool `json:"void,omitempty"`
}

// LoadDerived returns what a cube remembers of a derivation key, or nil.
func LoadDerived(c *cube.Cube, key graph.Digest) (*Derived, error) {
	value, ok, err := c.Derivations().Get(key)
	if err != nil || !ok {
		return nil, err
	}
	var d Derived
	if err := json.Unmarshal(value, &d); err != nil {
		return nil, fmt.Errorf("derivation %s: %w", key.Short(), err)
	}
	return &d, nil
}

// settle looks up, in order, the derivation of every vertex whose inputs are
// all known, and has those that are not known keep what they can of their
// heads. A build with nothing to do only looks up.
func (b *build) settle(ctx context.Context) error {
	for _, n := range b.sched.nodes {
		for _, in := range n.vertex.Inputs {
			if in.Import == nil {
				continue
			}
			// A derivation names the version alone, and not what it is said to be.
			if _, err := b.imported(ctx, in.Import); err != nil {
				return fmt.Errorf("%s: %s: %w", n.vertex.Name, in.Variable, err)
			}
		}
		if n.inputsKnown() {
			n.probed = true
			known, err := b.probe(ctx, b.verts[n.vertex])
			if err != nil {
				return err
			}
			if known {
				n.end(complete)
				continue
			}
		}
		if err := b.reuse(ctx, b.verts[n.vertex], n); err != nil {
			return fmt.Errorf("%s: %w", n.vertex.Name, err)
		}
	}
	b.expect()
	b.sched.rank()
	return nil
}

// expect notes how long the tiles of what is not known are likely to take,
// where there is more than one thing to do first and that matters.
func (b *build) expect() {
	open := slices.DeleteFunc(slices.Clone(b.sched.nodes), (*node).ended)
	if b.Expect == nil || b.Workers == 1 || len(open) < 2 {
		return
	}
	for _, n := range open {
		n.expected = b.Expect(n.vertex)
	}
}

// derivation returns a vertex's key and preimage; all its inputs are known.
func (b *build) derivation(v *vertex) (graph.Digest, []byte, []graph.Digest, error) {
	inputs := make([]graph.Digest, len(v.Inputs))
	for i, in := range v.Inputs {
		inputs[i] = b.version(in)
	}
	key, preimage, err := b.derive(v, inputs).Key()
	return key, preimage, inputs, err
}

// derive describes the vertex for the given input versions.
func (b *build) derive(v *vertex, inputs []graph.Digest) graph.Derivation {
	d := v.Derivation(v.shared, inputs)
	d.Parts = v.partsKeys
	for _, o := range v.Outputs {
		if o.Spec.Kind != graph.File {
			d.Chunks = append(d.Chunks, b.layout(v, o).Chunk)
		}
	}
	return d
}

// version is the version that a binding reads; zero where it is not whole.
func (b *build) version(in *graph.Binding) graph.Digest {
	if in.Import != nil {
		return in.Import.Version
	}
	u := b.verts[in.From.Vertex]
	if u.versions == nil {
		return graph.Digest{}
	}
	return u.versions[outputIndex(in.From)]
}

func outputIndex(o *graph.Output) int {
	for i, other := range o.Vertex.Outputs {
		if other == o {
			return i
		}
	}
	panic("an output that its vertex does not have")
}

// probe looks up a vertex's derivation and, where it is known and its versions
// are whole as far as anybody knows, settles the vertex.
func (b *build) probe(ctx context.Context, v *vertex) (bool, error) {
	key, preimage, inputs, err := b.derivation(v)
	if err != nil {
		return false, err
	}
	d, err := LoadDerived(b.Cube, key)
	if err != nil || d == nil || d.Void || len(d.Outputs) != len(v.Outputs) {
		return false, err
	}
	for _, version := range d.Outputs {
		if !b.Cube.HasVersion(version) {
			return false, nil
		}
	}
	v.versions = d.Outputs
	b.publish(v, key)
	b.mu.Lock()
	b.result.Known++
	b.mu.Unlock()
	if b.Events == nil {
		return true, nil
	}
	shown, err := b.shown(ctx, v, key)
	if err != nil {
		return false, err
	}
	b.emit(VertexDone{Vertex: v.Vertex, Derivation: key, Preimage: preimage, Known: true, Shown: shown, Complete: true,
		Inputs: inputs, Outputs: d.Outputs, Count: Count{Hit: v.Len()}})
	return true, nil
}

// shown reports whether the heads of a vertex's variables are, already, what
// its derivation says.
func (b *build) shown(ctx context.Context, v *vertex, key graph.Digest) (bool, error) {
	heads, err := b.headsNow(ctx)
	if err != nil {
		return false, err
	}
	for i, o := range v.Outputs {
		if h := heads[o.Variable]; !o.Held && (h.Version != v.versions[i] || h.Derivation != key) {
			return false, nil
		}
	}
	return true, nil
}

// complete ends a vertex whose tiles are all done: where all of them are
// there, its builders become versions.
func (b *build) complete(ctx context.Context, v *vertex, n *node, whole bool) error {
	for i := range v.last {
		v.last[i].Store(nil)
	}
	done := VertexDone{Vertex: v.Vertex, Count: n.count, Wall: time.Since(v.started)}
	b.mu.Lock()
	b.result.Count.Hit += n.kept // the others were counted one by one
	b.mu.Unlock()
	if !whole {
		b.emit(done)
		return nil
	}
	versions := make([]graph.Digest, len(v.Outputs))
	for i, o := range v.Outputs {
		version, err := v.finish(ctx, b.Cube, i)
		if err == nil && !version.Coverage().Complete() {
			err = errors.New("not all of it is there")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", o.Variable, err)
		}
		versions[i] = version.Digest()
	}
	v.versions = versions
	done.Complete, done.Outputs = true, versions
	key, preimage, inputs, err := b.derivation(v)
	if err != nil {
		return err
	}
	done.Derivation, done.Preimage, done.Inputs = key, preimage, inputs
	// Its history is written before it can be hit, and all that it names durable.
	synced := make(chan error, 1)
	go func() { synced <- b.Cube.Sync(ctx) }()
	err = b.emit(done)
	if err := errors.Join(err, <-synced); err != nil {
		return err
	}
	if err := b.remember(ctx, key, preimage, versions); err != nil {
		return err
	}
	b.publish(v, key)
	return nil
}

// remember stores a derivation. Everything that it names is durable.
func (b *build) remember(ctx context.Context, key graph.Digest, preimage []byte, versions []graph.Digest) error {
	value, err := json.Marshal(Derived{Outputs: versions, Preimage: preimage})
	if err != nil {
		return err
	}
	log := b.Cube.Derivations()
	winner, err := log.Put(ctx, key, value)
	if err != nil || bytes.Equal(winner, value) {
		return err
	}
	// It was known, and void, or its versions are gone or could not be read.
	if err := log.Delete(ctx, key); err != nil {
		return err
	}
	_, err = log.Put(ctx, key, value)
	return err
}

// finish makes the version of one output of a vertex whose tiles are all there.
func (v *vertex) finish(ctx context.Context, c *cube.Cube, i int) (*cube.Version, error) {
	if v.Outputs[i].Spec.Kind == graph.File {
		return c.NewFileVersion(ctx, v.Outputs[i].Spec, *v.files[i])
	}
	return v.builders[i].Finish(ctx)
}

// publish notes that the heads of a vertex's variables are to move.
func (b *build) publish(v *vertex, key graph.Digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, o := range v.Outputs {
		b.result.Versions[o.Variable] = v.versions[i]
		if o.Held {
			continue
		}
		b.moves[o.Variable] = cube.Head{Variable: o.Variable, Version: v.versions[i], Derivation: key,
			Native: o.Native, Instance: v.Name, Role: o.Role, Spec: o.Spec, Run: b.RunID, Time: time.Now().Unix()}
	}
}

// array returns what a binding reads from: a builder while its vertex is being
// built, a version otherwise.
func (b *build) array(ctx context.Context, in *graph.Binding) (cube.Array, error) {
	if in.Import != nil {
		return b.imported(ctx, in.Import)
	}
	u, i := b.verts[in.From.Vertex], outputIndex(in.From)
	b.mu.Lock()
	a := u.arrays[i]
	b.mu.Unlock()
	if a != nil {
		return a, nil
	}
	if u.versions == nil {
		return nil, fmt.Errorf("%s: %w", in.Variable, fs.ErrNotExist)
	}
	version, err := b.Cube.LoadVersion(ctx, u.versions[i])
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	u.arrays[i] = version
	return version, nil
}

// imported loads a pinned version once, from the first cube that has it. It is
// what the import says that it is, or an error.
func (b *build) imported(ctx context.Context, in *graph.Import) (cube.Array, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := in.Version
	v, err := b.pinned(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("imported version %s: %w", d.Short(), err)
	}
	if !v.Holds(in.Spec, in.Grid) {
		return nil, fmt.Errorf("imported version %s: it is not as it is pinned, of another kind, meaning or grid", d.Short())
	}
	return v, nil
}

// pinned loads a version once. b.mu is held.
func (b *build) pinned(ctx context.Context, d graph.Digest) (v *cube.Version, err error) {
	if v, ok := b.imports[d]; ok {
		return v, nil
	}
	for _, c := range append([]*cube.Cube{b.Cube}, b.Imports...) {
		if v, err = c.LoadVersion(ctx, d); err == nil {
			b.imports[d], b.holders[v] = v, c
			return v, nil
		}
		if !errors.Is(err, cube.ErrNotExist) {
			break
		}
	}
	return nil, err
}

// holder is the cube that an array lies in.
func (b *build) holder(a cube.Array) *cube.Cube {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.holders[a]; c != nil {
		return c
	}
	return b.Cube
}

// moveHeads shows every variable of the plan that is whole, at once, where its
// head is not what came out.
func (b *build) moveHeads(ctx context.Context) error {
	for {
		heads, err := b.Cube.Heads(ctx)
		if err != nil {
			return err
		}
		expect := map[string]graph.Digest{}
		var moves []cube.Head
		for name, h := range b.moves {
			old, ok := heads[name]
			if ok && old.Version == h.Version && old.Derivation == h.Derivation && old.Native == h.Native && sameSpec(old.Spec, h.Spec) {
				continue
			}
			expect[name] = old.Version
			moves = append(moves, h)
		}
		if len(moves) == 0 {
			return nil
		}
		slices.SortFunc(moves, func(x, y cube.Head) int { return strings.Compare(x.Variable, y.Variable) })
		if err := b.Cube.Sync(ctx); err != nil {
			return err
		}
		// Another build may move heads meanwhile; it is looked at again then.
		var moved *cube.HeadMovedError
		if err := b.Cube.MoveHeads(ctx, expect, moves); !errors.As(err, &moved) {
			return err
		}
	}
}

func sameSpec(a, b graph.VarSpec) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
