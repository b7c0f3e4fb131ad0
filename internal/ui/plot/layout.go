package plot

import (
	"fmt"
	"image/color"
	"image/png"
	"io"
	"math"
)

var (
	ink   = color.RGBA{0x22, 0x26, 0x2b, 255}
	faint = color.RGBA{0x6a, 0x71, 0x79, 255}
	frame = color.RGBA{0x9a, 0xa0, 0xa6, 255}
)

// PNG draws the map as a PNG of the given width in pixels.
func (m *Map) PNG(w io.Writer, width int) error {
	l, err := newLetters()
	if err != nil {
		return err
	}
	s := m.arrange(l, width)
	r := newRaster(l, s.width, s.height)
	s.draw(r)
	return png.Encode(w, r.img)
}

// SVG draws the map as SVG. Its letters are those of whoever shows it.
func (m *Map) SVG(w io.Writer, width int) error {
	l, err := newLetters()
	if err != nil {
		return err
	}
	s := m.arrange(l, width)
	d := &drawing{w: s.width, h: s.height}
	s.draw(d)
	return d.write(w)
}

// sheet is where everything of a map lies.
type sheet struct {
	*Map
	letters        *letters
	width, height  int
	u              float64 // the size of a letter, which all else follows
	x, y           float64 // of the map's frame
	w, h           int
	xTicks, yTicks []float64
	xDec, yDec     int
	unit           float64 // of the axes' numbers, in units of coordinates
	key            key     // the colour bar or the legend
}

// key is what stands to the right of the map.
type key struct {
	lines []Class // legend
	more  int     // classes that are not shown
	gaps  bool    // some cells have no data
	ticks []float64
	dec   int
	width float64
	below bool
	above bool
}

func (s *sheet) small() face { return face{size: s.u} }

// arrange lays the sheet out. Its width is at most what was asked for: a map
// of few cells, or a tall one, takes less.
func (m *Map) arrange(l *letters, width int) *sheet {
	width = min(8000, max(300, width))
	s := &sheet{Map: m, letters: l, u: math.Max(11, float64(width)/80)}
	s.unit = 1
	if m.Metres && math.Max(m.East-m.West, m.North-m.South) >= 5000 {
		s.unit = 1000
	}
	s.y = 5.2*s.u + float64(max(0, len(m.Notes)-1))*1.5*s.u
	s.yTicks, s.yDec = Ticks(m.South/s.unit, m.North/s.unit, 6)
	s.x = 3.4 * s.u
	widest := 0.0
	for _, t := range s.yTicks {
		widest = math.Max(widest, l.width(s.coordinate(t, s.yDec, "N", "S"), s.small()))
	}
	s.x += widest
	s.measureKey()
	free := float64(width) - s.x - s.key.width - 2.5*s.u
	s.w, s.h = m.pixels(math.Max(60, free), float64(width)*1.1)
	s.xTicks, s.xDec = Ticks(m.West/s.unit, m.East/s.unit, max(2, min(8, int(float64(s.w)/(s.u*7)))))
	s.yTicks, s.yDec = Ticks(m.South/s.unit, m.North/s.unit, max(2, min(8, int(float64(s.h)/(s.u*5)))))
	s.fitKey()
	s.width = int(math.Ceil(s.x + float64(s.w) + s.key.width + 2.5*s.u))
	title := 0.0
	for i, note := range append([]string{m.Title}, m.Notes...) {
		f := face{size: s.u}
		if i == 0 {
			f = face{size: 1.55 * s.u, bold: true}
		}
		title = math.Max(title, l.width(note, f))
	}
	s.width = max(s.width, min(width, int(s.x+title+1.5*s.u)))
	s.height = int(math.Ceil(s.y + float64(s.h) + 4.6*s.u))
	return s
}

// coordinate writes a number of an axis.
func (s *sheet) coordinate(v float64, decimals int, positive, negative string) string {
	if !s.Degrees {
		return number(v, decimals)
	}
	switch {
	case v > 1e-12:
		return number(v, decimals) + "°" + positive
	case v < -1e-12:
		return number(-v, decimals) + "°" + negative
	}
	return "0°"
}

