package solve

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
)

// arithmetic is a backend that computes in this process what a container
// would: the base from absolute cell indices, everything else as the mean of
// its windows. It counts what it runs.
type arithmetic struct {
	mu   sync.Mutex
	runs map[string]int // by instance and tile
	base func(t, y, x int64) float32
	fail func(a containers.Action) error
}

func newArithmetic() *arithmetic {
	return &arithmetic{runs: map[string]int{}, base: func(_, y, x int64) float32 { return float32(y*7+x*3) / 5 }}
}

func (m *arithmetic) took() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := maps.Clone(m.runs)
	clear(m.runs)
	return out
}

func (m *arithmetic) Run(_ context.Context, a containers.Action) (*containers.Result, error) {
	name, _, _ := cutLast(a.Name)
	for role, o := range a.Outputs {
		what := role // of a file
		if o.Box != nil {
			what = fmt.Sprint(*o.Box)
		}
		m.mu.Lock()
		m.runs[name+" "+what]++
		m.mu.Unlock()
	}
	fmt.Fprintf(a.Log, "computing %s\n", name)
	if m.fail != nil {
		if err := m.fail(a); err != nil {
			return nil, err
		}
	}
	r := &containers.Result{Outputs: map[string]containers.Output{}}
	for role, o := range a.Outputs {
		if o.Kind == graph.File {
			f, err := scratch(a.Request)
			if err != nil {
				return nil, err
			}
			r.Outputs[role] = containers.Output{File: f, Name: "data.json"}
			continue
		}
		var values []byte
		times := o.Box.T
		if o.Kind != graph.Time {
			times = grid.Range{Hi: 1}
		}
		for t := times.Lo; t < times.Hi; t++ {
			for y := o.Box.Y.Lo; y < o.Box.Y.Hi; y++ {
				for x := o.Box.X.Lo; x < o.Box.X.Hi; x++ {
					values = binary.LittleEndian.AppendUint32(values, math.Float32bits(m.cell(a, o.Grid.DX, t, y, x)))
				}
			}
		}
		r.Outputs[role] = containers.Output{Values: values}
	}
	return r, nil
}

// scratch is an open file that holds some bytes and has no name any more.
func scratch(b []byte) (*os.File, error) {
	f, err := os.CreateTemp("", "solve-*")
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(b); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	return f, errors.Join(err, os.Remove(f.Name()))
}

func cutLast(s string) (string, string, bool) {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '-' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// cell is the mean over the 3 × 3 neighbourhood of each input, clipped to its
// window. A refined output takes the cell that its own lies in.
func (m *arithmetic) cell(a containers.Action, size float64, t, y, x int64) float32 {
	if len(a.Inputs) == 0 {
		return m.base(t, y, x)
	}
	sum, n := float32(0), float32(0)
	for _, in := range a.Inputs {
		if in.Box.Empty() {
			continue // a file
		}
		refine := int64(math.Round(in.Grid.Lattice.DX / size))
		y, x := y/refine, x/refine
		for dy := int64(-1); dy <= 1; dy++ {
			for dx := int64(-1); dx <= 1; dx++ {
				if v, ok := at(in, t, y+dy, x+dx); ok {
					sum, n = sum+v, n+1
				}
			}
		}
	}
	return float32(math.Floor(float64(sum / n)))
}

func at(in containers.Input, t, y, x int64) (float32, bool) {
	b := in.Box
	if y < b.Y.Lo || y >= b.Y.Hi || x < b.X.Lo || x >= b.X.Hi {
		return 0, false
	}
	i := (y-b.Y.Lo)*b.X.Len() + x - b.X.Lo
	if in.Spec.Kind == graph.Time {
		i += (t - b.T.Lo) * b.Cells()
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(in.Values[4*i:])), true
}

// nothing provides neither layers nor sources: arithmetic needs none.
type nothing struct{}

func (nothing) Layers(context.Context, *graph.Instance) ([]string, error) { return nil, nil }
func (nothing) Part(context.Context, *graph.Instance, string, graph.Digest) (string, error) {
	return "", nil
}
func (nothing) Secrets(context.Context, *graph.Instance) ([]containers.Secret, error) {
	return nil, nil
}
func (nothing) Source(context.Context, graph.Source) (string, error) { return "", nil }

// chain is a workspace in which base → one → two, each with a halo of one.
func chain() *graph.Workspace {
	g := grid.Grid{Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30, X0: 430000, Y0: 4490000},
		Box: grid.Box{Y: grid.Range{Hi: 40}, X: grid.Range{Hi: 40}}}
	tiles := graph.Capabilities{Tiles: true}
	halo := grid.Halo{Y: 1, X: 1}
	return &graph.Workspace{
		Grids:  map[string]grid.Grid{graph.DefaultGrid: g},
		Tiling: grid.Tiling{Y: 10, X: 10},
		Instances: []graph.Instance{
			{Name: "base", Manifest: graph.Manifest{Capabilities: tiles, Produces: []graph.VarSpec{{Name: "base"}}}},
			{Name: "one", Manifest: graph.Manifest{Capabilities: tiles, Needs: []graph.DataNeed{{Variable: "base", Halo: halo}},
				Produces: []graph.VarSpec{{Name: "one"}}}},
			{Name: "two", Manifest: graph.Manifest{Capabilities: tiles, Needs: []graph.DataNeed{{Variable: "one", Halo: halo}},
				Produces: []graph.VarSpec{{Name: "two"}}}},
		},
	}
}

