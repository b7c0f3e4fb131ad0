package proj

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

func TestElementaryFunctionsAgreeWithTheStandardLibrary(t *testing.T) {
	t.Parallel()
	pair := func(f func(float64) (float64, float64), i int) func(float64) float64 {
		return func(x float64) float64 { s, c := f(x); return [2]float64{s, c}[i] }
	}
	tests := []struct {
		name      string
		got, want func(float64) float64
		lo, hi    float64
	}{
		{"sin", pair(sincos, 0), math.Sin, -20, 20},
		{"cos", pair(sincos, 1), math.Cos, -20, 20},
		{"asin", asin, func(x float64) float64 { return math.Atan2(x, math.Sqrt((1-x)*(1+x))) }, -1, 1},
		{"log", log, math.Log, 1e-9, 3},
		{"log of large", log, math.Log, 1, 1e9},
		{"exp", exp, math.Exp, -3, 3},
		{"sinh", sinh, math.Sinh, -3, 3},
		{"atanh", atanh, math.Atanh, -0.99, 0.99},
		{"atan of steep", func(x float64) float64 { return atan2(x, 0.1) }, func(x float64) float64 { return math.Atan2(x, 0.1) }, -1, 1},
		{"atan of back", func(x float64) float64 { return atan2(x, -1) }, func(x float64) float64 { return math.Atan2(x, -1) }, -3, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(1, 2))
			for i := range 20000 {
				x := tt.lo + (tt.hi-tt.lo)*rng.Float64()
				if i < 2 {
					x = [2]float64{tt.lo, tt.hi}[i]
				}
				got, want := tt.got(x), tt.want(x)
				if !(math.Abs(got-want) <= 7e-16*max(1, math.Abs(want))) {
					t.Fatalf("%s(%v) = %v, want %v", tt.name, x, got, want)
				}
			}
		})
	}
}

func TestAtan2KnowsTheAxes(t *testing.T) {
	t.Parallel()
	for _, p := range [][2]float64{{0, 1}, {1, 0}, {0, -1}, {-1, 0}, {1, 1}, {-1, -1}} {
		if got, want := atan2(p[0], p[1]), math.Atan2(p[0], p[1]); math.Abs(got-want) > 1e-15 {
			t.Errorf("atan2(%v, %v) = %v, want %v", p[0], p[1], got, want)
		}
	}
	if atan2(0, 0) != 0 {
		t.Error("the angle of the origin is not 0")
	}
}

// kinds are one projection of each kind, with the area that it serves.
var kinds = map[string]struct {
	p          Projection
	w, s, e, n float64
}{
	"Transverse Mercator":         {TransverseMercator(WGS84, Params{Lon0: 9, K0: 0.9996, FE: 500000}), -40, -89.9, 58, 89.9},
	"Transverse Mercator off 0°":  {TransverseMercator(GRS80, Params{Lon0: -2, Lat0: 49, K0: 0.99, FE: 4e5, FN: -1e5}), -10, 40, 5, 65},
	"Albers in the north":         {Albers(GRS80, Params{Lat0: 23, Lon0: -96, Lat1: 29.5, Lat2: 45.5}), -170, -10, -20, 80},
	"Albers in the south":         {Albers(GRS80, Params{Lon0: 132, Lat1: -18, Lat2: -36}), 90, -60, 170, 10},
	"Albers of one parallel":      {Albers(GRS80, Params{Lat0: 40, Lon0: 0, Lat1: 40, Lat2: 40}), -60, 0, 60, 80},
	"Lambert conformal":           {LambertConformal(GRS80, Params{Lat0: 46.5, Lon0: 3, Lat1: 49, Lat2: 44}), -50, -20, 50, 89},
	"Lambert conformal, southern": {LambertConformal(GRS80, Params{Lat0: -32, Lon0: 147, Lat1: -30, Lat2: -36}), 110, -89, 170, 10},
	"Lambert conformal, tangent":  {LambertConformal(GRS80, Params{Lat0: 40, Lon0: 0, Lat1: 40, Lat2: 40}), -50, 0, 50, 80},
	"stereographic about the N":   {PolarStereographic(WGS84, Params{Lat1: 70, Lon0: -45}), -180, 0, 180, 90},
	"stereographic about the S":   {PolarStereographic(WGS84, Params{Lat1: -71}), -180, -90, 180, 0},
	"azimuthal, oblique":          {LambertAzimuthal(GRS80, Params{Lat0: 52, Lon0: 10, FE: 4321000, FN: 3210000}), -100, -30, 120, 90},
	"azimuthal about the N":       {LambertAzimuthal(WGS84, Params{Lat0: 90}), -180, -60, 180, 89.999},
	"azimuthal about the S":       {LambertAzimuthal(WGS84, Params{Lat0: -90}), -180, -89.999, 180, 60},
	"azimuthal about the equator": {LambertAzimuthal(WGS84, Params{}), -150, -80, 150, 80},
	"equal-area cylinder":         {EqualAreaCylinder(WGS84, Params{Lat1: 30}), -180, -89, 180, 89},
	"web Mercator":                {WebMercator(WGS84), -180, -85, 180, 85},
	"longitude and latitude":      {LonLat(), -180, -90, 180, 90},
}

