package grid

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cubebuild/cube/cube/grid/proj"
)

// CRS names a coordinate reference system by its authority's code, such as
// "EPSG:32610". The empty CRS is unknown and fits nothing. ParseCRS makes the
// only form that is compared; a CRS that it did not make may be of no system
// that is known here, and its methods then say so.
//
// x is always the longitude or easting and y the latitude or northing,
// whatever order of axes the authority states.
//
// WGS 84, NAD83, ETRS89, RGF93 and GDA94 are taken for one another: going
// between two of them moves nothing. They differ by up to two metres on the
// ground, which a transformation without an epoch cannot mend.
type CRS string

// ErrCRS says that a CRS is none that is known here.
var ErrCRS = errors.New("unsupported CRS")

// ErrOutside says that a point lies where a projection has no image for it.
var ErrOutside = proj.ErrOutside

// named are CRSs that are known by other names than an EPSG code.
var named = map[string]CRS{
	"OGC:CRS84": "EPSG:4326", "CRS84": "EPSG:4326", "CRS:84": "EPSG:4326", "WGS84": "EPSG:4326",
	"OGC:CRS83": "EPSG:4269", "CRS83": "EPSG:4269", "CRS:83": "EPSG:4269",
	"ESRI:102100": "EPSG:3857", "EPSG:900913": "EPSG:3857",
}

// maxCRS bounds the text of a CRS, which for WKT runs to some kilobytes.
const maxCRS = 64 << 10

// ParseCRS reads a code ("EPSG:32610", "epsg:32610", "32610", an OGC URN or
// URL, "OGC:CRS84") or WKT, version 1 or 2. WKT is known by its outermost
// identifier; without one, or with one that is not known here, by its datum,
// method and parameters. An identifier that its parameters contradict is an
// error. What is not among the supported systems is an ErrCRS.
func ParseCRS(s string) (CRS, error) {
	if len(s) > maxCRS {
		return "", fmt.Errorf("crs %q: longer than %d bytes: %w", clip(s), maxCRS, ErrCRS)
	}
	s = strings.TrimSpace(s)
	if strings.ContainsAny(s, "[(") {
		return parseWKT(s)
	}
	u := strings.ToUpper(s)
	if c, ok := named[u]; ok {
		return c, nil
	}
	if authority, code, ok := reference(u); ok {
		return byCode(s, authority, code)
	}
	if s == "" {
		return "", fmt.Errorf("crs is empty: write it like EPSG:32610: %w", ErrCRS)
	}
	return "", fmt.Errorf("crs %q: write it like EPSG:32610 or as WKT: %w", clip(s), ErrCRS)
}

// reference splits a reference in upper case, "EPSG:32610", "32610", an OGC
// URN or an OGC URL, into its authority and code.
func reference(u string) (authority, code string, ok bool) {
	const digits = "0123456789"
	for _, form := range []struct{ prefix, separator string }{
		{"URN:OGC:DEF:CRS:", ":"}, {"URN:X-OGC:DEF:CRS:", ":"},
		{"HTTP://WWW.OPENGIS.NET/DEF/CRS/", "/"}, {"HTTPS://WWW.OPENGIS.NET/DEF/CRS/", "/"},
	} {
		if rest, is := strings.CutPrefix(u, form.prefix); is {
			parts := strings.Split(rest, form.separator)
			if len(parts) != 3 || strings.Trim(parts[1], digits+".") != "" {
				return "", "", false
			}
			return parts[0], parts[2], true
		}
	}
	if u != "" && strings.Trim(u, digits) == "" {
		return "EPSG", u, true
	}
	authority, code, ok = strings.Cut(strings.TrimPrefix(u, "+INIT="), ":")
	code = strings.TrimPrefix(code, ":")
	return authority, code, ok && !strings.ContainsAny(authority+code, " =/:")
}

// byCode finds a system by its authority and code.
func byCode(s, authority, code string) (CRS, error) {
	key := authority + ":" + strings.TrimLeft(code, "0")
	if c, ok := named[key]; ok {
		return c, nil
	}
	if _, ok := systems()[CRS(key)]; ok {
		return CRS(key), nil
	}
	return "", fmt.Errorf("crs %q: %w: known are %s", clip(s), ErrCRS, supported)
}

// Supported lists every CRS that is known here.
func Supported() []CRS {
	all := make([]CRS, 0, len(systems()))
	for c := range systems() {
		all = append(all, c)
	}
	slices.Sort(all)
	return all
}

// Valid returns an ErrCRS unless the CRS is one that ParseCRS makes.
func (c CRS) Valid() error {
	if _, ok := systems()[c]; !ok {
		return fmt.Errorf("crs %q: %w: known are %s", clip(string(c)), ErrCRS, supported)
	}
	return nil
}

