package graph

import (
	"encoding/json"
	"testing"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/google/go-cmp/cmp"
)

func TestAPreimageTellsItsOutline(t *testing.T) {
	t.Parallel()
	fill := Number("18446744073709551615") // canonical JSON holds it as a string
	s := Shared{KeyVersion: KeyVersion, Params: []byte(`{"b":"<&>","a":9007199254740993}`), Salt: 3,
		Outputs: []VarSpec{{Name: "a", DType: Uint64, Fill: &fill, Legend: []Class{{Value: 1 << 60, Name: "ß"}}}}}
	d := Derivation{Shared: s, Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30}, Box: grid.Box{Y: grid.Range{Hi: 9}, X: grid.Range{Lo: -4, Hi: 5}},
		Tiling: grid.Tiling{Y: 3, X: 3}, Inputs: []DerivationInput{
			{Role: "one", Need: &DataNeed{Legend: []Class{{Value: 1 << 61}}}, Version: Sum([]byte("1"))}, {Role: "two", Version: Sum([]byte("2"))}}}
	_, preimage, err := d.Key()
	if err != nil {
		t.Fatal(err)
	}
	// As a cube keeps it.
	kept, err := json.Marshal(json.RawMessage(preimage))
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadOutline(kept)
	if err != nil {
		t.Fatal(err)
	}
	shared, _, err := s.Digest()
	if err != nil {
		t.Fatal(err)
	}
	want := Outline{Shared: shared, Lattice: d.Lattice, Box: d.Box, Tiling: d.Tiling,
		Inputs: []OutlineInput{{"one", d.Inputs[0].Version}, {"two", d.Inputs[1].Version}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	v := &Vertex{Instance: &Instance{}, Inputs: []*Binding{{Role: "two"}, {Role: "one"}}}
	versions, ok := got.Versions(v)
	if !ok || versions[0] != d.Inputs[1].Version || versions[1] != d.Inputs[0].Version {
		t.Errorf("%v %v", versions, ok)
	}
	if _, ok := got.Versions(&Vertex{Instance: &Instance{}, Inputs: []*Binding{{Role: "three"}}}); ok {
		t.Error("a role that was not read has a version")
	}
	for _, bad := range []string{``, `{}`, `{"shared": `, `{"shared":{},"inputs":[{"version":"x"}]}`} {
		if _, err := ReadOutline([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a preimage", bad)
		}
	}
}