func TestInverseUndoesForward(t *testing.T) {
	t.Parallel()
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(3, 4))
			for range 5000 {
				lon, lat := k.w+(k.e-k.w)*rng.Float64(), k.s+(k.n-k.s)*rng.Float64()
				x, y, err := k.p.Forward(lon, lat)
				if err != nil {
					t.Fatalf("forward (%v, %v): %v", lon, lat, err)
				}
				lon2, lat2, err := k.p.Inverse(x, y)
				if err != nil {
					t.Fatalf("inverse of (%v, %v): %v", lon, lat, err)
				}
				off := 111e3 * math.Hypot(math.Remainder(lon2-lon, 360)*math.Cos(lat*rad), lat2-lat)
				if !(off < 1e-4) {
					t.Fatalf("(%v, %v) comes back as (%v, %v), %v m off", lon, lat, lon2, lat2, off)
				}
			}
		})
	}
}

func TestEqualAreaProjectionsKeepAreas(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Albers in the north", "Albers in the south", "azimuthal, oblique", "azimuthal about the N", "equal-area cylinder"} {
		k := kinds[name]
		lon, lat, d := (k.w+k.e)/2+3.3, (k.s+k.n)/2+1.7, 1e-3
		at := func(dlon, dlat float64) (float64, float64) {
			x, y, err := k.p.Forward(lon+dlon, lat+dlat)
			if err != nil {
				t.Fatal(err)
			}
			return x, y
		}
		x0, y0 := at(-d, -d)
		x1, y1 := at(d, d)
		x2, y2 := at(-d, d)
		x3, y3 := at(d, -d)
		got := math.Abs((x1-x0)*(y2-y3)-(x2-x3)*(y1-y0)) / 2
		want := WGS84.A * WGS84.A / 2 * (WGS84.ZoneArea(lat+d) - WGS84.ZoneArea(lat-d)) * 2 * d * rad
		if math.Abs(got/want-1) > 1e-6 {
			t.Errorf("%s: a square of %v m² on the ground has %v on the plane", name, want, got)
		}
	}
}

func TestWhatIsNoPointOrFarAwayIsOutside(t *testing.T) {
	t.Parallel()
	nan, inf := math.NaN(), math.Inf(1)
	for name, k := range kinds {
		for _, p := range [][2]float64{{nan, 0}, {0, nan}, {inf, 0}, {0, -inf}, {1e300, 1}, {2, 90.1}} {
			if _, _, err := k.p.Forward(p[0], p[1]); !errors.Is(err, ErrOutside) {
				t.Errorf("%s: forward %v: got %v", name, p, err)
			}
		}
		for _, p := range [][2]float64{{nan, 0}, {0, nan}, {inf, 0}, {0, -inf}, {1e300, 1}, {1, -1e300}} {
			if _, _, err := k.p.Inverse(p[0], p[1]); !errors.Is(err, ErrOutside) {
				t.Errorf("%s: inverse %v: got %v", name, p, err)
			}
		}
	}
	if _, _, err := kinds["Transverse Mercator"].p.Forward(99, 0); !errors.Is(err, ErrOutside) {
		t.Errorf("90° from the central meridian: got %v", err)
	}
	if _, _, err := kinds["Albers in the north"].p.Inverse(0, 12e6); !errors.Is(err, ErrOutside) {
		t.Errorf("beyond the apex of the cone: got %v", err)
	}
}

func TestDegreesHaveTheirLengthOnTheEllipsoid(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ lat, lon, latitude float64 }{
		{0, 111319.491, 110574.276}, {45, 78846.835, 111131.778}, {90, 0, 111693.980},
	} {
		lon, latitude := WGS84.PerDegree(tt.lat)
		if math.Abs(lon-tt.lon) > 0.1 || math.Abs(latitude-tt.latitude) > 0.1 {
			t.Errorf("at %v°: %.3f and %.3f m, want %v and %v", tt.lat, lon, latitude, tt.lon, tt.latitude)
		}
	}
}

func BenchmarkProjection(b *testing.B) {
	for name, k := range kinds {
		lon, lat := (k.w+k.e)/2+3.3, (k.s+k.n)/2+1.7
		x, y, err := k.p.Forward(lon, lat)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/forward", func(b *testing.B) {
			for b.Loop() {
				_, _, _ = k.p.Forward(lon, lat)
			}
		})
		b.Run(name+"/inverse", func(b *testing.B) {
			for b.Loop() {
				_, _, _ = k.p.Inverse(x, y)
			}
		})
	}
}
