package proj

import "math"

// lambertAzimuthal is Lambert's azimuthal equal area, oblique and polar, as
// in EPSG Guidance Note 7-2, method 9820.
type lambertAzimuthal struct {
	e          Ellipsoid
	p          Params
	qp, rq     float64
	sin0, cos0 float64 // of the authalic latitude of the origin
	d          float64
	from       latitudes
}

// LambertAzimuthal returns the equal-area azimuthal projection about Lon0,
// Lat0.
func LambertAzimuthal(e Ellipsoid, p Params) Projection {
	l := &lambertAzimuthal{e: e, p: p, qp: e.q(1), d: 1, from: e.fromAuthalic()}
	l.rq = float64(e.A * math.Sqrt(float64(l.qp/2)))
	l.sin0, l.cos0 = math.Copysign(1, p.Lat0), 0
	if math.Abs(p.Lat0) < 90 {
		l.sin0, l.cos0 = l.authalic(p.Lat0)
		l.d = float64(e.A*e.m(p.Lat0)) / float64(l.rq*l.cos0)
	}
	return l
}

// authalic returns the sine and cosine of the authalic latitude.
func (l *lambertAzimuthal) authalic(lat float64) (sin, cos float64) {
	s, _ := sincos(float64(lat * rad))
	sin = l.e.q(s) / l.qp
	return sin, math.Sqrt(max(0, float64((1-sin)*(1+sin))))
}

func (l *lambertAzimuthal) Forward(lon, lat float64) (float64, float64, error) {
	if !onEarth(lon, lat) {
		return 0, 0, ErrOutside
	}
	sb, cb := l.authalic(lat)
	sl, cl := sincos(fromCentre(lon, l.p.Lon0))
	cosC := float64(l.sin0*sb) + float64(l.cos0*float64(cb*cl))
	if cosC < -0.999 { // the antipode is a circle
		return 0, 0, ErrOutside
	}
	b := float64(l.rq * math.Sqrt(2/(1+cosC)))
	x := float64(float64(b*l.d) * float64(cb*sl))
	y := float64(b/l.d) * (float64(l.cos0*sb) - float64(l.sin0*float64(cb*cl)))
	return l.p.FE + x, l.p.FN + float64(y), nil
}

func (l *lambertAzimuthal) Inverse(x, y float64) (float64, float64, error) {
	if !finite(x, y) {
		return 0, 0, ErrOutside
	}
	u, v := (x-l.p.FE)/l.d, float64((y-l.p.FN)*l.d)
	r2 := float64(u*u) + float64(v*v)
	// sin²(c/2), and from it the sine and cosine of c.
	h := r2 / float64(4*float64(l.rq*l.rq))
	if h > 0.9995 {
		return 0, 0, ErrOutside
	}
	cosC := 1 - float64(2*h)
	k := math.Sqrt(1-h) / l.rq // sin c / rho
	u, v = float64(u*k), float64(v*k)
	sinBeta := float64(cosC*l.sin0) + float64(v*l.cos0)
	lambda := atan2(u, float64(l.cos0*cosC)-float64(l.sin0*v))
	return toLon(lambda, l.p.Lon0), l.from.lat(asin(sinBeta)), nil
}

// equalAreaCylinder is Lambert's cylindrical equal area.
type equalAreaCylinder struct {
	e      Ellipsoid
	p      Params
	qp, k0 float64
	from   latitudes
}

// EqualAreaCylinder returns the cylindrical equal-area projection true to
// scale on the parallel Lat1.
func EqualAreaCylinder(e Ellipsoid, p Params) Projection {
	return &equalAreaCylinder{e: e, p: p, qp: e.q(1), k0: e.m(p.Lat1), from: e.fromAuthalic()}
}

func (c *equalAreaCylinder) Forward(lon, lat float64) (float64, float64, error) {
	if !onEarth(lon, lat) {
		return 0, 0, ErrOutside
	}
	s, _ := sincos(float64(lat * rad))
	x := float64(float64(c.e.A*c.k0) * fromCentre(lon, c.p.Lon0))
	return c.p.FE + x, c.p.FN + float64(c.e.A*c.e.q(s))/float64(2*c.k0), nil
}

func (c *equalAreaCylinder) Inverse(x, y float64) (float64, float64, error) {
	lambda := (x - c.p.FE) / float64(c.e.A*c.k0)
	sinBeta := float64(2*float64((y-c.p.FN)*c.k0)) / float64(c.e.A*c.qp)
	if !finite(x, y) || math.Abs(lambda) > math.Pi*(1+1e-9) || math.Abs(sinBeta) > 1+1e-9 {
		return 0, 0, ErrOutside
	}
	return toLon(lambda, c.p.Lon0), c.from.lat(asin(sinBeta)), nil
}

// webMercator is the sphere's Mercator applied to the ellipsoid's latitudes.
type webMercator struct{ a float64 }

// WebMercator returns the pseudo-Mercator of web maps.
func WebMercator(e Ellipsoid) Projection { return webMercator{e.A} }

func (m webMercator) Forward(lon, lat float64) (float64, float64, error) {
	if !onEarth(lon, lat) || math.Abs(lat) > 89.9 {
		return 0, 0, ErrOutside
	}
	s, _ := sincos(float64(lat * rad))
	return float64(m.a * fromCentre(lon, 0)), float64(m.a * atanh(s)), nil
}

func (m webMercator) Inverse(x, y float64) (float64, float64, error) {
	lambda := x / m.a
	if !finite(x, y) || math.Abs(lambda) > math.Pi*(1+1e-9) || math.Abs(y) > 6e7 {
		return 0, 0, ErrOutside
	}
	return toLon(lambda, 0), float64(atan2(sinh(y/m.a), 1) / rad), nil
}
