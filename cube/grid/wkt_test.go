package grid

import (
	"bufio"
	"errors"
	"os"
	"strings"
	"testing"
)

func TestWKTOfEveryDialectIsRecognisedWithAndWithoutItsCode(t *testing.T) {
	t.Parallel()
	f, err := os.Open("testdata/wkt.tsv") // made by testdata/wkt.py
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sc, n := bufio.NewScanner(f), 0
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		want, wkt, _ := strings.Cut(sc.Text(), "\t")
		if got, err := ParseCRS(wkt); err != nil || got != CRS(want) {
			t.Errorf("%s: got %q, %v from %s", want, got, err, wkt)
		}
		n++
	}
	if n < 200 {
		t.Errorf("only %d texts", n)
	}
}

func TestOurOwnWKTIsReadBack(t *testing.T) {
	t.Parallel()
	for _, c := range Supported() {
		got, err := ParseCRS(c.WKT2())
		if err != nil || got != c {
			t.Errorf("%s comes back as %q, %v", c, got, err)
		}
		if c.CF()["crs_wkt"] != c.WKT2() {
			t.Errorf("%s: crs_wkt is not its WKT", c)
		}
	}
}

const utmWithout = `PROJCS["x",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],` +
	`PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",-123],PARAMETER["scale_factor",0.9996],` +
	`PARAMETER["false_easting",500000],PARAMETER["false_northing",0],UNIT["metre",1]]`

func TestWKTThatIsAnotherSystemIsNotTakenForOne(t *testing.T) {
	t.Parallel()
	if c, err := ParseCRS(utmWithout); c != "EPSG:32610" {
		t.Fatalf("got %q, %v", c, err)
	}
	for name, change := range map[string][2]string{
		"another meridian":          {"-123", "-122"},
		"another scale":             {"0.9996", "1"},
		"another figure":            {"6378137,", "6378140,"},
		"another datum":             {`"WGS_1984"`, `"Tokyo"`},
		"another method":            {"Transverse_Mercator", "Oblique_Mercator"},
		"another prime meridian":    {`"Greenwich",0`, `"Paris",2.33`},
		"another parameter":         {`"scale_factor"`, `"azimuth"`},
		"feet":                      {`"metre",1`, `"US survey foot",0.304800609601219`},
		"grads":                     {"0.0174532925199433", "0.015707963267949"},
		"a parameter given twice":   {`"false_northing",0`, `"false_easting",500000`},
		"a number that is not one":  {"500000", "NaN"},
		"an identifier of another":  {`UNIT["metre",1]`, `UNIT["metre",1],AUTHORITY["EPSG","32611"]`},
		"no base":                   {"GEOGCS", "GEOG"},
		"geocentric":                {"PROJCS", "GEOCCS"},
		"the ellipsoid's Mercator":  {"Transverse_Mercator", "Mercator_1SP"},
		"a parameter without value": {`"false_northing",0`, `"false_northing"`},
	} {
		wkt := strings.Replace(utmWithout, change[0], change[1], 1)
		if wkt == utmWithout {
			t.Fatalf("%s: nothing changed", name)
		}
		if c, err := ParseCRS(wkt); err == nil {
			t.Errorf("%s: taken for %s", name, c)
		}
	}
}

func TestCompoundAndBoundSystemsCountByTheirHorizontalPart(t *testing.T) {
	t.Parallel()
	for _, wkt := range []string{
		`COMPD_CS["x",` + utmWithout + `,VERT_CS["EGM96",VERT_DATUM["EGM96",2005],UNIT["metre",1]]]`,
		`BOUNDCRS[SOURCECRS[` + utmWithout + `],TARGETCRS[GEOGCRS["WGS 84"]]]`,
	} {
		if c, err := ParseCRS(wkt); c != "EPSG:32610" {
			t.Errorf("got %q, %v", c, err)
		}
	}
}

func TestBrokenWKTIsAnError(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"[", "]", "PROJCS[", "PROJCS[]", `PROJCS["a]`, `PROJCS["a"`, `PROJCS["a"]]`, `PROJCS["a"] x`,
		`PROJCS["a",,"b"]`, "GEOGCS[GEOGCS[", strings.Repeat("A[", 5000), strings.Repeat("A[", 30000), `["a"]`, "BOUNDCRS[]", "COMPD_CS[1]"} {
		if c, err := ParseCRS(s); err == nil {
			t.Errorf("%.40q: taken for %s", s, c)
		}
	}
}

func FuzzParseCRS(f *testing.F) {
	for _, s := range []string{"EPSG:32610", "urn:ogc:def:crs:EPSG::4326", "OGC:CRS84", "+init=epsg:5070", utmWithout, `GEOGCS["a""b",(1)]`} {
		f.Add(s)
	}
	for _, c := range []CRS{"EPSG:4326", "EPSG:3413", "EPSG:3857"} {
		f.Add(c.WKT2())
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCRS(s)
		if err != nil {
			return
		}
		if again, err := ParseCRS(string(c)); err != nil || again != c || c.Valid() != nil {
			t.Errorf("%q gives %q, which gives %q, %v", s, c, again, err)
		}
	})
}