// env is a cube in a folder of its own.
type env struct {
	t       *testing.T
	dir     string
	backend *arithmetic
	events  []Event
	last    *Result // of ran
}

func newEnv(t *testing.T) *env {
	dir := t.TempDir()
	if err := cube.Create(dir); err != nil {
		t.Fatal(err)
	}
	return &env{t: t, dir: dir, backend: newArithmetic()}
}

func (e *env) open() *cube.Cube {
	e.t.Helper()
	c, err := cube.Open(e.dir, cube.Config{NoSync: true})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { c.Close() })
	return c
}

func (e *env) run(ws *graph.Workspace, change func(*Config), targets ...string) (*Result, error) {
	e.t.Helper()
	plan, err := graph.Resolve(*ws, targets...)
	if err != nil {
		e.t.Fatal(err)
	}
	e.events = nil
	cfg := Config{Cube: e.open(), Backend: e.backend, Provider: nothing{}, Workers: 4,
		Events: func(ev Event) error { e.events = append(e.events, ev); return nil }}
	if change != nil {
		change(&cfg)
	}
	return Run(e.t.Context(), ws, plan, cfg)
}

func (e *env) build(ws *graph.Workspace, targets ...string) *Result {
	e.t.Helper()
	r, err := e.run(ws, nil, targets...)
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

func (e *env) values(variable string) []byte {
	e.t.Helper()
	c := e.open()
	h, ok, err := c.Head(e.t.Context(), variable)
	if err != nil || !ok {
		e.t.Fatalf("head of %s: %v %v", variable, ok, err)
	}
	v, err := c.LoadVersion(e.t.Context(), h.Version)
	if err != nil {
		e.t.Fatal(err)
	}
	b, err := c.ReadWindow(e.t.Context(), v, v.Layout().Domain(), nil)
	if err != nil {
		e.t.Fatal(err)
	}
	return b
}

func TestASecondBuildRunsNothing(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	first := e.build(chain(), "two")
	if first.Count.Ran != 48 {
		t.Fatalf("%+v", first.Count)
	}
	e.backend.took()
	second := e.build(chain(), "two")
	if len(e.backend.took()) != 0 || second.Known != 3 {
		t.Errorf("ran again: %+v", second)
	}
	if d := cmp.Diff(first.Versions, second.Versions); d != "" {
		t.Error(d)
	}
}

func TestTiledEqualsUntiledBitForBit(t *testing.T) {
	t.Parallel()
	var want []byte
	for _, size := range []int64{0, 7, 10, 16, 40} {
		for _, workers := range []int{1, 5} {
			e := newEnv(t)
			ws := chain()
			ws.Tiling = grid.Tiling{Y: size, X: size}
			if _, err := e.run(ws, func(c *Config) { c.Workers = workers }, "two"); err != nil {
				t.Fatal(err)
			}
			got := e.values("two")
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				t.Errorf("tiles of %d with %d workers differ from the whole", size, workers)
			}
		}
	}
}

