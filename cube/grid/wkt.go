package grid

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	degreeUnit = `ANGLEUNIT["degree",0.0174532925199433]`
	metreUnit  = `LENGTHUNIT["metre",1]`
)

// wkt writes the system as WKT 2:2019, without its area of use. The datum is
// written as such also where the authority calls it an ensemble: every reader
// knows datums, and all of them take the identifier.
func (s *system) wkt() string {
	d := s.datum
	frame := fmt.Sprintf(`DATUM[%q,ELLIPSOID[%q,%s,%s,%s]],PRIMEM["Greenwich",0,%s]`,
		d.frame, d.figure, number(d.ellipsoid.A), number(d.ellipsoid.InvF), metreUnit, degreeUnit)
	if s.method == nil {
		return fmt.Sprintf(`GEOGCRS[%q,%s,CS[ellipsoidal,2],`+
			`AXIS["geodetic latitude (Lat)",north,ORDER[1],%s],AXIS["geodetic longitude (Lon)",east,ORDER[2],%s],ID["EPSG",%d]]`,
			s.name, frame, degreeUnit, degreeUnit, s.code)
	}
	return fmt.Sprintf(`PROJCRS[%q,BASEGEOGCRS[%q,%s,ID["EPSG",%d]],%s,CS[Cartesian,2],%s,ID["EPSG",%d]]`,
		s.name, d.name, frame, d.code, s.conversionWKT(), s.axesWKT(), s.code)
}

func (s *system) conversionWKT() string {
	var b strings.Builder
	fmt.Fprintf(&b, `CONVERSION[%q,METHOD[%q,ID["EPSG",%d]]`, s.conversion, s.method.name, s.method.code)
	for _, p := range s.method.parameters {
		unit := degreeUnit
		switch p.role {
		case easting, northing:
			unit = metreUnit
		case scale:
			unit = `SCALEUNIT["unity",1]`
		}
		fmt.Fprintf(&b, `,PARAMETER[%q,%s,%s,ID["EPSG",%d]]`, p.name, number(s.value(p.role)), unit, p.code)
	}
	return b.String() + "]"
}

