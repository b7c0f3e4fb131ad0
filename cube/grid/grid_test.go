package grid

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const utm10 = CRS("EPSG:32610")

func TestAGridIsWholeCellsFromItsOrigin(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		crs    CRS
		dx, dy float64
		bounds Bounds
		origin *Point
		align  Align
		want   Box
		x0, y0 float64
	}{
		{"its own corner by default", utm10, 30, 30, Bounds{500010, 4200000, 500100, 4200060}, nil, AlignExact, box(0, 2, 0, 3), 500010, 4200060},
		{"an origin of its own", utm10, 30, 30, Bounds{500010, 4200000, 500100, 4200060}, &Point{0, 0}, AlignExact, box(-140002, -140000, 16667, 16670), 0, 0},
		{"an origin within", utm10, 10, 20, Bounds{-20, -40, 30, 60}, &Point{0, 0}, AlignExact, box(-3, 2, -2, 3), 0, 0},
		{"outwards", utm10, 100, 100, Bounds{501, -99, 599, 101}, &Point{0, 0}, AlignOut, box(-2, 1, 5, 6), 0, 0},
		{"outwards but not where it fits", utm10, 100, 100, Bounds{500, -100, 600, 100}, &Point{0, 0}, AlignOut, box(-1, 1, 5, 6), 0, 0},
		{"decimals that are never exact", "EPSG:4326", 0.000833333333, 0.000833333333, Bounds{-109, 43, -108, 44}, nil, AlignExact, box(0, 1200, 0, 1200), -109, 44},
		{"tenths of a degree", "EPSG:4326", 0.1, 0.1, Bounds{-0.3, 0.1, 0.3, 0.7}, nil, AlignExact, box(0, 6, 0, 6), -0.3, 0.7},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g, err := New(tt.crs, tt.dx, tt.dy, tt.bounds, tt.origin, tt.align)
			if err != nil {
				t.Fatal(err)
			}
			want := Grid{Lattice: Lattice{tt.crs, tt.dx, tt.dy, tt.x0, tt.y0}, Box: tt.want}
			if diff := cmp.Diff(want, g); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestABoundBetweenCellsNamesTheNearestThatFits(t *testing.T) {
	t.Parallel()
	fits := Bounds{500010, 4200000, 500100, 4200060}
	for side, b := range map[string]Bounds{
		"west": {500020, fits.South, fits.East, fits.North}, "south": {fits.West, 4200010, fits.East, fits.North},
		"east": {fits.West, fits.South, 500110, fits.North}, "north": {fits.West, fits.South, fits.East, 4200050},
	} {
		_, err := New(utm10, 30, 30, b, &Point{0, 0}, AlignExact)
		var e *BoundError
		if !errors.As(err, &e) || e.Side != side {
			t.Errorf("%s: got %v", side, err)
			continue
		}
		want := map[string]float64{"west": fits.West, "south": fits.South, "east": fits.East, "north": fits.North}[side]
		if e.Nearest != want {
			t.Errorf("%s: the nearest is %v, want %v", side, e.Nearest, want)
		}
	}
}

func TestGridsThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	ok := Bounds{0, 0, 100, 100}
	tests := []struct {
		name   string
		crs    CRS
		dx     float64
		b      Bounds
		origin *Point
		align  Align
		says   string
	}{
		{"no size", utm10, 0, ok, nil, "", "positive"},
		{"a negative size", utm10, -1, ok, nil, "", "positive"},
		{"a size that is no number", utm10, math.NaN(), ok, nil, "", "no coordinate"},
		{"a bound that is no number", utm10, 1, Bounds{0, 0, math.Inf(1), 1}, nil, "", "no coordinate"},
		{"east of west", utm10, 1, Bounds{100, 0, 0, 100}, nil, "", "east bound"},
		{"north of south", utm10, 1, Bounds{0, 100, 100, 0}, nil, "", "north bound"},
		{"beyond the pole", "EPSG:4326", 1, Bounds{0, 0, 10, 100}, nil, "", "latitudes"},
		{"too many cells", utm10, 1e-3, Bounds{0, 0, 1e7, 1e7}, nil, "", "cells"},
		{"too far from the origin", utm10, 1e-9, ok, &Point{1e8, 0}, "", "from the origin"},
		{"an unknown alignment", utm10, 1, ok, nil, "sideways", "align"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := New(tt.crs, tt.dx, tt.dx, tt.b, tt.origin, tt.align); err == nil || !strings.Contains(err.Error(), tt.says) {
				if tt.dx == tt.dx {
					t.Errorf("got %v, want something about %q", err, tt.says)
				}
			}
		})
	}
}

