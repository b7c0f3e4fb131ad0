package grid

import (
	"fmt"
	"sync"

	"github.com/cubebuild/cube/cube/grid/proj"
)

// datum is a geographic CRS and the frame that it stands on.
type datum struct {
	code      int
	name      string
	frame     string
	ellipsoid proj.Ellipsoid
	figure    string   // the ellipsoid's name
	aliases   []string // of the frame, as normal writes them
}

var (
	wgs84  = &datum{4326, "WGS 84", "World Geodetic System 1984", proj.WGS84, "WGS 84", []string{"wgs1984", "wgs84", "worldgeodeticsystem1984", "worldgeodeticsystem1984ensemble"}}
	nad83  = &datum{4269, "NAD83", "North American Datum 1983", proj.GRS80, "GRS 1980", []string{"nad83", "northamericandatum1983", "northamerican1983"}}
	etrs89 = &datum{4258, "ETRS89", "European Terrestrial Reference System 1989", proj.GRS80, "GRS 1980", []string{"etrs89", "etrs1989", "europeanterrestrialreferencesystem1989", "europeanterrestrialreferencesystem1989ensemble"}}
	rgf93  = &datum{4171, "RGF93 v1", "Reseau Geodesique Francais 1993 v1", proj.GRS80, "GRS 1980", []string{"rgf93", "rgf1993", "reseaugeodesiquefrancais1993", "reseaugeodesiquefrancais1993v1"}}
	gda94  = &datum{4283, "GDA94", "Geocentric Datum of Australia 1994", proj.GRS80, "GRS 1980", []string{"gda94", "gda1994", "geocentricdatumofaustralia1994"}}
)

// role is what a parameter means to a projection.
type role int

const (
	lon0 role = iota
	lat0
	lat1
	lat2
	scale
	easting
	northing
)

// parameter is one of a method's, with its EPSG name and code.
type parameter struct {
	role role
	name string
	code int
}

// method is a kind of projection.
type method struct {
	name       string // EPSG's
	code       int
	cf         string   // CF's grid_mapping_name, empty where CF has none
	aliases    []string // WKT names, as normal writes them
	parameters []parameter
	project    func(proj.Ellipsoid, proj.Params) proj.Projection
}

var (
	natural = []parameter{
		{lat0, "Latitude of natural origin", 8801}, {lon0, "Longitude of natural origin", 8802},
	}
	falseOrigin = []parameter{
		{easting, "False easting", 8806}, {northing, "False northing", 8807},
	}
	conic = []parameter{
		{lat0, "Latitude of false origin", 8821}, {lon0, "Longitude of false origin", 8822},
		{lat1, "Latitude of 1st standard parallel", 8823}, {lat2, "Latitude of 2nd standard parallel", 8824},
		{easting, "Easting at false origin", 8826}, {northing, "Northing at false origin", 8827},
	}
)

var (
	pseudoMercator = &method{"Popular Visualisation Pseudo Mercator", 1024, "",
		[]string{"popularvisualisationpseudomercator", "mercatorauxiliarysphere", "mercator1sp"},
		join(natural, falseOrigin),
		func(e proj.Ellipsoid, _ proj.Params) proj.Projection { return proj.WebMercator(e) }}
	transverseMercator = &method{"Transverse Mercator", 9807, "transverse_mercator",
		[]string{"transversemercator", "gausskruger"},
		join(natural, []parameter{{scale, "Scale factor at natural origin", 8805}}, falseOrigin),
		proj.TransverseMercator}
	albers = &method{"Albers Equal Area", 9822, "albers_conical_equal_area",
		[]string{"albersequalarea", "albersconicequalarea", "albers"},
		conic, proj.Albers}
	lambertConic = &method{"Lambert Conic Conformal (2SP)", 9802, "lambert_conformal_conic",
		[]string{"lambertconicconformal2sp", "lambertconformalconic2sp", "lambertconformalconic"},
		conic, proj.LambertConformal}
	lambertAzimuthal = &method{"Lambert Azimuthal Equal Area", 9820, "lambert_azimuthal_equal_area",
		[]string{"lambertazimuthalequalarea"},
		join(natural, falseOrigin), proj.LambertAzimuthal}
	lambertCylindrical = &method{"Lambert Cylindrical Equal Area", 9835, "lambert_cylindrical_equal_area",
		[]string{"lambertcylindricalequalarea", "cylindricalequalarea", "behrmann"},
		join([]parameter{{lat1, "Latitude of 1st standard parallel", 8823}, {lon0, "Longitude of natural origin", 8802}}, falseOrigin),
		proj.EqualAreaCylinder}
	polarStereographic = &method{"Polar Stereographic (variant B)", 9829, "polar_stereographic",
		[]string{"polarstereographicvariantb", "polarstereographic", "stereographicnorthpole", "stereographicsouthpole"},
		join([]parameter{{lat1, "Latitude of standard parallel", 8832}, {lon0, "Longitude of origin", 8833}}, falseOrigin),
		proj.PolarStereographic}
	methods = []*method{pseudoMercator, transverseMercator, albers, lambertConic,
		lambertAzimuthal, lambertCylindrical, polarStereographic}
)

