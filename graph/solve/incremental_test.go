package solve

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
)

// TestIncrementalEqualsClean makes workspaces of chance, edits them step by
// step, and holds each build on one cube, whatever happened to that before,
// against a build of the same workspace on an empty one: the versions are the
// same, and what runs is what the clean build ran but for what ran before.
//
// A failure names its seed; CUBE_SEED=<n> runs that one alone, and CUBE_SOAK=1
// runs many more.
func TestIncrementalEqualsClean(t *testing.T) {
	t.Parallel()
	first, n := uint64(1), uint64(10)
	if os.Getenv("CUBE_SOAK") != "" {
		n = 3000
	}
	if s := os.Getenv("CUBE_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &first); err != nil {
			t.Fatal(err)
		}
		n = 1
	}
	for seed := first; seed < first+n; seed++ {
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { newStory(t, seed).tell() }) {
			return
		}
	}
}

// story is one workspace's life on one cube.
type story struct {
	t      *testing.T
	r      *rand.Rand
	world  *world
	dir    string
	known  map[ident]bool // actions whose results the cube has
	maybe  map[ident]bool // and those of which it may have one
	past   []world        // that were built
	log    []string       // what happened, for a failure
	chunks grid.Tiling
}

func newStory(t *testing.T, seed uint64) *story {
	r := rand.New(rand.NewPCG(seed, 0xc0be))
	s := &story{t: t, r: r, dir: t.TempDir(), known: map[ident]bool{}, maybe: map[ident]bool{}}
	if err := cube.Create(s.dir); err != nil {
		t.Fatal(err)
	}
	for s.world == nil {
		if w := newWorld(r); w.plans() {
			s.world = w
		}
	}
	return s
}

func (s *story) note(format string, args ...any) { s.log = append(s.log, fmt.Sprintf(format, args...)) }

func (s *story) fatalf(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s\n%s\n%s", fmt.Sprintf(format, args...), strings.Join(s.log, "\n"), s.world)
}

func (s *story) tell() {
	for step := range 6 {
		for range min(step, 1+s.r.IntN(3)) {
			s.edit()
		}
		if s.r.IntN(3) == 0 {
			s.mishap()
		}
		s.compare()
	}
	s.t.Log(strings.Join(s.log, "\n"))
}

// compare builds on the cube of the story and on an empty one.
func (s *story) compare() {
	c := s.config()
	clean := &machine{}
	want, wantErr := s.build(s.t.TempDir(), clean, c)
	c = s.config()
	ours := &machine{}
	got, gotErr := s.build(s.dir, ours, c)
	s.note("built with %d workers, shuffle %d, chunks %v: %d of %d actions ran", c.Workers, c.Shuffle, s.chunks, len(ours.ran), len(clean.ran))
	if (wantErr == nil) != (gotErr == nil) {
		s.fatalf("clean: %v\nhere: %v", wantErr, gotErr)
	}
	if wantErr != nil && !(errors.Is(wantErr, ErrFailed) && errors.Is(gotErr, ErrFailed)) {
		s.fatalf("clean: %v\nhere: %v", wantErr, gotErr)
	}
	if d := cmp.Diff(want.Versions, got.Versions); d != "" {
		s.fatalf("versions: %s", d)
	}
	s.minimal(clean, ours)
	s.past = append(s.past, *s.world.clone())
}

// minimal holds what ran against what had to.
func (s *story) minimal(clean, ours *machine) {
	for id, n := range ours.ran {
		switch {
		case n > 1:
			s.fatalf("%s ran %d times", ours.names[id], n)
		case clean.ran[id] == 0:
			s.fatalf("%s ran, and not in a clean build", ours.names[id])
		case s.known[id]:
			s.fatalf("%s ran again", ours.names[id])
		}
	}
	for id := range clean.ran {
		if ours.ran[id] == 0 && !s.known[id] && !s.maybe[id] {
			s.fatalf("%s did not run, and never has", clean.names[id])
		}
		s.known[id] = true
		delete(s.maybe, id)
	}
}

