package proj

import "math"

// Ellipsoid is the figure of the Earth: its semi-major axis in metres and its
// inverse flattening.
type Ellipsoid struct{ A, InvF float64 }

// The ellipsoids of WGS 84, and of NAD83, ETRS89 and most others.
var (
	WGS84 = Ellipsoid{6378137, 298.257223563}
	GRS80 = Ellipsoid{6378137, 298.257222101}
)

// E2 is the square of the first eccentricity.
func (e Ellipsoid) E2() float64 {
	f := 1 / e.InvF
	return float64(f * (2 - f))
}

// n is the third flattening.
func (e Ellipsoid) n() float64 {
	f := 1 / e.InvF
	return f / (2 - f)
}

// PerDegree returns the ground length of a degree of longitude and of
// latitude at a latitude, in metres.
func (e Ellipsoid) PerDegree(lat float64) (lon, latitude float64) {
	s, c := sincos(float64(lat * rad))
	w2 := 1 - float64(e.E2()*float64(s*s))
	w := math.Sqrt(w2)
	return float64(rad * float64(e.A*c) / w), float64(rad * float64(e.A*(1-e.E2())) / float64(w2*w))
}

// ZoneArea returns a number that grows with latitude as the area between the
// equator and that latitude does: the area of a band of one radian of
// longitude, in units of half the semi-major axis squared.
func (e Ellipsoid) ZoneArea(lat float64) float64 {
	s, _ := sincos(float64(lat * rad))
	return e.q(s)
}

// q is Snyder's q for the sine of a latitude.
func (e Ellipsoid) q(s float64) float64 {
	ecc := math.Sqrt(e.E2())
	es := float64(ecc * s)
	return float64((1 - e.E2()) * (s/(1-float64(es*es)) + float64(atanh(es)/ecc)))
}

// m is Snyder's m: the radius of the parallel over the semi-major axis.
func (e Ellipsoid) m(lat float64) float64 {
	s, c := sincos(float64(lat * rad))
	return c / math.Sqrt(1-float64(e.E2()*float64(s*s)))
}

// latitudes turns one latitude into another by a sine series.
type latitudes [6]float64

// at returns lat + Σ c[j]·sin(2(j+1)·lat), given the latitude's sine and
// cosine, by Clenshaw's summation.
func (c *latitudes) at(lat, sin, cos float64) float64 {
	x := float64(2 * float64((cos-sin)*(cos+sin))) // 2 cos 2φ
	var u0, u1 float64
	for j := len(c) - 1; j >= 0; j-- {
		u0, u1 = float64(x*u0)-u1+c[j], u0
	}
	return lat + float64(u0*float64(2*float64(sin*cos)))
}

// series evaluates rows of polynomials in the third flattening; row j holds
// the coefficients of n^(j+1) and up.
func series(n float64, rows [6][]float64) (out latitudes) {
	p := n
	for j, c := range rows {
		out[j] = float64(p * poly(n, c))
		p = float64(p * n)
	}
	return out
}

// conformal returns the series from geodetic to conformal latitude.
func (e Ellipsoid) conformal() latitudes {
	return series(e.n(), [6][]float64{
		{-2, 2. / 3, 4. / 3, -82. / 45, 32. / 45, 4642. / 4725},
		{5. / 3, -16. / 15, -13. / 9, 904. / 315, -1522. / 945},
		{-26. / 15, 34. / 21, 8. / 5, -12686. / 2835},
		{1237. / 630, -12. / 5, -24832. / 14175},
		{-734. / 315, 109598. / 31185},
		{444337. / 155925},
	})
}

// fromConformal returns the series from conformal to geodetic latitude.
func (e Ellipsoid) fromConformal() latitudes {
	return series(e.n(), [6][]float64{
		{2, -2. / 3, -2, 116. / 45, 26. / 45, -2854. / 675},
		{7. / 3, -8. / 5, -227. / 45, 2704. / 315, 2323. / 945},
		{56. / 15, -136. / 35, -1262. / 105, 73814. / 2835},
		{4279. / 630, -332. / 35, -399572. / 14175},
		{4174. / 315, -144838. / 6237},
		{601676. / 22275},
	})
}

// fromAuthalic returns the series from authalic to geodetic latitude.
func (e Ellipsoid) fromAuthalic() latitudes {
	return series(e.n(), [6][]float64{
		{4. / 3, 4. / 45, -16. / 35, -2582. / 14175, 60136. / 467775, 28112932. / 212837625},
		{46. / 45, 152. / 945, -11966. / 14175, -21016. / 51975, 251310128. / 638512875},
		{3044. / 2835, 3802. / 14175, -94388. / 66825, -8797648. / 10945935},
		{6059. / 4725, 41072. / 93555, -1472637812. / 638512875},
		{768272. / 467775, 455935736. / 638512875},
		{4210684958. / 1915538625},
	})
}

// chi returns the sine and cosine of the conformal latitude.
func (c *latitudes) chi(lat float64) (sin, cos float64) {
	phi := float64(lat * rad)
	s, k := sincos(phi)
	return sincos(c.at(phi, s, k))
}

// lat returns the latitude in degrees that the series gives for another
// latitude in radians.
func (c *latitudes) lat(other float64) float64 {
	s, k := sincos(other)
	return max(-90, min(90, float64(c.at(other, s, k)/rad)))
}