func TestOnlyTilesWhoseExactWindowChangedRun(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.build(chain(), "two")
	before := e.values("two")
	e.backend.took()
	plain := e.backend.base
	e.backend.base = func(tt, y, x int64) float32 {
		if y == 15 && x == 10 { // an edge cell: a neighbour's halo holds it
			return plain(tt, y, x) + 5000
		}
		return plain(tt, y, x)
	}
	edited := chain()
	edited.Instances[0].Params = []byte(`{"edition":2}`)
	e.build(edited, "two")
	took := e.backend.took()
	want := map[string]int{}
	for name := range took {
		if len(name) > 4 && name[:4] == "base" {
			want[name] = 1
		}
	}
	if len(want) != 16 {
		t.Errorf("the changed producer ran %d tiles, want all 16", len(want))
	}
	tile := func(v string, y, x int64) {
		want[fmt.Sprint(v, " ", grid.Box{Y: grid.Range{Lo: y, Hi: y + 10}, X: grid.Range{Lo: x, Hi: x + 10}})] = 1
	}
	tile("one", 10, 0)
	tile("one", 10, 10)
	tile("two", 10, 0) // columns 9 to 11 of one changed
	tile("two", 10, 10)
	if d := cmp.Diff(want, took); d != "" {
		t.Error(d)
	}
	if slices.Equal(before, e.values("two")) {
		t.Error("the edit did not reach the target")
	}
	e.backend.base = plain
	e.build(chain(), "two")
	if took := e.backend.took(); len(took) != 0 {
		t.Errorf("changed back, and %v ran", took)
	}
	if !slices.Equal(before, e.values("two")) {
		t.Error("changed back, and the values are others")
	}
}

func TestAnIdenticalOutputStopsAChange(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.build(chain(), "two")
	e.backend.took()
	ws := chain()
	ws.Instances[0].Image.DiffIDs = []string{"sha256:other"}
	r := e.build(ws, "two")
	for name := range e.backend.took() {
		if name[:4] != "base" {
			t.Errorf("%s ran", name)
		}
	}
	if r.Count.Ran != 16 {
		t.Errorf("%+v", r.Count)
	}
}

// A head says what it came of last, also where that made no other version: what
// would be made now is held against it.
func TestAHeadNamesTheDerivationThatItWouldComeOfNow(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	head := func() cube.Head {
		t.Helper()
		h, _, err := e.open().Head(t.Context(), "base")
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	other := chain()
	other.Instances[0].Image.DiffIDs = []string{"sha256:other"} // makes the same values
	e.build(chain(), "base")
	first := head()
	e.build(other, "base")
	second := head()
	if second.Version != first.Version || second.Derivation == first.Derivation {
		t.Errorf("first %+v\nthen %+v", first, second)
	}
	e.build(chain(), "base")
	for _, ev := range e.events {
		if done, ok := ev.(VertexDone); ok && (!done.Known || done.Shown) {
			t.Errorf("changed back it is known %v, and shown already %v", done.Known, done.Shown)
		}
	}
	if third := head(); third.Version != first.Version || third.Derivation != first.Derivation {
		t.Errorf("first %+v\nchanged back %+v", first, third)
	}
	e.build(chain(), "base")
	for _, ev := range e.events {
		if done, ok := ev.(VertexDone); ok && !done.Shown {
			t.Error("it is shown, and is not said to be")
		}
	}
}

func TestALargerDomainRunsTheNewTilesAndThoseThatWereClipped(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.build(chain(), "two")
	e.backend.took()
	ws := chain()
	g := ws.Grids[graph.DefaultGrid]
	g.Box.Y.Hi = 50
	ws.Grids[graph.DefaultGrid] = g
	e.build(ws, "two")
	count := map[string]int{}
	for name := range e.backend.took() {
		var v string
		var y0, y1, x0, x1 int64
		if _, err := fmt.Sscanf(name, "%s y[%d,%d) x[%d,%d)", &v, &y0, &y1, &x0, &x1); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		count[fmt.Sprint(v, " ", y0)]++
	}
	if d := cmp.Diff(map[string]int{"base 40": 4, "one 30": 4, "one 40": 4, "two 30": 4, "two 40": 4}, count); d != "" {
		t.Error(d)
	}
}

func TestLimitsChangeNothing(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.build(chain(), "two")
	e.backend.took()
	ws := chain()
	for i := range ws.Instances {
		ws.Instances[i].Resources = graph.Resources{Memory: 1 << 20, Timeout: 1}
	}
	e.build(ws, "two")
	if took := e.backend.took(); len(took) != 0 {
		t.Errorf("ran %v", took)
	}
}

func TestKeepGoingBuildsAllThatDoesNotDependOnAFailure(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	broken := grid.Box{Y: grid.Range{Lo: 10, Hi: 20}, X: grid.Range{Lo: 10, Hi: 20}}
	e.backend.fail = func(a containers.Action) error {
		if o, ok := a.Outputs["one"]; ok && *o.Box == broken {
			return &containers.Failure{Kind: containers.FailedExit, Code: 1, Detail: "exited with code 1"}
		}
		return nil
	}
	r, err := e.run(chain(), func(c *Config) { c.KeepGoing = true }, "two")
	if !errors.Is(err, ErrFailed) {
		t.Fatalf("got %v", err)
	}
	if d := cmp.Diff(Count{Ran: 16 + 15 + 7, Failed: 1, Blocked: 9}, r.Count); d != "" {
		t.Error(d)
	}
	heads, err := e.open().Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"base"}, slices.Sorted(maps.Keys(heads))); d != "" {
		t.Errorf("a partial version became a head: %s", d)
	}
	e.backend.fail = nil
	e.backend.took()
	e.build(chain(), "two")
	if n := len(e.backend.took()); n != 10 {
		t.Errorf("%d actions ran once the failure was mended, want 10", n)
	}
}

