//go:build linux

package backendtest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/google/go-cmp/cmp"
)

// provider gives every instance the one layer.
type provider string

// Part implements solve.Provider: no source is indexed.
func (provider) Part(context.Context, *graph.Instance, string, graph.Digest) (string, error) {
	return "", os.ErrNotExist
}

// Secrets implements solve.Provider: there are none.
func (provider) Secrets(context.Context, *graph.Instance) ([]containers.Secret, error) {
	return nil, nil
}

func (p provider) Layers(context.Context, *graph.Instance) ([]string, error) {
	return []string{string(p)}, nil
}
func (provider) Source(context.Context, graph.Source) (string, error) { return "", os.ErrNotExist }

// tile is the side of a tile, in cells.
const tile = 16

// workspace is base → sum, the second with a halo, of side × side tiles each.
func workspace(side int64, params string) *graph.Workspace {
	g := grid.Grid{Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30, X0: 430000, Y0: 4490000},
		Box: grid.Box{Y: grid.Range{Hi: tile * side}, X: grid.Range{Hi: tile * side}}}
	image := graph.Image{Command: []string{"/producer"}}
	out := func(name string) graph.Manifest {
		return graph.Manifest{Name: name, Capabilities: graph.Capabilities{Tiles: true}, Command: image.Command,
			Produces: []graph.VarSpec{{Name: name, Format: graph.NPY}}}
	}
	base, sum := out("base"), out("sum")
	sum.Needs = []graph.DataNeed{{Variable: "base", Halo: grid.Halo{Y: 1, X: 1}, Format: graph.NPY}}
	return &graph.Workspace{Grids: map[string]grid.Grid{graph.DefaultGrid: g}, Tiling: grid.Tiling{Y: tile, X: tile},
		Instances: []graph.Instance{{Name: "base", Image: image, Manifest: base, Params: json.RawMessage(params)},
			{Name: "sum", Image: image, Manifest: sum, Params: json.RawMessage(`{}`)}}}
}

// ran is what a build came to.
type ran struct {
	*solve.Result
	events []solve.Event
	err    error
}

