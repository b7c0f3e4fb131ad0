package solve

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// gate is a backend in which some actions wait until enough others have run.
type gate struct {
	Backend
	holds func(a containers.Action) bool
	after int // others

	mu   sync.Mutex
	ran  int
	open chan struct{}
}

func newGate(b Backend, after int, holds func(containers.Action) bool) *gate {
	return &gate{Backend: b, holds: holds, after: after, open: make(chan struct{})}
}

func (g *gate) Run(ctx context.Context, a containers.Action) (*containers.Result, error) {
	if g.holds(a) {
		select {
		case <-g.open:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		return g.Backend.Run(ctx, a)
	}
	r, err := g.Backend.Run(ctx, a)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ran++; g.ran == g.after {
		close(g.open)
	}
	return r, err
}

// corner says that an action is an instance's first tile.
func corner(instance string) func(containers.Action) bool {
	return func(a containers.Action) bool {
		name, _, _ := cutLast(a.Name)
		return name == instance && a.Outputs[instance].Box.Y.Lo == 0 && a.Outputs[instance].Box.X.Lo == 0
	}
}

func TestATileThatIsLateHoldsUpOnlyWhatReadsIt(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	// Of 4 × 4 tiles the first of base is read by 2 × 2 of one, and those by 3 × 3
	// of two.
	g := newGate(e.backend, 15+12+7, corner("base"))
	within(t, func(ctx context.Context) {
		if _, err := e.run(chain(), func(c *Config) { c.Workers, c.Backend = 2, limited{g, ctx} }, "two"); err != nil {
			t.Error(err)
		}
	})
}

// limited ends its actions with a context of its own, too.
type limited struct {
	Backend
	ctx context.Context
}

func (l limited) Run(ctx context.Context, a containers.Action) (*containers.Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })()
	return l.Backend.Run(ctx, a)
}

func TestABuildThatWaitsForAnotherDoesTheRest(t *testing.T) {
	t.Parallel()
	e, ws := newEnv(t), chain()
	// Whoever has the first tile waits for all others, which the other build's
	// only worker must do.
	g := newGate(e.backend, 15, corner("base"))
	plan, err := graph.Resolve(*ws, "base")
	if err != nil {
		t.Fatal(err)
	}
	within(t, func(ctx context.Context) {
		var both sync.WaitGroup
		begun := make(chan struct{})
		begin := sync.OnceFunc(func() { close(begun) })
		for i := range 2 {
			cfg := Config{Cube: e.open(), Backend: limited{g, ctx}, Provider: nothing{}, Workers: 1, Events: func(ev Event) error {
				if _, ok := ev.(Started); ok && i == 0 {
					begin()
				}
				return nil
			}}
			if i == 1 {
				select {
				case <-begun:
				case <-ctx.Done():
				}
			}
			both.Go(func() {
				if _, err := Run(ctx, ws, plan, cfg); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
	})
	if n := len(e.backend.took()); n != 16 {
		t.Errorf("%d tiles were made, want each of 16 once", n)
	}
}

// branches is a workspace with two branches: of one a long computation reads
// all tiles, of the other each tile is read alone.
func branches() *graph.Workspace {
	ws := chain()
	tiles := graph.Capabilities{Tiles: true}
	ws.Instances = []graph.Instance{
		{Name: "forcing", Manifest: graph.Manifest{Capabilities: tiles, Produces: []graph.VarSpec{{Name: "forcing"}}}},
		{Name: "model", Manifest: graph.Manifest{Needs: []graph.DataNeed{{Variable: "forcing"}}, Produces: []graph.VarSpec{{Name: "model"}}}},
		{Name: "terrain", Manifest: graph.Manifest{Capabilities: tiles, Produces: []graph.VarSpec{{Name: "terrain"}}}},
		{Name: "slope", Manifest: graph.Manifest{Capabilities: tiles, Needs: []graph.DataNeed{{Variable: "terrain", Halo: grid.Halo{Y: 1, X: 1}}},
			Produces: []graph.VarSpec{{Name: "slope"}}}},
	}
	return ws
}

func TestWhatTheRestWaitsForLongestGoesFirst(t *testing.T) {
	t.Parallel()
	plan, err := graph.Resolve(*branches(), "model", "slope")
	if err != nil {
		t.Fatal(err)
	}
	order := func(model time.Duration) (names []string) {
		s := newScheduler(plan, 0, 2)
		for _, n := range s.nodes {
			n.expected = time.Second
			if n.vertex.Name == "model" {
				n.expected = model
			}
		}
		s.rank()
		for _, n := range s.ranked {
			names = append(names, n.vertex.Name)
		}
		return names
	}
	// With nothing long ahead the nearest to the targets goes first: few tiles
	// are alive at once.
	if got, want := order(time.Second), []string{"slope", "terrain", "model", "forcing"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got, want := order(time.Hour), []string{"forcing", "slope", "terrain", "model"}; !slices.Equal(got, want) {
		t.Errorf("before a long computation: %v, want %v", got, want)
	}
}

// reads counts the windows that actions are given, each as often as it was read.
type reads struct {
	Backend
	mu   sync.Mutex
	seen map[*byte]bool // first bytes of windows
}

func (r *reads) Run(ctx context.Context, a containers.Action) (*containers.Result, error) {
	r.mu.Lock()
	for _, in := range a.Inputs {
		r.seen[&in.Values[0]] = true
	}
	r.mu.Unlock()
	return r.Backend.Run(ctx, a)
}

func TestAWindowThatTilesShareIsReadOnce(t *testing.T) {
	t.Parallel()
	e, ws := newEnv(t), chain()
	g := ws.Grids[graph.DefaultGrid]
	g.Time, g.Box.T = grid.TimeAxis{Step: 3600}, grid.Range{Hi: 24}
	ws.Grids[graph.DefaultGrid] = g
	ws.Tiling = grid.Tiling{T: 1} // the whole grid, hour by hour
	ws.Instances = ws.Instances[:2]
	ws.Instances[1].Manifest.Produces[0].Kind = graph.Time
	r := &reads{Backend: e.backend, seen: map[*byte]bool{}}
	result, err := e.run(ws, func(c *Config) { c.Workers, c.Backend = 1, r }, "one")
	if err != nil || result.Count.Ran != 1+24 {
		t.Fatal(result.Count, err)
	}
	if n := len(r.seen); n > 2 { // two look at once, perhaps
		t.Errorf("the static window was read %d times for 24 hours", n)
	}
}

func TestNothingBeginsOnceAnActionHasFailed(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.backend.fail = func(containers.Action) error {
		time.Sleep(20 * time.Millisecond) // the next one waits for room meanwhile
		return &containers.Failure{Kind: containers.FailedExit, Code: 1, Detail: "exited with code 1"}
	}
	r, err := e.run(chain(), func(c *Config) { c.Workers = 1 }, "two")
	if err == nil || len(r.Failures) != 1 || r.Untried != 16*3-1 {
		t.Errorf("%d failed, %d were not tried: %v", len(r.Failures), r.Untried, err)
	}
	if n := len(e.backend.took()); n != 1 {
		t.Errorf("%d actions began", n)
	}
}