func (s *story) config() Config {
	c := Config{Workers: 1 + s.r.IntN(4), KeepGoing: true, Chunks: s.chunks}
	if s.r.IntN(3) == 0 {
		c.Shuffle = s.r.Uint64()
	}
	return c
}

// build builds the story's workspace on the cube in a folder, and checks that
// the heads show what came out.
func (s *story) build(dir string, m *machine, c Config) (*Result, error) {
	s.t.Helper()
	if err := cube.Create(dir); err != nil {
		s.t.Fatal(err)
	}
	db, err := cube.Open(dir, cube.Config{NoSync: true})
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	ws := s.workspace(db)
	plan, err := graph.Resolve(*ws, s.world.targets()...)
	if err != nil {
		s.fatalf("plan: %v", err)
	}
	c.Cube, c.Backend, c.Provider = db, m, nothing{}
	got, err := Run(s.t.Context(), ws, plan, c)
	if got == nil {
		s.fatalf("build: %v", err)
	}
	heads, headsErr := db.Heads(s.t.Context())
	if headsErr != nil {
		s.fatalf("heads: %v", headsErr)
	}
	for name, v := range got.Versions {
		if heads[name].Version != v {
			s.fatalf("the head of %s is %s and not %s", name, heads[name].Version, v)
		}
		s.readable(db, name, v)
	}
	return got, err
}

// workspace is the world's, with what it imports put into a cube.
func (s *story) workspace(db *cube.Cube) *graph.Workspace {
	s.t.Helper()
	ws := s.world.workspace()
	for name, in := range ws.Imports {
		l := cube.Layout{Spec: in.Spec.WithDefaults(), Grid: in.Grid, Chunk: grid.Tiling{T: 1, Y: 4, X: 4}}
		b, err := db.NewBuilder(s.t.Context(), l)
		if err != nil {
			s.fatalf("import: %v", err)
		}
		l = b.Layout()
		refs, err := db.PutTile(s.t.Context(), l, l.Domain(), s.world.field.values(l))
		if err == nil {
			err = b.Set(s.t.Context(), l.Domain(), refs)
		}
		var v *cube.Version
		if err == nil {
			v, err = b.Finish(s.t.Context())
		}
		if err != nil {
			s.fatalf("import: %v", err)
		}
		in.Version = v.Digest()
		ws.Imports[name] = in
	}
	return ws
}

// readable reads the whole of a version.
func (s *story) readable(db *cube.Cube, name string, d graph.Digest) {
	s.t.Helper()
	v, err := db.LoadVersion(s.t.Context(), d)
	if err != nil {
		s.fatalf("%s: %v", name, err)
	}
	if _, ok := v.File(); ok {
		return
	}
	if _, err := db.ReadWindow(s.t.Context(), v, v.Layout().Domain(), nil); err != nil {
		s.fatalf("%s: %v", name, err)
	}
}

// edit changes the workspace, to one that can be planned, or takes it back to
// an earlier one.
func (s *story) edit() {
	if s.r.IntN(5) == 0 && len(s.past) > 1 {
		i := s.r.IntN(len(s.past))
		s.world = s.past[i].clone()
		s.note("back to build %d", i)
		return
	}
	for {
		w := s.world.clone()
		what := w.edit(s.r)
		if what != "" && w.plans() {
			s.world = w
			s.note("%s", what)
			return
		}
	}
}

