package graph

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/google/go-cmp/cmp"
)

// terrain is a workspace in which slope needs elevation, and hazard both.
func terrain() Workspace {
	g := grid.Grid{Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30, X0: 430000, Y0: 4490000},
		Box: grid.Box{Y: grid.Range{Hi: 100}, X: grid.Range{Hi: 90}}}
	coarse := g
	coarse.Lattice.DX, coarse.Lattice.DY = 300, 300
	coarse.Box = grid.Box{Y: grid.Range{Hi: 10}, X: grid.Range{Hi: 9}}
	timed, err := coarse.WithTime(0, 24*3600, 3600)
	if err != nil {
		panic(err)
	}
	tiles := Capabilities{Tiles: true}
	elevation := VarSpec{Name: "elevation", Units: "m"}
	return Workspace{
		Grids:   map[string]grid.Grid{DefaultGrid: g, "coarse": coarse, "weather": timed},
		Sources: map[string]Source{"dem": {Name: "dem", SHA256: Sum([]byte("dem")), Native: 30}},
		Tiling:  grid.Tiling{Y: 32, X: 32, T: 6},
		Instances: []Instance{
			{Name: "dem", Sources: map[string]string{"raster": "dem"}, Manifest: Manifest{Capabilities: tiles, Produces: []VarSpec{elevation}}},
			{Name: "slope", Manifest: Manifest{Capabilities: tiles,
				Needs:    []DataNeed{{Variable: "elevation", Units: "m", Halo: grid.Halo{Y: 1, X: 1}, MaxRes: 30}},
				Produces: []VarSpec{{Name: "slope", Units: "degree"}}}},
			{Name: "hazard", Manifest: Manifest{Capabilities: tiles,
				Needs:    []DataNeed{{Variable: "slope"}, {Variable: "elevation"}},
				Produces: []VarSpec{{Name: "hazard"}}}},
		},
	}
}

func vertexNames(p *Plan) []string {
	var out []string
	for _, v := range p.Vertices {
		out = append(out, v.Name)
	}
	return out
}

func TestAPlanHoldsWhatTheTargetNeedsInOrder(t *testing.T) {
	t.Parallel()
	for target, want := range map[string][]string{
		"elevation": {"dem"},
		"slope":     {"dem", "slope"},
		"hazard":    {"dem", "slope", "hazard"},
	} {
		p, err := Resolve(terrain(), target)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, vertexNames(p)); d != "" {
			t.Errorf("%s: %s", target, d)
		}
	}
}

func TestContributionsThatDoNotFitEachOtherAreRefused(t *testing.T) {
	t.Parallel()
	number := func(s string) *Number { n := Number(s); return &n }
	base := VarSpec{Name: "cover", DType: Uint8, Merge: MonotoneMax, Fill: number("255"), Units: "1", Legend: []Class{{Value: 1, Name: "grass"}}}
	for text, change := range map[string]func(inst *Instance, v *VarSpec){
		"": func(*Instance, *VarSpec) {},
		"merge policy monotone_max, and b with merge policy sum":          func(_ *Instance, v *VarSpec) { v.Merge = SumOf },
		"kind static, and b with kind time":                               func(inst *Instance, v *VarSpec) { inst.Grid, v.Kind = "weather", Time },
		"dtype uint8, and b with dtype int16":                             func(_ *Instance, v *VarSpec) { v.DType = Int16 },
		"dimensions y, x, and b with dimensions level, y, x; level of 2":  func(_ *Instance, v *VarSpec) { v.Dims = []Dim{{Name: "level", Size: 2}} },
		"units 1, and b with units unknown":                               func(_ *Instance, v *VarSpec) { v.Units = "" },
		"fill 255, and b with fill 0":                                     func(_ *Instance, v *VarSpec) { v.Fill = number("0") },
		"fill 255, and b with no fill":                                    func(_ *Instance, v *VarSpec) { v.Fill = nil },
		"schema 1, and b with schema 2":                                   func(_ *Instance, v *VarSpec) { v.Schema = 2 },
		"legend 1 class (1 = grass), and b with no legend":                func(_ *Instance, v *VarSpec) { v.Legend = nil },
		"legend 1 class (1 = grass), and b with legend 1 class (1 = sea)": func(_ *Instance, v *VarSpec) { v.Legend = []Class{{Value: 1, Name: "sea"}} },
		"grid default, and b with grid coarse":                            func(inst *Instance, _ *VarSpec) { inst.Grid = "coarse" },
		"grid default, and b with grid default, refined by 2":             func(_ *Instance, v *VarSpec) { v.Refine = 2 },
	} {
		ws := terrain()
		b := base
		inst := Instance{Name: "b", Manifest: Manifest{Capabilities: Capabilities{Tiles: true}}}
		change(&inst, &b)
		inst.Manifest.Produces = []VarSpec{b}
		ws.Instances = []Instance{{Name: "a", Manifest: Manifest{Capabilities: Capabilities{Tiles: true}, Produces: []VarSpec{base}}}, inst}
		_, err := Resolve(ws, "cover")
		if text == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		want := "cover: a makes it with " + text + "; what is merged must agree"
		var mismatch *MismatchError
		if !errors.As(err, &mismatch) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestRenamesLetOneProducerServeTwice(t *testing.T) {
	t.Parallel()
	ws := terrain()
	again := ws.Instances[1]
	again.Name, again.Out = "slope2", map[string]string{"slope": "steepness"}
	ws.Instances = append(ws.Instances, again)
	p, err := Resolve(ws, "steepness", "slope")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"dem", "slope2", "slope"}, vertexNames(p)); d != "" {
		t.Error(d)
	}
	a, _ := p.Vertices[1].Shared(&ws, Host{})
	b, _ := p.Vertices[2].Shared(&ws, Host{})
	if d := cmp.Diff(a, b); d != "" {
		t.Errorf("a rename reached the key: %s", d)
	}
}