func TestWithoutKeepGoingTheFirstFailureEndsTheBuild(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.backend.fail = func(containers.Action) error {
		return &containers.Failure{Kind: containers.FailedExit, Code: 1, Detail: "exited with code 1"}
	}
	r, err := e.run(chain(), func(c *Config) { c.Workers = 1 }, "two")
	if !errors.Is(err, ErrFailed) || len(r.Failures) == 0 || r.Failures[0].Vertex != "base" || r.Count.Failed > 2 ||
		r.Untried != 48-r.Count.Sum() {
		t.Fatalf("%v %+v", err, r)
	}
}

func TestABadInputIsReportedAgainAndNotRunAgain(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	ws.Tiling = grid.Tiling{}
	e.backend.fail = func(containers.Action) error {
		return &containers.Failure{Kind: containers.FailedBadInput, Code: 65, Detail: "exited with code 65: its input is bad"}
	}
	for i, want := range []int{1, 0} {
		if _, err := e.run(ws, nil, "base"); !errors.Is(err, ErrFailed) {
			t.Fatal(err)
		}
		if n := len(e.backend.took()); n != want {
			t.Errorf("build %d ran %d actions, want %d", i, n, want)
		}
	}
	e.backend.fail = nil
	if _, err := e.run(ws, func(c *Config) { c.RetryFailed = true }, "base"); err != nil {
		t.Fatal(err)
	}
}

func TestAFailureThatAsksForItIsRetried(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	ws.Tiling = grid.Tiling{}
	var tries atomic.Int32
	e.backend.fail = func(containers.Action) error {
		if tries.Add(1) < 3 {
			return &containers.Failure{Kind: containers.FailedRetry, Code: 75, Detail: "exited with code 75"}
		}
		return nil
	}
	policy := graph.Retry{Backoff: 1}
	if _, err := e.run(ws, func(c *Config) { c.Retry = policy }, "base"); err != nil {
		t.Fatal(err)
	}
	if tries.Load() != 3 {
		t.Errorf("%d attempts", tries.Load())
	}
}

func TestTwoBuildsAtOnceShareTheWork(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	plan, err := graph.Resolve(*ws, "two")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	results := make([]*Result, 3)
	for i := range results {
		wg.Go(func() {
			c, err := cube.Open(e.dir, cube.Config{NoSync: true})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			r, err := Run(t.Context(), ws, plan, Config{Cube: c, Backend: e.backend, Provider: nothing{}, Workers: 2})
			if err != nil {
				t.Error(err)
			}
			results[i] = r
		})
	}
	wg.Wait()
	for name, n := range e.backend.took() {
		if n != 1 {
			t.Errorf("%s ran %d times", name, n)
		}
	}
	for _, r := range results[1:] {
		if d := cmp.Diff(results[0].Versions, r.Versions); d != "" {
			t.Error(d)
		}
	}
}