func join(lists ...[]parameter) (all []parameter) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// axes is the order and direction in which the authority lists a projected
// CRS's axes. It is only written into WKT: here x is always the easting.
type axes int

const (
	axesEN axes = iota // (E), (N)
	axesXY             // easting (X), northing (Y)
	axesNE             // northing (N), easting (E)
	axesYX             // northing (Y), easting (X)
	axesNorthPole
	axesSouthPole
	axesSouthPoleEN
)

// system is a CRS of the table. A geographic one has no method.
type system struct {
	code       int
	name       string
	datum      *datum
	method     *method
	conversion string
	params     proj.Params
	axes       axes
	projection func() proj.Projection // made when it is first asked for
}

// projected are the projected systems beside UTM.
var projected = []system{
	{code: 3857, name: "WGS 84 / Pseudo-Mercator", datum: wgs84, method: pseudoMercator, conversion: "Popular Visualisation Pseudo-Mercator", axes: axesXY},

	{code: 5070, name: "NAD83 / Conus Albers", datum: nad83, method: albers, conversion: "Conus Albers", axes: axesXY,
		params: proj.Params{Lat0: 23, Lon0: -96, Lat1: 29.5, Lat2: 45.5}},
	{code: 3310, name: "NAD83 / California Albers", datum: nad83, method: albers, conversion: "California Albers", axes: axesXY,
		params: proj.Params{Lon0: -120, Lat1: 34, Lat2: 40.5, FN: -4000000}},
	{code: 3338, name: "NAD83 / Alaska Albers", datum: nad83, method: albers, conversion: "Alaska Albers (meter)", axes: axesXY,
		params: proj.Params{Lat0: 50, Lon0: -154, Lat1: 55, Lat2: 65}},
	{code: 3005, name: "NAD83 / BC Albers", datum: nad83, method: albers, conversion: "British Columbia Albers",
		params: proj.Params{Lat0: 45, Lon0: -126, Lat1: 50, Lat2: 58.5, FE: 1000000}},
	{code: 3577, name: "GDA94 / Australian Albers", datum: gda94, method: albers, conversion: "Australian Albers",
		params: proj.Params{Lon0: 132, Lat1: -18, Lat2: -36}},

	{code: 2154, name: "RGF93 v1 / Lambert-93", datum: rgf93, method: lambertConic, conversion: "Lambert-93", axes: axesXY,
		params: proj.Params{Lat0: 46.5, Lon0: 3, Lat1: 49, Lat2: 44, FE: 700000, FN: 6600000}},
	{code: 3347, name: "NAD83 / Statistics Canada Lambert", datum: nad83, method: lambertConic, conversion: "Statistics Canada Lambert",
		params: proj.Params{Lat0: 63.390675, Lon0: -91.8666666666667, Lat1: 49, Lat2: 77, FE: 6200000, FN: 3000000}},
	{code: 3978, name: "NAD83 / Canada Atlas Lambert", datum: nad83, method: lambertConic, conversion: "Canada Atlas Lambert",
		params: proj.Params{Lat0: 49, Lon0: -95, Lat1: 49, Lat2: 77}},
	{code: 3034, name: "ETRS89-extended / LCC Europe", datum: etrs89, method: lambertConic, conversion: "Europe Conformal 2001", axes: axesNE,
		params: proj.Params{Lat0: 52, Lon0: 10, Lat1: 35, Lat2: 65, FE: 4000000, FN: 2800000}},

	{code: 3035, name: "ETRS89-extended / LAEA Europe", datum: etrs89, method: lambertAzimuthal, conversion: "Europe Equal Area 2001", axes: axesYX,
		params: proj.Params{Lat0: 52, Lon0: 10, FE: 4321000, FN: 3210000}},
	{code: 6931, name: "WGS 84 / NSIDC EASE-Grid 2.0 North", datum: wgs84, method: lambertAzimuthal, conversion: "US NSIDC EASE-Grid 2.0 North", axes: axesNorthPole,
		params: proj.Params{Lat0: 90}},
	{code: 6932, name: "WGS 84 / NSIDC EASE-Grid 2.0 South", datum: wgs84, method: lambertAzimuthal, conversion: "US NSIDC EASE-Grid 2.0 South", axes: axesSouthPole,
		params: proj.Params{Lat0: -90}},
	{code: 6933, name: "WGS 84 / NSIDC EASE-Grid 2.0 Global", datum: wgs84, method: lambertCylindrical, conversion: "US NSIDC EASE-Grid 2.0 Global", axes: axesXY,
		params: proj.Params{Lat1: 30}},

	{code: 3413, name: "WGS 84 / NSIDC Sea Ice Polar Stereographic North", datum: wgs84, method: polarStereographic, conversion: "US NSIDC Sea Ice polar stereographic north", axes: axesNorthPole,
		params: proj.Params{Lat1: 70, Lon0: -45}},
	{code: 3995, name: "WGS 84 / Arctic Polar Stereographic", datum: wgs84, method: polarStereographic, conversion: "Arctic Polar Stereographic", axes: axesNorthPole,
		params: proj.Params{Lat1: 71}},
	{code: 3976, name: "WGS 84 / NSIDC Sea Ice Polar Stereographic South", datum: wgs84, method: polarStereographic, conversion: "US NSIDC Sea Ice polar stereographic south", axes: axesSouthPole,
		params: proj.Params{Lat1: -70}},
	{code: 3031, name: "WGS 84 / Antarctic Polar Stereographic", datum: wgs84, method: polarStereographic, conversion: "Antarctic Polar Stereographic", axes: axesSouthPoleEN,
		params: proj.Params{Lat1: -71}},
}

