package main

import (
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"
)

// Measures of the picture, in pixels.
const (
	nodeHeight = 34.0
	rowGap     = 16.0
	columnGap  = 56.0
	margin     = 24.0
	charWidth  = 7.4 // of 13 px sans-serif, on the wide side
	legendRow  = 34.0
)

// place is where a node lies. Edges that pass a column have one there, with no
// node, that keeps their way clear.
type place struct {
	node   *pictureNode // nil: an edge passes
	column int
	x, y   float64 // of the centre
	width  float64
	left   []*place
	right  []*place
}

func (p *place) height() float64 {
	if p.node == nil {
		return 4
	}
	return nodeHeight
}

// layout puts every node into a column behind all that it is made of, orders
// the columns so that few edges cross, and draws what belongs together close.
type layout struct {
	columns [][]*place
	of      map[*pictureNode]*place
	paths   [][]*place // an edge each, from left to right
	width   float64
	height  float64
}

func (p *picture) layOut() *layout {
	l := &layout{of: map[*pictureNode]*place{}}
	for _, n := range p.Nodes {
		l.of[n] = &place{node: n, width: max(64, charWidth*float64(len([]rune(n.Label)))+30)}
	}
	l.rank(p)
	for _, n := range p.Nodes {
		l.add(l.of[n])
	}
	for _, n := range p.Nodes {
		for _, m := range n.to {
			l.connect(l.of[n], l.of[m])
		}
	}
	l.order()
	l.measure()
	return l
}

func (l *layout) add(p *place) {
	for len(l.columns) <= p.column {
		l.columns = append(l.columns, nil)
	}
	l.columns[p.column] = append(l.columns[p.column], p)
}

// rank gives each node its column: behind the last thing that it is made of,
// and what is made of nothing just before its first use.
func (l *layout) rank(p *picture) {
	done := map[*pictureNode]int{} // 1: on the way
	var visit func(n *pictureNode) int
	visit = func(n *pictureNode) int {
		if done[n] > 0 {
			return l.of[n].column
		}
		done[n] = 1
		column := 0
		for _, m := range n.from {
			column = max(column, visit(m)+1)
		}
		l.of[n].column = column
		return column
	}
	for _, n := range p.Nodes {
		visit(n)
	}
	for _, n := range p.Nodes {
		if len(n.from) > 0 || len(n.to) == 0 {
			continue
		}
		first := math.MaxInt
		for _, m := range n.to {
			first = min(first, l.of[m].column)
		}
		l.of[n].column = max(0, first-1)
	}
}

// connect lays an edge through all columns between its ends.
func (l *layout) connect(a, b *place) {
	path := []*place{a}
	for c := a.column + 1; c < b.column; c++ {
		pass := &place{column: c}
		l.add(pass)
		path = append(path, pass)
	}
	path = append(path, b)
	for i := 1; i < len(path); i++ {
		path[i-1].right = append(path[i-1].right, path[i])
		path[i].left = append(path[i].left, path[i-1])
	}
	l.paths = append(l.paths, path)
}

// sweeps is how often columns are ordered and aligned.
const sweeps = 12

// order puts each place at the mean of what it is connected with, forth and
// back, a few times.
func (l *layout) order() {
	for _, column := range l.columns {
		for i, p := range column {
			p.y = float64(i)
		}
	}
	for s := range sweeps {
		l.sweep(s, func(column []*place, side func(*place) []*place) {
			slices.SortStableFunc(column, func(a, b *place) int {
				return compareFloat(mean(side(a), a.y), mean(side(b), b.y))
			})
			for i, p := range column {
				p.y = float64(i)
			}
		})
	}
}

// sweep visits the columns from left to right, looking left, or the other way.
func (l *layout) sweep(s int, visit func([]*place, func(*place) []*place)) {
	n := len(l.columns)
	for i := range n {
		if s%2 == 0 {
			visit(l.columns[i], func(p *place) []*place { return p.left })
		} else {
			visit(l.columns[n-1-i], func(p *place) []*place { return p.right })
		}
	}
}

func compareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func mean(ps []*place, otherwise float64) float64 {
	if len(ps) == 0 {
		return otherwise
	}
	sum := 0.0
	for _, p := range ps {
		sum += p.y
	}
	return sum / float64(len(ps))
}

// measure turns columns and rows into pixels.
func (l *layout) measure() {
	x := margin
	for _, column := range l.columns {
		width, y := 0.0, 0.0
		for _, p := range column {
			width = max(width, p.width)
		}
		for _, p := range column {
			p.x, p.y = x+width/2, y+p.height()/2
			y += p.height() + rowGap
		}
		x += width + columnGap
	}
	l.width = x - columnGap + margin
	for s := range sweeps {
		l.sweep(s, align)
	}
	top, bottom := math.Inf(1), math.Inf(-1)
	for _, column := range l.columns {
		for _, p := range column {
			top, bottom = min(top, p.y-p.height()/2), max(bottom, p.y+p.height()/2)
		}
	}
	for _, column := range l.columns {
		for _, p := range column {
			p.y += margin - top
		}
	}
	l.height = bottom - top + 2*margin
}