func TestAMistakeIsNamedWithThePathFromTheTarget(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*Workspace)
		target string
		want   any
		text   string
	}{
		"a target that nothing makes": {func(*Workspace) {}, "slpoe", new(*MissingError), "did you mean slope?"},
		"a need that nothing makes": {func(ws *Workspace) { ws.Instances[1].Manifest.Needs[0].Variable = "elevatoin" }, "hazard",
			new(*MissingError), "elevatoin: no producer or import makes it; did you mean elevation? (hazard → slope → elevatoin)"},
		"two producers": {func(ws *Workspace) {
			two := ws.Instances[0]
			two.Name = "dem2"
			ws.Instances = append(ws.Instances, two)
		}, "slope", new(*AmbiguousError), "made by dem and dem2"},
		"an import beside a producer": {func(ws *Workspace) { ws.Imports = map[string]Import{"elevation": {}} }, "slope",
			new(*AmbiguousError), "made by import and dem"},
		"a cycle": {func(ws *Workspace) {
			ws.Instances[0].Manifest.Needs = []DataNeed{{Variable: "hazard"}}
		}, "hazard", new(*CycleError), "hazard → slope → elevation → hazard"},
		"another kind": {func(ws *Workspace) { ws.Instances[1].Manifest.Needs[0].Kind = Time }, "slope",
			new(*MismatchError), "elevation: its kind is static, slope needs time (slope → elevation)"},
		"other units": {func(ws *Workspace) { ws.Instances[1].Manifest.Needs[0].Units = "ft" }, "slope",
			new(*MismatchError), "elevation: its units are m, slope needs ft (slope → elevation)"},
		"unknown units": {func(ws *Workspace) { ws.Instances[0].Manifest.Produces[0].Units = "" }, "slope",
			new(*MismatchError), "elevation: its units are unknown, slope needs m"},
		"another legend": {func(ws *Workspace) { ws.Instances[2].Manifest.Needs[0].Legend = []Class{{Value: 1, Name: "flat"}} }, "hazard",
			new(*MismatchError), "slope: it has no legend, hazard needs 1 class (1 = flat)"},
		"too coarse a source": {func(ws *Workspace) { ws.Sources["dem"] = Source{Name: "dem", Native: 92.6} }, "slope",
			new(*ResolutionError), "30 m or finer, and its coarsest source gives 92.6 m"},
		"a source of unknown resolution": {func(ws *Workspace) { ws.Sources["dem"] = Source{Name: "dem"} }, "slope",
			new(*ResolutionError), "native_res_m"},
		"a coarse grid between": {func(ws *Workspace) { ws.Instances[0].Grid = "coarse" }, "slope",
			new(*ResolutionError), "gives 300"},
		"no such grid": {func(ws *Workspace) { ws.Instances[0].Grid = "corse" }, "slope",
			new(*GridError), "did you mean coarse?"},
		"a variable in time on a grid without": {func(ws *Workspace) { ws.Instances[0].Manifest.Produces[0].Kind = Time }, "elevation",
			new(*GridError), "it has no time axis"},
		"a grid larger than its input's": {func(ws *Workspace) {
			g := ws.Grids[DefaultGrid]
			g.Box.Y.Hi++
			ws.Grids["larger"] = g
			ws.Instances[1].Grid = "larger"
		}, "slope", new(*GridError), "it is larger than that of elevation"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ws := terrain()
			tc.change(&ws)
			_, err := Resolve(ws, tc.target)
			if err == nil || !errors.As(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want a %T with %q", err, tc.want, tc.text)
			}
		})
	}
}

