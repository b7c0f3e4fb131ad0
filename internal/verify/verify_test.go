package verify

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/compare"
	"github.com/google/go-cmp/cmp"
)

// computing makes the value of a cell, from that of the input's.
type computing func(a containers.Action, y, x int64, in float32) float32

// producers run in this process. Each makes a cell of its output from the cell
// of its one input, and may see what it should not.
type producers struct {
	cells map[string]computing
	runs  atomic.Int64
	fail  func() error
}

func (p *producers) Run(_ context.Context, a containers.Action) (*containers.Result, error) {
	p.runs.Add(1)
	if p.fail != nil {
		if err := p.fail(); err != nil {
			return nil, err
		}
	}
	r := &containers.Result{Outputs: map[string]containers.Output{}}
	for role, o := range a.Outputs {
		if o.Kind == graph.File {
			f, err := p.file(role)
			if err != nil {
				return nil, err
			}
			r.Outputs[role] = containers.Output{File: f, Name: "data.txt"}
			continue
		}
		var b []byte
		for range max(1, o.Box.T.Len()) {
			for y := o.Box.Y.Lo; y < o.Box.Y.Hi; y++ {
				for x := o.Box.X.Lo; x < o.Box.X.Hi; x++ {
					in := float32(0)
					for _, i := range a.Inputs {
						at := (y-i.Box.Y.Lo)*i.Box.X.Len() + x - i.Box.X.Lo
						in += math.Float32frombits(binary.LittleEndian.Uint32(i.Values[4*at:]))
					}
					b = binary.LittleEndian.AppendUint32(b, math.Float32bits(p.cells[role](a, y, x, in)))
				}
			}
		}
		r.Outputs[role] = containers.Output{Values: b}
	}
	return r, nil
}

// file makes a file that cell (0, 0) of the role decides.
func (p *producers) file(role string) (*os.File, error) {
	f, err := os.CreateTemp("", "verify-test-")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(f.Name())
	if _, err := fmt.Fprintf(f, "some text, and %g", p.cells[role](containers.Action{}, 0, 0, 0)); err != nil {
		return nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, err
}

func (*producers) Layers(context.Context, *graph.Instance) ([]string, error) { return nil, nil }
func (*producers) Part(context.Context, *graph.Instance, string, graph.Digest) (string, error) {
	return "", nil
}
func (*producers) Secrets(context.Context, *graph.Instance) ([]containers.Secret, error) {
	return nil, nil
}
func (*producers) Source(context.Context, graph.Source) (string, error) { return "", nil }

func honest(_ containers.Action, y, x int64, in float32) float32 {
	return in + float32(y*13+x) // a different value in each cell
}

// workspace is a chain of instances: base → mid → top, in tiles of 10 × 10.
func workspace(size int64) *graph.Workspace {
	ws := &graph.Workspace{Tiling: grid.Tiling{Y: 10, X: 10}, Grids: map[string]grid.Grid{graph.DefaultGrid: {
		Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30, X0: 430000, Y0: 4490000},
		Box:     grid.Box{Y: grid.Range{Hi: size}, X: grid.Range{Hi: size}}}}}
	before := ""
	for _, name := range []string{"base", "mid", "top"} {
		m := graph.Manifest{Capabilities: graph.Capabilities{Tiles: true}, Produces: []graph.VarSpec{{Name: name}}}
		if before != "" {
			m.Needs = []graph.DataNeed{{Variable: before, Halo: grid.Halo{Y: 1, X: 1}}}
		}
		ws.Instances = append(ws.Instances, graph.Instance{Name: name, Manifest: m})
		before = name
	}
	return ws
}

// scene is a cube that was built.
type scene struct {
	t    *testing.T
	ws   *graph.Workspace
	plan *graph.Plan
	made *producers
	cube *cube.Cube
}

func build(t *testing.T, size int64, cells map[string]computing) *scene {
	t.Helper()
	all := map[string]computing{"base": honest, "mid": honest, "top": honest}
	maps.Copy(all, cells)
	return buildOf(t, workspace(size), all, "top")
}

