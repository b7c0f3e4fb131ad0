package lineage

import (
	"errors"
	"testing"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// aBasis is that of a vertex that makes slope of elevation.
func aBasis(salt int) graph.Basis {
	g := grid.Grid{Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30}, Box: grid.Box{Y: grid.Range{Hi: 8}, X: grid.Range{Hi: 8}}}
	spec := func(name string) graph.VarSpec { return graph.VarSpec{Name: name}.WithDefaults() }
	return graph.Basis{Shared: graph.Shared{KeyVersion: 1, Image: &graph.Image{Platform: "linux/amd64"}, Outputs: []graph.VarSpec{spec("slope")}, Salt: salt},
		Grid: g, Box: g.Box, Tiling: grid.Tiling{Y: 4, X: 4},
		Inputs:  []graph.BasisInput{{Role: "elevation", Need: graph.DataNeed{Variable: "elevation", Kind: graph.Static}, Spec: spec("elevation"), Grid: g}},
		Outputs: []graph.BasisOutput{{Role: "slope", Spec: spec("slope"), Grid: g}}}
}

// based is an action that has the id that a basis gives it.
func based(t *testing.T, b graph.Basis, window string) Action {
	t.Helper()
	a := Action{Instance: "slope", Grid: "default", Tile: grid.Box{Y: grid.Range{Hi: 4}, X: grid.Range{Hi: 4}}, Status: Succeeded, Started: noon,
		Windows: map[string]graph.Digest{"elevation": digest(window)}}
	p, err := b.Preimage(graph.ActionID{}, a.Tile, a.Windows, a.Parts)
	if !errors.Is(err, graph.ErrPreimage) || p != nil {
		t.Fatalf("an id of zeros: %v", err)
	}
	a.ID = idOf(t, b, a)
	return a
}

// idOf computes the id as the engine does.
func idOf(t *testing.T, b graph.Basis, a Action) graph.ActionID {
	t.Helper()
	in, out := b.Inputs[0], b.Outputs[0]
	v := &graph.Vertex{Grid: b.Grid, Box: b.Box, Tiling: b.Tiling, Instance: &graph.Instance{},
		Inputs: []*graph.Binding{{Role: in.Role, Need: in.Need, Import: &graph.Import{Spec: in.Spec, Grid: in.Grid}}}}
	v.Outputs = []*graph.Output{{Vertex: v, Role: out.Role, Spec: out.Spec, Grid: out.Grid}}
	shared, _, err := b.Shared.Digest()
	must(t, err)
	tile := grid.Tile{Box: a.Tile}
	_, request, err := v.Request(b.Shared, shared, tile, v.Windows(tile), nil)
	must(t, err)
	id, _, err := graph.Action{Shared: shared, Request: graph.Sum(request), Windows: a.Windows}.ID()
	must(t, err)
	return id
}

func TestTheWholePreimageOfEachActionIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	record := func(b graph.Basis, actions ...Action) []Action {
		w := Create(dir, aRun(noon), Options{})
		must(t, w.Basis(Basis{Instance: "slope", Grid: "default", Basis: b}))
		for _, a := range actions {
			must(t, w.Action(a))
		}
		must(t, w.End(Succeeded, Counts{}, nil))
		var out []Action
		for a, err := range Open(dir).Actions(w.ID()) {
			must(t, err)
			out = append(out, a)
		}
		return out
	}
	first := record(aBasis(0), based(t, aBasis(0), "old"), based(t, aBasis(0), "new"))
	bumped := record(aBasis(1), based(t, aBasis(1), "new"))
	store := Open(dir)
	var all []*graph.Preimage
	for _, a := range append(first, bumped...) {
		p, err := store.Preimage(a)
		must(t, err)
		all = append(all, p)
	}
	for _, test := range []struct {
		before, after int
		want          []string
	}{
		{0, 1, []string{"window of elevation changed: " + digest("old").Short() + " → " + digest("new").Short()}},
		{1, 2, []string{"salt is new: 1"}},
		{1, 1, nil},
	} {
		changes, err := ExplainActions(all[test.before], all[test.after])
		must(t, err)
		var got []string
		for _, c := range changes {
			got = append(got, c.Sentence)
		}
		if len(got) != len(test.want) || len(got) > 0 && got[0] != test.want[0] {
			t.Errorf("%d to %d: %q, want %q", test.before, test.after, got, test.want)
		}
	}
	forged := first[0]
	forged.Windows = first[1].Windows
	if _, err := store.Preimage(forged); !errors.Is(err, graph.ErrPreimage) {
		t.Errorf("another window: %v", err)
	}
	forged.Instance = "aspect"
	if _, err := store.Preimage(forged); !errors.Is(err, ErrNoBasis) {
		t.Errorf("no basis: %v", err)
	}
}
