package graph

import (
	"testing"

	"github.com/cubebuild/cube/cube/grid"
)

// A tile of 10 by 10 reads 12 by 12 cells but for what the domain's edge clips.
func TestVolumeIsWhatTheWindowsAndOutputsHold(t *testing.T) {
	t.Parallel()
	g := grid.Grid{Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30}, Box: grid.Box{Y: grid.Range{Hi: 20}, X: grid.Range{Hi: 20}}}
	tiles := Capabilities{Tiles: true}
	ws := Workspace{Grids: map[string]grid.Grid{DefaultGrid: g}, Tiling: grid.Tiling{Y: 10, X: 10}, Instances: []Instance{
		{Name: "a", Manifest: Manifest{Capabilities: tiles, Produces: []VarSpec{{Name: "a"}}}},
		{Name: "b", Manifest: Manifest{Capabilities: tiles, Needs: []DataNeed{{Variable: "a", Halo: grid.Halo{Y: 1, X: 1}}},
			Produces: []VarSpec{{Name: "b", DType: Uint8, Refine: 2}}}},
	}}
	plan, err := Resolve(ws, "b")
	if err != nil {
		t.Fatal(err)
	}
	want := []Volume{{Read: 0, Made: 400}, {Read: 11 * 11 * 4, Made: 20 * 20}}
	for i, v := range plan.Vertices {
		if got := v.Volume(); got != want[i] {
			t.Errorf("%s: %+v, want %+v", v.Name, got, want[i])
		}
	}
}
