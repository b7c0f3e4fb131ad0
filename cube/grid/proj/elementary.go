package proj

import "math"

// The elementary functions below hold to about one unit in the last place of
// the larger of the result and 1, which is a nanometre on the ground. They use
// only operations that IEEE 754 rounds exactly, and math functions that move
// bits.

// Halves of π/2 and ln 2: the first part has trailing zeros, so that a small
// multiple of it is exact.
const (
	piHalfHi = 1.57079632673412561417e+00
	piHalfLo = 6.07710050650619224932e-11
	ln2Hi    = 6.93147180369123816490e-01
	ln2Lo    = 1.90821492927058770002e-10
)

// poly returns c[0] + c[1]·x + c[2]·x² + … by Horner's rule.
func poly(x float64, c []float64) float64 {
	s := c[len(c)-1]
	for i := len(c) - 2; i >= 0; i-- {
		s = c[i] + float64(s*x)
	}
	return s
}

// Taylor series in x², enough for |x| ≤ π/4.
var (
	sinSeries = []float64{1, -1. / 6, 1. / 120, -1. / 5040, 1. / 362880, -1. / 39916800,
		1. / 6227020800, -1. / 1307674368000, 1. / 355687428096000}
	cosSeries = []float64{1, -1. / 2, 1. / 24, -1. / 720, 1. / 40320, -1. / 3628800,
		1. / 479001600, -1. / 87178291200, 1. / 20922789888000, -1. / 6402373705728000}
)

// sincos returns the sine and cosine of an angle of at most a few turns.
func sincos(x float64) (sin, cos float64) {
	n := math.RoundToEven(float64(x * (2 / math.Pi)))
	r := x - float64(n*piHalfHi) - float64(n*piHalfLo)
	r2 := float64(r * r)
	s, c := float64(r*poly(r2, sinSeries)), poly(r2, cosSeries)
	switch int64(n) & 3 {
	case 0:
		return s, c
	case 1:
		return c, -s
	case 2:
		return -s, -c
	}
	return -c, s
}

// atanSeries is Taylor's in x², enough for |x| ≤ tan(π/12).
var atanSeries = oddReciprocals(14, -1)

// logSeries is that of atanh(x)/x in x², enough for |x| ≤ 3 − 2√2.
var logSeries = oddReciprocals(12, 1)

// oddReciprocals returns 1, ±1/3, 1/5, …
func oddReciprocals(n int, sign float64) []float64 {
	c, s := make([]float64, n), 1.0
	for i := range c {
		c[i], s = s/float64(2*i+1), s*sign
	}
	return c
}

// atan2 returns the angle of the point (x, y) in [-π, π].
func atan2(y, x float64) float64 {
	a, b := math.Abs(y), math.Abs(x)
	if a == 0 && b == 0 {
		return 0
	}
	t := atanRatio(min(a, b), max(a, b))
	if a > b {
		t = math.Pi/2 - t
	}
	if x < 0 {
		t = math.Pi - t
	}
	return math.Copysign(t, y)
}

// atanRatio returns atan(a/b) for 0 ≤ a ≤ b.
func atanRatio(a, b float64) float64 {
	const tan15, tan30 = 0.26794919243112270647, 0.57735026918962576451
	x, base := a/b, 0.0
	if x > tan15 {
		x, base = (x-tan30)/(1+float64(x*tan30)), math.Pi/6
	}
	return base + float64(x*poly(float64(x*x), atanSeries))
}

// asin returns the arc sine, of ±1 where x lies a little beyond.
func asin(x float64) float64 {
	return atan2(x, math.Sqrt(max(0, float64((1-x)*(1+x)))))
}

// log returns the natural logarithm of a positive number.
func log(x float64) float64 {
	f, e := math.Frexp(x)
	if f < math.Sqrt2/2 {
		f, e = f*2, e-1
	}
	s := (f - 1) / (f + 1)
	return float64(float64(e)*ln2Hi) + (float64(2*s*poly(float64(s*s), logSeries)) + float64(float64(e)*ln2Lo))
}

// expSeries is Taylor's, enough for |x| ≤ ln(2)/2.
var expSeries = []float64{1, 1, 1. / 2, 1. / 6, 1. / 24, 1. / 120, 1. / 720, 1. / 5040, 1. / 40320,
	1. / 362880, 1. / 3628800, 1. / 39916800, 1. / 479001600, 1. / 6227020800}

// exp returns e to the power of x, for |x| < 700.
func exp(x float64) float64 {
	n := math.RoundToEven(float64(x * math.Log2E))
	r := x - float64(n*ln2Hi) - float64(n*ln2Lo)
	return math.Ldexp(poly(r, expSeries), int(n))
}

// sinh returns the hyperbolic sine, for |x| < 700.
func sinh(x float64) float64 {
	e := exp(x)
	return float64((e - 1/e) / 2)
}

// atanh returns the inverse hyperbolic tangent, for |x| < 1.
func atanh(x float64) float64 { return float64(log((1+x)/(1-x)) / 2) }