// utmSeries are the families of UTM zones.
var utmSeries = []struct {
	datum       *datum
	base        int // code of zone 0
	first, last int
	hemisphere  string
}{
	{wgs84, 32600, 1, 60, "N"},
	{wgs84, 32700, 1, 60, "S"},
	{nad83, 26900, 1, 23, "N"},
	{etrs89, 25800, 28, 38, "N"},
}

// supported tells people what there is.
const supported = "EPSG:4326, 4269, 4258, 4171, 4283 (degrees), 3857, UTM (326xx, 327xx, 269xx, 258xx), " +
	"Albers 5070, 3310, 3338, 3005, 3577, Lambert 2154, 3347, 3978, 3034, 3035, " +
	"EASE-Grid 6931, 6932, 6933 and polar stereographic 3413, 3995, 3976, 3031"

// systems is the table, made when it is first asked for.
var systems = sync.OnceValue(func() map[CRS]*system {
	all := make(map[CRS]*system, 256)
	add := func(s *system) {
		s.projection = proj.LonLat
		if s.method != nil {
			s.projection = sync.OnceValue(func() proj.Projection {
				return s.method.project(s.datum.ellipsoid, s.params)
			})
		}
		all[epsg(s.code)] = s
	}
	for _, d := range []*datum{wgs84, nad83, etrs89, rgf93, gda94} {
		add(&system{code: d.code, name: d.name, datum: d})
	}
	for _, s := range projected {
		add(&s)
	}
	for _, u := range utmSeries {
		for zone := u.first; zone <= u.last; zone++ {
			add(utm(u.datum, u.base+zone, zone, u.hemisphere))
		}
	}
	return all
})

func utm(d *datum, code, zone int, hemisphere string) *system {
	conversion := fmt.Sprintf("UTM zone %d%s", zone, hemisphere)
	p := proj.Params{Lon0: float64(6*zone - 183), K0: 0.9996, FE: 500000}
	if hemisphere == "S" {
		p.FN = 10000000
	}
	return &system{code: code, name: d.name + " / " + conversion, datum: d,
		method: transverseMercator, conversion: conversion, params: p}
}

func epsg(code int) CRS { return CRS(fmt.Sprintf("EPSG:%d", code)) }

// value returns the parameter that plays a role.
func (s *system) value(r role) float64 {
	return [...]float64{
		lon0: s.params.Lon0, lat0: s.params.Lat0, lat1: s.params.Lat1, lat2: s.params.Lat2,
		scale: s.params.K0, easting: s.params.FE, northing: s.params.FN,
	}[r]
}
