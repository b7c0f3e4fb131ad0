package graph

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/cubebuild/cube/cube/grid"
)

// FuzzBasis rebuilds preimages from any basis: what does not come to the id is
// refused, and nothing more happens.
func FuzzBasis(f *testing.F) {
	g := grid.Grid{Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30, X0: 430000, Y0: 4490000},
		Box: grid.Box{Y: grid.Range{Hi: 40}, X: grid.Range{Hi: 40}}}
	spec := VarSpec{Name: "a"}.WithDefaults()
	b := Basis{Shared: Shared{KeyVersion: 1, Image: &Image{Platform: "linux/amd64"}, Outputs: []VarSpec{spec}}, Grid: g, Box: g.Box, Tiling: grid.Tiling{Y: 10, X: 10},
		Inputs:  []BasisInput{{Role: "b", Need: DataNeed{Variable: "b", Kind: Static, Format: Zarr, Halo: grid.Halo{Y: 1, X: 1}}, Spec: spec, Grid: g}},
		Outputs: []BasisOutput{{Role: "a", Spec: spec, Grid: g}}}
	for range 2 {
		raw, err := json.Marshal(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, int64(10), int64(20))
		b.Inputs[0].Grid.Lattice.DX, b.Inputs[0].Method = 90, "nearest"
	}
	b.Shared.Params = json.RawMessage(strings.Repeat(`{"a":`, 4000) + "1" + strings.Repeat("}", 4000))
	deep, err := json.Marshal(b)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(deep, int64(10), int64(20))
	f.Fuzz(func(t *testing.T, raw []byte, lo, hi int64) {
		var b Basis
		if json.Unmarshal(raw, &b) != nil {
			return
		}
		_, err := b.Preimage(Digest{1}, grid.Box{Y: grid.Range{Lo: lo, Hi: hi}, X: grid.Range{Lo: lo, Hi: hi}}, nil, nil)
		if err == nil {
			t.Error("it comes to an id that it cannot have")
		}
	})
}

func TestABasisOfAnotherTileIsRefused(t *testing.T) {
	t.Parallel()
	spec := VarSpec{Name: "a"}.WithDefaults()
	g := grid.Grid{Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30}, Box: grid.Box{Y: grid.Range{Hi: 4}, X: grid.Range{Hi: 4}}}
	b := Basis{Shared: Shared{KeyVersion: 1, Outputs: []VarSpec{spec}}, Grid: g, Box: g.Box, Outputs: []BasisOutput{{Spec: spec, Grid: g}}}
	if _, err := b.Preimage(Digest{1}, g.Box, nil, nil); !errors.Is(err, ErrPreimage) {
		t.Errorf("got %v", err)
	}
}