func TestCodesInEveryFormAreNormalised(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]CRS{
		"EPSG:32610": "EPSG:32610", "epsg:32610": "EPSG:32610", "32610": "EPSG:32610", " EPSG:32610\n": "EPSG:32610",
		"EPSG::4326": "EPSG:4326", "urn:ogc:def:crs:EPSG::5070": "EPSG:5070", "urn:ogc:def:crs:EPSG:9.8.6:3035": "EPSG:3035",
		"urn:x-ogc:def:crs:EPSG:4326": "", "http://www.opengis.net/def/crs/EPSG/0/3413": "EPSG:3413",
		"https://www.opengis.net/def/crs/OGC/1.3/CRS84": "EPSG:4326", "urn:ogc:def:crs:OGC:1.3:CRS84": "EPSG:4326",
		"urn:ogc:def:crs:OGC::CRS83": "EPSG:4269", "OGC:CRS84": "EPSG:4326", "CRS84": "EPSG:4326", "+init=epsg:2154": "EPSG:2154",
		"WGS84": "EPSG:4326", "EPSG:900913": "EPSG:3857", "ESRI:102100": "EPSG:3857",
		"": "", "EPSG:": "", "EPSG:1": "", "EPSG:26924": "", "EPSG:25827": "", "EPSG:32661": "", "EPSG:4979": "",
		"OGC:4326": "", "+proj=utm +zone=10": "", "utm": "", "EPSG:99999999999": "", "EPSG:326١0": "", "0": "", "ESRI:102008": "",
	} {
		got, err := ParseCRS(s)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", s, got, err, want)
		}
		if err != nil && !errors.Is(err, ErrCRS) {
			t.Errorf("%q: %v is no ErrCRS", s, err)
		}
	}
}

func TestAnUnknownCRSSaysSo(t *testing.T) {
	t.Parallel()
	for _, c := range []CRS{"", "EPSG:1", "epsg:32610"} {
		if c.Valid() == nil || c.Unit() != "" || c.IsGeographic() || c.WKT2() != "" || c.CF() != nil || c.Name() != string(c) {
			t.Errorf("%q is taken for a CRS", c)
		}
		if _, _, err := c.Forward(0, 0); !errors.Is(err, ErrCRS) {
			t.Errorf("%q: forward gives %v", c, err)
		}
		if _, _, err := c.Inverse(0, 0); !errors.Is(err, ErrCRS) {
			t.Errorf("%q: inverse gives %v", c, err)
		}
		if _, err := Transformer(c, "EPSG:4326"); !errors.Is(err, ErrCRS) {
			t.Errorf("%q: from it: %v", c, err)
		}
		if _, err := Transformer("EPSG:4326", c); !errors.Is(err, ErrCRS) {
			t.Errorf("%q: to it: %v", c, err)
		}
	}
}

func TestTransformersGoThroughDegrees(t *testing.T) {
	t.Parallel()
	there, err := Transformer("EPSG:32610", "EPSG:5070")
	if err != nil {
		t.Fatal(err)
	}
	x, y, err := there(530000, 4206000)
	if err != nil {
		t.Fatal(err)
	}
	// As PROJ has it with a null transformation of the datum.
	if d := (x+2288446.5240584323)*(x+2288446.5240584323) + (y-1986049.955278388)*(y-1986049.955278388); d > 1e-6 {
		t.Errorf("got (%v, %v)", x, y)
	}
	if _, _, err := there(9e7, 0); !errors.Is(err, ErrOutside) {
		t.Errorf("far outside: %v", err)
	}
}

func TestCFHasTheAttributesOfItsMapping(t *testing.T) {
	t.Parallel()
	cf := CRS("EPSG:32733").CF()
	for k, want := range map[string]any{
		"grid_mapping_name": "transverse_mercator", "semi_major_axis": 6378137.0, "inverse_flattening": 298.257223563,
		"longitude_of_central_meridian": 15.0, "latitude_of_projection_origin": 0.0, "scale_factor_at_central_meridian": 0.9996,
		"false_easting": 500000.0, "false_northing": 10000000.0, "projected_crs_name": "WGS 84 / UTM zone 33S",
	} {
		if cf[k] != want {
			t.Errorf("%s is %v, want %v", k, cf[k], want)
		}
	}
	if p := CRS("EPSG:5070").CF()["standard_parallel"].([]float64); p[0] != 29.5 || p[1] != 45.5 {
		t.Errorf("standard parallels are %v", p)
	}
	if cf := CRS("EPSG:4326").CF(); cf["grid_mapping_name"] != "latitude_longitude" {
		t.Errorf("degrees are %v", cf["grid_mapping_name"])
	}
}