func TestAProducerThatIsNotDeterministicIsNoticed(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	ws.Tiling = grid.Tiling{}
	var n atomic.Int32
	plain := e.backend.base
	e.backend.base = func(t, y, x int64) float32 { return plain(t, y, x) + float32(n.Load()) }
	e.build(ws, "base")
	first := e.values("base")
	// The same action again, as on a cube that has lost its record of it but
	// meets another build's at the end.
	n.Store(1)
	c := e.open()
	results := map[graph.Digest][]byte{}
	for _, ev := range e.events {
		if d, ok := ev.(TileDone); ok {
			v, _, err := c.Results().Get(d.Action)
			if err != nil {
				t.Fatal(err)
			}
			results[d.Action] = v
			if err := c.Results().Delete(t.Context(), d.Action); err != nil {
				t.Fatal(err)
			}
		}
	}
	e.backend.fail = func(containers.Action) error {
		for k, v := range results {
			if _, err := c.Results().Put(t.Context(), k, v); err != nil {
				return err
			}
		}
		return nil
	}
	if err := c.Derivations().Delete(t.Context(), derivationOf(e.events)); err != nil {
		t.Fatal(err)
	}
	e.build(ws, "base")
	disagrees := slices.ContainsFunc(e.events, func(ev Event) bool { d, ok := ev.(TileDone); return ok && d.Disagrees })
	if !disagrees || !slices.Equal(first, e.values("base")) {
		t.Errorf("noticed: %v; the first result stays: %v", disagrees, slices.Equal(first, e.values("base")))
	}
}

func derivationOf(events []Event) graph.Digest {
	for _, ev := range events {
		if v, ok := ev.(VertexDone); ok {
			return v.Derivation
		}
	}
	return graph.Digest{}
}

func TestAnObjectThatIsGoneIsMadeAgain(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.build(chain(), "two")
	want := e.values("one")
	c := e.open()
	h, _, err := c.Head(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.LoadVersion(t.Context(), h.Version)
	if err != nil {
		t.Fatal(err)
	}
	ref, _, err := v.Ref(t.Context(), 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Objects().Remove(ref.Object); err != nil {
		t.Fatal(err)
	}
	e.backend.took()
	ws := chain()
	if err := c.Derivations().Delete(t.Context(), h.Derivation); err != nil {
		t.Fatal(err)
	}
	e.build(ws, "one")
	if n := len(e.backend.took()); n != 1 {
		t.Errorf("%d actions ran, want the one whose object is gone", n)
	}
	if !slices.Equal(want, e.values("one")) {
		t.Error("the values differ")
	}
}

// A build begins with what the heads hold. Where that has come to harm it makes
// it good, and needs nobody's help for that.
func TestABuildDoesWithoutADamagedVersionToBeginWith(t *testing.T) {
	t.Parallel()
	plain := newArithmetic().base
	changed := func(tt, y, x int64) float32 {
		if y == 5 && x == 5 { // of a corner, so that most tiles stay
			return plain(tt, y, x) + 5000
		}
		return plain(tt, y, x)
	}
	edited := func() *graph.Workspace {
		ws := chain()
		ws.Instances[0].Params, ws.Instances[2].Params = []byte(`{"edition":2}`), []byte(`{"edition":2}`)
		return ws
	}
	clean := newEnv(t)
	clean.backend.base = changed
	want := clean.build(edited(), "two").Versions
	for name, tries := range map[string]int{"a page": 1, "a chunk that is read": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.build(chain(), "two")
			e.backend.base = changed
			e.build(edited(), "base")
			lost := e.stored("one")
			if name == "a page" {
				lost = e.page("one")
			}
			if err := e.open().Objects().Remove(lost); err != nil {
				t.Fatal(err)
			}
			var got *Result
			var err error
			for range tries {
				got, err = e.run(edited(), func(c *Config) { c.Workers = 1 }, "two")
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got.Versions); d != "" {
				t.Error(d)
			}
			e.values("one")
		})
	}
}

// stored is the object of the last chunk of a variable's first row.
func (e *env) stored(variable string) graph.Digest {
	e.t.Helper()
	c := e.open()
	h, _, err := c.Head(e.t.Context(), variable)
	if err != nil {
		e.t.Fatal(err)
	}
	v, err := c.LoadVersion(e.t.Context(), h.Version)
	if err != nil {
		e.t.Fatal(err)
	}
	s := v.Layout().Span()
	ref, _, err := v.Ref(e.t.Context(), s.T.Lo, s.Y.Lo, s.X.Hi-1)
	if err != nil {
		e.t.Fatal(err)
	}
	return ref.Object
}

