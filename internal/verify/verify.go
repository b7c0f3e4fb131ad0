// Package verify rebuilds variables in clean cubes of their own and says
// whether they come out as they are stored.
//
// Each is built twice, without a result of any earlier build: once in order,
// one action at a time, each in a container of its own, and once shuffled, with
// many at a time and in batches where the producer serves them. What comes out
// is compared with each other and with what is stored. Where the two rebuilds
// differ, the first tile that does is repeated alone, which tells a producer
// that makes something else each time from one that sees what ran before it.
package verify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/compare"
)

// Verdict is what a verification comes to for one variable.
type Verdict string

// The verdicts.
const (
	Verified Verdict = "verified"
	// NotDeterministic says that the same action made different values.
	NotDeterministic Verdict = "not deterministic"
	// DependsOnOrder says that an action made different values only where it ran
	// among others.
	DependsOnOrder Verdict = "depends on order"
	// Differs says that both rebuilds agree, and not with what is stored.
	Differs Verdict = "differs from what is stored"
)

// The rebuilds.
const (
	InOrder  = "in order"
	Shuffled = "shuffled"
	Alone    = "alone"
	Stored   = "stored"
)

// repeats is how often a tile is repeated alone.
const repeats = 2

// Check is one variable and its version that is stored.
type Check struct {
	Variable  string
	Stored    compare.Side
	Tolerance compare.Tolerance
}

// Config says what is verified. The plan's imports are in Solve.Imports; of
// Solve, Cube and Shuffle are set here, and Workers is for the shuffled
// rebuild.
type Config struct {
	Dir       string // an empty folder, which is the caller's to remove
	Workspace *graph.Workspace
	Plan      *graph.Plan
	Checks    []Check // of the plan's variables, in its order
	Solve     solve.Config
	Compare   compare.Options // but for tolerances, which checks have
	// Watch is called before each rebuild; its events go to the first function
	// that it returns, and its end to the second. It may be nil.
	Watch func(rebuild string, plan *graph.Plan) (events func(solve.Event) error, end func() error)
}

// Outcome is what was found of one variable.
type Outcome struct {
	Check
	Vertex  *graph.Vertex
	Verdict Verdict
	// Between are the two that Found compares.
	Between [2]string
	Found   *compare.Result
	Tile    grid.Tile // of the first cell that differs
	// Like are the rebuilds that the stored version is the same as.
	Like []string
	// Follows is a variable that this one is made of and that is not verified
	// itself; "" where this one is where it begins.
	Follows string
}

// Run verifies. Its error is that of a rebuild that did not come to its end, or
// of the machine: what was found differently is no error.
func Run(ctx context.Context, c Config) ([]Outcome, error) {
	v := verification{Config: c, guilty: map[*graph.Vertex]string{}}
	defer v.close()
	var err error
	if v.order, err = v.rebuild(ctx, InOrder, c.Plan, nil); err != nil {
		return nil, err
	}
	if v.mixed, err = v.rebuild(ctx, Shuffled, c.Plan, nil); err != nil {
		return nil, err
	}
	var out []Outcome
	for _, check := range c.Checks {
		o, err := v.check(ctx, check)
		if err != nil {
			return nil, fmt.Errorf("verify %s: %w", check.Variable, err)
		}
		out = append(out, o)
	}
	return out, nil
}

// verification is one Run.
type verification struct {
	Config
	cubes        []*cube.Cube
	order, mixed *rebuilt
	guilty       map[*graph.Vertex]string // vertices that are not verified, or follow one: the first variable
}

// rebuilt is what a rebuild made.
type rebuilt struct {
	cube     *cube.Cube
	versions map[string]graph.Digest
}

func (v *verification) close() {
	for _, c := range v.cubes {
		_ = c.Close() // it is thrown away
	}
}

// cacheBytes bounds the decoded chunks that each clean cube keeps.
const cacheBytes = 64 << 20

// rebuild executes a plan in a new cube.
func (v *verification) rebuild(ctx context.Context, name string, plan *graph.Plan, imports []*cube.Cube) (_ *rebuilt, err error) {
	dir := filepath.Join(v.Dir, strconv.Itoa(len(v.cubes)))
	if err := cube.Create(dir); err != nil {
		return nil, err
	}
	c, err := cube.Open(dir, cube.Config{NoSync: true, CacheBytes: cacheBytes})
	if err != nil {
		return nil, err
	}
	v.cubes = append(v.cubes, c)
	conf := v.Solve
	conf.Cube, conf.Imports, conf.KeepGoing = c, append(imports, conf.Imports...), false
	if name == Shuffled {
		conf.Shuffle = rand.Uint64() | 1
	} else {
		conf.Workers, conf.Single, conf.Backend = 1, true, apart{conf.Backend}
	}
	if v.Watch != nil {
		events, end := v.Watch(name, plan)
		conf.Events = events
		defer func() { err = errors.Join(err, end()) }()
	}
	r, err := solve.Run(ctx, v.Workspace, plan, conf)
	switch {
	case err != nil && r != nil && len(r.Failures) > 0 && ctx.Err() == nil:
		return nil, fmt.Errorf("rebuild %s: %w", name, r.Failures[0])
	case err != nil:
		return nil, fmt.Errorf("rebuild %s: %w", name, err)
	}
	return &rebuilt{c, r.Versions}, nil
}