func (s *system) axesWKT() string {
	pole := func(name, direction string, meridian float64) string {
		m := math.Mod(meridian+540, 360) - 180
		if m == -180 {
			m = 180
		}
		return fmt.Sprintf("%q,%s,MERIDIAN[%s,%s]", name, direction, number(m), degreeUnit)
	}
	const e, n = `"easting (X)"`, `"northing (Y)"`
	lon := s.params.Lon0
	pair := [...][2]string{
		axesEN:          {`"(E)",east`, `"(N)",north`},
		axesXY:          {e + ",east", n + ",north"},
		axesNE:          {`"northing (N)",north`, `"easting (E)",east`},
		axesYX:          {n + ",north", e + ",east"},
		axesNorthPole:   {pole("easting (X)", "south", lon+90), pole("northing (Y)", "south", lon+180)},
		axesSouthPole:   {pole("easting (X)", "north", lon+90), pole("northing (Y)", "north", lon)},
		axesSouthPoleEN: {pole("(E)", "north", lon+90), pole("(N)", "north", lon)},
	}[s.axes]
	return fmt.Sprintf("AXIS[%s,ORDER[1],%s],AXIS[%s,ORDER[2],%s]", pair[0], metreUnit, pair[1], metreUnit)
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// node is one KEYWORD[…] of a WKT text.
type node struct {
	keyword  string
	texts    []string  // quoted strings and bare words
	numbers  []float64 // numbers
	children []*node
}

// maxDepth bounds how deep the brackets of WKT may nest; real ones need eight.
const maxDepth = 32

var errWKT = errors.New("is no well-formed WKT")

// scanner reads WKT.
type scanner struct {
	s string
	i int
}

// skip passes white space and returns the next byte, 0 at the end.
func (sc *scanner) skip() byte {
	for sc.i < len(sc.s) && strings.IndexByte(" \t\r\n", sc.s[sc.i]) >= 0 {
		sc.i++
	}
	if sc.i == len(sc.s) {
		return 0
	}
	return sc.s[sc.i]
}

// word reads up to a delimiter.
func (sc *scanner) word() string {
	sc.skip()
	start := sc.i
	for sc.i < len(sc.s) && strings.IndexByte(" \t\r\n[](),\"", sc.s[sc.i]) < 0 {
		sc.i++
	}
	return sc.s[start:sc.i]
}

// quoted reads a string in double quotes, in which a doubled one is one.
func (sc *scanner) quoted() (string, error) {
	var b strings.Builder
	for sc.i++; sc.i < len(sc.s); sc.i++ {
		if sc.s[sc.i] != '"' {
			b.WriteByte(sc.s[sc.i])
			continue
		}
		sc.i++
		if sc.i == len(sc.s) || sc.s[sc.i] != '"' {
			return b.String(), nil
		}
		b.WriteByte('"')
	}
	return "", errWKT
}

// node reads KEYWORD[ value, … ], whose keyword has been read.
func (sc *scanner) node(keyword string, depth int) (*node, error) {
	if depth > maxDepth || keyword == "" {
		return nil, errWKT
	}
	n := &node{keyword: strings.ToUpper(keyword)}
	for sc.i++; ; sc.i++ {
		if err := sc.value(n, depth); err != nil {
			return nil, err
		}
		switch sc.skip() {
		case ',':
		case ']', ')':
			sc.i++
			return n, nil
		default:
			return nil, errWKT
		}
	}
}

// value reads one value into n.
func (sc *scanner) value(n *node, depth int) error {
	if sc.skip() == '"' {
		t, err := sc.quoted()
		n.texts = append(n.texts, t)
		return err
	}
	w := sc.word()
	if c := sc.skip(); c == '[' || c == '(' {
		child, err := sc.node(w, depth+1)
		n.children = append(n.children, child)
		return err
	}
	if w == "" {
		return errWKT
	}
	if v, err := strconv.ParseFloat(w, 64); err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) {
		n.numbers = append(n.numbers, v)
		return nil
	}
	n.texts = append(n.texts, w)
	return nil
}

// scanWKT reads a whole text.
func scanWKT(s string) (*node, error) {
	sc := &scanner{s: s}
	w := sc.word()
	if c := sc.skip(); c != '[' && c != '(' {
		return nil, errWKT
	}
	n, err := sc.node(w, 0)
	if err != nil {
		return nil, err
	}
	if sc.skip() != 0 {
		return nil, errWKT
	}
	return n, nil
}

// find returns the first child with one of the keywords, or nil.
func (n *node) find(keywords ...string) *node {
	if n == nil {
		return nil
	}
	for _, c := range n.children {
		if slices.Contains(keywords, c.keyword) {
			return c
		}
	}
	return nil
}

// text returns the i-th string, or nothing.
func (n *node) text(i int) string {
	if n == nil || i >= len(n.texts) {
		return ""
	}
	return n.texts[i]
}

// number returns the i-th number, or NaN.
func (n *node) number(i int) float64 {
	if n == nil || i >= len(n.numbers) {
		return math.NaN()
	}
	return n.numbers[i]
}

// id returns the node's own EPSG code, 0 where it has none.
func (n *node) id() int {
	a := n.find("ID", "AUTHORITY")
	if a == nil || !strings.EqualFold(a.text(0), "EPSG") {
		return 0
	}
	if v := a.number(0); v > 0 && v < 1e7 {
		return int(v)
	}
	code, _ := strconv.Atoi(a.text(1))
	return code
}

