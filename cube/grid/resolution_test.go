package grid

import (
	"math"
	"testing"
)

func TestResolutionIsTheCoarserSideOnTheGround(t *testing.T) {
	t.Parallel()
	around := func(c CRS, d, lon, lat float64) (Lattice, Box) {
		x, y, err := c.Forward(lon, lat)
		if err != nil {
			t.Fatal(err)
		}
		return Lattice{c, d, d, x, y}, box(0, 10, 0, 10)
	}
	for _, tt := range []struct {
		name           string
		crs            CRS
		cell, lon, lat float64
		want, within   float64
	}{
		{"SRTM 3″ at 44.5°N", "EPSG:4326", 1. / 1200, -109, 44.5, 92.6, 0.05},
		{"SRTM 3″ at the equator", "EPSG:4326", 1. / 1200, 10, 0, 92.77, 0.05},
		{"a UTM zone's own meridian", "EPSG:32610", 30, -123, 38, 30.012, 0.001},
		{"Albers between its parallels, 30.07 × 29.93", "EPSG:5070", 30, -122.5, 38.5, 30.21, 0.1},
		{"the web's Mercator at 37.7°N", "EPSG:3857", 0.597164, -122.4, 37.7, 0.473, 0.001},
		{"the web's Mercator at 60°N", "EPSG:3857", 1, 10, 60, 0.502, 0.001},
		{"polar stereographic at its true latitude", "EPSG:3413", 1000, -45, 70, 1000, 1},
		{"EASE-Grid 2.0 from 30° to 29.2°, where the parallel is longer", "EPSG:6933", 9000, 10, 30, 9072, 1},
	} {
		l, b := around(tt.crs, tt.cell, tt.lon, tt.lat)
		if got := ResolutionMetres(l, b); math.Abs(got-tt.want) > tt.within {
			t.Errorf("%s: got %.4f m, want %v", tt.name, got, tt.want)
		}
	}
}

func TestResolutionIsTheWorstOverTheArea(t *testing.T) {
	t.Parallel()
	half := Lattice{"EPSG:4326", 0.5, 0.25, -180, 90}
	if got := ResolutionMetres(half, box(0, 720, 0, 720)); math.Abs(got-0.5*111319.491) > 1 {
		t.Errorf("a whole globe in half degrees: %v m", got)
	}
	north := ResolutionMetres(half, box(40, 120, 0, 720)) // 60°N to 80°N
	if _, want := wgs84.ellipsoid.PerDegree(80); math.Abs(north-0.25*want) > 1 {
		t.Errorf("from 60°N to 80°N: %v m, want %v", north, 0.25*want)
	}
	// In UTM cells are largest on the central meridian, here in the middle.
	utm := Lattice{utm10, 1000, 1000, 200000, 4300000}
	if got := ResolutionMetres(utm, box(0, 100, 0, 600)); math.Abs(got-1000.4) > 0.02 {
		t.Errorf("a whole zone: %v m", got)
	}
}

func TestResolutionIsInfiniteWhereItCannotBeTold(t *testing.T) {
	t.Parallel()
	for name, got := range map[string]float64{
		"an unknown CRS":        ResolutionMetres(Lattice{"", 30, 30, 0, 0}, box(0, 1, 0, 1)),
		"no cells":              ResolutionMetres(Lattice{utm10, 30, 30, 0, 0}, Box{}),
		"no place on the Earth": ResolutionMetres(Lattice{"EPSG:5070", 30, 30, 0, 9e6}, box(0, 1, 0, 1)),
		"no lattice":            ResolutionMetres(Lattice{CRS: utm10}, box(0, 1, 0, 1)),
	} {
		if !math.IsInf(got, 1) || FinerOrEqual(got, 1e12) {
			t.Errorf("%s: %v m", name, got)
		}
	}
}

func TestHalfAPerCentIsForgiven(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		have, want float64
		ok         bool
	}{
		{30, 30, true}, {30.07, 30, true}, {30.14, 30, true}, {30.16, 30, false}, {10, 30, true}, {90, 30, false},
		{math.NaN(), 30, false}, {30, math.NaN(), false},
	} {
		if FinerOrEqual(tt.have, tt.want) != tt.ok {
			t.Errorf("%v m for %v m: want %v", tt.have, tt.want, tt.ok)
		}
	}
}