func TestARasterGivesItsOwnLattice(t *testing.T) {
	t.Parallel()
	g, err := Like(utm10, [6]float64{531783.25, 30, 0, 4280398.19, 0, -30}, 800, 700)
	if err != nil {
		t.Fatal(err)
	}
	want := Grid{Lattice: Lattice{utm10, 30, 30, 531783.25, 4280398.19}, Box: box(0, 700, 0, 800)}
	if diff := cmp.Diff(want, g); diff != "" {
		t.Error(diff)
	}
	if gt := g.Lattice.GeoTransform(g.Box); gt != [6]float64{531783.25, 30, 0, 4280398.19, 0, -30} {
		t.Errorf("its transform is %v", gt)
	}
	for name, tt := range map[string]struct {
		gt     [6]float64
		nx, ny int64
		says   string
	}{
		"rotated":   {[6]float64{0, 30, 1, 0, 0, -30}, 10, 10, "rotated"},
		"sheared":   {[6]float64{0, 30, 0, 0, 0.5, -30}, 10, 10, "rotated or sheared"},
		"south-up":  {[6]float64{0, 30, 0, 0, 0, 30}, 10, 10, "south-up"},
		"west-east": {[6]float64{0, -30, 0, 0, 0, -30}, 10, 10, "columns must go east"},
		"flat":      {[6]float64{0, 30, 0, 0, 0, 0}, 10, 10, "rows south"},
		"empty":     {[6]float64{0, 30, 0, 0, 0, -30}, 0, 10, "rows and columns"},
		"huge":      {[6]float64{0, 30, 0, 0, 0, -30}, math.MaxInt64, 10, "rows and columns"},
		"NaN":       {[6]float64{math.NaN(), 30, 0, 0, 0, -30}, 10, 10, "no coordinate"},
	} {
		if _, err := Like(utm10, tt.gt, tt.nx, tt.ny); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want something about %q", name, err, tt.says)
		}
	}
}

