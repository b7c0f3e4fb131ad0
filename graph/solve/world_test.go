package solve

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// world is a workspace of chance, as far as edits know it.
type world struct {
	box       grid.Box
	time      bool
	tiling    grid.Tiling
	field     *field // nil: nothing is imported
	instances []instance
	source    int                     // the edition of the one source
	held      map[string]graph.Import // that are used as they once were, by variable
	bad       byte                    // which actions say that their input is bad
}

// isBad reports whether an action with this identity exits with 65.
func (w *world) isBad(id ident) bool { return w.bad != 0 && id[1]%32 == w.bad%32 }

// field is a variable that is imported, and of which some cells are edited.
type field struct {
	kind  graph.Kind
	edits [][3]int64 // (t, y, x)
}

func (f *field) values(l cube.Layout) (b []byte) {
	d := l.Domain()
	steps := max(1, d.T.Len())
	for t := range steps {
		for y := d.Y.Lo; y < d.Y.Hi; y++ {
			for x := d.X.Lo; x < d.X.Hi; x++ {
				v := 2*y + 5*x + 3*t
				for _, e := range f.edits {
					if e == [3]int64{t, y, x} {
						v++
					}
				}
				b = appendValue(b, graph.Float32, float64(v))
			}
		}
	}
	return b
}

// instance is a producer of chance.
type instance struct {
	name     string
	does     string // what machine computes: base, mix, near or dull
	edition  int
	spot     int64 // where base has its own edition
	code     int
	salt     int
	source   bool // it reads the source
	grid     string
	tiling   *grid.Tiling
	whole    bool
	makes    []graph.VarSpec
	out      map[string]string
	needs    []graph.DataNeed
	cpus     float64
	longName string
}

func newWorld(r *rand.Rand) *world {
	w := &world{time: r.IntN(2) == 0, tiling: someTiling(r)}
	if r.IntN(4) == 0 {
		w.bad = byte(1 + r.IntN(255))
	}
	lo := func() int64 { return r.Int64N(9) - 4 }
	w.box = grid.Box{Y: grid.Range{Lo: lo()}, X: grid.Range{Lo: lo()}}
	w.box.Y.Hi, w.box.X.Hi = w.box.Y.Lo+4+r.Int64N(8), w.box.X.Lo+4+r.Int64N(8)
	if w.time {
		w.box.T = grid.Range{Lo: r.Int64N(3)}
		w.box.T.Hi = w.box.T.Lo + 2 + r.Int64N(4)
	}
	kinds := map[string]graph.VarSpec{}
	if r.IntN(2) == 0 {
		w.field = &field{kind: graph.Static}
		if w.time && r.IntN(2) == 0 {
			w.field.kind = graph.Time
		}
		kinds["field"] = graph.VarSpec{Name: "field", Kind: w.field.kind}
	}
	for i := range 3 + r.IntN(5) {
		for range 20 { // most go with what is there
			more, theirs := w.clone(), maps.Clone(kinds)
			if more.add(r, i, theirs); more.plans() {
				w, kinds = more, theirs
				break
			}
		}
	}
	return w
}

func someTiling(r *rand.Rand) grid.Tiling {
	size := func() int64 { return pick[int64](r, 0, 2, 3, 3, 4, 4, 5, 20) }
	t := grid.Tiling{T: pick[int64](r, 0, 1, 2, 3), Y: size()}
	if t.X = t.Y; r.IntN(3) == 0 {
		t.X = size()
	}
	return t
}