func TestContributionsOfSeveralInstancesAreMerged(t *testing.T) {
	t.Parallel()
	ws := terrain()
	ws.Instances[0].Manifest.Produces[0].Merge = MonotoneMax
	two := ws.Instances[0]
	two.Name = "dem2"
	ws.Instances = append(ws.Instances, two)
	p, err := Resolve(ws, "slope")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"dem", "dem2", "merge:elevation", "slope"}, vertexNames(p)); d != "" {
		t.Fatal(d)
	}
	merge := p.Vertices[2]
	if !merge.IsMerge() || merge.Inputs[0].Variable != "elevation@dem" || p.Vertices[3].Inputs[0].From != merge.Outputs[0] {
		t.Errorf("merge reads %s, slope reads %v", merge.Inputs[0].Variable, p.Vertices[3].Inputs[0].From)
	}
	ws.Instances[3].Manifest.Produces = []VarSpec{{Name: "elevation", Units: "ft", Merge: MonotoneMax}}
	if _, err := Resolve(ws, "slope"); !errors.As(err, new(*MismatchError)) {
		t.Errorf("metres and feet were merged: %v", err)
	}
}

func TestAWindowOfAnotherGridIsResampledByOneMethod(t *testing.T) {
	t.Parallel()
	ws := terrain()
	ws.Instances[2].Grid = "coarse"
	p, err := Resolve(ws, "hazard")
	if err != nil {
		t.Fatal(err)
	}
	v := p.Vertices[2]
	for tile := range v.Tiles() {
		for _, w := range v.Windows(tile) {
			if !w.Resampled() || w.Binding.Method != grid.Average || w.Box != tile.Box || !w.Read.Contains(grid.Box{
				Y: grid.Range{Lo: tile.Box.Y.Lo * 10, Hi: tile.Box.Y.Hi * 10}, X: grid.Range{Lo: tile.Box.X.Lo * 10, Hi: tile.Box.X.Hi * 10}}) {
				t.Errorf("%s: %+v", tile.Box, w)
			}
		}
	}
}

