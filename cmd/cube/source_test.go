package main

import (
	"testing"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/project"
	"github.com/google/go-cmp/cmp"
)

func TestASourceIsTheRectangleAroundItsRaster(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   graph.Inspection
		want *grid.Bounds
	}{
		"north up":   {graph.Inspection{Transform: [6]float64{100, 10, 0, 500, 0, -10}, Width: 3, Height: 2}, &grid.Bounds{West: 100, South: 480, East: 130, North: 500}},
		"south up":   {graph.Inspection{Transform: [6]float64{100, 10, 0, 500, 0, 10}, Width: 3, Height: 2}, &grid.Bounds{West: 100, South: 500, East: 130, North: 520}},
		"rotated":    {graph.Inspection{Transform: [6]float64{0, 1, -1, 0, 1, 1}, Width: 2, Height: 2}, &grid.Bounds{West: -2, South: 0, East: 2, North: 4}},
		"no raster":  {graph.Inspection{}, nil},
		"not so big": {graph.Inspection{Width: -1, Height: 1}, nil},
	} {
		if diff := cmp.Diff(c.want, boundsOf(&c.in)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestPartsOfASourceAreSummedUp(t *testing.T) {
	t.Parallel()
	part := func(crs string, w float64, from, to int64) graph.Part {
		return graph.Part{Extent: graph.Extent{CRS: crs, Bounds: &[4]float64{w, 0, w + 1, 1}, Time: &[2]int64{from, to}}}
	}
	for name, c := range map[string]struct {
		parts []graph.Part
		want  *partsOfSource
	}{
		"not split":  {nil, nil},
		"no part":    {[]graph.Part{}, &partsOfSource{}},
		"everywhere": {make([]graph.Part, 3), &partsOfSource{Count: 3}},
		"some": {[]graph.Part{part("EPSG:4326", 5, 60, 120), {}, part("EPSG:4326", 2, 0, 60)},
			&partsOfSource{Count: 3, CRS: "EPSG:4326", Bounds: &grid.Bounds{West: 2, East: 6, North: 1}, Start: "1970-01-01T00:00Z", End: "1970-01-01T00:02Z"}},
		"of several systems": {[]graph.Part{part("EPSG:4326", 5, 0, 60), part("EPSG:32613", 2, 0, 60), part("EPSG:4326", 2, 0, 60)},
			&partsOfSource{Count: 3, Start: "1970-01-01T00:00Z", End: "1970-01-01T00:01Z"}},
	} {
		if diff := cmp.Diff(c.want, sumParts(c.parts)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestWhatCubeYamlSaysOfASourceComesFirst(t *testing.T) {
	t.Parallel()
	pin := config.LockedSource{SHA256: graph.Sum(nil), Inspection: &graph.Inspection{CRS: "EPSG:32613", NativeRes: 30, Width: 1, Height: 1, Transform: [6]float64{0, 1, 0, 0, 0, -1}}}
	for native, want := range map[float64]float64{0: 30, 90: 90} {
		l := newSourceLine(project.KnownSource{Name: "dem", Pin: pin, Source: &config.Source{Name: "dem", Native: native}})
		if l.Native != want || l.State != "away" || l.CRS != "EPSG:32613" {
			t.Errorf("got %+v", l)
		}
	}
}
