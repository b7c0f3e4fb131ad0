package solve

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// idle is a backend whose actions cost nothing: one value everywhere, so that
// what is measured is the engine.
type idle struct{}

func (idle) Run(_ context.Context, a containers.Action) (*containers.Result, error) {
	r := &containers.Result{Outputs: map[string]containers.Output{}}
	for role, o := range a.Outputs {
		values := make([]byte, o.Box.Cells()*4)
		for i := range values {
			values[i] = byte(o.Box.Y.Lo) ^ byte(o.Box.X.Lo>>1)
		}
		r.Outputs[role] = containers.Output{Values: values}
	}
	return r, nil
}

// square is chain on n × n tiles of four cells.
func square(n int64) *graph.Workspace {
	ws := chain()
	g := ws.Grids[graph.DefaultGrid]
	g.Box = grid.Box{Y: grid.Range{Hi: 2 * n}, X: grid.Range{Hi: 2 * n}}
	ws.Grids[graph.DefaultGrid] = g
	ws.Tiling = grid.Tiling{Y: 2, X: 2}
	return ws
}

func benchBuild(b *testing.B, n int64, again func(i int, ws *graph.Workspace), target string) {
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		if err := cube.Create(dir); err != nil {
			b.Fatal(err)
		}
		run := func(ws *graph.Workspace) *Result {
			c, err := cube.Open(dir, cube.Config{NoSync: true})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			plan, err := graph.Resolve(*ws, target)
			if err != nil {
				b.Fatal(err)
			}
			r, err := Run(b.Context(), ws, plan, Config{Cube: c, Backend: idle{}, Provider: nothing{}, Workers: 2})
			if err != nil {
				b.Fatal(err)
			}
			return r
		}
		ws := square(n)
		if again != nil {
			run(ws)
			again(0, ws)
		}
		b.StartTimer()
		start := time.Now()
		r := run(ws)
		b.ReportMetric(float64(time.Since(start).Microseconds())/float64(max(1, r.Count.Sum())), "µs/tile")
	}
}

// BenchmarkFirstBuild is the engine's own work on tiles that have no result:
// keys, windows, claims, commits.
func BenchmarkFirstBuild(b *testing.B) {
	for _, n := range []int64{32, 100} {
		b.Run(fmt.Sprint(n*n*3, " tiles"), func(b *testing.B) { benchBuild(b, n, nil, "two") })
	}
}

// BenchmarkNothingToDo is a build whose derivations are all known.
func BenchmarkNothingToDo(b *testing.B) {
	for _, n := range []int64{32, 100} {
		b.Run(fmt.Sprint(n*n*3, " tiles"), func(b *testing.B) { benchBuild(b, n, func(int, *graph.Workspace) {}, "two") })
	}
}

// BenchmarkAllHits is a build whose derivations are not known and whose tiles
// all are: the cover keys answer.
func BenchmarkAllHits(b *testing.B) {
	for _, n := range []int64{32, 100} {
		b.Run(fmt.Sprint(n*n*3, " tiles"), func(b *testing.B) {
			benchBuild(b, n, func(_ int, ws *graph.Workspace) {
				for i := range ws.Instances {
					ws.Instances[i].Manifest.Needs = append([]graph.DataNeed(nil), ws.Instances[i].Manifest.Needs...)
					for j := range ws.Instances[i].Manifest.Needs {
						ws.Instances[i].Manifest.Needs[j].MinValid = 0.25 // derivations change, no window does
					}
				}
				ws.Tiling.T = 5
			}, "two")
		})
	}
}

// BenchmarkOneChange is a build after one cell of an import has changed, of 2 ×
// 10,000 tiles.
func BenchmarkOneChange(b *testing.B) {
	ws := square(100)
	base := ws.Instances[0].Manifest.Produces[0].WithDefaults()
	ws.Instances = ws.Instances[1:]
	dir := b.TempDir()
	if err := cube.Create(dir); err != nil {
		b.Fatal(err)
	}
	layout := cube.Layout{Spec: base, Grid: ws.Grids[graph.DefaultGrid], Chunk: ws.Tiling}
	values := make([]byte, layout.Bytes(layout.Domain()))
	run := func(i int) (*Result, time.Duration) {
		c, err := cube.Open(dir, cube.Config{})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		binary.LittleEndian.PutUint32(values[4*(17*200+31):], math.Float32bits(float32(i)))
		builder, err := c.NewBuilder(b.Context(), layout)
		if err != nil {
			b.Fatal(err)
		}
		refs, err := c.PutTile(b.Context(), layout, layout.Domain(), values)
		if err == nil {
			err = builder.Set(b.Context(), layout.Domain(), refs)
		}
		if err != nil {
			b.Fatal(err)
		}
		v, err := builder.Finish(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Sync(b.Context()); err != nil {
			b.Fatal(err)
		}
		ws.Imports = map[string]graph.Import{"base": {Spec: base, Grid: layout.Grid, Version: v.Digest(), Native: 30}}
		plan, err := graph.Resolve(*ws, "two")
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		r, err := Run(b.Context(), ws, plan, Config{Cube: c, Backend: newArithmetic(), Provider: nothing{}, Workers: 2})
		if err != nil {
			b.Fatal(err)
		}
		return r, time.Since(start)
	}
	run(0)
	var took time.Duration
	for i := 1; b.Loop(); i++ {
		r, t := run(i)
		took += t
		b.ReportMetric(float64(r.Count.Ran), "ran")
	}
	b.ReportMetric(float64(took.Microseconds())/1000/float64(b.N), "ms/build")
}