// page is the object of the first page of a variable's version.
func (e *env) page(variable string) graph.Digest {
	e.t.Helper()
	c := e.open()
	h, _, err := c.Head(e.t.Context(), variable)
	if err != nil {
		e.t.Fatal(err)
	}
	b, err := os.ReadFile(c.Path("versions", h.Version.Hex()))
	if err != nil {
		e.t.Fatal(err)
	}
	var manifest struct {
		Pages []struct {
			Object graph.Digest `json:"object"`
		} `json:"pages"`
	}
	if err := json.Unmarshal(b, &manifest); err != nil || len(manifest.Pages) == 0 {
		e.t.Fatalf("%d pages, %v", len(manifest.Pages), err)
	}
	return manifest.Pages[0].Object
}

func TestAStoppedBuildGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	plan, err := graph.Resolve(*ws, "two")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var n atomic.Int32
	e.backend.fail = func(containers.Action) error {
		if n.Add(1) == 20 {
			cancel()
			return context.Canceled
		}
		return nil
	}
	if _, err := Run(ctx, ws, plan, Config{Cube: e.open(), Backend: e.backend, Provider: nothing{}, Workers: 1}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	done := e.backend.took()
	e.backend.fail = nil
	e.build(ws, "two")
	again := 0
	for name := range e.backend.took() {
		again += done[name]
	}
	if again > 2 {
		t.Errorf("%d actions ran twice", again)
	}
}

func TestARefinedOutputAndAnotherGridAreReadWhereTheyLie(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	coarse := ws.Grids[graph.DefaultGrid]
	coarse.Lattice.DX, coarse.Lattice.DY = 60, 60
	coarse.Box = grid.Box{Y: grid.Range{Hi: 20}, X: grid.Range{Hi: 20}}
	ws.Grids["coarse"] = coarse
	ws.Instances[1].Manifest.Produces[0].Refine = 2
	ws.Instances[2].Grid = "coarse"
	whole := newEnv(t)
	untiled := *ws
	untiled.Tiling = grid.Tiling{}
	e.build(ws, "two")
	whole.build(&untiled, "two")
	if !slices.Equal(e.values("two"), whole.values("two")) {
		t.Error("tiled differs from untiled")
	}
	if got, want := len(e.values("one")), 80*80*4; got != want {
		t.Errorf("one has %d bytes, want %d", got, want)
	}
}

func TestContributionsAreMergedByTheEngine(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	ws.Instances[0].Manifest.Produces[0].Merge = graph.MonotoneMax
	second := ws.Instances[0]
	second.Name = "base2"
	second.Params = []byte(`{"more":1}`)
	ws.Instances = append(ws.Instances, second)
	r := e.build(ws, "two")
	if r.Count.Ran != 5*16 {
		t.Errorf("%+v", r.Count)
	}
	if !slices.Equal(e.values("base"), e.values("base@base")) {
		t.Error("the maximum of twice the same is not the same")
	}
}

func TestATemporalVariableIsTiledOverTimeToo(t *testing.T) {
	t.Parallel()
	ws := chain()
	g, err := ws.Grids[graph.DefaultGrid].WithTime(0, 24*3600, 3600)
	if err != nil {
		t.Fatal(err)
	}
	ws.Grids[graph.DefaultGrid] = g
	for i := range ws.Instances {
		ws.Instances[i].Manifest.Produces[0].Kind = graph.Time
		for j := range ws.Instances[i].Manifest.Needs {
			ws.Instances[i].Manifest.Needs[j].Kind = graph.Time
		}
	}
	ws.Tiling = grid.Tiling{T: 7, Y: 16, X: 16}
	untiled := *ws
	untiled.Tiling = grid.Tiling{}
	a, b := newEnv(t), newEnv(t)
	for _, e := range []*env{a, b} {
		e.backend.base = func(t, y, x int64) float32 { return float32(t*100 + y - x) }
	}
	a.build(ws, "two")
	b.build(&untiled, "two")
	if !slices.Equal(a.values("two"), b.values("two")) {
		t.Error("tiled differs from untiled")
	}
}
