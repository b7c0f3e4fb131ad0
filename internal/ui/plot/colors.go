package plot

import (
	"encoding/hex"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"
)

// Colormap is a row of colours from the lowest value to the highest.
type Colormap struct {
	Name   string
	Cyclic bool // the last colour is the first again
	points []color.RGBA
}

// The points of each map, equally far apart; between them colours are blended.
// viridis, cividis and twilight are Matplotlib's (CC0), batlow and vik are
// Fabio Crameri's Scientific colour maps (MIT).
const (
	viridis = "440154471063481f70472d7b4439834046883b528b365d8d31688e2c728e287c8e24868e21918c1f9a8a20a48628ae8035b77948c16e5ec96275d05490d743addc30c8e020e5e419fde725"
	cividis = "00224e002a5f0031701a386f2a3f6d38476c434e6c4d556c575d6d61656f6a6c717374757d7c78868379918b789b9476a59c74b0a571bcae6cc6b667d2c060dec958e9d34ef6dd3ffee838"
	batlow  = "0119590a285c0e375e114360144d621957622260612d675d3c6d564d734d5d78446f7d3a82823195872cab8c2dc09036d29343e49756f29d6dfaa485fdac9efdb4b6fdbccbfcc4e3faccfa"
	vik     = "00126102226b02337603448106548b156798307da64e92b471a8c494bed2b3d1dfd5e3e9ece5e0edd5c8e4bfaadbaa8dd39774cb835ac27041ba5e2aa94512912d067e1d066a0d07590008"
	cycle   = "e2d9e2d1d5dab3c6ce95b5c77ba1c26b8cbf6276ba5f5eb35e43a5592a8f4e186f3d114d2f14363f123d581647741e4f8e2c50a24050b25652be6f5bc6896ccca389d4bcacddd0cee2d9e2"
	grey    = "080808fafafa"
)

// Colormaps are all maps by name; the first is for numbers of any sort.
func Colormaps() []Colormap {
	return []Colormap{
		newColormap("viridis", viridis, false),
		newColormap("cividis", cividis, false),
		newColormap("batlow", batlow, false),
		newColormap("grey", grey, false),
		newColormap("vik", vik, false),       // about a middle, such as 0
		newColormap("twilight", cycle, true), // directions
	}
}

// ColormapByName returns the map of that name.
func ColormapByName(name string) (Colormap, error) {
	maps := Colormaps()
	i := slices.IndexFunc(maps, func(m Colormap) bool { return m.Name == name })
	if i < 0 {
		var names []string
		for _, m := range maps {
			names = append(names, m.Name)
		}
		return Colormap{}, fmt.Errorf("there are no colours %q; there are: %s", name, strings.Join(names, ", "))
	}
	return maps[i], nil
}

func newColormap(name, points string, cyclic bool) Colormap {
	b, err := hex.DecodeString(points)
	if err != nil {
		panic("colour map " + name + ": " + err.Error()) // it is a constant of this file
	}
	m := Colormap{Name: name, Cyclic: cyclic}
	for ; len(b) > 0; b = b[3:] {
		m.points = append(m.points, color.RGBA{b[0], b[1], b[2], 255})
	}
	return m
}

// At is the colour of a share from 0 to 1.
func (m Colormap) At(share float64) color.RGBA {
	if !(share > 0) {
		return m.points[0]
	}
	if share >= 1 {
		return m.points[len(m.points)-1]
	}
	at := share * float64(len(m.points)-1)
	i := int(at)
	return blend(m.points[i], m.points[i+1], at-float64(i))
}

func blend(a, b color.RGBA, share float64) color.RGBA {
	mix := func(x, y uint8) uint8 { return uint8(math.Round(float64(x) + (float64(y)-float64(x))*share)) }
	return color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 255}
}

// distinct are colours for classes that have none of their own; each differs
// from its neighbours in lightness too.
const distinct = "4477aaee6677228833ccbb4466ccee882255ddcc77332288aa449944aa9966223300668899cc88bb7799dd882e2e2e"

// ClassColor is the colour of a class: its own, written #rrggbb, or that of its
// place in the legend.
func ClassColor(own string, place int) color.RGBA {
	if b, err := hex.DecodeString(strings.TrimPrefix(own, "#")); err == nil && len(b) == 3 {
		return color.RGBA{b[0], b[1], b[2], 255}
	}
	n := len(distinct) / 6
	b, err := hex.DecodeString(distinct[place%n*6:][:6])
	if err != nil {
		panic(err) // it is a constant of this file
	}
	c := color.RGBA{b[0], b[1], b[2], 255}
	switch place / n % 3 { // further rounds are lighter, then darker
	case 1:
		return blend(c, color.RGBA{255, 255, 255, 255}, 0.45)
	case 2:
		return blend(c, color.RGBA{0, 0, 0, 255}, 0.4)
	}
	return c
}
