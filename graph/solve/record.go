package solve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/cas"
	"github.com/cubebuild/cube/cube/deadletter"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// recordVersion is the version of [record].
const recordVersion = 2

// record is an action's result as the results log keeps it, under its
// ActionID: one unit over all outputs.
type record struct {
	Version int            `json:"v"`
	Outputs []recordOutput `json:"o"` // in the order of the vertex's outputs
}

type recordOutput struct {
	Role  string       `json:"r"`
	Chunk *grid.Tiling `json:"k,omitempty"` // that Refs are cut by: the same tile may belong to another tiling
	Refs  []byte       `json:"c,omitempty"` // cube.EncodeRefs
	File  *cube.File   `json:"f,omitempty"` // of kind: file

	decoded []cube.ChunkRef // what Refs says, where it is known already
}

// refs are the chunks of an output that is no file.
func (o *recordOutput) refs() (_ []cube.ChunkRef, err error) {
	if o.decoded == nil {
		o.decoded, err = cube.DecodeRefs(o.Refs)
	}
	return o.decoded, err
}

// setRefs makes these an output's chunks.
func (o *recordOutput) setRefs(refs []cube.ChunkRef, chunk grid.Tiling) {
	o.Refs, o.Chunk, o.decoded = cube.EncodeRefs(refs), &chunk, refs
}

// sameValues reports whether two results hold the same values, however these
// are stored.
func (r *record) sameValues(o *record) bool {
	if r == o {
		return true
	}
	if len(r.Outputs) != len(o.Outputs) {
		return false
	}
	for i := range r.Outputs {
		a, errA := r.Outputs[i].digest()
		b, errB := o.Outputs[i].digest()
		if errA != nil || errB != nil || a != b {
			return false
		}
	}
	return true
}

// digest names the values of an output.
func (o *recordOutput) digest() (graph.Digest, error) {
	if o.File != nil {
		return o.File.Object, nil
	}
	refs, err := o.refs()
	return tileDigest(refs), err
}

// size is how many bytes an output takes in the cube, that of a damaged record 0.
func (o *recordOutput) size() (n int64) {
	if o.File != nil {
		return o.File.Size
	}
	refs, _ := o.refs()
	for _, r := range refs {
		n += r.Size
	}
	return n
}

// load returns the result of the job's ActionID, nil where there is none or
// where an object that it names is gone.
func (b *build) load(j *job) (*record, error) {
	log := b.Cube.Results()
	value, ok, err := log.Get(j.id)
	if err != nil || !ok {
		return nil, err
	}
	var rec record
	if err := json.Unmarshal(value, &rec); err != nil || rec.Version != recordVersion || len(rec.Outputs) != len(j.Outputs) {
		return nil, nil
	}
	objects := b.Cube.Objects()
	for i := range rec.Outputs {
		o := &rec.Outputs[i]
		if o.Role != j.Outputs[i].Role || (o.File != nil) != (j.Outputs[i].Spec.Kind == graph.File) || (o.File != nil) == (o.Chunk != nil) || !o.present(objects) {
			return nil, nil
		}
	}
	return &rec, nil
}

// usable returns the result of the job's ActionID, in chunks as the builders
// have them; nil where there is none, or where it cannot be read.
func (b *build) usable(ctx context.Context, j *job) (*record, error) {
	rec, err := b.load(j)
	if rec == nil || err != nil {
		return nil, err
	}
	for i := range rec.Outputs {
		if err := b.recut(ctx, j, i, &rec.Outputs[i]); unseen(err) {
			return nil, nil
		} else if err != nil {
			return nil, fmt.Errorf("result %s: %s: %w", j.id.Short(), j.Outputs[i].Variable, err)
		}
	}
	return rec, nil
}

// recut cuts an output anew that was stored under another tiling.
func (b *build) recut(ctx context.Context, j *job, i int, o *recordOutput) error {
	if o.File != nil || *o.Chunk == j.builders[i].Layout().Chunk {
		return nil
	}
	refs, err := o.refs()
	if err != nil {
		return err
	}
	layout := j.builders[i].Layout()
	refs, err = b.Cube.Recut(ctx, layout, j.Outputs[i].OutputBox(j.tile.Box), *o.Chunk, refs)
	o.setRefs(refs, layout.Chunk)
	return err
}

// present reports whether every object of an output is there.
func (o *recordOutput) present(objects *cas.Store) bool {
	if o.File != nil {
		return objects.Has(o.File.Object)
	}
	refs, err := o.refs()
	if err != nil {
		return false
	}
	for _, r := range refs {
		if !r.Object.IsZero() && !objects.Has(r.Object) {
			return false
		}
	}
	return true
}

// adopt makes a result's chunks part of the versions that are being built.
func (b *build) adopt(ctx context.Context, j *job, rec *record) error {
	for i, o := range j.Outputs {
		if f := rec.Outputs[i].File; f != nil {
			j.files[i] = f
			continue
		}
		refs, err := rec.Outputs[i].refs()
		if err != nil {
			return fmt.Errorf("result %s: %w", j.id.Short(), err)
		}
		if err := j.builders[i].Set(ctx, o.OutputBox(j.tile.Box), refs); err != nil {
			return fmt.Errorf("result %s: %s: %w", j.id.Short(), o.Variable, err)
		}
	}
	return nil
}

