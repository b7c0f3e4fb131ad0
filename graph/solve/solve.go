package solve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve/resource"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// Backend runs one action wherever it does; its errors are a
// *containers.Failure where the producer failed, a *LostError where its end is not
// known, and the machine's otherwise.
// It is called from many goroutines at once. The caller closes the result.
type Backend interface {
	Run(ctx context.Context, a containers.Action) (*containers.Result, error)
}

// LostError says that whoever ran an action came to an end before the action did, or
// could no longer be reached. Nobody knows how far it got, and it is nobody's
// fault: it is neither a failure of the producer nor one of the machine, and the
// action is run again. Backends return it.
type LostError struct {
	Where string // who ran it, such as "worker 1234"
	Why   string // what is known of its end
}

func (e *LostError) Error() string { return fmt.Sprintf("lost with %s: %s", e.Where, e.Why) }

// Provider brings what an action's container is made of to this machine. It
// is called from many goroutines at once, and only for what really runs.
type Provider interface {
	// Layers returns the unpacked layer directories of an instance's image,
	// lowest first.
	Layers(ctx context.Context, inst *graph.Instance) ([]string, error)
	// Source returns a file that holds the source's bytes.
	Source(ctx context.Context, s graph.Source) (string, error)
	// Part returns a file that holds a part of the indexed source that an
	// instance has in a role.
	Part(ctx context.Context, inst *graph.Instance, role string, part graph.Digest) (string, error)
	// Secrets returns the secrets that an instance is given.
	Secrets(ctx context.Context, inst *graph.Instance) ([]containers.Secret, error)
}

// Reserver hands out what all builds of a machine share. Its methods are called
// from many goroutines at once. What it handed out is free again when release is
// called, which may be called more than once.
type Reserver interface {
	// Total is what there is of each resource.
	Total() resource.Amounts
	// Try takes what an action asks for where it is to be had now; release is nil
	// where it is not.
	Try(ctx context.Context, d resource.Demand) (release func(), err error)
	// Reserve waits for it. Where it must wait it calls notice, and again where that
	// is for another thing. Once it is to be had it asks ready, where that is not nil,
	// whether it can be put to use: if not, nothing is taken and release is nil. ready
	// must not block.
	Reserve(ctx context.Context, d resource.Demand, ready func() bool, notice func(resource.Shortage)) (release func(), err error)
}

// Config says how a plan is executed.
type Config struct {
	Cube     *cube.Cube
	Imports  []*cube.Cube // where imported versions lie that are not in Cube
	Backend  Backend
	Provider Provider
	Host     graph.Host
	Workers  int         // how many actions run at once; 0: one; see also Single
	Retry    graph.Retry // of all instances, where theirs says nothing
	// Reserver, where it is not nil, is asked before an action runs.
	Reserver Reserver
	Chunks   grid.Tiling // of new versions, where tiles are whole such chunks; zero: chosen
	// KeepGoing builds everything that does not depend on a failure.
	KeepGoing bool
	// Shuffle, where it is not 0, hands out the tiles of each vertex in an order
	// of chance, which it seeds, once all that the vertex reads is there.
	Shuffle uint64
	// Single does one thing after the other, whatever Workers says. So does one
	// worker, but that it goes on with other tiles while one waits: for another build,
	// for what it needs of the machine, or for its next attempt.
	Single bool
	// RetryFailed runs actions again that are known to fail (exit 65).
	RetryFailed bool
	// Expect, where it is not nil, says how long an action of a vertex is likely to
	// take, 0 where nothing tells. It is asked once of each vertex that is not known
	// when the build begins, where there are several, and several workers, and by
	// whoever is told that the build is Planned: from several goroutines at once.
	Expect func(*graph.Vertex) time.Duration
	// Admit, where it is not nil, is asked before an action runs that has no
	// result, from many goroutines at once. Its error ends the build, as a
	// *RefusedError.
	Admit func(Candidate) error
	// RetryOnly, where it is not nil, has other actions that have a dead letter, or
	// are known to fail, be reported again and not run.
	RetryOnly map[graph.ActionID]bool
	RunID     string // of the run, for the heads that it moves
	// Log returns where what an action prints goes while it does, beside
	// TileDone.Log; it is closed when the attempt has ended. It is called from
	// many goroutines at once, each after the attempt's Started. Nil: nowhere.
	Log func(graph.ActionID) io.WriteCloser
	// Events receives every event, one at a time, and must not block for long.
	// An error of it ends the build, before any head moves.
	Events func(Event) error
}