func TestATimeRangeIsWholeSteps(t *testing.T) {
	t.Parallel()
	g, err := New(utm10, 1, 1, Bounds{0, 0, 2, 2}, nil, AlignExact)
	if err != nil {
		t.Fatal(err)
	}
	day := int64(86400)
	timed, err := g.WithTime(100*day, 103*day, 3600)
	if err != nil || timed.Box.T != (Range{0, 72}) || timed.Time.At(71) != 103*day-3600 {
		t.Errorf("got %v, %v", timed, err)
	}
	later, err := g.WithTimeAxis(TimeAxis{100 * day, 3600}, 99*day, 104*day)
	if err != nil || later.Box.T != (Range{-24, 96}) {
		t.Errorf("got %v, %v", later, err)
	}
	for says, e := range map[string]error{
		"not after its start": second(g.WithTime(day, day, 60)),
		"must be positive":    second(g.WithTime(0, day, 0)),
		"1970-01-01T23:00Z":   second(g.WithTime(0, day-1, 3600)),
		"out of range":        second(g.WithTime(0, math.MaxInt64, 3600)),
	} {
		if e == nil || !strings.Contains(e.Error(), says) {
			t.Errorf("got %v, want something about %q", e, says)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestRefiningKeepsTheOutline(t *testing.T) {
	t.Parallel()
	g, err := New(utm10, 30, 60, Bounds{-60, -120, 90, 180}, &Point{0, 0}, AlignExact)
	if err != nil {
		t.Fatal(err)
	}
	r, err := g.Refine(4)
	if err != nil {
		t.Fatal(err)
	}
	if r.Bounds() != g.Bounds() || r.Box.Cells() != 16*g.Box.Cells() || r.Lattice.DX != 7.5 || r.Lattice.DY != 15 {
		t.Errorf("%v refines to %v", g, r)
	}
	for _, n := range []int64{0, -1, math.MaxInt64, 1 << 20} {
		if _, err := (Grid{Lattice: g.Lattice, Box: box(0, 1<<30, 0, 1)}).Refine(n); err == nil {
			t.Errorf("refined by %d", n)
		}
	}
}

func TestACellHoldsItsCentreAndItsNorthWestCorner(t *testing.T) {
	t.Parallel()
	l := Lattice{utm10, 30, 20, 500, 700}
	for _, p := range [][2]int64{{0, 0}, {-5, 7}, {12, -3}} {
		if r, c := l.Cell(l.X(p[1]), l.Y(p[0])); r != p[0] || c != p[1] {
			t.Errorf("the centre of %v is in (%d, %d)", p, r, c)
		}
		w, _, _, n := l.Edge(box(p[0], p[0]+1, p[1], p[1]+1))
		if r, c := l.Cell(w, n); r != p[0] || c != p[1] {
			t.Errorf("the corner of %v is in (%d, %d)", p, r, c)
		}
	}
}

func TestFloorDivRoundsDown(t *testing.T) {
	t.Parallel()
	for a := int64(-20); a <= 20; a++ {
		for b := int64(1); b <= 7; b++ {
			if got, want := FloorDiv(a, b), int64(math.Floor(float64(a)/float64(b))); got != want {
				t.Errorf("FloorDiv(%d, %d) = %d, want %d", a, b, got, want)
			}
		}
	}
}

// randomDomain is a box that may lie on any side of the origin.
func randomDomain(r *rand.Rand) Box {
	side := func() Range {
		lo := r.Int64N(200) - 100
		return Range{lo, lo + 1 + r.Int64N(60)}
	}
	b := Box{Y: side(), X: side()}
	if r.IntN(3) > 0 {
		b.T = side()
	}
	return b
}

func randomTiling(r *rand.Rand) Tiling {
	return Tiling{T: r.Int64N(20), Y: r.Int64N(20), X: r.Int64N(20)}
}

func TestTilesCoverTheDomainExactlyOnce(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		domain, tiling := randomDomain(r), randomTiling(r)
		seen, n := map[[3]int64]int{}, int64(0)
		for tile := range tiling.Tiles(domain) {
			n++
			if tile.Box.Empty() || !domain.Contains(tile.Box) {
				t.Fatalf("tile %v of %s", tile, domain)
			}
			each(tile.Box, func(c [3]int64) { seen[c]++ })
		}
		if want := tiling.Span(domain).Len(); n != want {
			t.Fatalf("%d tiles, the span says %d", n, want)
		}
		each(domain, func(c [3]int64) {
			if seen[c] != 1 {
				t.Fatalf("%v tiles %s: cell %v is in %d tiles", tiling, domain, c, seen[c])
			}
			delete(seen, c)
		})
		if len(seen) != 0 {
			t.Fatalf("%v tiles %s: cells outside", tiling, domain)
		}
	}
}

// each visits the cells of a box; a static one has the single step 0.
func each(b Box, visit func([3]int64)) {
	if b.T.Len() == 0 {
		b.T = Range{0, 1}
	}
	for t := b.T.Lo; t < b.T.Hi; t++ {
		for y := b.Y.Lo; y < b.Y.Hi; y++ {
			for x := b.X.Lo; x < b.X.Hi; x++ {
				visit([3]int64{t, y, x})
			}
		}
	}
}

func TestALargerDomainKeepsTheTilesThatItDoesNotClip(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		small, tiling := randomDomain(r), Tiling{T: 1 + r.Int64N(20), Y: 1 + r.Int64N(20), X: 1 + r.Int64N(20)}
		large := Box{small.T, small.Y.Grow(r.Int64N(30), r.Int64N(30)), small.X.Grow(r.Int64N(30), r.Int64N(30))}
		if small.T.Len() > 0 {
			large.T = small.T.Grow(r.Int64N(9), r.Int64N(9))
		}
		for tile := range tiling.Tiles(small) {
			again := tiling.Tile(tile.T, tile.Y, tile.X, large)
			whole := tile.Box.Y.Len() == tiling.Y && tile.Box.X.Len() == tiling.X && (tile.Box.T.Len() == tiling.T || small.T.Len() == 0)
			if whole && again != tile || again.Box.Intersect(small) != tile.Box {
				t.Fatalf("%v of %s is %v of %s", tile, small, again, large)
			}
		}
	}
}

func TestAWindowAndItsClipMakeUpTheHalo(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 10))
	for range 300 {
		domain, tiling := randomDomain(r), randomTiling(r)
		h := Halo{r.Int64N(9), r.Int64N(9), r.Int64N(9), r.Int64N(9)}
		for tile := range tiling.Tiles(domain) {
			w, c := h.Window(tile.Box, domain), h.Clipped(tile.Box, domain)
			if !domain.Contains(w) || !w.Contains(tile.Box) {
				t.Fatalf("window %s of %s in %s", w, tile.Box, domain)
			}
			if back := (Range{w.Y.Lo - c.North, w.Y.Hi + c.South}); back != tile.Box.Y.Grow(h.Y, h.Y) {
				t.Fatalf("rows %v and clip %+v of %s", w.Y, c, tile.Box)
			}
			if back := (Range{w.X.Lo - c.West, w.X.Hi + c.East}); back != tile.Box.X.Grow(h.X, h.X) {
				t.Fatalf("columns %v and clip %+v of %s", w.X, c, tile.Box)
			}
			if domain.T.Len() == 0 {
				if c.Start != 0 || c.End != 0 || w.T.Len() != 0 {
					t.Fatalf("a static window %s with clip %+v", w, c)
				}
			} else if back := (Range{w.T.Lo - c.Start, w.T.Hi + c.End}); back != tile.Box.T.Grow(h.Before, h.After) {
				t.Fatalf("steps %v and clip %+v of %s", w.T, c, tile.Box)
			}
		}
	}
}