// store puts a result under its ActionID, to which the cover key leads then, and
// returns the one that is there afterwards. A record that is there and no longer
// usable is replaced.
func (b *build) store(ctx context.Context, j *job, rec *record) (*record, error) {
	log := b.Cube.Results()
	value, err := json.Marshal(rec)
	if err != nil {
		return nil, err
	}
	winners, err := log.PutAll(ctx, cas.Entry{Key: j.id, Value: value}, cas.Entry{Key: j.cover, Value: j.id[:]})
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(winners[1], j.id[:]) {
		if err := b.alias(ctx, j); err != nil {
			return nil, err
		}
	}
	if bytes.Equal(winners[0], value) {
		return rec, nil
	}
	if won, err := b.usable(ctx, j); won != nil || err != nil {
		return won, err
	}
	if err := log.Delete(ctx, j.id); err != nil {
		return nil, err
	}
	_, err = log.Put(ctx, j.id, value)
	return rec, err
}

// disown forgets the result of an action that failed when it was to be made again,
// since objects of it are gone: an action with a result is taken to have succeeded.
func (b *build) disown(ctx context.Context, j *job) error {
	if has, err := HasResult(b.Cube, j.id); err != nil || !has {
		return err
	}
	return b.Cube.Results().Delete(ctx, j.id)
}

// alias has the job's cover key stand for its ActionID.
func (b *build) alias(ctx context.Context, j *job) error {
	log := b.Cube.Results()
	won, err := log.Put(ctx, j.cover, j.id[:])
	if err != nil || bytes.Equal(won, j.id[:]) {
		return err
	}
	if err := log.Delete(ctx, j.cover); err != nil {
		return err
	}
	_, err = log.Put(ctx, j.cover, j.id[:])
	return err
}

// failureRecord is kept beside results: an exit 65 is reported again, and not
// run again, until somebody asks for it.
type failureRecord struct {
	Kind   containers.FailureKind `json:"kind"`
	Code   int                    `json:"code"`
	Detail string                 `json:"detail"`
	Log    []byte                 `json:"log"`
}

// retries reports whether an action runs again that is known to fail.
func (b *build) retries(id graph.ActionID) bool {
	return b.RetryFailed && (b.RetryOnly == nil || b.RetryOnly[id])
}

func failureKey(id graph.ActionID) graph.Digest {
	const domain = "cube.failure\x00"
	var b [len(domain) + len(id)]byte
	copy(b[copy(b[:], domain):], id[:])
	return graph.Sum(b[:])
}

func (b *build) knownFailure(j *job) (TileDone, bool, error) {
	log := b.Cube.Results()
	value, ok, err := log.Get(failureKey(j.id))
	if err != nil || !ok {
		return TileDone{}, false, err
	}
	var f failureRecord
	if err := json.Unmarshal(value, &f); err != nil {
		return TileDone{}, false, nil
	}
	done := j.done(Failed, &containers.Failure{Kind: f.Kind, Code: f.Code, Detail: f.Detail})
	done.Log, done.Repeated = f.Log, true
	return done, true, nil
}

// rememberFailure keeps an exit 65 for the next time. Other failures may pass.
func (b *build) rememberFailure(ctx context.Context, j *job, f deadletter.Failure, log []byte) error {
	kind := containers.FailureKind(f.Kind)
	if kind != containers.FailedBadInput {
		return nil
	}
	results := b.Cube.Results()
	value, err := json.Marshal(failureRecord{kind, f.Code, f.Detail, log})
	if err != nil {
		return err
	}
	if b.RetryFailed {
		err = results.Delete(ctx, failureKey(j.id))
	}
	_, putErr := results.Put(ctx, failureKey(j.id), value)
	return errors.Join(err, putErr)
}

// forgetFailure forgets that an action was known to fail that has come to a
// result after all.
func (b *build) forgetFailure(ctx context.Context, j *job) error {
	if !b.RetryFailed {
		return nil
	}
	return b.Cube.Results().Delete(ctx, failureKey(j.id))
}

// ResultObjects says which objects an entry of the results log needs, for
// cube.GCConfig.Result: those of a result, and none of an alias or a known
// failure.
func ResultObjects(_ graph.Digest, value []byte) ([]graph.Digest, error) {
	if len(value) == len(graph.Digest{}) {
		return nil, nil // a cover key's alias
	}
	var rec record
	if err := json.Unmarshal(value, &rec); err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	var needs []graph.Digest
	for _, o := range rec.Outputs {
		if o.File != nil {
			needs = append(needs, o.File.Object)
			continue
		}
		refs, err := cube.DecodeRefs(o.Refs)
		if err != nil {
			return nil, err
		}
		for _, r := range refs {
			if !r.Object.IsZero() {
				needs = append(needs, r.Object)
			}
		}
	}
	return needs, nil
}
