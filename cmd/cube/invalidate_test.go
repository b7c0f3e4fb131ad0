package main

import (
	"fmt"
	"testing"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
)

// merged is a variable that two instances contribute to, on a grid that is
// twice as fine as theirs, in time.
func merged(t *testing.T) *graph.Output {
	t.Helper()
	capable := graph.Capabilities{Tiles: true}
	made := func(name string) graph.Manifest {
		return graph.Manifest{Capabilities: capable, Produces: []graph.VarSpec{{Name: name, Kind: graph.Time, Merge: graph.SumOf, Refine: 2}}}
	}
	ws := graph.Workspace{Tiling: grid.Tiling{T: 2, Y: 4, X: 4}, Grids: map[string]grid.Grid{graph.DefaultGrid: {
		Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 100, DY: 100, X0: 400000, Y0: 4400000}, Time: grid.TimeAxis{Step: 3600},
		Box: grid.Box{T: grid.Range{Hi: 6}, Y: grid.Range{Lo: -4, Hi: 8}, X: grid.Range{Hi: 8}}}},
		Instances: []graph.Instance{
			{Name: "a", Manifest: made("all")},
			{Name: "b", Manifest: made("some"), Out: map[string]string{"some": "all"}, Tiling: &grid.Tiling{Y: 6, X: 6}}}}
	plan, err := graph.Resolve(ws, "all")
	if err != nil {
		t.Fatal(err)
	}
	return plan.Output("all")
}

func TestTilesOfAMergeAreTilesOfAllThatContribute(t *testing.T) {
	t.Parallel()
	o := merged(t)
	box, err := tileBox(o.Vertex, "1,-1,0") // 8 × 8 fine cells
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range makers(o, []grid.Box{box}) {
		for tile := range s.Vertex.Tiles() {
			if s.Has(tile.Box) {
				got = append(got, fmt.Sprint(s.Vertex.Name, " ", tile.T, tile.Y, tile.X))
			}
		}
	}
	if d := cmp.Diff([]string{"merge:all 1 -1 0", "a 1 -1 0", "b 0 -1 0"}, got); d != "" {
		t.Error(d)
	}
	for _, s := range makers(o, nil) {
		if s.Boxes != nil {
			t.Errorf("all tiles of %s are %v", s.Vertex.Name, s.Boxes)
		}
	}
}

func TestTilesAndPointsAreRead(t *testing.T) {
	t.Parallel()
	v := merged(t).Vertex
	box := func(t0, t1, y0, y1, x0, x1 int64) grid.Box {
		return grid.Box{T: grid.Range{Lo: t0, Hi: t1}, Y: grid.Range{Lo: y0, Hi: y1}, X: grid.Range{Lo: x0, Hi: x1}}
	}
	for _, tc := range []struct {
		read func(*graph.Vertex, string) (grid.Box, error)
		text string
		want grid.Box
	}{
		{tileBox, "0,0,0", box(0, 2, 0, 8, 0, 8)},
		{tileBox, " 2 , -1 , 1 ", box(4, 6, -8, 0, 8, 16)},
		{tileBox, "1,0", box(0, 6, 8, 16, 0, 8)},
		{tileBox, "t[0,2) y[0,8) x[8,16)", box(0, 2, 0, 8, 8, 16)},
		{tileBox, "*,*,1", box(0, 6, -8, 16, 8, 16)},
		{pointBox, "400000,4400000", box(0, 6, 0, 1, 0, 1)},
		{pointBox, "400799.9, 4400000.1", box(0, 6, -1, 0, 15, 16)},
	} {
		if got, err := tc.read(v, tc.text); err != nil || got != tc.want {
			t.Errorf("%q is %s, want %s: %v", tc.text, got, tc.want, err)
		}
	}
	for text, read := range map[string]func(*graph.Vertex, string) (grid.Box, error){
		"3,0,0": tileBox, "0,2,0": tileBox, "0,0,2": tileBox, "-1,0,0": tileBox, "0": tileBox, "0,0,0,0": tileBox, "a,b": tileBox, "y[0,8) x[8,16)": tileBox, "t[0,2) y[0,9) x[8,16)": tileBox,
		"t[0,2) y[0,8) x[80,88)": tileBox, "t[0,2) y[0,0) x[8,16)": tileBox, "": tileBox,
		"400000": pointBox, "x,y": pointBox, "400800,4400000": pointBox, "400000,4400400.1": pointBox, "400000,4399200": pointBox, "NaN,NaN": pointBox} {
		if got, err := read(v, text); err == nil {
			t.Errorf("%q is read as %s", text, got)
		}
	}
}
