package plot

import (
	"fmt"
	"image/color"
	"math"
	"strings"
)

// Depth is how many colours a terminal shows.
type Depth int

// The depths.
const (
	NoColor   Depth = iota // shades of characters
	Colors256              // the cube of 6 × 6 × 6, and greys
	TrueColor
)

// TextSize is how many columns and rows of cells a terminal's map of so many
// characters shows: a character is two cells where there is colour, and is
// taken for twice as tall as it is wide.
func (d Depth) TextSize(columns, lines int) (int, int) {
	if d == NoColor {
		return columns, lines
	}
	return columns, 2 * lines
}

// Fit is the size, in cells, at which a map of this shape is shown within so
// many characters.
func (d Depth) Fit(m *Map, columns, lines int) (int, int) {
	w, h := d.TextSize(columns, lines)
	tall := m.aspect() * float64(m.Rows) / float64(m.Columns)
	if d == NoColor {
		tall /= 2
	}
	if float64(w)*tall > float64(h) {
		w = int(float64(h) / tall)
	}
	return max(1, w), max(1, int(math.Round(float64(w)*tall)))
}

// Text draws the map of so many cells in characters, a line each, with a line
// of what the colours mean at the end.
func (m *Map) Text(d Depth, columns, rows int) []string {
	at := func(x, y int) (color.RGBA, bool) {
		if y >= rows {
			return color.RGBA{}, false
		}
		return m.colorOf(m.Values[y*m.Rows/rows*m.Columns+x*m.Columns/columns])
	}
	var lines []string
	if d == NoColor {
		for y := range rows {
			lines = append(lines, m.shades(y*m.Rows/rows, columns))
		}
		return append(lines, m.shadeKey()...)
	}
	for y := 0; y < rows; y += 2 {
		var b strings.Builder
		for x := range columns {
			upper, up := at(x, y)
			lower, low := at(x, y+1)
			b.WriteString(d.half(upper, up, lower, low))
		}
		lines = append(lines, b.String()+"\x1b[0m")
	}
	return append(lines, m.colorKey(d, columns)...)
}

// half is a character of two cells, one above the other.
func (d Depth) half(upper color.RGBA, up bool, lower color.RGBA, low bool) string {
	switch {
	case up && low:
		return "\x1b[" + d.code(38, upper) + ";" + d.code(48, lower) + "m▀"
	case up:
		return "\x1b[0;" + d.code(38, upper) + "m▀"
	case low:
		return "\x1b[0;" + d.code(38, lower) + "m▄"
	}
	return "\x1b[0m "
}

// code is the parameters that set the foreground (38) or background (48).
func (d Depth) code(ground int, c color.RGBA) string {
	if d == TrueColor {
		return fmt.Sprintf("%d;2;%d;%d;%d", ground, c.R, c.G, c.B)
	}
	return fmt.Sprintf("%d;5;%d", ground, index256(c))
}

// index256 is the nearest of the 256 colours.
func index256(c color.RGBA) int {
	steps := [6]int{0, 95, 135, 175, 215, 255}
	nearest := func(v uint8) int {
		best := 0
		for i, s := range steps {
			if abs(s-int(v)) < abs(steps[best]-int(v)) {
				best = i
			}
		}
		return best
	}
	r, g, b := nearest(c.R), nearest(c.G), nearest(c.B)
	away := sq(steps[r]-int(c.R)) + sq(steps[g]-int(c.G)) + sq(steps[b]-int(c.B))
	mean := (int(c.R) + int(c.G) + int(c.B)) / 3
	shade := min(23, max(0, (mean-3)/10))
	v := 8 + 10*shade
	if sq(v-int(c.R))+sq(v-int(c.G))+sq(v-int(c.B)) < away {
		return 232 + shade
	}
	return 16 + 36*r + 6*g + b
}

func abs(v int) int { return max(v, -v) }
func sq(v int) int  { return v * v }

// shade are characters from light to dense.
var shade = []rune("·:░▒▓█")

// signs stand for classes where there is no colour.
const signs = "#+ox*%=@-/^~&$wvnzsXOHAT"

func (m *Map) shades(row, columns int) string {
	var b strings.Builder
	for x := range columns {
		b.WriteString(m.sign(m.Values[row*m.Columns+x*m.Columns/columns]))
	}
	return strings.TrimRight(b.String(), " ")
}

func (m *Map) sign(v float64) string {
	if v != v {
		return " "
	}
	if m.Classes == nil {
		share := 0.5
		if m.Hi > m.Lo {
			share = min(1, max(0, (v-m.Lo)/(m.Hi-m.Lo)))
		}
		return string(shade[min(len(shade)-1, int(share*float64(len(shade))))])
	}
	for i, c := range m.Classes {
		if c.Value == v {
			return string(signs[i%len(signs)])
		}
	}
	return "?"
}

func (m *Map) shadeKey() []string {
	if m.Classes == nil {
		return []string{fmt.Sprintf("%s %s %s %s", m.low(), string(shade), m.high(), m.Units)}
	}
	var lines []string
	for _, c := range m.Classes {
		lines = append(lines, m.sign(c.Value)+" "+c.Name)
	}
	return lines
}

func (m *Map) low() string  { return number(m.Lo, keyDecimals(m.Hi-m.Lo)) }
func (m *Map) high() string { return number(m.Hi, keyDecimals(m.Hi-m.Lo)) }

// keyDecimals is how many decimals tell a hundredth of a range apart.
func keyDecimals(span float64) int {
	if !(span > 0) {
		return 2
	}
	return min(6, max(0, 2-int(math.Floor(math.Log10(span)))))
}

// colorKey is the colours' meaning.
func (m *Map) colorKey(d Depth, columns int) []string {
	if m.Classes == nil {
		var b strings.Builder
		n := min(40, max(8, columns/2))
		for i := range n {
			c := m.Colors.At(float64(i) / float64(n-1))
			b.WriteString(d.half(c, true, c, true))
		}
		return []string{fmt.Sprintf("%s %s\x1b[0m %s %s", m.low(), b.String(), m.high(), m.Units)}
	}
	var lines []string
	for _, c := range m.Classes {
		lines = append(lines, "\x1b["+d.code(38, c.Color)+"m██\x1b[0m "+c.Name)
	}
	return lines
}
