package grid

import (
	"math"

	"github.com/cubebuild/cube/cube/grid/proj"
)

// ResolutionTolerance is how much coarser than asked for a native resolution
// may be and still do: a "30 m" grid has cells of 29.9 to 30.1 m.
const ResolutionTolerance = 0.005

// FinerOrEqual reports whether a native resolution satisfies a wanted one,
// both in metres and as ResolutionMetres states them. It is false where
// either is not a number.
func FinerOrEqual(have, want float64) bool {
	return have <= want*(1+ResolutionTolerance)
}

// ResolutionMetres is the size of a cell on the ground, in metres: the longer
// of its two sides, at the place in the box where that is greatest. Degrees
// are measured on the ellipsoid, projected cells by the projection's own
// scale, so that 30 m of CONUS Albers are 30.1 and 1 m of the web's Mercator
// at 60° is 0.5. It is +Inf, which satisfies nothing, where the CRS is not
// known or no part of the box lies on the Earth.
func ResolutionMetres(l Lattice, b Box) float64 {
	s, ok := systems()[l.CRS]
	if !ok || b.Empty() || l.Valid() != nil {
		return math.Inf(1)
	}
	worst := math.Inf(-1)
	for _, y := range samples(b.Y, resolutionSamples) {
		for _, x := range samples(b.X, resolutionSamples) {
			px, py := l.X0+float64(x*l.DX), l.Y0-float64(y*l.DY)
			if d := s.ground(px, py, l.DX, l.DY); d > worst {
				worst = d
			}
		}
	}
	if s.method == nil {
		worst = max(worst, s.ground(l.X0, equatorIn(l, b), l.DX, l.DY))
	}
	if math.IsInf(worst, -1) {
		return math.Inf(1)
	}
	return worst
}

// resolutionSamples is how many places along each axis are measured. Scale
// changes smoothly, so that even over a continent the greatest of these is
// within a tenth of the tolerance of the true one.
const resolutionSamples = 17

// samples spreads n places over a range of cells, from edge to edge.
func samples(r Range, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = float64(r.Lo) + float64(float64(r.Len()*int64(i))/float64(n-1))
	}
	return out
}

// equatorIn returns the latitude in the box that is nearest to the equator,
// where a degree of longitude is longest.
func equatorIn(l Lattice, b Box) float64 {
	_, south, _, north := l.Edge(b)
	return max(south, min(north, 0))
}

// ground returns the longer side in metres of a cell of dx × dy centred at a
// point, or NaN where the point is not on the Earth.
func (s *system) ground(x, y, dx, dy float64) float64 {
	lon, lat, err := s.projection().Inverse(x, y)
	if err != nil {
		return math.NaN()
	}
	e := s.datum.ellipsoid
	if s.method == nil {
		mx, my := e.PerDegree(lat)
		return max(mx*dx, my*dy)
	}
	// The scale is measured over a metre-sized step, however large the cell.
	step := min(dx, dy, 100)
	h, ok1 := s.stretch(x, y, step, 0, lon, lat, e)
	v, ok2 := s.stretch(x, y, 0, step, lon, lat, e)
	if !ok1 || !ok2 {
		return math.NaN()
	}
	return max(h*dx, v*dy)
}

// stretch returns the ground metres of a projected metre in one direction.
func (s *system) stretch(x, y, dx, dy, lon, lat float64, e proj.Ellipsoid) (float64, bool) {
	lon1, lat1, err := s.projection().Inverse(x+dx, y+dy)
	if err != nil {
		if lon1, lat1, err = s.projection().Inverse(x-dx, y-dy); err != nil {
			return 0, false
		}
	}
	mx, my := e.PerDegree((lat + lat1) / 2)
	return math.Hypot(math.Remainder(lon1-lon, 360)*mx, (lat1-lat)*my) / (dx + dy), true
}