// apart is a backend that gives each action a container of its own.
type apart struct{ solve.Backend }

func (b apart) Run(ctx context.Context, a containers.Action) (*containers.Result, error) {
	a.Alone = true
	return b.Backend.Run(ctx, a)
}

// side is a variable as a rebuild made it.
func (r *rebuilt) side(ctx context.Context, variable string) (compare.Side, error) {
	version, err := r.cube.LoadVersion(ctx, r.versions[variable])
	return compare.Side{Cube: r.cube, Version: version}, err
}

func (v *verification) check(ctx context.Context, c Check) (Outcome, error) {
	o := Outcome{Check: c, Verdict: Verified, Between: [2]string{Stored, InOrder}}
	output := v.Plan.Output(c.Variable)
	if output == nil {
		return o, fmt.Errorf("the plan does not make it")
	}
	o.Vertex = output.Vertex
	order, err := v.order.side(ctx, c.Variable)
	if err != nil {
		return o, err
	}
	mixed, err := v.mixed.side(ctx, c.Variable)
	if err != nil {
		return o, err
	}
	options := v.Compare
	options.Tolerance = c.Tolerance
	again, err := compare.Versions(ctx, order, mixed, options)
	if err != nil {
		return o, err
	}
	if o.Found, err = compare.Versions(ctx, c.Stored, order, options); err != nil {
		return o, err
	}
	if o.Found.Differ == 0 {
		o.Like = append(o.Like, InOrder)
	}
	switch {
	case again.Differ > 0:
		other, err := compare.Versions(ctx, c.Stored, mixed, compare.Options{Tolerance: c.Tolerance})
		if err != nil {
			return o, err
		}
		if other.Differ == 0 {
			o.Like = append(o.Like, Shuffled)
		}
		o.Between, o.Found = [2]string{InOrder, Shuffled}, again
	case o.Found.Differ == 0:
		o.Like = []string{InOrder, Shuffled}
		return o, nil
	}
	o.Tile = tileOf(output, o.Found.First)
	return o, v.blame(ctx, &o, output, order)
}

// tileOf is the tile that a cell of an output lies in; of a file, the first.
func tileOf(o *graph.Output, c *compare.Cell) grid.Tile {
	v := o.Vertex
	if c == nil {
		s := v.Tiling.Span(v.Box)
		return v.Tiling.Tile(s.T.Lo, s.Y.Lo, s.X.Lo, v.Box)
	}
	return c.Tile(v.Tiling, v.Box, o.Spec.Refine)
}

// blame says what is wrong with a variable that is not verified.
func (v *verification) blame(ctx context.Context, o *Outcome, output *graph.Output, order compare.Side) error {
	for _, in := range o.Vertex.Inputs {
		if in.From != nil && v.guilty[in.From.Vertex] != "" {
			o.Follows = v.guilty[in.From.Vertex]
		}
	}
	if o.Follows == "" {
		v.guilty[o.Vertex] = o.Variable
	} else {
		v.guilty[o.Vertex] = o.Follows
	}
	if o.Verdict = Differs; o.Between[0] == Stored {
		return nil
	}
	if o.Verdict = NotDeterministic; o.Follows != "" || o.Vertex.Len() == 1 {
		return nil
	}
	for range repeats {
		same, err := v.repeat(ctx, o, output, order)
		if err != nil || !same {
			return err
		}
	}
	o.Verdict = DependsOnOrder
	return nil
}

// repeat runs one tile alone, on what it read in order, and reports whether it
// comes out as it did then.
func (v *verification) repeat(ctx context.Context, o *Outcome, output *graph.Output, order compare.Side) (bool, error) {
	inputs := make([]graph.Digest, len(output.Vertex.Inputs))
	for i, in := range output.Vertex.Inputs {
		if in.Import != nil {
			inputs[i] = in.Import.Version
		} else {
			inputs[i] = v.order.versions[in.From.Variable]
		}
	}
	vertex := output.Vertex.Pinned(inputs).Only(o.Tile.Box)
	plan := &graph.Plan{Targets: []string{output.Variable}, Vertices: []*graph.Vertex{vertex}}
	again, err := v.rebuild(ctx, Alone, plan, []*cube.Cube{v.order.cube})
	if err != nil {
		return false, err
	}
	side, err := again.side(ctx, output.Variable)
	if err != nil {
		return false, err
	}
	r, err := compare.Versions(ctx, order, side, compare.Options{Tolerance: o.Tolerance})
	return err == nil && r.Differ == 0, err
}