// Result says what a build came to.
type Result struct {
	// Versions are the versions of every variable of the plan that is whole.
	Versions map[string]graph.Digest
	Count    Count
	Known    int   // vertices whose derivation was known
	Untried  int64 // tiles that were never begun, because the build ended before
	Failures []*ActionError
}

// ActionError says which tile failed, and how.
type ActionError struct {
	Vertex string
	Tile   string // the tile's box, or "" where the vertex has one tile
	Action graph.ActionID
	Err    error
}

func (e *ActionError) Error() string {
	where := e.Vertex
	if e.Tile != "" {
		where += " tile " + e.Tile
	}
	return fmt.Sprintf("%s: %v", where, e.Err)
}

func (e *ActionError) Unwrap() error { return e.Err }

// ErrFailed is in the chain of Run's error where actions failed; the Result
// says which.
var ErrFailed = errors.New("actions failed")

// Run executes a plan. Heads of all variables that came out whole are moved,
// at once, also where others failed. Where ctx ends, what was done stays
// known, and nothing that runs is left behind.
//
// Before it looks anything up it says to the cube, and to those of Imports, that
// they are in use (cube.Cube.Use): gc and Invalidate are refused from then on, until
// the caller closes them.
func Run(ctx context.Context, ws *graph.Workspace, plan *graph.Plan, c Config) (*Result, error) {
	for _, used := range append([]*cube.Cube{c.Cube}, c.Imports...) {
		if err := used.Use(ctx); err != nil {
			return nil, err
		}
	}
	b, err := newBuild(ws, plan, c)
	if err != nil {
		return nil, err
	}
	if err := b.settle(ctx); err != nil {
		return nil, err
	}
	planned := b.sched.planned(plan)
	planned.Expect = b.Expect
	b.emit(planned)
	err = b.work(ctx)
	b.result.Untried = b.sched.untried()
	err = errors.Join(err, b.refusedBy())
	if b.eventErr != nil {
		if !errors.Is(err, b.eventErr) {
			err = errors.Join(err, b.eventErr)
		}
		return &b.result, err
	}
	if moveErr := b.moveHeads(context.WithoutCancel(ctx)); moveErr != nil {
		err = errors.Join(err, moveErr)
	}
	if ctx.Err() == nil { // what no head shows is kept, too: nothing is in doubt once a build has ended by itself
		err = errors.Join(err, b.Cube.Sync(ctx), Settle(b.Cube))
	}
	if err == nil && len(b.result.Failures) > 0 {
		err = ErrFailed
	}
	return &b.result, err
}

// build is one Run.
type build struct {
	Config
	ws      *graph.Workspace
	plan    *graph.Plan
	sched   *scheduler
	slots   *semaphore.Weighted
	crew    *crew // while it works
	verts   map[*graph.Vertex]*vertex
	letters letters
	heads   map[string]cube.Head // before the build; nil until they are asked for

	mu       sync.Mutex // guards all below, and the order of events
	result   Result
	moves    map[string]cube.Head
	eventErr error
	refusal  *RefusedError
	told     map[shown]bool // what is waited for
	imports  map[graph.Digest]*cube.Version
	holders  map[cube.Array]*cube.Cube // of imports
}

// vertex is what a build knows of one vertex.
type vertex struct {
	*graph.Vertex
	place     int // in the plan
	shared    graph.Shared
	digest    graph.Digest              // of shared
	placed    map[string]placed         // by role, of indexed sources
	partsKeys map[string]graph.PartsKey // the same, as the derivation has them
	started   time.Time
	arrays    []cube.Array    // by output; builders, and versions once it is complete
	builders  []*cube.Builder // by output; nil until the first tile, and of files
	bases     []*cube.Version // by output; that the builders begin with, nil where with nothing
	files     []*cube.File    // by output; of kind: file, once it is there
	once      sync.Once
	broken    error          // that kept once from making the builders
	versions  []graph.Digest // by output; set once it is complete

	last []atomic.Pointer[view] // by input: the window that was read last
}

