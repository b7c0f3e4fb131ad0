package plot

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"
	"strings"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// canvas is what a map is drawn on. Positions are pixels from the upper left.
type canvas interface {
	rect(x, y, w, h float64, c color.RGBA)
	polygon(c color.RGBA, points ...float64) // x, y, x, y, …
	text(x, y float64, s string, f face, a anchor, c color.RGBA)
	picture(x, y float64, img image.Image)
}

// face is a size of letters, in pixels.
type face struct {
	size float64
	bold bool
}

// anchor says which point of a text its position is; the height is the
// letters' middle.
type anchor int

const (
	left anchor = iota
	centre
	right
	upward // turned to read from below, the position its middle
)

// letters are the fonts that measure and draw text.
type letters struct {
	regular, bold *opentype.Font
	faces         map[face]font.Face
}

func newLetters() (*letters, error) {
	l := &letters{faces: map[face]font.Face{}}
	var err error
	if l.regular, err = opentype.Parse(goregular.TTF); err != nil {
		return nil, err
	}
	l.bold, err = opentype.Parse(gobold.TTF)
	return l, err
}

func (l *letters) face(f face) font.Face {
	if made, ok := l.faces[f]; ok {
		return made
	}
	of := l.regular
	if f.bold {
		of = l.bold
	}
	made, err := opentype.NewFace(of, &opentype.FaceOptions{Size: f.size, DPI: 72, Hinting: font.HintingNone})
	if err != nil {
		panic(err) // NewFace fails for no font and no options of ours
	}
	l.faces[f] = thinFace{made, fixed.Int26_6(f.size * 64 / 5)}
	return l.faces[f]
}

// thinFace is a font that has the thin space, which stands between thousands.
type thinFace struct {
	font.Face
	thin fixed.Int26_6
}

const thinSpace = '\u2009'

// Glyph implements font.Face.
func (t thinFace) Glyph(dot fixed.Point26_6, r rune) (image.Rectangle, image.Image, image.Point, fixed.Int26_6, bool) {
	if r == thinSpace {
		return image.Rectangle{}, nil, image.Point{}, t.thin, true
	}
	return t.Face.Glyph(dot, r)
}

// GlyphAdvance implements font.Face.
func (t thinFace) GlyphAdvance(r rune) (fixed.Int26_6, bool) {
	if r == thinSpace {
		return t.thin, true
	}
	return t.Face.GlyphAdvance(r)
}

func (l *letters) width(s string, f face) float64 {
	return float64(font.MeasureString(l.face(f), s)) / 64
}

// raster is a canvas of pixels.
type raster struct {
	*letters
	img *image.RGBA
}

func newRaster(l *letters, w, h int) *raster {
	r := &raster{l, image.NewRGBA(image.Rect(0, 0, w, h))}
	draw.Draw(r.img, r.img.Bounds(), image.White, image.Point{}, draw.Src)
	return r
}

func (r *raster) rect(x, y, w, h float64, c color.RGBA) {
	x0, y0 := int(math.Round(x)), int(math.Round(y))
	at := image.Rect(x0, y0, max(x0+1, int(math.Round(x+w))), max(y0+1, int(math.Round(y+h))))
	draw.Draw(r.img, at, image.NewUniform(c), image.Point{}, draw.Src)
}

func (r *raster) polygon(c color.RGBA, p ...float64) {
	x0, y0, x1, y1 := p[0], p[1], p[0], p[1]
	for i := 0; i+1 < len(p); i += 2 {
		x0, y0, x1, y1 = min(x0, p[i]), min(y0, p[i+1]), max(x1, p[i]), max(y1, p[i+1])
	}
	at := image.Rect(int(x0), int(y0), int(x1)+1, int(y1)+1)
	v := vector.NewRasterizer(at.Dx(), at.Dy())
	v.MoveTo(float32(p[0])-float32(at.Min.X), float32(p[1])-float32(at.Min.Y))
	for i := 2; i+1 < len(p); i += 2 {
		v.LineTo(float32(p[i])-float32(at.Min.X), float32(p[i+1])-float32(at.Min.Y))
	}
	v.ClosePath()
	v.Draw(r.img, at, image.NewUniform(c), image.Point{})
}

