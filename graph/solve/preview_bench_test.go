package solve

import (
	"testing"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// BenchmarkPreview previews 10,000 tiles of which none is known, as after a
// changed param, and all.
func BenchmarkPreview(b *testing.B) {
	ws := chain()
	g := ws.Grids[graph.DefaultGrid]
	g.Box = grid.Box{Y: grid.Range{Hi: 1000}, X: grid.Range{Hi: 1000}}
	ws.Grids[graph.DefaultGrid] = g
	dir := b.TempDir()
	if err := cube.Create(dir); err != nil {
		b.Fatal(err)
	}
	c, err := cube.Open(dir, cube.Config{NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	plan, err := graph.Resolve(*ws, "one")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := Run(b.Context(), ws, plan, Config{Cube: c, Backend: newArithmetic(), Provider: nothing{}, Workers: 4}); err != nil {
		b.Fatal(err)
	}
	changed := *ws
	changed.Instances = append([]graph.Instance(nil), ws.Instances...)
	changed.Instances[1].Params = []byte(`{"a":1}`)
	for name, ws := range map[string]*graph.Workspace{"unchanged": ws, "changed": &changed} {
		b.Run(name, func(b *testing.B) {
			plan, err := graph.Resolve(*ws, "one")
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				all, err := Preview(b.Context(), ws, plan, Config{Cube: c})
				if err != nil || !all[0].Known {
					b.Fatal(err)
				}
			}
		})
	}
}