func (s *sheet) measureKey() {
	k := &s.key
	k.gaps = s.gaps()
	widest := 0.0
	if s.Classes != nil {
		k.lines = s.Classes
		for _, c := range k.lines {
			widest = math.Max(widest, s.letters.width(clip(c.Name), s.small()))
		}
	} else {
		k.below, k.above = s.beyond()
		k.ticks, k.dec = Ticks(s.Lo, s.Hi, 6)
		if s.Colors.Cyclic && s.Hi-s.Lo == 360 {
			k.ticks, k.dec = []float64{s.Lo, s.Lo + 90, s.Lo + 180, s.Lo + 270, s.Hi}, 0
		}
		for _, t := range k.ticks {
			widest = math.Max(widest, s.letters.width(number(t, k.dec), s.small()))
		}
		widest = math.Max(widest, s.letters.width(s.Units, s.small())-1.6*s.u)
	}
	if k.gaps {
		widest = math.Max(widest, s.letters.width("no data", s.small()))
	}
	k.width = 1.8*s.u + 2.2*s.u + widest
}

// clip keeps a class's name from taking all room.
func clip(name string) string {
	if r := []rune(name); len(r) > 36 {
		return string(r[:35]) + "…"
	}
	return name
}

const legendStep = 1.75 // lines of a legend, in letters

// fitKey drops the classes that there is no room for.
func (s *sheet) fitKey() {
	room := int(float64(s.h)/(legendStep*s.u)) - 1
	if s.key.gaps {
		room--
	}
	if n := len(s.key.lines); n > max(1, room) && room < n {
		keep := max(1, room-1)
		s.key.more = n - keep
		s.key.lines = s.key.lines[:keep]
	}
}

func (s *sheet) draw(c canvas) {
	c.text(s.x, 1.9*s.u, s.Title, face{size: 1.55 * s.u, bold: true}, left, ink)
	for i, note := range s.Notes {
		c.text(s.x, (3.75+1.5*float64(i))*s.u, note, s.small(), left, faint)
	}
	c.picture(s.x, s.y, s.picture(s.w, s.h))
	s.drawAxes(c)
	s.drawScaleBar(c)
	if s.Classes != nil {
		s.drawLegend(c)
	} else {
		s.drawColorBar(c)
	}
}

// box draws a frame one pixel wide.
func box(c canvas, x, y, w, h float64, col color.RGBA) {
	c.rect(x-1, y-1, w+2, 1, col)
	c.rect(x-1, y+h, w+2, 1, col)
	c.rect(x-1, y, 1, h, col)
	c.rect(x+w, y, 1, h, col)
}

func (s *sheet) drawAxes(c canvas) {
	x, y, w, h := math.Round(s.x), math.Round(s.y), float64(s.w), float64(s.h)
	box(c, x, y, w, h, frame)
	tick := math.Round(0.4 * s.u)
	for _, t := range s.xTicks {
		at := math.Round(x + (t*s.unit-s.West)/(s.East-s.West)*w)
		c.rect(at, y+h, 1, tick, frame)
		c.text(at, y+h+1.3*s.u, s.coordinate(t, s.xDec, "E", "W"), s.small(), centre, ink)
	}
	for _, t := range s.yTicks {
		at := math.Round(y + (s.North-t*s.unit)/(s.North-s.South)*h)
		c.rect(x-tick, at, tick, 1, frame)
		c.text(x-0.75*s.u, at, s.coordinate(t, s.yDec, "N", "S"), s.small(), right, ink)
	}
	easting, northing := s.axisNames()
	c.text(x+w/2, y+h+3.1*s.u, easting, s.small(), centre, faint)
	c.text(1.1*s.u, y+h/2, northing, s.small(), upward, faint)
}

func (s *sheet) axisNames() (x, y string) {
	switch {
	case s.Degrees:
		return "Longitude", "Latitude"
	case s.unit == 1000:
		return "Easting (km)", "Northing (km)"
	case s.Metres:
		return "Easting (m)", "Northing (m)"
	}
	return "x", "y"
}