func TestSizesAreChecked(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{-1, MaxIndex + 1, math.MinInt64, math.MaxInt64} {
		if (Halo{Y: n}).Valid() == nil || (Halo{After: n}).Valid() == nil || (Tiling{X: n}).Valid() == nil {
			t.Errorf("%d cells are taken for a size", n)
		}
	}
	if err := errors.Join(Halo{1, 2, 3, 4}.Valid(), Tiling{0, 256, 256}.Valid()); err != nil {
		t.Error(err)
	}
	if !(Halo{}).IsZero() || (Halo{Before: 1}).IsZero() {
		t.Error("which halo is none is wrong")
	}
}

func TestGridsSurviveJSON(t *testing.T) {
	t.Parallel()
	g, err := New("EPSG:5070", 30, 30, Bounds{-300, -600, 300, 600}, &Point{0, 0}, AlignExact)
	if err != nil {
		t.Fatal(err)
	}
	if g, err = g.WithTime(1601204400, 1601290800, 3600); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"lattice":{"crs":"EPSG:5070","dx":30,"dy":30,"x0":0,"y0":0},"time":{"origin":1601204400,"step":3600},` +
		`"box":{"t":{"lo":0,"hi":24},"y":{"lo":-20,"hi":20},"x":{"lo":-10,"hi":10}}}`
	if string(b) != want {
		t.Errorf("got %s", b)
	}
	var back Grid
	if err := json.Unmarshal(b, &back); err != nil || back != g {
		t.Errorf("comes back as %v, %v", back, err)
	}
	if s := g.Box.String(); s != "t[0,24) y[-20,20) x[-10,10)" {
		t.Errorf("prints as %s", s)
	}
}