// parseWKT finds the system that a WKT text describes.
func parseWKT(s string) (CRS, error) {
	root, err := scanWKT(s)
	if err != nil {
		return "", fmt.Errorf("crs %q: %w", clip(s), err)
	}
	n := root.horizontal()
	found := n.match()
	if code := n.id(); code != 0 {
		c := epsg(code)
		if alias, ok := named[string(c)]; ok {
			c = alias
		}
		if _, ok := systems()[c]; ok {
			if found != "" && found != c {
				return "", fmt.Errorf("crs %q: says that it is %s, but its parameters are those of %s", clip(n.text(0)), c, found)
			}
			return c, nil
		}
		if found == "" {
			return "", fmt.Errorf("crs %q (%s): %w: known are %s", clip(n.text(0)), c, ErrCRS, supported)
		}
	}
	if found == "" {
		return "", fmt.Errorf("crs %q: its WKT names no EPSG code and its parameters are those of no system that is known: %w: known are %s",
			clip(n.text(0)), ErrCRS, supported)
	}
	return found, nil
}

// horizontal unwraps a compound or bound CRS down to the system of x and y.
func (n *node) horizontal() *node {
	for range maxDepth {
		inner := n
		switch n.keyword {
		case "COMPOUNDCRS", "COMPD_CS":
			inner = n.find("PROJCRS", "PROJECTEDCRS", "PROJCS", "GEOGCRS", "GEOGRAPHICCRS", "GEODCRS", "GEOGCS", "BOUNDCRS")
		case "BOUNDCRS":
			inner = n.find("SOURCECRS")
		case "SOURCECRS":
			inner = n.find("PROJCRS", "PROJECTEDCRS", "PROJCS", "GEOGCRS", "GEOGRAPHICCRS", "GEODCRS", "GEOGCS")
		}
		if inner == nil || inner == n {
			break
		}
		n = inner
	}
	return n
}

// match finds the system by datum, method and parameters, or returns "".
func (n *node) match() CRS {
	switch n.keyword {
	case "GEOGCRS", "GEOGRAPHICCRS", "GEODCRS", "GEODETICCRS", "GEOGCS":
		if d := n.datum(); d != nil && n.twoAxes() {
			return epsg(d.code)
		}
	case "PROJCRS", "PROJECTEDCRS", "PROJCS":
		return n.matchProjected()
	}
	return ""
}

// twoAxes reports whether a geographic CRS is neither geocentric nor 3D.
func (n *node) twoAxes() bool {
	cs := n.find("CS")
	return cs == nil || strings.EqualFold(cs.text(0), "ellipsoidal") && cs.number(0) == 2
}

// datum returns the known datum of a geographic CRS in degrees from
// Greenwich, or nil.
func (n *node) datum() *datum {
	frame := n.find("DATUM", "ENSEMBLE", "GEODETICDATUM", "TRF")
	figure := frame.find("ELLIPSOID", "SPHEROID")
	if unit := n.find("UNIT", "ANGLEUNIT"); unit != nil && !near(unit.number(0), math.Pi/180) {
		return nil
	}
	if prime := n.find("PRIMEM", "PRIMEMERIDIAN"); prime != nil && prime.number(0) != 0 {
		return nil
	}
	name, code := normal(frame.text(0)), n.id()
	for _, d := range []*datum{wgs84, nad83, etrs89, rgf93, gda94} {
		if (d.code == code || slices.Contains(d.aliases, name)) &&
			near(figure.number(0), d.ellipsoid.A) && near(figure.number(1), d.ellipsoid.InvF) {
			return d
		}
	}
	return nil
}

// roles are the WKT names of parameters, as normal writes them.
var roles = map[string]role{
	"centralmeridian": lon0, "longitudeofcenter": lon0, "longitudeoforigin": lon0,
	"longitudeofnaturalorigin": lon0, "longitudeoffalseorigin": lon0, "straightverticallongitudefrompole": lon0,
	"latitudeoforigin": lat0, "latitudeofcenter": lat0, "latitudeofnaturalorigin": lat0, "latitudeoffalseorigin": lat0,
	"standardparallel1": lat1, "latitudeof1ststandardparallel": lat1, "latitudeofstandardparallel": lat1,
	"standardparallel2": lat2, "latitudeof2ndstandardparallel": lat2,
	"scalefactor": scale, "scalefactoratnaturalorigin": scale,
	"falseeasting": easting, "eastingatfalseorigin": easting,
	"falsenorthing": northing, "northingatfalseorigin": northing,
}

