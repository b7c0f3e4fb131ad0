package graph_test

import (
	"fmt"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// A pipeline declared in Go: the plan is the one that a cube.yaml with the same
// grid and producers has.
func Example() {
	g := grid.Grid{Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 250, DY: 250, X0: 430000, Y0: 4490000},
		Box: grid.Box{Y: grid.Range{Hi: 160}, X: grid.Range{Hi: 120}}}
	tiled := graph.Capabilities{Tiles: true}
	ws := graph.Workspace{
		Grids:  map[string]grid.Grid{graph.DefaultGrid: g},
		Tiling: grid.Tiling{Y: 64, X: 64},
		Instances: []graph.Instance{
			{Name: "dem", Manifest: graph.Manifest{Capabilities: tiled, Produces: []graph.VarSpec{{Name: "elevation", Units: "m"}}}},
			{Name: "slope", Manifest: graph.Manifest{Capabilities: tiled,
				Needs:    []graph.DataNeed{{Variable: "elevation", Units: "m", Halo: grid.Halo{Y: 1, X: 1}}},
				Produces: []graph.VarSpec{{Name: "slope", Units: "degree"}}}},
		},
	}
	plan, err := graph.Resolve(ws, "slope")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, v := range plan.Vertices {
		fmt.Println(v.Name, v.Len(), "tiles")
	}
	tile := plan.Vertices[1].Tiling.Tile(0, 1, 0, plan.Vertices[1].Box)
	fmt.Println(tile.Box, "reads", plan.Vertices[1].Windows(tile)[0].Box)
	// Output:
	// dem 6 tiles
	// slope 6 tiles
	// y[64,128) x[0,64) reads y[63,129) x[0,65)
}
