package graph

import (
	"encoding/hex"
	"slices"

	"github.com/cubebuild/cube/cube/grid"
)

// Three nouns are written for every tile: [Request], [Cover] and [Action]. They
// are written by hand, to the same bytes that [Canonical] makes of them, and
// sooner.

// writer appends canonical JSON. Its err is the first that there was.
type writer struct {
	b   []byte
	err error
}

// open begins an object, key a field of it and shut ends it.
func (w *writer) open() { w.b = append(w.b, '{') }
func (w *writer) shut() { w.b = append(w.b, '}') }

// key takes what is plain. Keys come in their order.
func (w *writer) key(k string) *writer {
	if w.b[len(w.b)-1] == '{' {
		w.b = append(w.b, '"')
	} else {
		w.b = append(w.b, ',', '"')
	}
	w.b = append(append(w.b, k...), '"', ':')
	return w
}

func (w *writer) int(i int64)   { w.b = appendInt(w.b, i) }
func (w *writer) text(s string) { w.b = appendString(w.b, s) }

// textUnlessEmpty writes a field that is left out where it is empty.
func (w *writer) textUnlessEmpty(k, s string) {
	if s != "" {
		w.key(k).text(s)
	}
}

func (w *writer) intUnlessZero(k string, i int64) {
	if i != 0 {
		w.key(k).int(i)
	}
}

func (w *writer) float(f float64) { w.note(appendFloat(w.b, f)) }

// other writes what is rare.
func (w *writer) other(v any) { w.note(appendValue(w.b, v)) }

func (w *writer) note(b []byte, err error) {
	if err == nil {
		w.b = b
	} else if w.err == nil {
		w.err = err
	}
}

func (w *writer) digest(d Digest) {
	w.b = append(w.b, '"')
	if !d.IsZero() {
		w.b = hex.AppendEncode(append(w.b, "sha256:"...), d[:])
	}
	w.b = append(w.b, '"')
}

func (w *writer) span(r grid.Range) {
	w.open()
	w.key("hi").int(r.Hi)
	w.key("lo").int(r.Lo)
	w.shut()
}

func (w *writer) box(b *grid.Box) {
	w.open()
	w.key("t").span(b.T)
	w.key("x").span(b.X)
	w.key("y").span(b.Y)
	w.shut()
}

func list[T any](w *writer, all []T, one func(T)) {
	w.b = append(w.b, '[')
	for i, v := range all {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		one(v)
	}
	w.b = append(w.b, ']')
}

// object writes a map. Most have one or two keys.
func object[T any](w *writer, m map[string]T, one func(T)) {
	if m == nil {
		w.b = append(w.b, "null"...)
		return
	}
	keys := make([]string, 0, 4)
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareUnits)
	w.b = append(w.b, '{')
	for i, k := range keys {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.text(k)
		w.b = append(w.b, ':')
		one(m[k])
	}
	w.shut()
}

func (w *writer) request(r *Request) {
	w.open()
	if r.Grid != nil {
		w.key("grid").requestGrid(r.Grid)
	}
	object(w.key("inputs"), r.Inputs, w.requestInput)
	w.key("operation").text(r.Operation)
	object(w.key("outputs"), r.Outputs, w.requestOutput)
	w.key("params").other(r.Params)
	w.key("seed").int(int64(r.Seed))
	object(w.key("sources"), r.Sources, w.requestSource)
	if r.Tile != nil {
		w.key("tile").box(r.Tile)
	}
	w.key("version").int(int64(r.Version))
	w.shut()
}

func (w *writer) requestGrid(g *RequestGrid) {
	w.open()
	w.key("crs").text(string(g.CRS))
	w.key("dx").float(g.DX)
	w.key("dy").float(g.DY)
	if t := g.Time; t != nil {
		w.key("time").open()
		w.key("origin").int(t.Origin)
		w.key("step").int(t.Step)
		w.shut()
	}
	list(w.key("transform"), g.Transform[:], w.float)
	w.textUnlessEmpty("unit", g.Unit)
	w.key("x0").float(g.X0)
	w.key("y0").float(g.Y0)
	w.shut()
}

