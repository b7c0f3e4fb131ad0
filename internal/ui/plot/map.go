package plot

import (
	"image"
	"image/color"
	"math"
)

// Map is what is drawn.
type Map struct {
	Title string
	Notes []string // below the title: units, reference system, version
	Units string

	Columns, Rows int
	Values        []float64 // in C order, north first; NaN is no data

	West, South, East, North float64 // edges, in units of the reference system
	Degrees                  bool    // coordinates are longitudes and latitudes
	Metres                   bool    // coordinates are metres

	// Numbers are drawn in Colors from Lo to Hi; where Classes is not nil,
	// values are categories.
	Colors  Colormap
	Lo, Hi  float64
	Classes []Class
}

// Class is one category.
type Class struct {
	Value float64
	Name  string
	Color color.RGBA
}

// colorOf returns a value's colour, and false where there is no data.
func (m *Map) colorOf(v float64) (color.RGBA, bool) {
	if v != v {
		return color.RGBA{}, false
	}
	if m.Classes == nil {
		if !(m.Hi > m.Lo) {
			return m.Colors.At(0.5), true
		}
		return m.Colors.At((v - m.Lo) / (m.Hi - m.Lo)), true
	}
	for _, c := range m.Classes {
		if c.Value == v {
			return c.Color, true
		}
	}
	return color.RGBA{0x80, 0x80, 0x80, 255}, true
}

// beyond reports whether values lie below and above the colours' range.
func (m *Map) beyond() (below, above bool) {
	for _, v := range m.Values {
		below, above = below || v < m.Lo, above || v > m.Hi
	}
	return below, above
}

// gaps reports whether there are cells without data.
func (m *Map) gaps() bool {
	for _, v := range m.Values {
		if v != v {
			return true
		}
	}
	return false
}

// aspect is how much taller than wide a cell is to be drawn.
func (m *Map) aspect() float64 {
	w, h := (m.East-m.West)/float64(m.Columns), (m.North-m.South)/float64(m.Rows)
	if m.Degrees {
		w *= math.Max(0.05, math.Cos((m.North+m.South)/2*math.Pi/180))
	}
	if !(w > 0) || !(h > 0) {
		return 1
	}
	return math.Min(20, math.Max(0.05, h/w))
}

// pixels is the size at which the cells are drawn in a frame of at most the
// given size: whole pixels a cell where there is room, so that all look alike.
func (m *Map) pixels(width, height float64) (w, h int) {
	a := m.aspect()
	scale := math.Min(width/float64(m.Columns), height/(float64(m.Rows)*a))
	if scale >= 1 {
		scale = math.Floor(scale)
	}
	return max(1, int(math.Round(scale*float64(m.Columns)))), max(1, int(math.Round(scale*a*float64(m.Rows))))
}

var (
	hatchLight = color.RGBA{0xf4, 0xf4, 0xf2, 255}
	hatchDark  = color.RGBA{0xd2, 0xd2, 0xce, 255}
)

// hatch is the colour of a pixel without data: fine diagonal lines.
func hatch(x, y int) color.RGBA {
	switch (x + y) % 8 {
	case 0:
		return hatchDark
	case 1, 7:
		return blend(hatchLight, hatchDark, 0.45)
	}
	return hatchLight
}

// picture draws the cells at a size in pixels. Where there are fewer pixels
// than cells each shows one of them.
func (m *Map) picture(w, h int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	columns := make([]int, w)
	for x := range columns {
		columns[x] = min(m.Columns-1, x*m.Columns/w)
	}
	for y := range h {
		row := m.Values[min(m.Rows-1, y*m.Rows/h)*m.Columns:][:m.Columns]
		for x, column := range columns {
			c, ok := m.colorOf(row[column])
			if !ok {
				c = hatch(x, y)
			}
			i := img.PixOffset(x, y)
			img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = c.R, c.G, c.B, 255
		}
	}
	return img
}
