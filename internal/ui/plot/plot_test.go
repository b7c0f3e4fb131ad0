package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, got, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// luminance is how light a colour looks, from 0 to 100 (CIE L*).
func luminance(c color.RGBA) float64 {
	linear := func(v uint8) float64 {
		s := float64(v) / 255
		if s <= 0.04045 {
			return s / 12.92
		}
		return math.Pow((s+0.055)/1.055, 2.4)
	}
	y := 0.2126*linear(c.R) + 0.7152*linear(c.G) + 0.0722*linear(c.B)
	if y <= 216.0/24389 {
		return y * 24389 / 27
	}
	return 116*math.Cbrt(y) - 16
}

func TestColoursGrowLighterEvenly(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"viridis", "cividis", "batlow", "grey"} {
		m, err := ColormapByName(name)
		if err != nil {
			t.Fatal(err)
		}
		const steps = 20
		mean := (luminance(m.At(1)) - luminance(m.At(0))) / steps
		for i := range steps {
			step := luminance(m.At(float64(i+1)/steps)) - luminance(m.At(float64(i)/steps))
			if step < 0.3*mean || step > 1.9*mean {
				t.Errorf("%s: step %d is %.2f, in the mean %.2f", name, i, step, mean)
			}
		}
	}
}

func TestDirectionsEndAsTheyBegin(t *testing.T) {
	t.Parallel()
	m, err := ColormapByName("twilight")
	if err != nil {
		t.Fatal(err)
	}
	if !m.Cyclic || m.At(0) != m.At(1) {
		t.Errorf("%v is not %v", m.At(0), m.At(1))
	}
	for i := range 360 {
		a, b := m.At(float64(i)/360), m.At(float64(i+1)/360)
		if d := math.Abs(luminance(a) - luminance(b)); d > 2 {
			t.Errorf("a jump of %.1f at %d°", d, i)
		}
	}
}

func TestColoursOutsideTheRangeAreTheEnds(t *testing.T) {
	t.Parallel()
	m := Colormaps()[0]
	for _, v := range []float64{-1, math.Inf(-1), math.NaN()} {
		if m.At(v) != m.At(0) {
			t.Errorf("%v: %v", v, m.At(v))
		}
	}
	if m.At(2) != m.At(1) || m.At(math.Inf(1)) != m.At(1) {
		t.Error("values above have not the last colour")
	}
}

func TestClassesHaveTheirOwnColourOrOneThatDiffers(t *testing.T) {
	t.Parallel()
	if got, want := ClassColor("#0a141E", 5), (color.RGBA{10, 20, 30, 255}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	seen := map[color.RGBA]int{}
	for i := range 45 {
		c := ClassColor("none", i)
		if first, ok := seen[c]; ok {
			t.Errorf("classes %d and %d are both %v", first, i, c)
		}
		seen[c] = i
	}
}

func TestTicksAreRound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		lo, hi   float64
		wanted   int
		ticks    []float64
		decimals int
	}{
		{0, 39.2, 6, []float64{0, 5, 10, 15, 20, 25, 30, 35}, 0},
		{0, 1, 5, []float64{0, 0.2, 0.4, 0.6, 0.8, 1}, 1},
		{-0.3, 0.3, 6, []float64{-0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3}, 1},
		{422.75, 457.75, 8, []float64{425, 430, 435, 440, 445, 450, 455}, 0},
		{2286, 4198, 6, []float64{2500, 3000, 3500, 4000}, 0},
		{0, 0.01, 4, []float64{0, 0.002, 0.004, 0.006, 0.008, 0.01}, 3},
	} {
		ticks, decimals := Ticks(c.lo, c.hi, c.wanted)
		near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })
		if diff := cmp.Diff(c.ticks, ticks, near); diff != "" || decimals != c.decimals {
			t.Errorf("%v to %v: %d decimals (-want +got):\n%s", c.lo, c.hi, decimals, diff)
		}
	}
	for _, c := range [][2]float64{{1, 1}, {math.NaN(), 1}, {0, math.Inf(1)}} {
		if ticks, _ := Ticks(c[0], c[1], 5); len(ticks) != 1 {
			t.Errorf("%v: %v", c, ticks)
		}
	}
}

