package graph_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

func daily(t *testing.T, inTime bool) *graph.Vertex {
	t.Helper()
	crs, err := grid.ParseCRS("EPSG:32610")
	if err != nil {
		t.Fatal(err)
	}
	g, err := grid.New(crs, 1000, 1000, grid.Bounds{West: 500000, South: 4200000, East: 530000, North: 4240000}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if g, err = g.WithTimeAxis(grid.TimeAxis{Origin: 0, Step: 3600}, 0, 48*3600); err != nil {
		t.Fatal(err)
	}
	v := &graph.Vertex{Name: "hotspots", Grid: g, Box: g.Box, Tiling: grid.Tiling{T: 24, Y: 7, X: 11}}
	if !inTime {
		v.Box = v.Box.Static()
	}
	return v
}

func somewhere(r *rand.Rand, i int) graph.Part {
	p := graph.Part{SHA256: graph.Sum([]byte{byte(i), byte(i >> 8)})}
	if r.IntN(8) > 0 {
		w, s := 490000+r.Float64()*50000, 4190000+r.Float64()*60000
		p.CRS, p.Bounds = "EPSG:32610", &[4]float64{w, s, w + r.Float64()*9000, s + r.Float64()*9000}
	}
	if r.IntN(8) > 0 {
		from := r.Int64N(60*3600) - 6*3600
		p.Time = &[2]int64{from, from + r.Int64N(7200)}
	}
	return p
}

// What a tile sees of a source does not depend on the parts that it does not
// meet, nor on the order in which the driver names them; and every tile whose
// cells and steps a part lies in sees it.
func TestATileSeesThePartsThatItMeets(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		v := daily(t, seed%2 == 0)
		var parts []graph.Part
		for i := range 60 {
			parts = append(parts, somewhere(r, i))
		}
		placed, err := v.Place(parts)
		if err != nil {
			t.Fatal(err)
		}
		shuffled := slices.Clone(parts)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for tile := range v.Tiles() {
			sees := placed.At(tile)
			own, err := v.Place(shuffled)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sees, own.At(tile)); diff != "" {
				t.Fatalf("in another order %s sees other parts:\n%s", tile.Box, diff)
			}
			var met []graph.Part
			for _, p := range parts {
				if slices.Contains(sees, p.SHA256) {
					met = append(met, p)
				} else if lies(v, p, tile) {
					t.Fatalf("%s does not see %+v", tile.Box, p)
				}
			}
			alone, err := v.Place(met)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sees, alone.At(tile)); diff != "" {
				t.Fatalf("without the others %s sees other parts:\n%s", tile.Box, diff)
			}
		}
	}
}

// lies reports whether a part shares ground and time with a tile.
func lies(v *graph.Vertex, p graph.Part, tile grid.Tile) bool {
	if p.Bounds != nil {
		west, south, east, north := v.Grid.Lattice.Edge(tile.Box)
		if p.Bounds[2] < west || p.Bounds[0] > east || p.Bounds[3] < south || p.Bounds[1] > north {
			return false
		}
	}
	steps := tile.Box.T
	if steps.Len() == 0 {
		steps = v.Grid.Box.T
	}
	from, to := v.Grid.Time.At(steps.Lo), v.Grid.Time.At(steps.Hi)
	return p.Time == nil || p.Time[0] < to && max(p.Time[1], p.Time[0]+1) > from
}

func TestAPartElsewhereChangesNoKey(t *testing.T) {
	t.Parallel()
	v := daily(t, true)
	here := graph.Part{SHA256: graph.Sum([]byte("here")), Extent: graph.Extent{CRS: "EPSG:4326", Bounds: &[4]float64{-122.9, 38, -122.8, 38.1}}}
	far := graph.Part{SHA256: graph.Sum([]byte("far")), Extent: graph.Extent{CRS: "EPSG:4326", Bounds: &[4]float64{10, 38, 10, 38}}}
	late := graph.Part{SHA256: graph.Sum([]byte("late")), Extent: graph.Extent{Time: &[2]int64{48 * 3600, 50 * 3600}}}
	key := func(parts ...graph.Part) graph.PartsKey {
		p, err := v.Place(parts)
		if err != nil {
			t.Fatal(err)
		}
		k, err := p.Key()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	if one, all := key(here), key(far, late, here); one != all || one.Count != 1 {
		t.Errorf("got %v and %v", one, all)
	}
	moved := here
	moved.Bounds = &[4]float64{-122.8, 38, -122.7, 38.1}
	if key(here) == key(moved) {
		t.Error("where a part lies is not in the key")
	}
}

// A detection is of one moment, which may be the very beginning of a step.
func TestAPartOfOneMomentIsSeenInItsStep(t *testing.T) {
	t.Parallel()
	const hour = 3600
	v := daily(t, true)
	for _, moment := range []int64{-1, 0, 1, hour, 24*hour - 1, 24 * hour, 48*hour - 1, 48 * hour} {
		for _, length := range []int64{0, 1} {
			part := graph.Part{SHA256: graph.Sum([]byte("one")), Extent: graph.Extent{Time: &[2]int64{moment, moment + length}}}
			placed, err := v.Place([]graph.Part{part})
			if err != nil {
				t.Fatal(err)
			}
			for tile := range v.Tiles() {
				from, to := tile.Box.T.Lo*hour, tile.Box.T.Hi*hour
				if sees := len(placed.At(tile)) == 1; sees != (from <= moment && moment < to) {
					t.Errorf("%s sees a part of second %d, %d long: %v", tile.Box, moment, length, sees)
				}
			}
		}
	}
}

func TestAnIndexIsCheckedBeforeItIsBelieved(t *testing.T) {
	t.Parallel()
	nan := 0.0
	nan /= nan
	for says, part := range map[string]graph.IndexedPart{
		"are not all in the file":      {Offset: 90, Size: 11},
		"-1 bytes":                     {Size: -1},
		"from -1 on":                   {Offset: -1, Size: 1},
		"not all in":                   {Offset: 1<<63 - 1, Size: 1<<63 - 1},
		"ends before it begins":        {Extent: graph.Extent{Time: &[2]int64{2, 1}}},
		"no numbers":                   {Extent: graph.Extent{CRS: "EPSG:4326", Bounds: &[4]float64{nan, 0, 0, 0}}},
		"west, south, east, north":     {Extent: graph.Extent{CRS: "EPSG:4326", Bounds: &[4]float64{2, 0, 1, 0}}},
		"CRS":                          {Extent: graph.Extent{CRS: "nowhere", Bounds: &[4]float64{1, 0, 1, 0}}},
		"before the one before it end": {Offset: 5, Size: 1},
	} {
		x := graph.Index{Parts: []graph.IndexedPart{{Size: 10}, part}}
		if part.Offset == 0 { // not what is wrong with it
			x.Parts = x.Parts[1:]
		}
		if err := x.Check(100); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v", says, err)
		}
	}
	good := graph.Index{Parts: []graph.IndexedPart{{Size: 10}, {Offset: 10, Size: 90}, {Offset: 100}}}
	if err := good.Check(100); err != nil {
		t.Error(err)
	}
}