// add adds an instance that reads some of what those before it make.
func (w *world) add(r *rand.Rand, i int, kinds map[string]graph.VarSpec) {
	in := instance{name: fmt.Sprint("p", i), does: "base", whole: r.IntN(8) == 0, spot: r.Int64N(12), source: r.IntN(5) == 0,
		grid: pick(r, "", "", "", "sub", "fine", "coarse", "shifted", "other")}
	if names := slices.Sorted(maps.Keys(kinds)); len(names) > 0 && r.IntN(6) > 0 {
		in.does = pick(r, "mix", "near", "near", "local", "dull")
		for range 1 + r.IntN(min(3, len(names))) {
			v := pick(r, names...)
			if !slices.ContainsFunc(in.needs, func(n graph.DataNeed) bool { return n.Variable == v }) {
				in.needs = append(in.needs, someNeed(r, v, kinds[v].Kind))
			}
		}
	}
	for k := range 1 + r.IntN(4)/3 {
		v := w.someSpec(r, fmt.Sprintf("v%d%c", i, 'a'+k))
		if len(w.instances) > 0 && k == 0 && r.IntN(4) == 0 { // contribute to what another makes
			other := w.instances[r.IntN(len(w.instances))]
			spec := other.makes[0]
			if spec.Kind != graph.File && other.does == in.does && len(in.needs) == 0 {
				name := spec.Name
				spec.Name = v.Name
				spec.Merge = pick(r, graph.MonotoneMax, graph.First, graph.SumOf)
				w.instances[slices.IndexFunc(w.instances, func(o instance) bool { return o.name == other.name })].makes[0].Merge = spec.Merge
				in.grid, in.out = other.grid, map[string]string{v.Name: name}
				in.makes = append(in.makes, spec)
				continue
			}
		}
		in.makes = append(in.makes, v)
		kinds[v.Name] = v
	}
	w.instances = append(w.instances, in)
}

func (w *world) someSpec(r *rand.Rand, name string) graph.VarSpec {
	v := graph.VarSpec{Name: name, Kind: graph.Static, DType: pick(r, graph.Float32, graph.Float32, graph.Int16, graph.Float64)}
	if w.time && r.IntN(2) == 0 {
		v.Kind = graph.Time
	}
	switch {
	case r.IntN(10) == 0:
		return graph.VarSpec{Name: name, Kind: graph.File}
	case v.DType == graph.Int16 && r.IntN(2) == 0:
		fill := graph.Number("3")
		v.Fill = &fill
	case r.IntN(8) == 0:
		v.Dims = []graph.Dim{{Name: "level", Size: 2}}
	}
	if r.IntN(6) == 0 {
		v.Refine = 2
	}
	return v
}

func someNeed(r *rand.Rand, variable string, kind graph.Kind) graph.DataNeed {
	n := graph.DataNeed{Variable: variable, Kind: kind}
	if kind == graph.File {
		return n
	}
	n.Halo = grid.Halo{Y: r.Int64N(3), X: r.Int64N(3)}
	n.Resample = pick(r, "", "", grid.Nearest, grid.Bilinear, grid.Cubic, grid.Average, grid.Max, grid.Sum)
	n.Format = pick(r, graph.NPY, graph.Zarr)
	if r.IntN(5) == 0 {
		n.Grid = graph.NativeGrid
	}
	if r.IntN(5) == 0 {
		n.MinValid = 0.6
	}
	if kind == graph.Time {
		n.Time = pick(r, graph.TimeNeed{}, graph.TimeNeed{Before: 1}, graph.TimeNeed{Before: 1, After: 2}, graph.TimeNeed{All: true})
	}
	return n
}

func (w *world) clone() *world {
	c := *w
	if w.field != nil {
		c.field = &field{w.field.kind, slices.Clone(w.field.edits)}
	}
	c.held = maps.Clone(w.held)
	c.instances = slices.Clone(w.instances)
	for i := range c.instances {
		c.instances[i].makes = slices.Clone(c.instances[i].makes)
		c.instances[i].needs = slices.Clone(c.instances[i].needs)
		c.instances[i].out = maps.Clone(c.instances[i].out)
	}
	return &c
}

