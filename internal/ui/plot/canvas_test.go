package plot

import (
	"image/color"
	"testing"
)

func TestThousandsStandApartWithNothingBetween(t *testing.T) {
	t.Parallel()
	l, err := newLetters()
	if err != nil {
		t.Fatal(err)
	}
	f := face{size: 20}
	apart, together := number(4400000, 0), "4400000"
	if w, plain := l.width(apart, f), l.width(together, f); w < plain+6 || w > plain+10 {
		t.Errorf("%q is %g wide, %q %g", apart, w, together, plain)
	}
	ink := func(s string) (n int) {
		r := newRaster(l, 200, 40)
		r.text(10, 20, s, f, left, color.RGBA{A: 255})
		for i := 0; i < len(r.img.Pix); i += 4 {
			n += 255 - int(r.img.Pix[i])
		}
		return n / 255
	}
	// A font that lacks a letter draws a box for it.
	if a, b := ink(apart), ink(together); a > b+b/10 || a < b-b/10 {
		t.Errorf("%q has %d pixels of ink, %q %d", apart, a, together, b)
	}
}
