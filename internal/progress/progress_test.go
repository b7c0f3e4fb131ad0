package progress_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/graph/solve/resource"
	"github.com/cubebuild/cube/internal/progress"
)

// vertex has n tiles of one cell.
func vertex(name string, n int64) *graph.Vertex {
	return &graph.Vertex{Name: name, Box: grid.Box{Y: grid.Range{Hi: 1}, X: grid.Range{Hi: n}}, Tiling: grid.Tiling{Y: 1, X: 1}}
}

func tile(i int64) grid.Tile {
	return grid.Tile{X: i, Box: grid.Box{Y: grid.Range{Hi: 1}, X: grid.Range{Lo: i, Hi: i + 1}}}
}

func TestTheTimeThatIsLeftIsEstimatedFromThisBuild(t *testing.T) {
	t.Parallel()
	var b progress.Build
	v, now := vertex("slope", 100), time.Now()
	b.Event(solve.Planned{Plan: &graph.Plan{}, Tiles: 100})
	b.Event(solve.Started{Vertex: v, Tile: tile(0), Attempt: 1, Time: now})
	for i := range int64(10) {
		b.Event(solve.TileDone{Vertex: v, Tile: tile(i), Outcome: solve.Ran, Wall: 2 * time.Second})
	}
	// 20 s of work in 10 s: two at once. 90 tiles of 2 s are 90 s more.
	left, ok := b.Left(now.Add(10 * time.Second))
	if !ok || left.Round(time.Second) != 90*time.Second {
		t.Errorf("left %v, %v; want 1m30s", left, ok)
	}
	if _, ok := b.Left(now.Add(500 * time.Millisecond)); ok {
		t.Error("an estimate after half a second is a guess")
	}
}

func TestTheTimeThatIsLeftIsFirstTakenFromEarlierBuilds(t *testing.T) {
	t.Parallel()
	model, plot, now := vertex("model", 1), vertex("plot", 2), time.Now()
	asked := 0
	earlier := func(v *graph.Vertex) time.Duration {
		asked++
		return map[*graph.Vertex]time.Duration{model: time.Hour, plot: time.Minute}[v]
	}
	for name, c := range map[string]struct {
		expect func(*graph.Vertex) time.Duration
		after  time.Duration
		left   time.Duration
		ok     bool
	}{
		"soon":        {earlier, 10 * time.Minute, 52 * time.Minute, true},
		"overdue":     {earlier, 2 * time.Hour, 2 * time.Minute, true},
		"no history":  {nil, 10 * time.Minute, 0, false},
		"none of one": {func(v *graph.Vertex) time.Duration { return earlier(v) % time.Hour }, 10 * time.Minute, 0, false},
	} {
		var b progress.Build
		asked = 0
		b.Event(solve.Planned{Plan: &graph.Plan{}, Tiles: 3, Open: map[*graph.Vertex]int64{model: 1, plot: 2}, Expect: c.expect})
		b.Event(solve.Started{Vertex: model, Tile: tile(0), Attempt: 1, Time: now})
		b.Left(now.Add(c.after))
		if left, ok := b.Left(now.Add(c.after)); ok != c.ok || ok && left != c.left {
			t.Errorf("%s: %v, %v; want %v, %v", name, left, ok, c.left, c.ok)
		}
		if asked > 2 {
			t.Errorf("%s: asked %d times", name, asked)
		}
	}
	var b progress.Build
	b.Event(solve.Planned{Plan: &graph.Plan{}, Tiles: 1, Open: map[*graph.Vertex]int64{model: 1}, Expect: earlier})
	b.Event(solve.Started{Vertex: model, Tile: tile(0), Attempt: 1, Time: now})
	if left, ok := b.Left(now.Add(2 * time.Hour)); ok {
		t.Errorf("overdue, and about %v are left", left)
	}
}

func TestTilesThatAFormerVersionHoldsAreNoWork(t *testing.T) {
	t.Parallel()
	var b progress.Build
	v, known := vertex("slope", 100), vertex("aspect", 50)
	b.Event(solve.Planned{Plan: &graph.Plan{}, Tiles: 7, Open: map[*graph.Vertex]int64{v: 5, known: 2}})
	for i := range int64(5) {
		b.Event(solve.Started{Vertex: v, Tile: tile(i), Attempt: 1, Time: time.Now()})
		if n := len(b.Running()); n != 1 || b.Vertices[0].Total != 5 {
			t.Errorf("%d run, of %d tiles", n, b.Vertices[0].Total)
		}
		b.Event(solve.TileDone{Vertex: v, Tile: tile(i), Outcome: solve.Ran})
	}
	b.Event(solve.VertexDone{Vertex: v, Complete: true})
	b.Event(solve.VertexDone{Vertex: known, Known: true})
	if b.Over != b.Total || len(b.Vertices) != 0 || len(b.Running()) != 0 {
		t.Errorf("%d of %d are over, %d vertices and %d actions under way", b.Over, b.Total, len(b.Vertices), len(b.Running()))
	}
}

func TestWhatWaitsIsCountedByWhatFor(t *testing.T) {
	t.Parallel()
	var b progress.Build
	v, w := vertex("slope", 9), vertex("aspect", 9)
	idl := &resource.Shortage{Resource: resource.Token("idl"), Others: 1}
	b.Event(solve.Planned{Plan: &graph.Plan{}, Tiles: 18})
	for i := range int64(3) {
		b.Event(solve.Waiting{Vertex: v, Tile: tile(i), For: idl})
	}
	b.Event(solve.Waiting{Vertex: v, Tile: tile(3), For: &resource.Shortage{Resource: resource.Memory, Want: 2 << 30, Free: 1 << 30}})
	b.Event(solve.Waiting{Vertex: w, Tile: tile(0), For: idl})
	b.Event(solve.Waiting{Vertex: w, Tile: tile(1)})
	b.Event(solve.Started{Vertex: w, Tile: tile(2), Attempt: 1, Time: time.Now()})
	want := map[string]int{"slope a token of idl: 1 held by another build": 3, "slope memory: 1 GiB of 2 GiB free": 1,
		"aspect a token of idl: 1 held by another build": 1, "aspect ": 1}
	if d := cmp.Diff(want, waits(&b)); d != "" {
		t.Error(d)
	}
	if all := b.Running(); len(all) != 7 || all[0].State != progress.Running {
		t.Errorf("first of %d is one that is %s", len(all), all[0].State)
	}
	// One begins, one is found to be run by another build, one is done.
	b.Event(solve.Started{Vertex: v, Tile: tile(0), Attempt: 1, Time: time.Now()})
	b.Event(solve.Waiting{Vertex: v, Tile: tile(1)})
	b.Event(solve.TileDone{Vertex: v, Tile: tile(3), Outcome: solve.Hit})
	want = map[string]int{"slope a token of idl: 1 held by another build": 1, "slope ": 1, "aspect a token of idl: 1 held by another build": 1, "aspect ": 1}
	if d := cmp.Diff(want, waits(&b)); d != "" {
		t.Error(d)
	}
}

func waits(b *progress.Build) map[string]int {
	all := map[string]int{}
	for _, w := range b.Waits() {
		all[w.Vertex.Name+" "+w.For] = w.Actions
	}
	return all
}