func TestNumbersOfAxes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v        float64
		decimals int
		want     string
	}{{0, 0, "0"}, {math.Copysign(0, -1), 1, "0.0"}, {-12.5, 1, "−12.5"}, {4489.25, 2, "4489.25"}, {4489250, 0, "4\u2009489\u2009250"}, {1e12, 0, "1e+12"}} {
		if got := number(c.v, c.decimals); got != c.want {
			t.Errorf("%v: %q, want %q", c.v, got, c.want)
		}
	}
}

func TestRangeLeavesOutWhatLiesFarOut(t *testing.T) {
	t.Parallel()
	values := []float64{math.NaN(), math.Inf(1)}
	for i := range 1000 {
		values = append(values, float64(i))
	}
	if lo, hi := Range(values); lo != 0 || hi != 999 {
		t.Errorf("%v to %v", lo, hi)
	}
	if _, hi := Range(append(values, 1e9)); hi > 1000 {
		t.Errorf("one cell of 1e9 makes it up to %v", hi)
	}
	if lo, hi := Range([]float64{math.NaN()}); lo != 0 || hi != 0 {
		t.Errorf("nothing is %v to %v", lo, hi)
	}
}

// ramp is a small map of numbers with a gap.
func ramp() *Map {
	m := &Map{Title: "slope <1>", Notes: []string{"degree · 250 m", "by slope & co"}, Units: "degree", Columns: 8, Rows: 4,
		West: 422000, South: 4445000, East: 430000, North: 4449000, Metres: true, Colors: Colormaps()[0], Hi: 31}
	for i := range 32 {
		m.Values = append(m.Values, float64(i))
	}
	m.Values[9], m.Values[10] = math.NaN(), math.NaN()
	return m
}

func kinds() *Map {
	m := ramp()
	m.Values = []float64{1, 1, 1, 2, 2, 2, 2, 2, 1, 1, math.NaN(), math.NaN(), 2, 2, 2, 2, 1, 1, 1, 3, 3, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 7}
	m.Classes = []Class{{1, "grass", color.RGBA{0xc8, 0xd8, 0x60, 255}}, {2, "timber", ClassColor("", 1)}, {3, "water", ClassColor("", 2)}}
	return m
}

func TestTextMaps(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]*Map{"ramp": ramp(), "kinds": kinds()} {
		for depth, suffix := range map[Depth]string{NoColor: "plain", Colors256: "256", TrueColor: "true"} {
			w, h := depth.Fit(m, 24, 8)
			golden(t, name+"."+suffix+".txt", []byte(strings.Join(m.Text(depth, w, h), "\n")+"\n"))
		}
	}
}

func TestTextMapsFitAndKeepTheirShape(t *testing.T) {
	t.Parallel()
	for _, m := range []*Map{{Columns: 140, Rows: 174, East: 35, North: 43.5}, {Columns: 1, Rows: 500, East: 1, North: 500}, {Columns: 500, Rows: 1, East: 500, North: 1}} {
		for _, d := range []Depth{NoColor, TrueColor} {
			w, h := d.Fit(m, 80, 20)
			columns, rows := d.TextSize(80, 20)
			if w < 1 || h < 1 || w > columns || h > rows {
				t.Errorf("%d × %d does not fit %d × %d", w, h, columns, rows)
			}
		}
	}
	w, h := TrueColor.Fit(&Map{Columns: 140, Rows: 174, East: 35, North: 43.5}, 80, 20)
	if shape := float64(h) / float64(w); math.Abs(shape-174.0/140) > 0.05 {
		t.Errorf("%d × %d", w, h)
	}
}

// pictures are the parts of an SVG whose bytes the PNG encoder is free to change.
var pictures = regexp.MustCompile(`data:image/png;base64,[^"]*`)