// edit changes one thing and says what.
func (w *world) edit(r *rand.Rand) string {
	if w.field != nil && r.IntN(3) > 0 {
		for range 1 + r.IntN(3)/2 {
			t, y, x := r.Int64N(2), w.box.Y.Lo+r.Int64N(w.box.Y.Len()), w.box.X.Lo+r.Int64N(w.box.X.Len())
			w.field.edits = append(w.field.edits, [3]int64{t, y, x})
		}
		return fmt.Sprintf("the field is edited at %v", w.field.edits[len(w.field.edits)-1])
	}
	in := &w.instances[r.IntN(len(w.instances))]
	if r.IntN(6) == 0 {
		in.longName += "long"
		return in.name + " has other names for people"
	}
	switch r.IntN(15) {
	case 13:
		w.source++
		return "the source has another edition"
	case 0, 1, 2:
		in.edition++
		return in.name + " has another edition"
	case 3:
		in.code++
		return in.name + " has other code"
	case 4:
		in.salt++
		return in.name + " is bumped"
	case 5:
		w.tiling = someTiling(r)
		return fmt.Sprintf("tiles of %v", w.tiling)
	case 6:
		t := someTiling(r)
		in.tiling = &t
		return fmt.Sprintf("%s has tiles of %v", in.name, t)
	case 7, 8:
		side := pick(r, &w.box.Y.Lo, &w.box.Y.Hi, &w.box.X.Lo, &w.box.X.Hi)
		*side += r.Int64N(7) - 3
		return fmt.Sprintf("a domain of %s", w.box)
	case 9:
		if !w.time {
			return ""
		}
		side := pick(r, &w.box.T.Lo, &w.box.T.Hi)
		*side += r.Int64N(3) - 1
		return fmt.Sprintf("a domain of %s", w.box)
	case 10:
		if len(in.needs) == 0 {
			return ""
		}
		n := &in.needs[r.IntN(len(in.needs))]
		*n = someNeed(r, n.Variable, n.Kind)
		return fmt.Sprintf("%s needs %+v", in.name, *n)
	case 11:
		in.spot = r.Int64N(12)
		return in.name + " has its edition elsewhere"
	case 12:
		in.cpus++
		return in.name + " has another processor"
	}
	i, j := r.IntN(len(w.instances)), r.IntN(len(w.instances))
	w.instances[i], w.instances[j] = w.instances[j], w.instances[i]
	return fmt.Sprintf("%s and %s change places", w.instances[i].name, w.instances[j].name)
}

func (w *world) grids() map[string]grid.Grid {
	l := grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30, X0: 430000, Y0: 4490000}
	g := grid.Grid{Lattice: l, Box: w.box}
	if w.time {
		g.Time = grid.TimeAxis{Origin: 1600000000, Step: 3600}
	}
	on := func(change func(*grid.Grid)) grid.Grid { c := g; change(&c); return c }
	mid := func(r grid.Range) grid.Range { return grid.Range{Lo: r.Lo + 1, Hi: r.Hi - 1} }
	return map[string]grid.Grid{
		graph.DefaultGrid: g,
		"sub":             on(func(c *grid.Grid) { c.Box.Y, c.Box.X = mid(w.box.Y), mid(w.box.X) }),
		"fine": on(func(c *grid.Grid) {
			c.Lattice = l.Refine(2)
			c.Box.Y, c.Box.X = grid.Range{Lo: 2 * w.box.Y.Lo, Hi: 2 * w.box.Y.Hi}, grid.Range{Lo: 2 * w.box.X.Lo, Hi: 2 * w.box.X.Hi}
		}),
		"coarse": on(func(c *grid.Grid) {
			c.Lattice.DX, c.Lattice.DY = 60, 60
			c.Box.Y, c.Box.X = w.box.Y.Coarsen(2), w.box.X.Coarsen(2)
		}),
		"shifted": on(func(c *grid.Grid) { c.Lattice.X0, c.Lattice.Y0 = l.X0+11, l.Y0-7 }),
		"other": on(func(c *grid.Grid) { // larger and elsewhere: parts of it see nothing of the rest
			c.Lattice.DX, c.Lattice.DY, c.Lattice.X0 = 70, 50, l.X0-40
			c.Box.Y, c.Box.X = w.box.Y.Coarsen(2).Grow(5, 1), w.box.X.Coarsen(2).Grow(4, 6)
		}),
	}
}

