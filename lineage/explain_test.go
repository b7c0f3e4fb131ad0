package lineage

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

func aDerivation() graph.Derivation {
	return graph.Derivation{
		Shared: graph.Shared{
			KeyVersion: 1, Engine: graph.EngineVersions{Staging: 1, Resampling: 1, Merging: 1},
			Image:  &graph.Image{Platform: "linux/amd64", DiffIDs: []string{digest("l1").String(), digest("l2").String()}, Env: []string{"A=1"}, Command: []string{"/producer"}},
			Params: json.RawMessage(`{"method":"horn","nested":{"a":1}}`), CPUs: 1,
			Sources: map[string]graph.SourceKey{"dem": {SHA256: digest("old tif"), Ext: ".tif"}},
			Outputs: []graph.VarSpec{{Name: "slope", Kind: graph.Static, DType: graph.Float32, Units: "degree"}},
		},
		Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 250, DY: 250},
		Box:     grid.Box{Y: grid.Range{Hi: 800}, X: grid.Range{Hi: 800}},
		Tiling:  grid.Tiling{Y: 256, X: 256},
		Chunks:  []grid.Tiling{{Y: 64, X: 64}, {Y: 64, X: 64}},
		Inputs:  []graph.DerivationInput{{Role: "elevation", Need: &graph.DataNeed{Variable: "elevation", Kind: graph.Static}, Version: digest("old elevation")}},
	}
}