func TestSVGIsWellFormedAndSaysAllThereIs(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]*Map{"ramp": ramp(), "kinds": kinds()} {
		var b bytes.Buffer
		if err := m.SVG(&b, 600); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".svg", pictures.ReplaceAll(b.Bytes(), []byte("png")))
		d := xml.NewDecoder(&b)
		text := ""
		for {
			tok, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if c, ok := tok.(xml.CharData); ok {
				text += string(c) + "\n"
			}
		}
		want := []string{"slope <1>", "by slope & co", "no data", "Easting (km)", "Northing (km)", "2 km"}
		if name == "kinds" {
			want = append(want, "grass", "timber", "water")
		} else {
			want = append(want, "degree", "30")
		}
		for _, w := range want {
			if !strings.Contains(text, w+"\n") {
				t.Errorf("%s: no %q in\n%s", name, w, text)
			}
		}
	}
}

func TestPNGShowsCellsInTheirColours(t *testing.T) {
	t.Parallel()
	m := ramp()
	var b bytes.Buffer
	if err := m.PNG(&b, 900); err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	if w := img.Bounds().Dx(); w > 900 || w < 600 {
		t.Errorf("%d pixels wide", w)
	}
	l, err := newLetters()
	if err != nil {
		t.Fatal(err)
	}
	s := m.arrange(l, 900)
	cell := s.w / m.Columns
	if s.w%m.Columns != 0 || s.h != cell*m.Rows {
		t.Fatalf("cells of %d × %d pixels are not alike", s.w, s.h)
	}
	for i, v := range m.Values {
		x, y := int(math.Round(s.x))+i%m.Columns*cell+cell/2, int(math.Round(s.y))+i/m.Columns*cell+cell/3
		got := color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)
		if v != v {
			if got.R < 0xd0 || got.R != got.G {
				t.Errorf("cell %d without data is %v", i, got)
			}
			continue
		}
		scale := i/m.Columns == m.Rows-1 && i%m.Columns < 3 // the scale bar's plate
		if want, _ := m.colorOf(v); got != want && !scale {
			t.Errorf("cell %d is %v, want %v", i, got, want)
		}
	}
}

func TestPicturesOfAnyShapeAreDrawn(t *testing.T) {
	t.Parallel()
	many := make([]Class, 300)
	for i := range many {
		many[i] = Class{float64(i), strings.Repeat("class ", 20), ClassColor("", i)}
	}
	for name, m := range map[string]*Map{
		"one cell":     {Columns: 1, Rows: 1, Values: []float64{3}, East: 1, North: 1, Colors: Colormaps()[0]},
		"no data":      {Columns: 1, Rows: 1, Values: []float64{math.NaN()}, East: 1, North: 1, Colors: Colormaps()[0]},
		"infinite":     {Columns: 1, Rows: 2, Values: []float64{math.Inf(1), math.Inf(-1)}, East: 1, North: 1, Colors: Colormaps()[0], Hi: 1},
		"poles":        {Columns: 2, Rows: 1, Values: []float64{1, 2}, West: -180, East: 180, South: -90, North: 90, Degrees: true, Colors: Colormaps()[0], Hi: 2},
		"tall":         {Columns: 1, Rows: 3000, Values: make([]float64, 3000), East: 1, North: 3000, Metres: true, Colors: Colormaps()[0], Hi: 1},
		"wide":         {Columns: 3000, Rows: 1, Values: make([]float64, 3000), East: 3000, North: 1, Metres: true, Colors: Colormaps()[0], Hi: 1},
		"many classes": {Columns: 1, Rows: 1, Values: []float64{3}, East: 1, North: 1, Classes: many},
	} {
		var b bytes.Buffer
		if err := errors.Join(m.PNG(io.Discard, 400), m.SVG(&b, 400)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(b.String(), "NaN") {
			t.Errorf("%s: a position that is none", name)
		}
	}
}