// build makes a plan in a cube.
func (s *suite) make(t *testing.T, dir string, ws *graph.Workspace, b Subject, change func(*solve.Config)) ran {
	t.Helper()
	plan, err := graph.Resolve(*ws, "sum")
	if err != nil {
		t.Fatal(err)
	}
	c, err := cube.Open(dir, cube.Config{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var r ran
	conf := solve.Config{Cube: c, Backend: b, Provider: provider(filepath.Join(s.dir, "layer")), Workers: 2,
		Events: func(e solve.Event) error { r.events = append(r.events, e); return nil }}
	if b.Serial {
		conf.Workers, conf.Single = 1, true
	}
	if change != nil {
		change(&conf)
	}
	r.Result, r.err = solve.Run(t.Context(), ws, plan, conf)
	return r
}

func newCube(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := cube.Create(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// arithmetic computes in this process what the producer computes in its sandbox.
type arithmetic struct{}

func (arithmetic) Run(_ context.Context, a containers.Action) (*containers.Result, error) {
	r := &containers.Result{Outputs: map[string]containers.Output{}}
	for role, o := range a.Outputs {
		var values []byte
		for y := o.Box.Y.Lo; y < o.Box.Y.Hi; y++ {
			for x := o.Box.X.Lo; x < o.Box.X.Hi; x++ {
				v := float32(y*7 + x*3)
				for _, in := range a.Inputs {
					v = cell(in, y, x) + cell(in, y-1, x) + 1
				}
				values = binary.LittleEndian.AppendUint32(values, math.Float32bits(v))
			}
		}
		r.Outputs[role] = containers.Output{Values: values}
	}
	return r, nil
}

func cell(in containers.Input, y, x int64) float32 {
	b := in.Box
	if y < b.Y.Lo || y >= b.Y.Hi || x < b.X.Lo || x >= b.X.Hi {
		return 0
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(in.Values[4*((y-b.Y.Lo)*b.X.Len()+x-b.X.Lo):]))
}

func (s *suite) plan(t *testing.T) {
	side := int64(6) // 72 tiles in all
	if s.long {
		side = 23 // 1,058
	}
	ws := workspace(side, `{}`)
	want := s.make(t, newCube(t), ws, Subject{Backend: arithmetic{}}, nil)
	b := s.subject(t)
	got := s.make(t, newCube(t), ws, b, nil)
	if want.err != nil || got.err != nil {
		t.Fatal(want.err, got.err)
	}
	if diff := cmp.Diff(want.Versions, got.Versions); diff != "" {
		t.Errorf("other versions than arithmetic makes (-want +got):\n%s", diff)
	}
	if n := 2 * side * side; got.Count != (solve.Count{Ran: n}) {
		t.Errorf("%+v, want %d that ran", got.Count, n)
	}
	if b.Serial {
		oneByOne(t, got.events)
	}
}

// inOrder holds that one worker begins tiles as arithmetic done one after the other
// does: each vertex's in their order.
func (s *suite) inOrder(t *testing.T) {
	ws, b := workspace(4, `{}`), s.subject(t)
	order := func(b Subject, single bool) []string {
		r := s.make(t, newCube(t), ws, b, func(c *solve.Config) { c.Workers, c.Single = 1, single })
		if r.err != nil {
			t.Fatal(r.err)
		}
		oneByOne(t, r.events)
		var began []string
		for _, e := range r.events {
			if e, ok := e.(solve.Started); ok {
				began = append(began, name(e.Vertex, e.Tile))
			}
		}
		return began
	}
	want := order(Subject{Backend: arithmetic{}}, true)
	if diff := cmp.Diff(want, order(b, false)); diff != "" || len(want) != 32 || want[0] != "base 0 0" || want[1] != "base 0 16" {
		t.Errorf("they began with %v in another order (-want +got):\n%s", want[:2], diff)
	}
}

// oneByOne checks that one action ended before the next began.
func oneByOne(t *testing.T, events []solve.Event) {
	t.Helper()
	under := 0
	for _, e := range events {
		switch e.(type) {
		case solve.Started:
			under++
		case solve.TileDone:
			under--
		}
		if under > 1 {
			t.Fatal("two actions at once")
		}
	}
}

// repeat runs every action twice at once, and returns the result of one.
type repeat struct{ solve.Backend }

func (r repeat) Run(ctx context.Context, a containers.Action) (*containers.Result, error) {
	var wait sync.WaitGroup
	wait.Go(func() {
		b := a
		b.Log = nil
		if other, err := r.Backend.Run(ctx, b); err == nil {
			other.Close()
		}
	})
	defer wait.Wait()
	return r.Backend.Run(ctx, a)
}

func (s *suite) twice(t *testing.T) {
	ws, b := workspace(2, `{}`), s.subject(t)
	want := s.make(t, newCube(t), ws, Subject{Backend: arithmetic{}}, nil)
	dir := newCube(t)
	doubled := b
	doubled.Backend = repeat{b.Backend}
	// Two builds of one cube at once, in which every action runs twice.
	results := make([]ran, 2)
	var wait sync.WaitGroup
	for i := range results {
		wait.Go(func() { results[i] = s.make(t, dir, ws, doubled, nil) })
	}
	wait.Wait()
	for _, r := range results {
		if r.err != nil {
			t.Fatal(r.err)
		}
		if diff := cmp.Diff(want.Versions, r.Versions); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

func (s *suite) retried(t *testing.T) {
	ws := workspace(1, `{"do": "exit", "n": 75}`)
	r := s.make(t, newCube(t), ws, s.subject(t), func(c *solve.Config) { c.Retry = graph.Retry{Attempts: 3, On: []string{"exit:75"}} })
	if !errors.Is(r.err, solve.ErrFailed) || len(r.Failures) != 1 {
		t.Fatalf("got %v, %v", r.err, r.Failures)
	}
	attempts := 0
	for _, e := range r.events {
		if done, ok := e.(solve.TileDone); ok && done.Outcome == solve.Failed {
			attempts = done.Attempts
		}
	}
	if attempts != 3 {
		t.Errorf("%d attempts, want 3", attempts)
	}
}

func (s *suite) halfway(t *testing.T) {
	ws, b, dir := workspace(3, `{}`), s.subject(t), newCube(t)
	cause := errors.New("enough")
	done := 0
	r := s.make(t, dir, ws, b, func(c *solve.Config) {
		events := c.Events
		c.Events = func(e solve.Event) error {
			if _, ok := e.(solve.TileDone); ok {
				if done++; done == 4 {
					return cause
				}
			}
			return events(e)
		}
	})
	if !errors.Is(r.err, cause) {
		t.Fatalf("got %v, want %v", r.err, cause)
	}
	again := s.make(t, dir, ws, b, nil)
	want := s.make(t, newCube(t), ws, Subject{Backend: arithmetic{}}, nil)
	if diff := cmp.Diff(want.Versions, again.Versions); diff != "" || again.err != nil {
		t.Errorf("%v, -want +got:\n%s", again.err, diff)
	}
	if again.Count.Hit < 4 || again.Count.Sum() != 18 {
		t.Errorf("%+v, want that what was done is known", again.Count)
	}
}

// deadly kills whoever runs an action, the first few times.
type deadly struct {
	Subject
	times atomic.Int64
	t     *testing.T
}

func (d *deadly) Run(ctx context.Context, a containers.Action) (*containers.Result, error) {
	if d.times.Add(-1) < 0 {
		return d.Backend.Run(ctx, a)
	}
	a.Request = []byte(`{"params": {"do": "wait", "n": 600000}}`)
	said := make(chan struct{})
	a.Log = &announce{said: said}
	go func() {
		<-said
		for _, pid := range d.Workers() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}()
	return d.Backend.Run(ctx, a)
}

// lose builds a plan of one tile a vertex whose first action is lost so often.
func (s *suite) lose(t *testing.T, times int64) (ran, *graph.Workspace) {
	b := s.subject(t)
	d := &deadly{Subject: b, t: t}
	d.times.Store(times)
	ws := workspace(1, `{}`)
	return s.make(t, newCube(t), ws, Subject{Backend: d}, func(c *solve.Config) { c.Workers = 1 }), ws
}

func (s *suite) lost(t *testing.T) {
	r, ws := s.lose(t, 2)
	want := s.make(t, newCube(t), ws, Subject{Backend: arithmetic{}}, nil)
	if diff := cmp.Diff(want.Versions, r.Versions); diff != "" || r.err != nil {
		t.Fatalf("%v, -want +got:\n%s", r.err, diff)
	}
	var losses []string
	for _, e := range r.events {
		switch e := e.(type) {
		case solve.Retried:
			if _, ok := errors.AsType[*solve.LostError](e.Err); ok && e.Lost {
				losses = append(losses, "again")
			}
		case solve.TileDone:
			losses = append(losses, fmt.Sprint(e.Outcome, " ", e.Attempts, " ", e.Losses))
		}
	}
	if diff := cmp.Diff([]string{"again", "again", "ran 1 2", "ran 1 0"}, losses); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func (s *suite) alwaysLost(t *testing.T) {
	r, _ := s.lose(t, 100)
	if !errors.Is(r.err, solve.ErrFailed) || r.Count != (solve.Count{Lost: 1}) || len(r.Failures) != 1 {
		t.Fatalf("got %v, %+v", r.err, r.Count)
	}
	if _, ok := errors.AsType[*solve.LostError](r.Failures[0].Err); !ok {
		t.Errorf("it is said to be %v", r.Failures[0].Err)
	}
}