// mishap does something to the cube that a build must make good.
func (s *story) mishap() {
	s.t.Helper()
	db, err := cube.Open(s.dir, cube.Config{NoSync: true})
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	ctx := s.t.Context()
	switch s.r.IntN(7) {
	case 0:
		s.chunks = pick(s.r, grid.Tiling{}, grid.Tiling{T: 1, Y: 2, X: 2}, grid.Tiling{T: 1, Y: 3, X: 1}, grid.Tiling{T: 2, Y: 4, X: 4})
		s.note("chunks of %v", s.chunks)
		return
	case 1:
		s.note("gc")
		_, err = db.GC(ctx, cube.GCConfig{Result: ResultObjects})
	case 2:
		s.note("objects are lost")
		err = s.loseObjects(ctx, db)
	case 3:
		s.note("derivations are forgotten")
		if err := os.Remove(db.Path("actions", "derivations")); err != nil && !os.IsNotExist(err) {
			s.t.Fatal(err)
		}
		return
	case 4:
		s.note("a crash")
		s.cutShort(func(m *machine, c *Config, stop func()) {
			m.before = countdown(s.r.IntN(30), func() error { stop(); return context.Canceled })
		})
	case 5:
		s.note("events cannot be written")
		s.cutShort(func(_ *machine, c *Config, stop func()) {
			next := countdown(s.r.IntN(60), func() error { return errors.New("no room") })
			c.Events = func(Event) error { return next() }
		})
	case 6:
		s.note("actions fail")
		s.cutShort(func(m *machine, c *Config, _ func()) {
			c.KeepGoing = s.r.IntN(2) == 0
			odd := byte(s.r.IntN(256))
			m.fails = func(id ident) bool { return id[0]%8 == odd%8 }
		})
	}
	if err != nil {
		s.fatalf("%v", err)
	}
	for id := range s.known {
		s.maybe[id] = true
	}
	clear(s.known)
}

