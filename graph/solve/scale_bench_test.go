package solve_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/lineage"
	"github.com/cubebuild/cube/lineage/recorder"
)

// noImages is for backends that open none.
type noImages struct{}

func (noImages) Layers(context.Context, *graph.Instance) ([]string, error) { return nil, nil }
func (noImages) Part(context.Context, *graph.Instance, string, graph.Digest) (string, error) {
	return "", nil
}
func (noImages) Secrets(context.Context, *graph.Instance) ([]containers.Secret, error) {
	return nil, nil
}
func (noImages) Source(context.Context, graph.Source) (string, error) { return "", nil }

// constant is a backend whose actions do nothing: every cell of a tile is 1.
// All chunks are one object, so that what is measured is the engine and not the
// file system.
type constant struct{ tile []byte }

func newConstant(cells int64) constant {
	one := []byte{0, 0, 0x80, 0x3f}
	return constant{[]byte(strings.Repeat(string(one), int(cells)))}
}

func (c constant) Run(_ context.Context, a containers.Action) (*containers.Result, error) {
	r := &containers.Result{Outputs: make(map[string]containers.Output, len(a.Outputs))}
	for role, o := range a.Outputs {
		r.Outputs[role] = containers.Output{Values: c.tile[:4*o.Box.Cells()]}
	}
	return r, nil
}

// layers is a workspace of thirty variables on n × n tiles: six layers of
// five. Each variable but those of the first layer reads two of the layer
// before, the one with a halo and the other without. One in each layer lies on
// a lattice of twice the cell size, is resampled where it is read, and has a
// quarter of the tiles; the last variable is merged of what two producers make.
func layers(n int64) *graph.Workspace {
	const side, wide, deep = 4, 5, 6
	fine := grid.Grid{Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30, X0: 430000, Y0: 4490000},
		Box: grid.Box{Y: grid.Range{Hi: side * n}, X: grid.Range{Hi: side * n}}}
	coarse := fine
	coarse.Lattice.DX, coarse.Lattice.DY = 60, 60
	coarse.Box.Y.Hi, coarse.Box.X.Hi = (side*n+1)/2, (side*n+1)/2
	ws := &graph.Workspace{Grids: map[string]grid.Grid{graph.DefaultGrid: fine, "coarse": coarse}, Tiling: grid.Tiling{Y: side, X: side}}
	name := func(layer, i int) string { return fmt.Sprintf("v%d%c", layer, 'a'+i%wide) }
	for layer := range deep {
		for i := range wide {
			in := graph.Instance{Name: name(layer, i), Manifest: graph.Manifest{
				Capabilities: graph.Capabilities{Tiles: true}, Produces: []graph.VarSpec{{Name: name(layer, i)}}}}
			if layer > 0 {
				in.Manifest.Needs = []graph.DataNeed{
					{Variable: name(layer-1, i), Halo: grid.Halo{Y: 1, X: 1}},
					{Variable: name(layer-1, i+1), Resample: grid.Bilinear}}
			}
			if i == wide-1 {
				in.Grid = "coarse"
			}
			ws.Instances = append(ws.Instances, in)
		}
	}
	merged := &ws.Instances[len(ws.Instances)-2]
	merged.Manifest.Produces[0].Merge = graph.MonotoneMax
	other := *merged
	other.Name, other.Params = "another", []byte(`{"a":1}`)
	ws.Instances = append(ws.Instances, other)
	return ws
}

// BenchmarkTiles builds thirty variables of so many tiles together with a
// backend that does nothing, and reports what the engine takes for each: keys,
// windows, claims, commits. A million take minutes and are counted once, where
// CUBE_SOAK is set:
//
//	CUBE_SOAK=1 go test -run '^$' -bench Tiles -benchtime 1x ./graph/solve
func BenchmarkTiles(b *testing.B) { atScale(b, false) }

// BenchmarkRecordedTiles is BenchmarkTiles with the lineage of every action
// written as a build writes it.
func BenchmarkRecordedTiles(b *testing.B) { atScale(b, true) }

func atScale(b *testing.B, recorded bool) {
	for _, tiles := range []int64{10_000, 100_000, 1_000_000} {
		b.Run(strconv.FormatInt(tiles/1000, 10)+"k", func(b *testing.B) {
			if tiles > 100_000 && os.Getenv("CUBE_SOAK") == "" {
				b.Skip("CUBE_SOAK is not set")
			}
			benchTiles(b, tiles, recorded)
		})
	}
}

func benchTiles(b *testing.B, tiles int64, recorded bool) {
	const perSquare = 27.5 // tiles of all vertices for each tile of the default grid
	ws := layers(int64(math.Sqrt(float64(tiles) / perSquare)))
	var done int64
	var heap uint64
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		if err := cube.Create(dir); err != nil {
			b.Fatal(err)
		}
		c, err := cube.Open(dir, cube.Config{NoSync: true})
		if err != nil {
			b.Fatal(err)
		}
		stop := watchHeap(&heap)
		b.StartTimer()
		plan, err := graph.Resolve(*ws, ws.Variables()...)
		if err != nil {
			b.Fatal(err)
		}
		config := solve.Config{Cube: c, Backend: newConstant(16), Provider: noImages{}, Workers: runtime.NumCPU()}
		end := func() error { return nil }
		if recorded {
			config.Events, end = record(ws, c.Path("runs"))
		}
		r, err := solve.Run(b.Context(), ws, plan, config)
		if err := errors.Join(err, end()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		stop()
		done += r.Count.Sum()
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(done), "ns/tile")
	b.ReportMetric(float64(done)/float64(b.N), "tiles")
	b.ReportMetric(float64(heap>>20), "MiB-heap")
}

// record writes the lineage of a run.
func record(ws *graph.Workspace, runs string) (events func(solve.Event) error, end func() error) {
	w := lineage.Create(runs, lineage.Run{}, lineage.Options{})
	r := recorder.New(w, recorder.Config{Workspace: ws, Sandbox: "none"})
	return func(e solve.Event) error {
			r.Event(e)
			return r.Err()
		}, func() error {
			return w.End(lineage.Succeeded, r.Counts(), nil)
		}
}

// watchHeap keeps the most memory that the runtime held in most, until stop is
// called.
func watchHeap(most *uint64) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			*most = max(*most, m.HeapSys-m.HeapReleased)
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return func() { close(done); <-ended }
}