func key(t *testing.T, ws Workspace, target string, versions ...Digest) Digest {
	t.Helper()
	p, err := Resolve(ws, target)
	if err != nil {
		t.Fatal(err)
	}
	v := p.Vertices[len(p.Vertices)-1]
	s, err := v.Shared(&ws, Host{})
	if err != nil {
		t.Fatal(err)
	}
	for len(versions) < len(v.Inputs) {
		versions = append(versions, Sum([]byte("v")))
	}
	k, _, err := v.Derivation(s, versions).Key()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestADerivationKeyChangesWithWhatDecidesAVersion(t *testing.T) {
	t.Parallel()
	base := key(t, terrain(), "slope")
	for name, tc := range map[string]struct {
		change func(*Workspace)
		same   bool
	}{
		"nothing":                    {func(*Workspace) {}, true},
		"its params":                 {func(ws *Workspace) { ws.Instances[1].Params = []byte(`{"method":"horn"}`) }, false},
		"its image":                  {func(ws *Workspace) { ws.Instances[1].Image.DiffIDs = []string{"sha256:1"} }, false},
		"the image tag":              {func(ws *Workspace) { ws.Instances[1].Image.Ref = "slope:v2" }, true},
		"its limits":                 {func(ws *Workspace) { ws.Instances[1].Resources.Memory = 1 << 20 }, true},
		"its cpus":                   {func(ws *Workspace) { ws.Instances[1].Manifest.Capabilities.CPUs = 4 }, false},
		"its salt":                   {func(ws *Workspace) { ws.Instances[1].Salt++ }, false},
		"its halo":                   {func(ws *Workspace) { ws.Instances[1].Manifest.Needs[0].Halo = grid.Halo{Y: 2, X: 2} }, false},
		"what it asks of resolution": {func(ws *Workspace) { ws.Instances[1].Manifest.Needs[0].MaxRes = 100 }, true},
		"its units":                  {func(ws *Workspace) { ws.Instances[1].Manifest.Produces[0].Units = "1" }, false},
		"its long name":              {func(ws *Workspace) { ws.Instances[1].Manifest.Produces[0].LongName = "Slope" }, true},
		"its schema":                 {func(ws *Workspace) { ws.Instances[1].Manifest.Produces[0].Schema = 2 }, false},
		"its name":                   {func(ws *Workspace) { ws.Instances[1].Name = "gradient" }, true},
		"the tiling":                 {func(ws *Workspace) { ws.Tiling.Y = 16 }, false},
		"the domain":                 {func(ws *Workspace) { g := ws.Grids[DefaultGrid]; g.Box.Y.Hi = 99; ws.Grids[DefaultGrid] = g }, false},
		"another instance":           {func(ws *Workspace) { ws.Instances[2].Params = []byte(`{"x":1}`) }, true},
	} {
		ws := terrain()
		tc.change(&ws)
		if got := key(t, ws, "slope") == base; got != tc.same {
			t.Errorf("%s: the key is the same: %v, want %v", name, got, tc.same)
		}
	}
	if key(t, terrain(), "slope", Sum([]byte("another version"))) == base {
		t.Error("another input version has the same key")
	}
}

func TestALargerDomainKeepsTheRequestsOfItsTiles(t *testing.T) {
	t.Parallel()
	requests := func(rows int64) map[string]grid.Box {
		ws := terrain()
		g := ws.Grids[DefaultGrid]
		g.Box.Y.Hi = rows
		ws.Grids[DefaultGrid] = g
		p, err := Resolve(ws, "slope")
		if err != nil {
			t.Fatal(err)
		}
		v := p.Vertices[1]
		s, _ := v.Shared(&ws, Host{})
		d, _, _ := s.Digest()
		out := map[string]grid.Box{}
		for tile := range v.Tiles() {
			_, r, err := v.Request(s, d, tile, v.Windows(tile), nil)
			if err != nil {
				t.Fatal(err)
			}
			out[string(r)] = tile.Box
		}
		return out
	}
	small, large := requests(96), requests(128)
	var fresh []grid.Range
	for r, box := range large {
		if _, ok := small[r]; !ok {
			fresh = append(fresh, box.Y)
		}
	}
	slices.SortFunc(fresh, func(a, b grid.Range) int { return int(a.Lo - b.Lo) })
	want := []grid.Range{{Lo: 64, Hi: 96}, {Lo: 64, Hi: 96}, {Lo: 64, Hi: 96}, {Lo: 96, Hi: 128}, {Lo: 96, Hi: 128}, {Lo: 96, Hi: 128}}
	if d := cmp.Diff(want, fresh); d != "" {
		t.Errorf("new requests are not just those of the new row and of the row that was clipped: %s", d)
	}
}

func TestNearestFindsWhatWasMeant(t *testing.T) {
	t.Parallel()
	choices := []string{"replace", "first", "monotone_max", "monotone_min", "sum", "mean", "error", "y", "x"}
	for name, want := range map[string]string{"repalce": "replace", "monoton_max": "monotone_max", "SUM": "sum", "maen": "mean",
		"fir": "first", "xyzzy": "", "": "", "z": "x", "errors": "error"} {
		if got := Nearest(name, choices); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestTimesOfAnotherAxisAreReadWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind Kind
		time TimeNeed
		ok   bool
	}{{Time, TimeNeed{}, false}, {Time, TimeNeed{Before: 1}, false}, {Time, TimeNeed{All: true}, true}, {Static, TimeNeed{Before: 1}, true}} {
		ws := terrain()
		daily, err := ws.Grids[DefaultGrid].WithTime(0, 3*24*3600, 24*3600)
		if err != nil {
			t.Fatal(err)
		}
		ws.Grids["daily"] = daily
		tiles := Capabilities{Tiles: true}
		ws.Instances = []Instance{
			{Name: "wind", Grid: "weather", Manifest: Manifest{Capabilities: tiles, Produces: []VarSpec{{Name: "wind", Kind: Time}}}},
			{Name: "load", Grid: "daily", Manifest: Manifest{Capabilities: tiles,
				Needs:    []DataNeed{{Variable: "wind", Kind: Time, Grid: NativeGrid, Time: c.time}},
				Produces: []VarSpec{{Name: "load", Kind: c.kind}}}},
		}
		p, err := Resolve(ws, "load")
		var mismatch *MismatchError
		if c.ok != (err == nil) || err != nil && !errors.As(err, &mismatch) {
			t.Errorf("%+v: %v", c, err)
		}
		if err != nil {
			continue
		}
		load := p.Vertices[1]
		for tile := range load.Tiles() {
			if w := load.Windows(tile)[0]; w.Box.T != (grid.Range{Hi: 24}) {
				t.Errorf("%+v: tile %s reads %s", c, tile.Box, w.Box)
			}
		}
	}
}

func TestResolvingLeavesTheWorkspaceAsItIs(t *testing.T) {
	t.Parallel()
	ws := Workspace{Grids: map[string]grid.Grid{DefaultGrid: {Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30}, Box: grid.Box{Y: grid.Range{Hi: 4}, X: grid.Range{Hi: 4}}}},
		Instances: []Instance{{Name: "one", Manifest: Manifest{Name: "one", Produces: []VarSpec{{Name: "a"}}}}}}
	plan, err := Resolve(ws, "a")
	if err != nil {
		t.Fatal(err)
	}
	if got := ws.Instances[0].Manifest; got.Capabilities.CPUs != 0 || got.Produces[0].Kind != "" {
		t.Errorf("it has become %+v", got)
	}
	if plan.Vertices[0].Instance.Manifest.Capabilities.CPUs != 1 {
		t.Error("the plan's instance has no defaults")
	}
}