// IsGeographic reports whether coordinates are degrees of longitude and
// latitude.
func (c CRS) IsGeographic() bool {
	s, ok := systems()[c]
	return ok && s.method == nil
}

// Unit is the unit of coordinates, "metre" or "degree", empty for a CRS that
// is not known.
func (c CRS) Unit() string {
	s, ok := systems()[c]
	switch {
	case !ok:
		return ""
	case s.method == nil:
		return "degree"
	}
	return "metre"
}

// Name is the authority's name, such as "WGS 84 / UTM zone 10N", or the CRS's
// own text where it is not known.
func (c CRS) Name() string {
	if s, ok := systems()[c]; ok {
		return s.name
	}
	return string(c)
}

// WKT2 is the CRS as OGC WKT 2:2019 with its identifier, empty for a CRS that
// is not known.
func (c CRS) WKT2() string {
	if s, ok := systems()[c]; ok {
		return s.wkt()
	}
	return ""
}

// Forward projects degrees to coordinates of the CRS. A point that has none
// is an ErrOutside.
func (c CRS) Forward(lon, lat float64) (x, y float64, err error) {
	s, ok := systems()[c]
	if !ok {
		return 0, 0, c.Valid()
	}
	return s.projection().Forward(lon, lat)
}

// Inverse takes coordinates of the CRS back to degrees, the longitude in
// [-180, 180] unless the CRS is geographic, where it stays as it is.
func (c CRS) Inverse(x, y float64) (lon, lat float64, err error) {
	s, ok := systems()[c]
	if !ok {
		return 0, 0, c.Valid()
	}
	return s.projection().Inverse(x, y)
}

// Transformer returns a function that takes coordinates of one CRS to
// another. It may be called from many goroutines at once and its error, for a
// point that has no image, is ErrOutside itself.
func Transformer(from, to CRS) (func(x, y float64) (float64, float64, error), error) {
	a, ok := systems()[from]
	if !ok {
		return nil, from.Valid()
	}
	b, ok := systems()[to]
	if !ok {
		return nil, to.Valid()
	}
	if from == to {
		return same, nil
	}
	inverse, forward := a.projection(), b.projection()
	return func(x, y float64) (float64, float64, error) {
		lon, lat, err := inverse.Inverse(x, y)
		if err != nil {
			return 0, 0, err
		}
		return forward.Forward(lon, lat)
	}, nil
}

// same leaves a point where it is.
func same(x, y float64) (float64, float64, error) { return x, y, nil }

// CF returns the CF grid mapping of the CRS with all its attributes, crs_wkt
// among them: numbers are float64 or []float64, the rest strings. It is nil
// for a CRS that is not known.
func (c CRS) CF() map[string]any {
	s, ok := systems()[c]
	if !ok {
		return nil
	}
	e := s.datum.ellipsoid
	m := map[string]any{
		"crs_wkt":                     s.wkt(),
		"semi_major_axis":             e.A,
		"semi_minor_axis":             e.A - e.A/e.InvF,
		"inverse_flattening":          e.InvF,
		"reference_ellipsoid_name":    s.datum.figure,
		"longitude_of_prime_meridian": 0.0,
		"prime_meridian_name":         "Greenwich",
		"geographic_crs_name":         s.datum.name,
		"horizontal_datum_name":       s.datum.frame,
	}
	if s.method == nil {
		m["grid_mapping_name"] = "latitude_longitude"
		return m
	}
	m["projected_crs_name"] = s.name
	if s.method.cf == "" {
		return m
	}
	m["grid_mapping_name"] = s.method.cf
	for _, p := range s.method.parameters {
		m[s.method.attribute(p.role)] = s.value(p.role)
	}
	switch s.method {
	case albers, lambertConic:
		m["standard_parallel"] = []float64{s.params.Lat1, s.params.Lat2}
	case polarStereographic:
		m["latitude_of_projection_origin"] = 90.0
		if s.params.Lat1 < 0 {
			m["latitude_of_projection_origin"] = -90.0
		}
	}
	return m
}

// attribute is CF's name of a parameter.
func (m *method) attribute(r role) string {
	switch r {
	case lat0:
		return "latitude_of_projection_origin"
	case lat1, lat2:
		return "standard_parallel"
	case scale:
		return "scale_factor_at_central_meridian"
	case easting:
		return "false_easting"
	case northing:
		return "false_northing"
	}
	switch m {
	case lambertAzimuthal:
		return "longitude_of_projection_origin"
	case polarStereographic:
		return "straight_vertical_longitude_from_pole"
	}
	return "longitude_of_central_meridian"
}