func (w *writer) requestInput(in RequestInput) {
	w.open()
	w.textUnlessEmpty("cell_method", string(in.Method))
	if in.Clipped != nil {
		w.key("clipped").clip(in.Clipped)
	}
	w.values(in.Dims, in.DType, in.File, in.Fill, in.Format, in.Further)
	if in.Grid != nil {
		w.key("grid").requestGrid(in.Grid)
	}
	w.place(in.Kind, in.Legend, in.Path, in.Shape, in.Units)
	if in.Window != nil {
		w.key("window").box(in.Window)
	}
	w.shut()
}

func (w *writer) requestOutput(o RequestOutput) {
	w.open()
	if o.Box != nil {
		w.key("box").box(o.Box)
	}
	w.textUnlessEmpty("cell_method", string(o.Method))
	w.values(o.Dims, o.DType, o.File, o.Fill, o.Format, o.Further)
	if o.Grid != nil {
		w.key("grid").requestGrid(o.Grid)
	}
	w.place(o.Kind, o.Legend, o.Path, o.Shape, o.Units)
	w.shut()
}

// values and place are the fields that inputs and outputs share, before and
// behind the grid.
func (w *writer) values(dims []string, dtype DType, file string, fill *Number, format Format, further []Dim) {
	if len(dims) > 0 {
		list(w.key("dims"), dims, w.text)
	}
	w.textUnlessEmpty("dtype", string(dtype))
	w.textUnlessEmpty("file", file)
	if fill != nil {
		w.key("fill").other(fill)
	}
	w.textUnlessEmpty("format", string(format))
	if len(further) > 0 {
		w.key("further").other(further)
	}
}

func (w *writer) place(kind Kind, legend []Class, path string, shape []int64, units string) {
	w.key("kind").text(string(kind))
	if len(legend) > 0 {
		w.key("legend").other(legend)
	}
	w.key("path").text(path)
	if len(shape) > 0 {
		list(w.key("shape"), shape, w.int)
	}
	w.textUnlessEmpty("units", units)
}

func (w *writer) clip(c *grid.Clip) {
	w.open()
	w.intUnlessZero("east", c.East)
	w.intUnlessZero("end", c.End)
	w.intUnlessZero("north", c.North)
	w.intUnlessZero("south", c.South)
	w.intUnlessZero("start", c.Start)
	w.intUnlessZero("west", c.West)
	w.shut()
}

func (w *writer) requestSource(s RequestSource) {
	w.open()
	w.textUnlessEmpty("file", s.File)
	if s.Parts != nil {
		list(w.key("parts"), s.Parts, w.text)
	}
	w.key("path").text(s.Path)
	w.shut()
}

func (w *writer) cover(c *Cover) {
	w.open()
	w.parts(c.Parts)
	w.key("request").digest(c.Request)
	w.key("shared").digest(c.Shared)
	object(w.key("windows"), c.Windows, w.coverWindow)
	w.shut()
}

func (w *writer) coverWindow(c CoverWindow) {
	w.open()
	w.key("cells").box(&c.Cells)
	w.key("chunk").open()
	w.intUnlessZero("t", c.Chunk.T)
	w.intUnlessZero("x", c.Chunk.X)
	w.intUnlessZero("y", c.Chunk.Y)
	w.shut()
	w.key("chunks").digest(c.Chunks)
	w.key("lattice").lattice(&c.Lattice)
	w.textUnlessEmpty("method", string(c.Method))
	if c.MinValid != 0 {
		w.key("min_valid").float(c.MinValid)
	}
	w.key("read").box(&c.Read)
	w.shut()
}

func (w *writer) lattice(l *grid.Lattice) {
	w.open()
	w.key("crs").text(string(l.CRS))
	w.key("dx").float(l.DX)
	w.key("dy").float(l.DY)
	w.key("x0").float(l.X0)
	w.key("y0").float(l.Y0)
	w.shut()
}

func (w *writer) action(a *Action) {
	w.open()
	w.parts(a.Parts)
	w.key("request").digest(a.Request)
	w.key("shared").digest(a.Shared)
	object(w.key("windows"), a.Windows, w.digest)
	w.shut()
}

func (w *writer) parts(p Parts) {
	if len(p) > 0 {
		w.key("parts").other(p)
	}
}