func TestEachSortOfChangeIsToldInWords(t *testing.T) {
	t.Parallel()
	short := func(s string) string { return digest(s).Short() }
	for _, c := range []struct {
		name   string
		change func(*graph.Derivation)
		want   []Change
	}{
		{"nothing", func(d *graph.Derivation) {}, nil},
		{"input", func(d *graph.Derivation) { d.Inputs[0].Version = digest("new elevation") },
			[]Change{{ChangedInput, "elevation", short("old elevation"), short("new elevation"),
				"input elevation changed: " + short("old elevation") + " → " + short("new elevation")}}},
		{"new input", func(d *graph.Derivation) {
			d.Inputs = append(d.Inputs, graph.DerivationInput{Role: "mask", Need: &graph.DataNeed{Variable: "mask"}, Version: digest("mask")})
		}, []Change{{ChangedInput, "mask", "", short("mask"), "input mask is new: " + short("mask")}}},
		{"gone input", func(d *graph.Derivation) { d.Inputs = nil },
			[]Change{{ChangedInput, "elevation", short("old elevation"), "", "input elevation is gone, it was " + short("old elevation")}}},
		{"halo", func(d *graph.Derivation) { d.Inputs[0].Need.Halo.Y = 1 },
			[]Change{{ChangedContract, "elevation: halo", "0 × 0 cells", "1 × 0 cells", "need elevation: halo changed: 0 × 0 cells → 1 × 0 cells"}}},
		{"source", func(d *graph.Derivation) {
			d.Shared.Sources = map[string]graph.SourceKey{"dem": {SHA256: digest("new tif"), Ext: ".tif"}}
		}, []Change{{ChangedSource, "dem", short("old tif"), short("new tif"), "source dem changed: " + short("old tif") + " → " + short("new tif")}}},
		{"param", func(d *graph.Derivation) {
			d.Shared.Params = json.RawMessage(`{"method":"zevenbergen","nested":{"a":2}}`)
		}, []Change{{ChangedParam, "method", "horn", "zevenbergen", "param method changed: horn → zevenbergen"},
			{ChangedParam, "nested.a", "1", "2", "param nested.a changed: 1 → 2"}}},
		{"layer", func(d *graph.Derivation) { d.Shared.Image.DiffIDs[1] = digest("l3").String() },
			[]Change{{ChangedImage, "layers", short("l2"), short("l3"), "image changed: layer 2 of 2: " + short("l2") + " → " + short("l3")}}},
		{"more layers", func(d *graph.Derivation) {
			d.Shared.Image.DiffIDs = append(d.Shared.Image.DiffIDs, digest("l3").String())
		}, []Change{{ChangedImage, "layers", "2 layers", "3 layers", "image changed: 2 layers → 3 layers, the first that differs is number 3"}}},
		{"env", func(d *graph.Derivation) { d.Shared.Image.Env = []string{"A=2"} },
			[]Change{{ChangedImage, "env.A", "1", "2", "variable A of the environment of image changed: 1 → 2"}}},
		{"env order", func(d *graph.Derivation) { d.Shared.Image.Env = []string{"A=1", "A=1"} },
			[]Change{{ChangedImage, "env", `["A=1"]`, `["A=1","A=1"]`, `image env changed: ["A=1"] → ["A=1","A=1"]`}}},
		{"serves", func(d *graph.Derivation) { d.Shared.Serves = true },
			[]Change{{ChangedContract, "serves", "", "true", "it serves batches of tiles (capabilities.batch) now, and did not before"}}},
		{"chunks", func(d *graph.Derivation) { d.Chunks = []grid.Tiling{{Y: 64, X: 64}, {Y: 32, X: 64}} },
			[]Change{{ChangedTiling, "chunk size", "64 × 64 cells", "32 × 64 cells", "chunk size changed: 64 × 64 cells → 32 × 64 cells"}}},
		{"threads", func(d *graph.Derivation) { d.Shared.CPUs = 4 },
			[]Change{{ChangedContract, "", "1", "4", "thread count changed: 1 → 4"}}},
		{"units", func(d *graph.Derivation) { d.Shared.Outputs[0].Units = "radian" },
			[]Change{{ChangedContract, "slope: units", "degree", "radian", "output slope: units changed: degree → radian"}}},
		{"domain", func(d *graph.Derivation) { d.Box.Y.Hi = 1056 },
			[]Change{{ChangedGrid, "domain", "y[0,800) x[0,800)", "y[0,1056) x[0,800)", "domain changed: y[0,800) x[0,800) → y[0,1056) x[0,800)"}}},
		{"lattice", func(d *graph.Derivation) { d.Lattice.DX = 30 },
			[]Change{{ChangedGrid, "dx", "250", "30", "grid dx changed: 250 → 30"}}},
		{"tiling", func(d *graph.Derivation) { d.Tiling = grid.Tiling{} },
			[]Change{{ChangedTiling, "tile size", "256 × 256 cells", "all × all cells", "tile size changed: 256 × 256 cells → all × all cells; every tile is new"}}},
		{"salt", func(d *graph.Derivation) { d.Shared.Salt = 1 },
			[]Change{{ChangedSalt, "", "", "1", "salt is new: 1"}}},
		{"engine", func(d *graph.Derivation) { d.Shared.Engine.Resampling = 2 },
			[]Change{{ChangedEngine, "resampling", "1", "2", "cube's own resampling changed: 1 → 2"}}},
		{"cpu class", func(d *graph.Derivation) { d.Shared.CPUClass = "amd64-v4" },
			[]Change{{ChangedHost, "cpu class", "", "amd64-v4", "cpu class is new: amd64-v4"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			before, after := aDerivation(), aDerivation()
			c.change(&after)
			_, a, err := before.Key()
			must(t, err)
			_, b, err := after.Key()
			must(t, err)
			got, err := Explain(a, b)
			must(t, err)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTheOrderOfAMergesInputsIsAChange(t *testing.T) {
	t.Parallel()
	a := `{"inputs":[{"version":"sha256:aa"},{"version":"sha256:bb"}]}`
	b := `{"inputs":[{"version":"sha256:bb"},{"version":"sha256:aa"}]}`
	got, err := Explain(json.RawMessage(a), json.RawMessage(b))
	must(t, err)
	if len(got) != 2 || got[0].What != ChangedInput {
		t.Errorf("%v", got)
	}
}

func FuzzExplain(f *testing.F) {
	_, a, err := aDerivation().Key()
	must(f, err)
	f.Add(a, []byte(`{"shared":{"image":null,"params":[1,{"role":"x"},{"role":"x"}]},"inputs":{"a":1}}`))
	f.Add([]byte(`{"box":1,"tiling":[],"domain_time":{"lo":{}}}`), []byte(`{"inputs":[{"role":"a"},{"role":"a#1"},{"role":"a"}]}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		changes, err := Explain(a, b)
		if err != nil {
			return
		}
		ca, errA := graph.Canonical(json.RawMessage(a))
		cb, errB := graph.Canonical(json.RawMessage(b))
		if errA == nil && errB == nil && string(ca) != string(cb) && len(changes) == 0 {
			t.Errorf("no change between %s and %s", ca, cb)
		}
	})
}