// block is a run of places that touch each other, and the shift that suits
// them best.
type block struct {
	n     int
	shift float64
}

// align brings the places of a column as near to their neighbours as their
// order and size allow: the least squares solution, by pooling those that
// would overlap.
func align(column []*place, side func(*place) []*place) {
	offsets := make([]float64, len(column)) // of each centre, were all of them to touch
	var blocks []block
	at := 0.0
	for i, p := range column {
		offsets[i] = at + p.height()/2
		at += p.height() + rowGap
		b := block{1, mean(side(p), p.y) - offsets[i]}
		for len(blocks) > 0 && blocks[len(blocks)-1].shift > b.shift {
			last := blocks[len(blocks)-1]
			blocks = blocks[:len(blocks)-1]
			b = block{last.n + b.n, (last.shift*float64(last.n) + b.shift*float64(b.n)) / float64(last.n+b.n)}
		}
		blocks = append(blocks, b)
	}
	i := 0
	for _, b := range blocks {
		for range b.n {
			column[i].y = offsets[i] + b.shift
			i++
		}
	}
}

// writeSVG draws the picture.
func (p *picture) writeSVG(w io.Writer) error {
	l := p.layOut()
	shown := p.legend()
	width := max(l.width, 2*margin+float64(len(shown))*110)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="13">`+"\n",
		width, l.height+legendRow, width, l.height+legendRow)
	b.WriteString(`<title>what is made of what</title>` + "\n")
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n")
	b.WriteString(`<defs><marker id="tip" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0,0.5 8,4 0,7.5z" fill="#7b8794"/></marker></defs>` + "\n")
	for _, path := range l.paths {
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="#7b8794" stroke-width="1.3" marker-end="url(#tip)"/>`+"\n", curve(path))
	}
	for _, n := range p.Nodes {
		l.of[n].write(&b)
	}
	for i, st := range shown {
		writeLegend(&b, st, margin+float64(i)*110, l.height+legendRow/2-4)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// legend are the states that the picture shows.
func (p *picture) legend() []state {
	var out []state
	for _, st := range []state{stateClean, stateDirty, stateNone, stateUnknown, stateOrphan} {
		if slices.ContainsFunc(p.Nodes, func(n *pictureNode) bool { return n.State == st }) {
			out = append(out, st)
		}
	}
	return out
}

func writeLegend(b *strings.Builder, st state, x, y float64) {
	l, text := looks[st], string(st)
	if st == stateNone {
		text = "not built yet"
	}
	fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="18" height="12" rx="6" fill="%s" stroke="%s"%s/>`, x, y-6, l.fill, l.line, dashes(st))
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" font-size="11" fill="#52606d">%s</text>`+"\n", x+24, y+4, text)
}

func dashes(st state) string {
	if st == stateNone {
		return ` stroke-dasharray="4 3"`
	}
	return ""
}

// curve is an edge's way, level where it meets a place.
func curve(path []*place) string {
	start := path[0]
	x, y := start.x+start.width/2, start.y
	var b strings.Builder
	fmt.Fprintf(&b, "M%.1f,%.1f", x, y)
	for _, p := range path[1:] {
		tx := p.x - p.width/2
		bend := (tx - x) / 2
		fmt.Fprintf(&b, " C%.1f,%.1f %.1f,%.1f %.1f,%.1f", x+bend, y, tx-bend, p.y, tx, p.y)
		x, y = p.x+p.width/2, p.y
	}
	return b.String()
}

// write draws a node: sources as drums, producers as boxes, variables round,
// imports with a corner cut off.
func (p *place) write(b *strings.Builder) {
	n, l := p.node, looks[p.node.State]
	x, y, w, h := p.x-p.width/2, p.y-nodeHeight/2, p.width, nodeHeight
	style := fmt.Sprintf(`fill="%s" stroke="%s" stroke-width="1.4"%s`, l.fill, l.line, dashes(n.State))
	fmt.Fprintf(b, `<g><title>%s</title>`, html.EscapeString(n.title()))
	switch n.Kind {
	case nodeSource:
		fmt.Fprintf(b, `<path d="M%.1f,%.1f v%.1f a%.1f,5 0 0 0 %.1f,0 v%.1f a%.1f,5 0 0 0 -%.1f,0 a%.1f,5 0 0 0 %.1f,0" %s/>`,
			x, y+4, h-8, w/2, w, 8-h, w/2, w, w/2, w, style)
	case nodeImport:
		fmt.Fprintf(b, `<path d="M%.1f,%.1f h%.1f l10,10 v%.1f h-%.1f z" %s/>`, x, y, w-10, h-10, w, style)
	case nodeProducer:
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="3" %s/>`, x, y, w, h, style)
	default:
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="%.1f" %s/>`, x, y, w, h, h/2, style)
	}
	weight, baseline := "", p.y+4.5
	if n.Kind == nodeSource {
		baseline += 3 // below the lid
	}
	if n.target {
		weight = ` font-weight="600"`
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle" fill="%s"%s>%s</text></g>`+"\n", p.x, baseline, l.text, weight, html.EscapeString(n.Label))
}