func (r *raster) picture(x, y float64, img image.Image) {
	at := image.Pt(int(math.Round(x)), int(math.Round(y)))
	draw.Draw(r.img, img.Bounds().Add(at), img, img.Bounds().Min, draw.Over)
}

func (r *raster) text(x, y float64, s string, f face, a anchor, c color.RGBA) {
	w := r.width(s, f)
	if a == upward {
		r.turned(x, y, s, f, w, c)
		return
	}
	switch a {
	case centre:
		x -= w / 2
	case right:
		x -= w
	}
	d := font.Drawer{Dst: r.img, Src: image.NewUniform(c), Face: r.face(f), Dot: point(x, y+f.size*0.36)}
	d.DrawString(s)
}

// turned draws text that reads upwards.
func (r *raster) turned(x, y float64, s string, f face, w float64, c color.RGBA) {
	flat := image.NewRGBA(image.Rect(0, 0, int(w)+4, int(f.size*1.6)+2))
	d := font.Drawer{Dst: flat, Src: image.NewUniform(c), Face: r.face(f), Dot: point(2, f.size*1.15)}
	d.DrawString(s)
	b := flat.Bounds()
	up := image.NewRGBA(image.Rect(0, 0, b.Dy(), b.Dx()))
	for i := range b.Dx() {
		for j := range b.Dy() {
			up.SetRGBA(j, b.Dx()-1-i, flat.RGBAAt(i, j))
		}
	}
	r.picture(x-f.size*0.79, y-float64(b.Dx())/2, up)
}

func point(x, y float64) fixed.Point26_6 {
	return fixed.Point26_6{X: fixed.Int26_6(math.Round(x * 64)), Y: fixed.Int26_6(math.Round(y * 64))}
}

// drawing is a canvas of SVG.
type drawing struct {
	body bytes.Buffer
	w, h int
}

func hexColor(c color.RGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

func (d *drawing) rect(x, y, w, h float64, c color.RGBA) {
	fmt.Fprintf(&d.body, "<rect x=%q y=%q width=%q height=%q fill=%q/>\n", num(x), num(y), num(w), num(h), hexColor(c))
}

func num(v float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") }

func (d *drawing) polygon(c color.RGBA, p ...float64) {
	var points []string
	for i := 0; i+1 < len(p); i += 2 {
		points = append(points, num(p[i])+","+num(p[i+1]))
	}
	fmt.Fprintf(&d.body, "<polygon points=%q fill=%q/>\n", strings.Join(points, " "), hexColor(c))
}

func (d *drawing) picture(x, y float64, img image.Image) {
	var b bytes.Buffer
	_ = png.Encode(&b, img) // to memory, of an image that is not empty
	fmt.Fprintf(&d.body, "<image x=%q y=%q width=\"%d\" height=\"%d\" style=\"image-rendering:pixelated\" href=\"data:image/png;base64,%s\"/>\n",
		num(x), num(y), img.Bounds().Dx(), img.Bounds().Dy(), base64.StdEncoding.EncodeToString(b.Bytes()))
}

func (d *drawing) text(x, y float64, s string, f face, a anchor, c color.RGBA) {
	attrs := ""
	switch a {
	case centre:
		attrs = ` text-anchor="middle"`
	case right:
		attrs = ` text-anchor="end"`
	case upward:
		attrs = fmt.Sprintf(` text-anchor="middle" transform="rotate(-90 %s %s)"`, num(x), num(y))
	}
	if f.bold {
		attrs += ` font-weight="bold"`
	}
	fmt.Fprintf(&d.body, "<text x=%q y=%q font-size=%q dy=\"0.36em\" fill=%q%s>%s</text>\n", num(x), num(y), num(f.size), hexColor(c), attrs, escaped(s))
}

var escapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// escaped is text as XML holds it; characters that XML forbids are left out.
func escaped(s string) string {
	return escapes.Replace(strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0xfffe || r == 0xffff {
			return -1
		}
		return r
	}, s))
}

func (d *drawing) write(w io.Writer) error {
	_, err := fmt.Fprintf(w, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"Go, Helvetica, Arial, sans-serif\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n%s</svg>\n",
		d.w, d.h, d.w, d.h, d.body.Bytes())
	return err
}
