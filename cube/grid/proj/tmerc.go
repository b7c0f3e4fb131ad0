package proj

import "math"

// farTM bounds how far from its central meridian Transverse Mercator is
// computed, as the sine of the angle from it: 58° at the equator. Beyond,
// the series lose their accuracy.
const farTM = 0.85

// transverseMercator is Krüger's series to the sixth order, as in Karney,
// "Transverse Mercator with an accuracy of a few nanometers" (2011).
type transverseMercator struct {
	p           Params
	radius      float64 // k0 times the rectifying radius
	y0          float64 // northing of the equator
	far         float64 // bound of |η|
	to, from    latitudes
	alpha, beta latitudes
}

// TransverseMercator returns the projection with the natural origin Lon0,
// Lat0, the scale K0 and the false origin FE, FN.
func TransverseMercator(e Ellipsoid, p Params) Projection {
	n := e.n()
	n2 := float64(n * n)
	t := &transverseMercator{p: p, to: e.conformal(), from: e.fromConformal(), far: float64(1.01 * atanh(farTM))}
	t.radius = float64(p.K0 * float64(e.A/(1+n)*poly(n2, []float64{1, 1. / 4, 1. / 64, 1. / 256})))
	t.alpha = series(n, [6][]float64{
		{1. / 2, -2. / 3, 5. / 16, 41. / 180, -127. / 288, 7891. / 37800},
		{13. / 48, -3. / 5, 557. / 1440, 281. / 630, -1983433. / 1935360},
		{61. / 240, -103. / 140, 15061. / 26880, 167603. / 181440},
		{49561. / 161280, -179. / 168, 6601661. / 7257600},
		{34729. / 80640, -3418889. / 1995840},
		{212378941. / 319334400},
	})
	t.beta = series(n, [6][]float64{
		{-1. / 2, 2. / 3, -37. / 96, 1. / 360, 81. / 512, -96199. / 604800},
		{-1. / 48, -1. / 15, 437. / 1440, -46. / 105, 1118711. / 3870720},
		{-17. / 480, 37. / 840, 209. / 4480, -5569. / 90720},
		{-4397. / 161280, 11. / 504, 830251. / 7257600},
		{-4583. / 161280, 108847. / 3991680},
		{-20648693. / 638668800},
	})
	t.y0 = p.FN
	if p.Lat0 != 0 {
		_, y, _ := t.Forward(p.Lon0, p.Lat0)
		t.y0 -= y - p.FN
	}
	return t
}

func (t *transverseMercator) Forward(lon, lat float64) (float64, float64, error) {
	if !onEarth(lon, lat) {
		return 0, 0, ErrOutside
	}
	sinChi, cosChi := t.to.chi(lat)
	sinLam, cosLam := sincos(fromCentre(lon, t.p.Lon0))
	u, q := float64(cosChi*sinLam), float64(cosChi*cosLam)
	if math.Abs(u) > farTM {
		return 0, 0, ErrOutside
	}
	// Sines and cosines of 2ξ′ and 2η′ follow without another function.
	r2, u2 := float64(sinChi*sinChi)+float64(q*q), float64(u*u)
	dXi, dEta := clenshaw(&t.alpha,
		float64(2*float64(sinChi*q))/r2, float64((q-sinChi)*(q+sinChi))/r2,
		2*u/(1-u2), (1+u2)/(1-u2))
	xi, eta := atan2(sinChi, q)+dXi, atanh(u)+dEta
	return t.p.FE + float64(t.radius*eta), t.y0 + float64(t.radius*xi), nil
}

func (t *transverseMercator) Inverse(x, y float64) (float64, float64, error) {
	if !finite(x, y) {
		return 0, 0, ErrOutside
	}
	xi, eta := (y-t.y0)/t.radius, (x-t.p.FE)/t.radius
	if math.Abs(eta) > t.far || math.Abs(xi) > math.Pi {
		return 0, 0, ErrOutside
	}
	sin2, cos2 := sincos(2 * xi)
	e2 := exp(2 * eta)
	dXi, dEta := clenshaw(&t.beta, sin2, cos2, float64((e2-1/e2)/2), float64((e2+1/e2)/2))
	sinXi, cosXi := sincos(xi + dXi)
	sh := sinh(eta + dEta)
	ch2 := 1 + float64(sh*sh)
	lambda := atan2(sh, cosXi)
	chi := atan2(sinXi, math.Sqrt(ch2-float64(sinXi*sinXi)))
	return toLon(lambda, t.p.Lon0), t.from.lat(chi), nil
}

// clenshaw sums c[j]·sin(2(j+1)(ξ + iη)) and returns its real and imaginary
// parts, given the functions of 2ξ and 2η.
func clenshaw(c *latitudes, sin2, cos2, sinh2, cosh2 float64) (re, im float64) {
	sr, si := float64(sin2*cosh2), float64(cos2*sinh2)
	xr, xi := float64(2*float64(cos2*cosh2)), float64(-2*float64(sin2*sinh2))
	var ur, ui, vr, vi float64
	for j := len(c) - 1; j >= 0; j-- {
		ur, ui, vr, vi = float64(xr*ur)-float64(xi*ui)-vr+c[j], float64(xr*ui)+float64(xi*ur)-vi, ur, ui
	}
	return float64(sr*ur) - float64(si*ui), float64(sr*ui) + float64(si*ur)
}
