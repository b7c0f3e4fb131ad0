package cube

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

func TestSatisfiesSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	tiling := grid.Tiling{T: 2, Y: 8, X: 8}
	g := testGrid(0, 0, 16, 16, 4)
	spec := graph.VarSpec{Name: "wind", Kind: graph.Time, Schema: 2}.WithDefaults()
	l := NewLayout(spec, g, tiling)
	v := build(t, c, l, tiling, floats(1, 4*256))
	derivation := graph.Sum([]byte("derivation"))
	err := c.MoveHeads(t.Context(), nil, []Head{
		{Variable: "wind", Version: v.Digest(), Native: 30.05, Derivation: derivation},
		{Variable: "unknown", Version: v.Digest()},
	})
	if err != nil {
		t.Fatal(err)
	}
	edit := func(f func(*grid.Grid)) grid.Grid { g := g; f(&g); return g }
	geographic := grid.Grid{Lattice: grid.Lattice{CRS: "EPSG:4326", DX: 0.01, DY: 0.01, X0: -105.82, Y0: 40.465}, Box: grid.Box{Y: grid.Range{Hi: 1}, X: grid.Range{Hi: 1}}}
	away := geographic
	away.Box.X = grid.Range{Lo: 20, Hi: 21}
	for _, tc := range []struct {
		name string
		want Want
		miss []Cause
	}{
		{"just a version", Want{}, nil},
		{"all of it", Want{Kind: graph.Time, Grid: g, MaxRes: 30, Schema: 2, Derivation: derivation}, nil},
		{"a part of it", Want{Grid: edit(func(g *grid.Grid) { g.Box.Y = grid.Range{Lo: 3, Hi: 5}; g.Box.T = grid.Range{Lo: 1, Hi: 2} })}, nil},
		{"coarser cells within it", Want{Grid: edit(func(g *grid.Grid) {
			g.Lattice.DX, g.Lattice.DY = 1000, 1000
			g.Box.Y, g.Box.X = grid.Range{Hi: 4}, grid.Range{Hi: 4}
		})}, nil},
		{"another CRS within it", Want{Grid: geographic}, nil},
		{"another CRS beside it", Want{Grid: away}, []Cause{OutOfSpace}},
		{"more columns", Want{Grid: edit(func(g *grid.Grid) { g.Box.X.Hi++ })}, []Cause{OutOfSpace}},
		{"cells that stick out", Want{Grid: edit(func(g *grid.Grid) {
			g.Lattice.DX = 1000
			g.Box.X = grid.Range{Hi: 5}
		})}, []Cause{OutOfSpace}},
		{"later steps", Want{Grid: edit(func(g *grid.Grid) { g.Box.T.Hi = 5 })}, []Cause{OutOfTime}},
		{"earlier on another axis", Want{Grid: edit(func(g *grid.Grid) { g.Time.Origin -= 1800 })}, []Cause{OutOfTime}},
		{"shorter steps", Want{Grid: edit(func(g *grid.Grid) { g.Time.Step = 1800 })}, []Cause{SlowSteps}},
		{"shorter steps, but any will do", Want{Grid: edit(func(g *grid.Grid) { g.Time.Step = 1800 }), MaxStep: 3600}, nil},
		{"within the tolerance", Want{MaxRes: 30}, nil},
		{"finer", Want{MaxRes: 29}, []Cause{TooCoarse}},
		{"unknown resolution", Want{Variable: "unknown", MaxRes: 1000}, []Cause{TooCoarse}},
		{"another schema", Want{Schema: 3}, []Cause{OldSchema}},
		{"another derivation", Want{Derivation: graph.Sum(nil)}, []Cause{Dirty}},
		{"static", Want{Kind: graph.Static}, []Cause{WrongKind}},
		{"another variable", Want{Variable: "rain"}, []Cause{NoHead}},
		{"many things", Want{Kind: graph.Static, MaxRes: 1, Schema: 9, Grid: edit(func(g *grid.Grid) { g.Box.Y.Lo-- })}, []Cause{WrongKind, OutOfSpace, TooCoarse, OldSchema}},
	} {
		if tc.want.Variable == "" {
			tc.want.Variable = "wind"
		}
		ok, reasons, err := c.Satisfies(t.Context(), tc.want)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		var got []Cause
		for _, r := range reasons {
			got = append(got, r.Cause)
		}
		if diff := cmp.Diff(tc.miss, got); diff != "" || ok != (len(tc.miss) == 0) {
			t.Errorf("%s: %v (-want +got):\n%s%v", tc.name, ok, diff, reasons)
		}
	}
}