// drawScaleBar draws a bar of a round length on the ground.
func (s *sheet) drawScaleBar(c canvas) {
	metres := s.East - s.West
	switch {
	case s.Degrees:
		metres *= 111195 * math.Cos((s.North+s.South)/2*math.Pi/180)
	case !s.Metres:
		return
	}
	if !(metres > 0) || float64(s.w) < 9*s.u {
		return
	}
	length := floorNice(metres * 0.28)
	w := length / metres * float64(s.w)
	text := fmt.Sprintf("%g m", length)
	if length >= 1000 {
		text = fmt.Sprintf("%g km", length/1000)
	}
	plate := math.Max(w, s.letters.width(text, s.small())) + 1.4*s.u
	x, y := math.Round(s.x+0.8*s.u), math.Round(s.y+float64(s.h)-3.4*s.u)
	white := color.RGBA{255, 255, 255, 255}
	c.rect(x, y, plate, 2.6*s.u, white)
	left, line := x+(plate-w)/2, math.Max(2, math.Round(0.16*s.u))
	at := math.Round(y + 1.75*s.u)
	c.rect(left, at, w, line, ink)
	c.rect(left, at-0.35*s.u, line, 0.35*s.u+line, ink)
	c.rect(left+w-line, at-0.35*s.u, line, 0.35*s.u+line, ink)
	c.text(x+plate/2, y+0.85*s.u, text, s.small(), centre, ink)
}

// floorNice is the largest of 1, 2 and 5 times a power of ten that is not more.
func floorNice(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{5, 2} {
		if f*power <= v {
			return f * power
		}
	}
	return power
}

func (s *sheet) keyX() float64 { return math.Round(s.x + float64(s.w) + 1.8*s.u) }

func (s *sheet) drawLegend(c canvas) {
	x, y := s.keyX(), s.y+0.6*s.u
	for _, l := range s.key.lines {
		s.swatch(c, x, y, l.Color)
		c.text(x+2*s.u, y+0.1*s.u, clip(l.Name), s.small(), left, ink)
		y += legendStep * s.u
	}
	if s.key.more > 0 {
		c.text(x+2*s.u, y, fmt.Sprintf("and %d more", s.key.more), s.small(), left, faint)
		y += legendStep * s.u
	}
	if s.key.gaps {
		s.noData(c, x, y)
	}
}

func (s *sheet) swatch(c canvas, x, y float64, col color.RGBA) {
	size := math.Round(1.2 * s.u)
	c.rect(math.Round(x), math.Round(y-size/2), size, size, col)
}

func (s *sheet) noData(c canvas, x, y float64) {
	size := math.Round(1.2 * s.u)
	none := Map{Columns: 1, Rows: 1, Values: []float64{math.NaN()}}
	c.picture(math.Round(x), math.Round(y-size/2), none.picture(int(size), int(size)))
	box(c, math.Round(x)+1, math.Round(y-size/2)+1, size-2, size-2, hatchDark)
	c.text(x+2*s.u, y+0.1*s.u, "no data", s.small(), left, faint)
}

func (s *sheet) drawColorBar(c canvas) {
	x, y, w := s.keyX(), s.y+2.2*s.u, math.Round(1.3*s.u)
	h := math.Min(float64(s.h)-2.2*s.u, 24*s.u)
	if s.key.gaps {
		h = math.Min(h, float64(s.h)-5.2*s.u)
	}
	h = math.Round(math.Max(4*s.u, h))
	c.text(x, s.y+0.6*s.u, s.Units, s.small(), left, faint)
	s.bar(c, x, y, w, h)
	for _, t := range s.key.ticks {
		at := y + h/2
		if s.Hi > s.Lo {
			at = math.Round(y + (s.Hi-t)/(s.Hi-s.Lo)*h)
		}
		c.rect(x+w, at, math.Round(0.3*s.u), 1, frame)
		c.text(x+w+0.7*s.u, at, number(t, s.key.dec), s.small(), left, ink)
	}
	if s.key.gaps {
		s.noData(c, x, y+h+2*s.u)
	}
}

// bar draws the colours, with points at the ends beyond which values lie.
func (s *sheet) bar(c canvas, x, y, w, h float64) {
	ramp := Map{Columns: 1, Rows: int(h), Colors: s.Colors, Hi: 1}
	for i := range ramp.Rows {
		ramp.Values = append(ramp.Values, 1-(float64(i)+0.5)/h)
	}
	c.picture(x, y, ramp.picture(int(w), int(h)))
	box(c, x, y, w, h, frame)
	if s.key.above {
		c.polygon(s.Colors.At(1), x, y-1, x+w/2, y-1-0.7*s.u, x+w, y-1)
	}
	if s.key.below {
		c.polygon(s.Colors.At(0), x, y+h+1, x+w/2, y+h+1+0.7*s.u, x+w, y+h+1)
	}
}
