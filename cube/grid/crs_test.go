package grid

import (
	"bufio"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
)

type goldenPoint struct {
	crs            CRS
	lon, lat, x, y float64
}

// goldenPoints reads testdata/crs.tsv, which testdata/crs.py made.
func goldenPoints(t *testing.T) (all []goldenPoint) {
	t.Helper()
	f, err := os.Open("testdata/crs.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		fields := strings.Split(sc.Text(), "\t")
		var v [4]float64
		for i := range v {
			if v[i], err = strconv.ParseFloat(fields[i+1], 64); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, goldenPoint{CRS(fields[0]), v[0], v[1], v[2], v[3]})
	}
	return all
}

func TestProjectionsAgreeWithPROJToATenthOfAMillimetre(t *testing.T) {
	t.Parallel()
	const tolerance = 1e-4
	seen := map[CRS]float64{}
	for _, p := range goldenPoints(t) {
		x, y, err := p.crs.Forward(p.lon, p.lat)
		if err != nil {
			t.Errorf("%s: forward (%v, %v): %v", p.crs, p.lon, p.lat, err)
			continue
		}
		d := math.Hypot(x-p.x, y-p.y)
		seen[p.crs] = max(seen[p.crs], d)
		if !(d < tolerance) {
			t.Errorf("%s: (%v, %v) is at (%.5f, %.5f), PROJ says (%.5f, %.5f)", p.crs, p.lon, p.lat, x, y, p.x, p.y)
		}
		lon, lat, err := p.crs.Inverse(p.x, p.y)
		if err != nil {
			t.Errorf("%s: inverse (%v, %v): %v", p.crs, p.x, p.y, err)
			continue
		}
		dlon := math.Remainder(lon-p.lon, 360) * math.Cos(p.lat*math.Pi/180)
		if d := 111320 * math.Hypot(dlon, lat-p.lat); !(d < tolerance) {
			t.Errorf("%s: (%v, %v) comes back as (%v, %v), %v m off", p.crs, p.lon, p.lat, lon, lat, d)
		}
	}
	for _, c := range Supported() {
		if _, ok := seen[c]; !ok && !c.IsGeographic() {
			t.Errorf("%s has no golden value", c)
		}
	}
	worst := 0.0
	for _, d := range seen {
		worst = max(worst, d)
	}
	t.Logf("%d systems, worst %.3g m", len(seen), worst)
}
