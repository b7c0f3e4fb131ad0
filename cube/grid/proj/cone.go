package proj

import "math"

// cone turns a point's distance from the apex and angle about it into the
// plane and back; it is what the conic and polar projections share.
type cone struct {
	p    Params
	n    float64 // cone constant; its sign is the hemisphere
	rho0 float64 // distance of the origin from the apex
}

func (c *cone) forward(rho, lon float64) (x, y float64) {
	s, k := sincos(float64(c.n * fromCentre(lon, c.p.Lon0)))
	return c.p.FE + float64(rho*s), c.p.FN + (c.rho0 - float64(rho*k))
}

// inverse returns the distance from the apex, negative in the south, and the
// longitude.
func (c *cone) inverse(x, y float64) (rho, lon float64, err error) {
	dx, dy := x-c.p.FE, c.rho0-(y-c.p.FN)
	if c.n < 0 {
		dx, dy = -dx, -dy
	}
	rho = math.Copysign(math.Sqrt(float64(dx*dx)+float64(dy*dy)), c.n)
	lambda := atan2(dx, dy) / c.n
	if math.Abs(lambda) > math.Pi*(1+1e-12) {
		return 0, 0, ErrOutside
	}
	return rho, toLon(lambda, c.p.Lon0), nil
}

// albers is Albers equal area, as in Snyder (1987), p. 101.
type albers struct {
	cone
	e    Ellipsoid
	c    float64
	qp   float64
	from latitudes
}

// Albers returns the equal-area conic with the standard parallels Lat1 and
// Lat2 and the false origin at Lon0, Lat0.
func Albers(e Ellipsoid, p Params) Projection {
	s1, _ := sincos(float64(p.Lat1 * rad))
	s2, _ := sincos(float64(p.Lat2 * rad))
	s0, _ := sincos(float64(p.Lat0 * rad))
	m1, m2 := e.m(p.Lat1), e.m(p.Lat2)
	q1, q2 := e.q(s1), e.q(s2)
	a := &albers{cone: cone{p: p, n: s1}, e: e, qp: e.q(1), from: e.fromAuthalic()}
	if p.Lat1 != p.Lat2 {
		a.n = float64((m1-m2)*(m1+m2)) / (q2 - q1)
	}
	a.c = float64(m1*m1) + float64(a.n*q1)
	a.rho0 = a.rho(e.q(s0))
	return a
}

func (a *albers) rho(q float64) float64 {
	return float64(a.e.A*math.Sqrt(max(0, a.c-float64(a.n*q)))) / a.n
}

func (a *albers) Forward(lon, lat float64) (float64, float64, error) {
	if !onEarth(lon, lat) {
		return 0, 0, ErrOutside
	}
	s, _ := sincos(float64(lat * rad))
	x, y := a.forward(a.rho(a.e.q(s)), lon)
	return x, y, nil
}

func (a *albers) Inverse(x, y float64) (float64, float64, error) {
	if !finite(x, y) {
		return 0, 0, ErrOutside
	}
	rho, lon, err := a.inverse(x, y)
	if err != nil {
		return 0, 0, err
	}
	k := float64(rho*a.n) / a.e.A
	sinBeta := (a.c - float64(k*k)) / float64(a.n*a.qp)
	if math.Abs(sinBeta) > 1+1e-12 {
		return 0, 0, ErrOutside
	}
	return lon, a.from.lat(asin(sinBeta)), nil
}

// conformalCone is Lambert conformal conic, and polar stereographic, which is
// the cone of constant ±1.
type conformalCone struct {
	cone
	scale    float64
	to, from latitudes
}

// LambertConformal returns the conformal conic with the standard parallels
// Lat1 and Lat2 and the false origin at Lon0, Lat0.
func LambertConformal(e Ellipsoid, p Params) Projection {
	l := &conformalCone{cone: cone{p: p}, to: e.conformal(), from: e.fromConformal()}
	m1, m2 := e.m(p.Lat1), e.m(p.Lat2)
	t1, t2 := l.colatitude(p.Lat1), l.colatitude(p.Lat2)
	l.n, _ = sincos(float64(p.Lat1 * rad))
	if p.Lat1 != p.Lat2 {
		l.n = (log(m1) - log(m2)) / (log(t1) - log(t2))
	}
	l.scale = float64(e.A*m1) / float64(l.n*exp(float64(l.n*log(t1))))
	l.rho0 = l.rho(p.Lat0)
	return l
}

// PolarStereographic returns the projection true to scale on the parallel
// Lat1, whose sign is the pole, with Lon0 pointing down (north) or up (south).
func PolarStereographic(e Ellipsoid, p Params) Projection {
	l := &conformalCone{cone: cone{p: p, n: math.Copysign(1, p.Lat1)}, to: e.conformal(), from: e.fromConformal()}
	t := l.colatitude(p.Lat1)
	if l.n < 0 {
		t = 1 / t
	}
	l.scale = float64(l.n*float64(e.A*e.m(p.Lat1))) / t
	return l
}

// colatitude is Snyder's t: the tangent of half the conformal colatitude.
func (l *conformalCone) colatitude(lat float64) float64 {
	s, c := l.to.chi(lat)
	if s < 0 {
		return (1 - s) / c
	}
	return c / (1 + s)
}

// rho returns the distance from the apex.
func (l *conformalCone) rho(lat float64) float64 {
	t := l.colatitude(lat)
	switch {
	case l.n == 1:
		return float64(l.scale * t)
	case l.n == -1:
		return l.scale / t
	case t <= 0:
		return 0
	}
	return float64(l.scale * exp(float64(l.n*log(t))))
}

func (l *conformalCone) Forward(lon, lat float64) (float64, float64, error) {
	// The pole behind the apex is infinitely far.
	if !onEarth(lon, lat) || l.n > 0 && lat < -80 || l.n < 0 && lat > 80 {
		return 0, 0, ErrOutside
	}
	x, y := l.forward(l.rho(lat), lon)
	return x, y, nil
}

func (l *conformalCone) Inverse(x, y float64) (float64, float64, error) {
	if !finite(x, y) {
		return 0, 0, ErrOutside
	}
	rho, lon, err := l.inverse(x, y)
	if err != nil {
		return 0, 0, err
	}
	t := rho / l.scale
	switch {
	case t <= 0:
		return lon, math.Copysign(90, l.n), nil
	case l.n == -1:
		t = 1 / t
	case l.n != 1:
		t = exp(log(t) / l.n)
	}
	// χ = π/2 − 2 atan t
	chi := float64(2 * atan2(1-t, 1+t))
	return lon, l.from.lat(chi), nil
}