func newBuild(ws *graph.Workspace, plan *graph.Plan, c Config) (*build, error) {
	c.Workers = max(1, c.Workers)
	b := &build{Config: c, ws: ws, plan: plan, sched: newScheduler(plan, c.Shuffle, c.Workers),
		slots: semaphore.NewWeighted(int64(c.Workers)), verts: map[*graph.Vertex]*vertex{}, moves: map[string]cube.Head{}, told: map[shown]bool{},
		imports: map[graph.Digest]*cube.Version{}, holders: map[cube.Array]*cube.Cube{}}
	b.result.Versions = map[string]graph.Digest{}
	for i, v := range plan.Vertices {
		s, err := v.Shared(ws, c.Host)
		if err != nil {
			return nil, err
		}
		d, _, err := s.Digest()
		if err != nil {
			return nil, err
		}
		placed, keys, err := place(v)
		if err != nil {
			return nil, err
		}
		b.verts[v] = &vertex{Vertex: v, place: i, shared: s, digest: d, placed: placed, partsKeys: keys,
			arrays: make([]cube.Array, len(v.Outputs)), builders: make([]*cube.Builder, len(v.Outputs)), files: make([]*cube.File, len(v.Outputs)), last: make([]atomic.Pointer[view], len(v.Inputs))}
	}
	return b, nil
}

// emit passes an event on, and returns the error that it led to. That ends the
// build, whether or not the caller looks at it.
func (b *build) emit(e Event) error {
	if b.Events == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.Events(e)
	if err != nil && b.eventErr == nil {
		b.eventErr = err
		b.sched.stop()
	}
	return err
}

// work runs tasks until none is left, one fails without KeepGoing, or ctx ends.
func (b *build) work(ctx context.Context) error {
	stop := context.AfterFunc(ctx, b.sched.stop)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	// One goroutine more than workers looks up and stages while all run. One worker
	// has none beside it, that tiles begin in their order.
	hands, spare := b.Workers+1, 4*b.Workers
	switch {
	case b.Single:
		hands, spare = 1, 0
	case b.Workers == 1:
		hands = 1
	}
	b.crew = &crew{size: hands, at: hands, spare: spare, call: func() { g.Go(func() error { return b.worker(ctx) }) }}
	for range hands {
		b.crew.call()
	}
	err := g.Wait()
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	if err == nil {
		err = b.sched.unended()
	}
	return err
}

func (b *build) worker(ctx context.Context) error {
	for !b.crew.leave() {
		t, ok := b.sched.take()
		if !ok {
			return ctx.Err()
		}
		if err := b.do(ctx, t); err != nil {
			b.sched.stop()
			return err
		}
	}
	return nil
}

// do does one task. Its error is the machine's, and ends the build.
func (b *build) do(ctx context.Context, t task) error {
	v := b.verts[t.node.vertex]
	switch t.what {
	case probe:
		known, err := b.probe(ctx, v)
		b.sched.probed(t, known)
		return err
	case closing:
		whole := b.sched.whole(t.node)
		err := b.complete(ctx, v, t.node, whole)
		b.sched.close(t.node, whole && err == nil)
		return err
	}
	done, err := b.tile(ctx, v, t)
	if b.refused(err) || errors.Is(err, errUntried) {
		b.sched.leave()
		return nil
	}
	if err != nil {
		if context.Cause(ctx) != nil && done.Attempts > 0 {
			done.Outcome, done.Err = Cancelled, context.Cause(ctx)
			b.record(done)
		}
		return err
	}
	b.record(done)
	if done.Outcome.Unmade() && !b.KeepGoing {
		b.sched.stop()
	}
	b.sched.finish(t, done.Outcome, done.Wall)
	return nil
}

// record counts a tile and passes it on.
func (b *build) record(done TileDone) {
	b.mu.Lock()
	b.result.Count.Add(done.Outcome)
	if done.Outcome.Unmade() {
		e := &ActionError{Vertex: done.Vertex.Name, Action: done.Action, Err: done.Err}
		if done.Vertex.Len() > 1 {
			e.Tile = done.Tile.Box.String()
		}
		b.result.Failures = append(b.result.Failures, e)
	}
	b.mu.Unlock()
	b.emit(done)
}