func (n *node) matchProjected() CRS {
	base := n.find("BASEGEOGCRS", "BASEGEODCRS", "GEOGCS", "GEOGCRS")
	conversion := n.find("CONVERSION")
	if conversion == nil {
		conversion = n
	}
	if unit := n.find("UNIT", "LENGTHUNIT"); unit != nil && !near(unit.number(0), 1) {
		return ""
	}
	if base == nil {
		return ""
	}
	d, m := base.datum(), conversion.method()
	if d == nil || m == nil || m == pseudoMercator && !n.isSpherical(conversion) {
		return ""
	}
	given, ok := conversion.parameters(m)
	if !ok {
		return ""
	}
	for _, s := range systems() {
		if s.datum == d && s.method == m && s.matches(given) {
			return epsg(s.code)
		}
	}
	return ""
}

// method returns the known method of a conversion, or nil.
func (n *node) method() *method {
	name := normal(n.find("METHOD", "PROJECTION").text(0))
	for _, m := range methods {
		if slices.Contains(m.aliases, name) {
			return m
		}
	}
	return nil
}

// isSpherical tells the web's Mercator from the ellipsoid's, which WKT 1
// gives the same name.
func (n *node) isSpherical(conversion *node) bool {
	if normal(conversion.find("METHOD", "PROJECTION").text(0)) != "mercator1sp" {
		return true
	}
	return strings.Contains(n.find("EXTENSION").text(1), "+a=6378137 +b=6378137")
}

// parameters reads a conversion's parameters; it fails on one that is in
// other units than degrees and metres, or that is not known.
func (n *node) parameters(m *method) (given map[role]float64, ok bool) {
	given = map[role]float64{}
	for _, p := range n.children {
		if p.keyword != "PARAMETER" {
			continue
		}
		name := normal(p.text(0))
		if name == "auxiliaryspheretype" && p.number(0) == 0 {
			continue
		}
		r, known := roles[name]
		if _, twice := given[r]; !known || twice || !p.plainUnit() {
			return nil, false
		}
		given[r] = p.number(0)
	}
	// WKT 1 calls a polar standard parallel the latitude of origin.
	if lat, has := given[lat1]; m == polarStereographic && !has {
		given[lat1] = given[lat0]
		delete(given, lat0)
	} else if m == polarStereographic && math.Abs(given[lat0]) == 90 && given[lat0]*lat > 0 {
		delete(given, lat0)
	}
	return given, true
}

// plainUnit reports whether a parameter is in degrees, metres or unity.
func (n *node) plainUnit() bool {
	if u := n.find("ANGLEUNIT"); u != nil {
		return near(u.number(0), math.Pi/180)
	}
	u := n.find("LENGTHUNIT", "SCALEUNIT")
	return u == nil || near(u.number(0), 1)
}

// matches reports whether the given parameters are the system's; one that is
// not given is 0, and a scale 1.
func (s *system) matches(given map[role]float64) bool {
	for r := lon0; r <= northing; r++ {
		v, has := given[r]
		want := s.value(r)
		if r == scale {
			if !has {
				v = 1
			}
			if want == 0 {
				want = 1
			}
		}
		if s.method == pseudoMercator && r == lat1 && v == 0 {
			continue
		}
		if !(math.Abs(v-want) <= 1e-9*max(1, math.Abs(want))) {
			return false
		}
	}
	return true
}

// near reports whether two sizes agree as far as WKT writes them.
func near(v, want float64) bool { return math.Abs(v-want) <= 1e-9*math.Abs(want) }

// normal lowers a name to its letters and digits, without ESRI's prefix of
// datums.
func normal(s string) string {
	if len(s) > 2 && strings.EqualFold(s[:2], "D_") {
		s = s[2:]
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, s)
}