func buildOf(t *testing.T, ws *graph.Workspace, cells map[string]computing, targets ...string) *scene {
	t.Helper()
	dir := t.TempDir()
	if err := cube.Create(dir); err != nil {
		t.Fatal(err)
	}
	c, err := cube.Open(dir, cube.Config{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s := &scene{t: t, ws: ws, cube: c, made: &producers{cells: cells}}
	if s.plan, err = graph.Resolve(*s.ws, targets...); err != nil {
		t.Fatal(err)
	}
	if _, err := solve.Run(t.Context(), s.ws, s.plan, solve.Config{Cube: c, Backend: s.made, Provider: s.made, Workers: 3}); err != nil {
		t.Fatal(err)
	}
	s.made.runs.Store(0)
	return s
}

func (s *scene) check(variable string) Check {
	s.t.Helper()
	h, _, err := s.cube.Head(s.t.Context(), variable)
	if err != nil {
		s.t.Fatal(err)
	}
	v, err := s.cube.LoadVersion(s.t.Context(), h.Version)
	if err != nil {
		s.t.Fatal(err)
	}
	return Check{Variable: variable, Stored: compare.Side{Cube: s.cube, Version: v}}
}

func (s *scene) config(plan *graph.Plan, variables ...string) Config {
	c := Config{Dir: s.t.TempDir(), Workspace: s.ws, Plan: plan, Solve: solve.Config{Imports: []*cube.Cube{s.cube}, Backend: s.made, Provider: s.made, Workers: 3}}
	for _, v := range variables {
		c.Checks = append(c.Checks, s.check(v))
	}
	return c
}

// shallow verifies one variable on the versions that it was made from.
func (s *scene) shallow(variable string) Config {
	s.t.Helper()
	v, err := solve.HeadVertex(s.t.Context(), s.cube, s.ws, graph.Host{}, s.plan.Output(variable).Vertex)
	if err != nil || v == nil {
		s.t.Fatalf("%v %v", v, err)
	}
	return s.config(&graph.Plan{Targets: []string{variable}, Vertices: []*graph.Vertex{v}}, variable)
}

func (s *scene) run(c Config) []Outcome {
	s.t.Helper()
	out, err := Run(s.t.Context(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func TestAnHonestProducerIsVerified(t *testing.T) {
	t.Parallel()
	s := build(t, 40, nil)
	before, err := s.cube.Results().Len()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"base", "mid", "top"} {
		s.made.runs.Store(0)
		out := s.run(s.shallow(name))
		if len(out) != 1 || out[0].Verdict != Verified || out[0].Found.Cells != 1600 || len(out[0].Like) != 2 {
			t.Errorf("%s: %+v", name, out)
		}
		if n := s.made.runs.Load(); n != 32 {
			t.Errorf("%s: %d actions ran, want each of 16 twice", name, n)
		}
	}
	s.made.runs.Store(0)
	for _, o := range s.run(s.config(s.plan, "base", "mid", "top")) {
		if o.Verdict != Verified {
			t.Errorf("%+v", o)
		}
	}
	if n := s.made.runs.Load(); n != 96 {
		t.Errorf("%d actions ran, want each of 48 twice", n)
	}
	if after, err := s.cube.Results().Len(); err != nil || after != before {
		t.Errorf("the user's cube has %d results, and had %d: %v", after, before, err)
	}
}

// noise differs from call to call.
func noise(_ containers.Action, y, x int64, in float32) float32 { return in + rand.Float32() }

func clock(_ containers.Action, y, x int64, in float32) float32 {
	return float32(time.Now().UnixNano() % 1e6)
}

func TestAProducerThatIsNotDeterministicIsNamed(t *testing.T) {
	t.Parallel()
	for name, cell := range map[string]computing{"noise": noise, "clock": clock} {
		s := build(t, 40, map[string]computing{"mid": cell})
		o := s.run(s.shallow("mid"))[0]
		if o.Verdict != NotDeterministic || o.Vertex.Name != "mid" || o.Between != [2]string{InOrder, Shuffled} || len(o.Like) != 0 || o.Found.Differ < 1000 {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

// Only one cell of one tile leaks: that tile is named.
func TestTheTileAndCellThatDifferAreNamed(t *testing.T) {
	t.Parallel()
	calls := atomic.Int64{}
	s := build(t, 40, map[string]computing{"top": func(a containers.Action, y, x int64, in float32) float32 {
		if y == 25 && x == 31 {
			return float32(calls.Add(1))
		}
		return honest(a, y, x, in)
	}})
	o := s.run(s.shallow("top"))[0]
	if o.Verdict != NotDeterministic || o.Tile.Y != 2 || o.Tile.X != 3 || fmt.Sprint(o.Found.First.Index) != "[25 31]" || o.Found.Differ != 1 ||
		o.Found.First.Old.String() != "2" || o.Found.First.New.String() != "3" || o.Found.Largest != 1 {
		t.Errorf("%+v %+v", o, o.Found)
	}
}

func TestAProducerThatSeesTheOrderIsNamed(t *testing.T) {
	t.Parallel()
	// What a tile makes depends on whether a later one came before it.
	last := atomic.Int64{}
	last.Store(-1)
	s := build(t, 40, map[string]computing{"base": func(a containers.Action, y, x int64, in float32) float32 {
		tile := y/10*4 + x/10
		if last.Swap(tile) > tile {
			in++
		}
		return honest(a, y, x, in)
	}})
	c := s.shallow("base")
	c.Watch = func(rebuild string, _ *graph.Plan) (func(solve.Event) error, func() error) {
		last.Store(-1)
		return nil, func() error { return nil }
	}
	o := s.run(c)[0]
	if o.Verdict != DependsOnOrder || o.Between != [2]string{InOrder, Shuffled} {
		t.Errorf("%+v %+v", o, o.Found)
	}
}

func TestAProducerThatKeepsSomethingBetweenTilesIsNamed(t *testing.T) {
	t.Parallel()
	var served atomic.Int64
	s := build(t, 20, map[string]computing{"mid": func(a containers.Action, y, x int64, in float32) float32 {
		if a.Alone { // a container that has served nothing yet
			return honest(a, y, x, in)
		}
		return honest(a, y, x, in) + float32(served.Add(1))
	}})
	if o := s.run(s.shallow("mid"))[0]; o.Verdict != DependsOnOrder || o.Between != [2]string{InOrder, Shuffled} {
		t.Errorf("%s, between %v", o.Verdict, o.Between)
	}
}

func TestWhatDiffersFromWhatIsStoredIsNamed(t *testing.T) {
	t.Parallel()
	s := build(t, 40, nil)
	s.made.cells["base"] = func(a containers.Action, y, x int64, in float32) float32 {
		return honest(a, y, x, in) + 2
	}
	o := s.run(s.shallow("base"))[0]
	if o.Verdict != Differs || o.Between != [2]string{Stored, InOrder} || o.Found.Differ != 1600 || o.Found.Largest != 2 || len(o.Like) != 0 {
		t.Errorf("%+v", o)
	}
	out := s.run(s.config(s.plan, "base", "mid", "top"))
	var got []string
	for _, o := range out {
		got = append(got, fmt.Sprint(o.Variable, ": ", o.Verdict, " ", o.Follows))
	}
	want := []string{"base: differs from what is stored ", "mid: differs from what is stored base", "top: differs from what is stored base"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestADeepVerificationNamesWhereItBegins(t *testing.T) {
	t.Parallel()
	s := build(t, 20, map[string]computing{"mid": noise})
	var got []string
	for _, o := range s.run(s.config(s.plan, "base", "mid", "top")) {
		got = append(got, fmt.Sprint(o.Variable, ": ", o.Verdict, " ", o.Follows))
	}
	if d := cmp.Diff([]string{"base: verified ", "mid: not deterministic ", "top: not deterministic mid"}, got); d != "" {
		t.Error(d)
	}
}

func TestATolerantVerificationAllowsSmallDifferences(t *testing.T) {
	t.Parallel()
	calls := atomic.Int64{}
	s := build(t, 40, map[string]computing{"top": func(_ containers.Action, y, x int64, in float32) float32 {
		return 1000 + float32(calls.Add(1)%3)/100
	}})
	c := s.shallow("top")
	c.Checks[0].Tolerance.Rel = 1e-4
	if o := s.run(c)[0]; o.Verdict != Verified || o.Found.Within == 0 || o.Found.Largest < 0.009 {
		t.Errorf("%+v %+v", o, o.Found)
	}
	c = s.shallow("top")
	c.Checks[0].Tolerance.Rel = 1e-6
	if o := s.run(c)[0]; o.Verdict != NotDeterministic {
		t.Errorf("%+v", o)
	}
}

func TestMergesFilesTimesAndFinerGridsAreVerified(t *testing.T) {
	t.Parallel()
	ws := workspace(20)
	g := ws.Grids[graph.DefaultGrid]
	g.Time, g.Box.T = grid.TimeAxis{Step: 3600}, grid.Range{Lo: 5, Hi: 11}
	ws.Grids[graph.DefaultGrid] = g
	ws.Tiling.T = 2
	tiles := graph.Capabilities{Tiles: true}
	ws.Instances = []graph.Instance{
		{Name: "base", Manifest: graph.Manifest{Capabilities: tiles, Produces: []graph.VarSpec{{Name: "base"}}}},
		{Name: "left", Out: map[string]string{"l": "sum"}, Manifest: graph.Manifest{Capabilities: tiles,
			Needs: []graph.DataNeed{{Variable: "base"}}, Produces: []graph.VarSpec{{Name: "l", Merge: graph.SumOf}}}},
		{Name: "right", Out: map[string]string{"r": "sum"}, Manifest: graph.Manifest{Capabilities: tiles,
			Produces: []graph.VarSpec{{Name: "r", Merge: graph.SumOf}}}},
		{Name: "fine", Manifest: graph.Manifest{Capabilities: tiles, Produces: []graph.VarSpec{{Name: "fine", Refine: 3}}}},
		{Name: "steps", Manifest: graph.Manifest{Capabilities: tiles, Produces: []graph.VarSpec{{Name: "steps", Kind: graph.Time}}}},
		{Name: "report", Manifest: graph.Manifest{Needs: []graph.DataNeed{{Variable: "sum"}},
			Produces: []graph.VarSpec{{Name: "report", Kind: graph.File, MediaType: "text/plain"}}}},
	}
	all := map[string]computing{}
	for _, role := range []string{"base", "l", "r", "fine", "steps", "report"} {
		all[role] = honest
	}
	s := buildOf(t, ws, all, "base", "sum", "fine", "steps", "report")
	for _, name := range []string{"sum", "sum@left", "fine", "steps", "report"} {
		if o := s.run(s.shallow(name))[0]; o.Verdict != Verified || o.Found.Cells == 0 {
			t.Errorf("%s: %+v", name, o)
		}
	}
	for _, tc := range []struct {
		role, variable string
		tile           grid.Tile
		index          string
	}{
		{"r", "sum@right", grid.Tile{Y: 1, X: 1}, "[11 12]"},
		{"fine", "fine", grid.Tile{Y: 0, X: 0}, "[11 12]"},
		{"steps", "steps", grid.Tile{T: 2, Y: 1, X: 1}, "[0 11 12]"},
	} {
		s.made.cells[tc.role] = func(a containers.Action, y, x int64, in float32) float32 {
			if y == 11 && x == 12 {
				return rand.Float32()
			}
			return honest(a, y, x, in)
		}
		o := s.run(s.shallow(tc.variable))[0]
		o.Tile.Box = grid.Box{}
		if o.Verdict != NotDeterministic || fmt.Sprint(o.Found.First.Index) != tc.index || o.Tile != tc.tile {
			t.Errorf("%s: %+v, cell %+v", tc.variable, o, o.Found.First)
		}
		s.made.cells[tc.role] = honest
	}
	s.made.cells["report"] = noise
	if o := s.run(s.shallow("report"))[0]; o.Verdict != NotDeterministic || o.Found.Offset < 14 {
		t.Errorf("%+v %+v", o, o.Found)
	}
}

func TestAVariableInOneTileHasNoOrder(t *testing.T) {
	t.Parallel()
	s := build(t, 10, map[string]computing{"top": noise})
	if o := s.run(s.shallow("top"))[0]; o.Verdict != NotDeterministic {
		t.Errorf("%+v", o)
	}
}

func TestARebuildThatFailsIsAnError(t *testing.T) {
	t.Parallel()
	s := build(t, 20, nil)
	s.made.fail = func() error { return &containers.Failure{Kind: containers.FailedExit, Code: 3} }
	_, err := Run(t.Context(), s.shallow("mid"))
	var action *solve.ActionError
	if !errors.As(err, &action) || action.Vertex != "mid" {
		t.Error(err)
	}
}