func (in instance) params() json.RawMessage {
	p := map[string]any{"edition": in.edition, "spot": in.spot}
	if in.does == "local" {
		halos, refine := map[string][2]int64{}, map[string]int64{}
		for _, n := range in.needs {
			halos[n.Variable] = [2]int64{n.Halo.Y, n.Halo.X}
		}
		for _, v := range in.makes {
			refine[v.Name] = v.Refine
		}
		p["halos"], p["refine"] = halos, refine
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return b
}

func (w *world) workspace() *graph.Workspace {
	ws := &graph.Workspace{Grids: w.grids(), Tiling: w.tiling, Sources: map[string]graph.Source{
		"source": {Name: "source", URI: "source.txt", SHA256: graph.Sum(w.sourceBytes()), Ext: ".txt"}}}
	for _, in := range w.instances {
		made := slices.Clone(in.makes)
		for i := range made {
			made[i].LongName = in.longName
		}
		var need []graph.SourceNeed
		var sources map[string]string
		if in.source {
			need, sources = []graph.SourceNeed{{Name: "data"}}, map[string]string{"data": "source"}
		}
		ws.Instances = append(ws.Instances, graph.Instance{
			Sources: sources, Name: in.name, Grid: in.grid, Out: in.out, Salt: in.salt, Tiling: in.tiling,
			Params:   in.params(),
			Image:    graph.Image{Platform: "linux/amd64", DiffIDs: []string{fmt.Sprint(in.code)}, Command: []string{in.does}},
			Manifest: graph.Manifest{Sources: need, Needs: in.needs, Produces: made, Capabilities: graph.Capabilities{Tiles: !in.whole, CPUs: in.cpus}},
		})
	}
	if w.field != nil {
		g := w.grids()[graph.DefaultGrid]
		g.Box.Y, g.Box.X, g.Box.T = grid.Range{Lo: -16, Hi: 24}, grid.Range{Lo: -16, Hi: 24}, grid.Range{Hi: 9}
		if w.field.kind == graph.Static {
			g.Time, g.Box.T = grid.TimeAxis{}, grid.Range{}
		}
		ws.Imports = map[string]graph.Import{"field": {Grid: g, Native: 30, Spec: graph.VarSpec{Name: "field", Kind: w.field.kind}}}
	}
	for name, in := range w.held {
		if ws.Imports == nil {
			ws.Imports = map[string]graph.Import{}
		}
		ws.Imports[name] = in
	}
	return ws
}

// checkWindows says which window of an action is not what its need asks for: the
// tile with its halo, as far as the grid goes.
func (w *world) checkWindows(a containers.Action) error {
	i := slices.IndexFunc(w.instances, func(in instance) bool { return in.name == instanceOf(a) })
	if i < 0 {
		return fmt.Errorf("%s is no instance's", a.Name)
	}
	domain := w.grids()[cmp.Or(w.instances[i].grid, graph.DefaultGrid)].Box
	tile := boxOf(a)
	if tile.Y.Len() == 0 { // it computes all there is
		tile = domain
	}
	if n := len(w.instances[i].needs); len(a.Inputs) != n {
		return fmt.Errorf("%s is given %d inputs, and needs %d", a.Name, len(a.Inputs), n)
	}
	for _, in := range a.Inputs {
		n := w.instances[i].needs[slices.IndexFunc(w.instances[i].needs, func(n graph.DataNeed) bool { return n.Variable == in.Role })]
		if n.Kind == graph.File || n.Grid == graph.NativeGrid {
			continue
		}
		want := grid.Box{Y: about(tile.Y, n.Halo.Y, n.Halo.Y, domain.Y), X: about(tile.X, n.Halo.X, n.Halo.X, domain.X)}
		if n.Kind == graph.Time {
			want.T = domain.T
			if !n.Time.All && tile.T.Len() > 0 {
				want.T = about(tile.T, n.Time.Before, n.Time.After, domain.T)
			}
		}
		if in.Box != want {
			return fmt.Errorf("%s: tile %s of %s is given %s of %s, want %s", a.Name, tile, domain, in.Box, in.Role, want)
		}
	}
	return nil
}

// about is a range with so much more on either side, within another.
func about(r grid.Range, before, after int64, within grid.Range) grid.Range {
	return grid.Range{Lo: max(r.Lo-before, within.Lo), Hi: min(r.Hi+after, within.Hi)}
}

func (w *world) sourceBytes() []byte { return fmt.Append(nil, "edition ", w.source) }

func (w *world) targets() []string {
	return slices.DeleteFunc(w.workspace().Variables(), func(v string) bool { return v == "field" })
}

// plans reports whether the workspace can be planned, and is small.
func (w *world) plans() bool {
	for _, g := range w.grids() {
		if g.Valid() != nil || g.Box.Empty() || g.Box.Cells() > 600 || w.time && (g.Box.T.Len() < 1 || g.Box.T.Len() > 8) {
			return false
		}
	}
	plan, err := graph.Resolve(*w.workspace(), w.targets()...)
	if err != nil {
		return false
	}
	tiles := int64(0)
	for _, v := range plan.Vertices {
		tiles += v.Len()
	}
	return tiles < 400
}

func (w *world) String() string {
	s := fmt.Sprintf("domain %s tiles %v held %v", w.box, w.tiling, w.held)
	for _, in := range w.instances {
		s += fmt.Sprintf("\n%+v", in)
	}
	return s
}
