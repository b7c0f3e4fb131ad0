// Package proj holds map projections of the ellipsoid whose results are the
// same to the last bit on every architecture.
//
// The Go compiler may fuse a product and a sum into one rounding where the
// machine can (arm64), so that a*b+c differs between machines, and the
// standard library's sine and logarithm with it. Here every product is rounded
// by an explicit float64 conversion and the elementary functions are our own;
// a test reads the arm64 assembly for fused instructions.
//
// Angles are degrees at the surface of the package and radians inside;
// x is the easting or longitude and y the northing or latitude, always in
// that order. Accuracy is better than a tenth of a millimetre within the area
// that each projection serves.
package proj

import (
	"errors"
	"math"
)

// ErrOutside says that a point has no image under a projection: it is no
// coordinate, or lies too far from the projection's area.
var ErrOutside = errors.New("outside the projection's area")

// Projection maps degrees on the ellipsoid to metres on the plane and back.
// Both methods return ErrOutside itself, unwrapped and without allocation,
// and may be called at once from many goroutines.
type Projection interface {
	Forward(lon, lat float64) (x, y float64, err error)
	Inverse(x, y float64) (lon, lat float64, err error)
}

// Params are the parameters of a projection in degrees and metres. Each
// projection reads those that it knows.
type Params struct {
	Lon0, Lat0 float64 // of the natural or false origin
	Lat1, Lat2 float64 // standard parallels
	K0         float64 // scale at the natural origin
	FE, FN     float64 // false easting and northing
}

const rad = math.Pi / 180

// lonLat is the projection of a geographic CRS: degrees stay degrees.
type lonLat struct{}

// LonLat returns the projection that leaves longitude and latitude alone.
func LonLat() Projection { return lonLat{} }

func (lonLat) Forward(lon, lat float64) (float64, float64, error) {
	if !onEarth(lon, lat) {
		return 0, 0, ErrOutside
	}
	return lon, lat, nil
}

func (p lonLat) Inverse(x, y float64) (float64, float64, error) { return p.Forward(x, y) }

// onEarth reports whether a position is one. Longitudes may run over a seam
// by a turn or two.
func onEarth(lon, lat float64) bool {
	return math.Abs(lat) <= 90 && math.Abs(lon) <= 1080 // false for NaN
}

// finite reports whether both are numbers of a sane size.
func finite(x, y float64) bool { return math.Abs(x) < 1e9 && math.Abs(y) < 1e9 }

// fromCentre returns the longitude relative to a central meridian in radians,
// in (-π, π]. The turns are taken off in degrees, where that is exact.
func fromCentre(lon, lon0 float64) float64 {
	d := lon - lon0
	for d > 180 {
		d -= 360
	}
	for d <= -180 {
		d += 360
	}
	return float64(d * rad)
}

// toLon turns radians relative to a central meridian into a longitude in
// [-180, 180].
func toLon(lambda, lon0 float64) float64 {
	d := lon0 + float64(lambda/rad)
	if d > 180 {
		d -= 360
	}
	if d < -180 {
		d += 360
	}
	return d
}