// cutShort has a build that may not come to its end.
func (s *story) cutShort(arrange func(m *machine, c *Config, stop func())) {
	s.t.Helper()
	db, err := cube.Open(s.dir, cube.Config{NoSync: true})
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	ws := s.workspace(db)
	plan, err := graph.Resolve(*ws, s.world.targets()...)
	if err != nil {
		s.fatalf("plan: %v", err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	m, c := &machine{}, s.config()
	arrange(m, &c, cancel)
	c.Cube, c.Backend, c.Provider = db, m, nothing{}
	_, err = Run(ctx, ws, plan, c)
	s.note("  it came to %d actions and %v", len(m.ran), err)
	for id := range m.ran {
		s.maybe[id] = true
	}
}

// countdown is a function that f stands in for once it was called n times.
func countdown(n int, f func() error) func() error {
	var mu sync.Mutex
	return func() error {
		mu.Lock()
		defer mu.Unlock()
		if n--; n >= 0 {
			return nil
		}
		return f()
	}
}

// loseObjects takes objects away, and has fsck find out.
func (s *story) loseObjects(ctx context.Context, db *cube.Cube) error {
	var lost []graph.Digest
	err := db.Objects().Walk(ctx, func(d graph.Digest, _ os.FileInfo) error {
		if s.r.IntN(6) == 0 {
			lost = append(lost, d)
		}
		return nil
	})
	for _, d := range lost {
		err = errors.Join(err, db.Objects().Remove(d))
	}
	if err != nil {
		return err
	}
	var versions []graph.Digest
	names, err := os.ReadDir(db.Path("versions"))
	for _, e := range names {
		if d, err := graph.ParseDigest(e.Name()); err == nil {
			versions = append(versions, d)
		}
	}
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	_, err = db.Fsck(ctx, versions, func(cube.Problem) {})
	return err
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// world is a workspace of chance, as far as edits know it.
type world struct {
	box       grid.Box
	time      bool
	tiling    grid.Tiling
	field     *field // nil: nothing is imported
	instances []instance
}

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
	in := instance{name: fmt.Sprint("p", i), does: "base", whole: r.IntN(8) == 0, spot: r.Int64N(12),
		grid: pick(r, "", "", "", "sub", "fine", "coarse", "shifted", "other")}
	if names := slices.Sorted(maps.Keys(kinds)); len(names) > 0 && r.IntN(6) > 0 {
		in.does = pick(r, "mix", "near", "near", "dull")
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
	switch r.IntN(15) {
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
		in.longName += "long"
		return in.name + " has other names for people"
	case 13:
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
	half := func(r grid.Range) grid.Range { return grid.Range{Lo: floorDiv(r.Lo, 2), Hi: floorDiv(r.Hi-1, 2) + 1} }
	return map[string]grid.Grid{
		graph.DefaultGrid: g,
		"sub":             on(func(c *grid.Grid) { c.Box.Y, c.Box.X = mid(w.box.Y), mid(w.box.X) }),
		"fine": on(func(c *grid.Grid) {
			c.Lattice = l.Refine(2)
			c.Box.Y, c.Box.X = grid.Range{Lo: 2 * w.box.Y.Lo, Hi: 2 * w.box.Y.Hi}, grid.Range{Lo: 2 * w.box.X.Lo, Hi: 2 * w.box.X.Hi}
		}),
		"coarse": on(func(c *grid.Grid) {
			c.Lattice.DX, c.Lattice.DY = 60, 60
			c.Box.Y, c.Box.X = half(w.box.Y), half(w.box.X)
		}),
		"shifted": on(func(c *grid.Grid) { c.Lattice.X0, c.Lattice.Y0 = l.X0+11, l.Y0-7 }),
		"other": on(func(c *grid.Grid) { // larger and elsewhere: parts of it see nothing of the rest
			c.Lattice.DX, c.Lattice.DY, c.Lattice.X0 = 70, 50, l.X0-40
			c.Box.Y, c.Box.X = half(w.box.Y).Grow(5, 1), half(w.box.X).Grow(4, 6)
		}),
	}
}

func (w *world) workspace() *graph.Workspace {
	ws := &graph.Workspace{Grids: w.grids(), Tiling: w.tiling}
	for _, in := range w.instances {
		made := slices.Clone(in.makes)
		for i := range made {
			made[i].LongName = in.longName
		}
		ws.Instances = append(ws.Instances, graph.Instance{
			Name: in.name, Grid: in.grid, Out: in.out, Salt: in.salt, Tiling: in.tiling,
			Params:   fmt.Appendf(nil, `{"edition":%d,"spot":%d}`, in.edition, in.spot),
			Image:    graph.Image{Platform: "linux/amd64", DiffIDs: []string{fmt.Sprint(in.code)}, Command: []string{in.does}},
			Manifest: graph.Manifest{Needs: in.needs, Produces: made, Capabilities: graph.Capabilities{Tiles: !in.whole, CPUs: in.cpus}},
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
	return ws
}

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
	s := fmt.Sprintf("domain %s tiles %v", w.box, w.tiling)
	for _, in := range w.instances {
		s += fmt.Sprintf("\n%+v", in)
	}
	return s
}

// ident is everything that a container would be given, as the container sees
// it: the test's own idea of what an action is.
type ident [sha256.Size]byte

// machine is a backend that computes in this process, as a function of what it
// is given and of nothing else.
type machine struct {
	mu     sync.Mutex
	ran    map[ident]int // that succeeded, how often
	names  map[ident]string
	before func() error
	fails  func(ident) bool
}

func (m *machine) Run(ctx context.Context, a containers.Action) (*containers.Result, error) {
	id, err := identify(a)
	if err != nil {
		return nil, err
	}
	if m.before != nil {
		if err := m.before(); err != nil {
			return nil, err
		}
	}
	if m.fails != nil && m.fails(id) {
		return nil, &containers.Failure{Kind: containers.FailedExit, Code: 1, Detail: "exited with code 1"}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	m.mu.Lock()
	if m.ran == nil {
		m.ran, m.names = map[ident]int{}, map[ident]string{}
	}
	m.ran[id]++
	m.names[id] = fmt.Sprintf("%s %s", a.Name, a.Request)
	m.mu.Unlock()
	r := &containers.Result{Outputs: map[string]containers.Output{}}
	for role, o := range a.Outputs {
		if r.Outputs[role], err = compute(a, id, role, o); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

func identify(a containers.Action) (id ident, err error) {
	h := sha256.New()
	part := func(b []byte) { fmt.Fprintf(h, "%d:%s", len(b), b) }
	image, err := json.Marshal(a.Image)
	part(image)
	part(a.Request)
	part(fmt.Append(nil, a.CPUs))
	for _, in := range a.Inputs {
		part([]byte(in.Role))
		part(in.Values)
		if in.File != "" {
			b, readErr := os.ReadFile(in.File)
			err = errors.Join(err, readErr)
			part(b)
		}
	}
	h.Sum(id[:0])
	return id, err
}

// compute makes one output.
func compute(a containers.Action, id ident, role string, o graph.RequestOutput) (containers.Output, error) {
	if o.Kind == graph.File {
		f, err := scratch(fmt.Append(nil, a.Image.Command[0], params(a), inputsSum(a)))
		return containers.Output{File: f, Name: "data.txt"}, err
	}
	times := o.Box.T
	if o.Kind != graph.Time {
		times = grid.Range{Hi: 1}
	}
	levels := int64(1)
	for _, d := range o.Further {
		levels *= d.Size
	}
	var values []byte
	for t := times.Lo; t < times.Hi; t++ {
		for k := range levels {
			for y := o.Box.Y.Lo; y < o.Box.Y.Hi; y++ {
				for x := o.Box.X.Lo; x < o.Box.X.Hi; x++ {
					values = appendValue(values, o.DType, cellOf(a, id, t, k, y, x))
				}
			}
		}
	}
	return containers.Output{Values: values}, nil
}

// cellOf is one value: a small whole number, or none.
func cellOf(a containers.Action, id ident, t, k, y, x int64) float64 {
	var p struct{ Edition, Spot int64 }
	if err := json.Unmarshal(params(a), &p); err != nil {
		panic(err)
	}
	switch a.Image.Command[0] {
	case "base": // the edition shows in a part of the grid alone
		v := 7*y + 3*x + t + k
		if abs(y-p.Spot) < 3 && abs(x-p.Spot) < 3 {
			v += p.Edition
		}
		return float64(v % 11)
	case "mix": // everything that there is to know
		return float64((int64(id[(y*5+x*3+t+k)&31]) + y + x) % 19)
	case "near": // the neighbourhood of the cell, coarsely
		return math.Floor(near(a, t, y, x)/4) + float64(p.Edition%2)
	}
	return math.NaN() // dull: nothing
}

func abs(v int64) int64 { return max(v, -v) }

func params(a containers.Action) json.RawMessage {
	var r graph.Request
	if err := json.Unmarshal(a.Request, &r); err != nil {
		panic(err)
	}
	return r.Params
}

func inputsSum(a containers.Action) (sum int64) {
	for _, in := range a.Inputs {
		for i, b := range in.Values {
			sum += int64(b) * int64(i%7)
		}
	}
	return sum / 16
}

// near sums what the inputs have about a cell, by its index where they are on
// its own lattice, and by that modulo their size where not.
func near(a containers.Action, t, y, x int64) (sum float64) {
	for _, in := range a.Inputs {
		if in.Spec.Kind == graph.File {
			continue
		}
		b := in.Box
		rows, cols := b.Y.Len(), b.X.Len()
		for d := int64(-1); d <= 1; d++ {
			r, c := y+d-b.Y.Lo, x-d-b.X.Lo
			plane := int64(0)
			if in.Spec.Kind == graph.Time {
				plane = max(0, min(b.T.Len()-1, t+d-b.T.Lo))
				for _, dim := range in.Spec.Dims {
					plane *= dim.Size
				}
			}
			i := (plane*rows+(r%rows+rows)%rows)*cols + (c%cols+cols)%cols
			if v := valueAt(in.Values, in.Spec.DType, i); v == v {
				sum += v
			}
		}
	}
	return sum
}

func valueAt(b []byte, d graph.DType, i int64) float64 {
	switch d {
	case graph.Int16:
		return float64(int16(binary.LittleEndian.Uint16(b[2*i:])))
	case graph.Float64:
		return math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
}

func appendValue(b []byte, d graph.DType, v float64) []byte {
	switch d {
	case graph.Int16:
		if v != v {
			v = 3 // the fill, where there is one
		}
		return binary.LittleEndian.AppendUint16(b, uint16(int16(v)))
	case graph.Float64:
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
}
