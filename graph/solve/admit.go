package solve

import (
	"errors"
	"fmt"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// Candidate is an action that has no result and is about to run.
type Candidate struct {
	Vertex *graph.Vertex
	Tile   grid.Tile
	Action graph.ActionID
}

// RefusedError says that [Config.Admit] kept an action from running. The build
// ends then as it does at a failure: what runs is let finish, and is kept.
type RefusedError struct {
	Candidate
	Err error // of Admit
}

func (e *RefusedError) Error() string {
	where := e.Vertex.Name
	if e.Vertex.Len() > 1 {
		where += " tile " + e.Tile.Box.String()
	}
	return fmt.Sprintf("%s: %v", where, e.Err)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// admit asks whether the job's action may run.
func (b *build) admit(j *job) error {
	if b.Admit == nil {
		return nil
	}
	c := Candidate{j.Vertex, j.tile, j.id}
	if err := b.Admit(c); err != nil {
		return &RefusedError{c, err}
	}
	return nil
}

// refused notes the first refusal, and hands out nothing more; false where err
// is none.
func (b *build) refused(err error) bool {
	refusal, ok := errors.AsType[*RefusedError](err)
	if !ok {
		return false
	}
	b.sched.stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refusal == nil {
		b.refusal = refusal
	}
	return true
}

// refusedBy is the first refusal, or nil.
func (b *build) refusedBy() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refusal == nil {
		return nil
	}
	return b.refusal
}
