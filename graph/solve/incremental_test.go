package solve

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
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
// against a build of the same workspace on an empty one. So it holds the
// invariants of ARCHITECTURE.md:
//
//   - The versions are the same, whatever the history, order, concurrency or
//     crash (1, 4, 10).
//   - What runs is what the clean build ran but for what ran before. The test
//     has its own idea of what an action is: all that the container is given,
//     exact windows and all. So nothing runs whose exact inputs are known, and
//     nothing is taken for known that is not (2, 3, 9).
//   - An action is given the windows that its needs ask for, by the test's own
//     reckoning, and so neither more nor less than it is planned to read (8).
//   - Nothing runs twice, also where two builds run at once (6).
//   - Where derivations are forgotten, looking at every tile runs nothing and
//     comes to the same versions (5).
//   - All that a head reaches is there and decodes to its digest (7, 8).
//   - What is held is read as it was, in whatever sequence of edits, and bumps,
//     invalidations and restores with it.
//
// A failure names its seed; CUBE_SEED=<n> runs that one alone, and CUBE_SOAK=1
// runs many more, from that one on.
func TestIncrementalEqualsClean(t *testing.T) {
	t.Parallel()
	first, n := seeds(t, 10, 3000)
	for seed := first; seed < first+n; seed++ {
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { newStory(t, seed).tell() }) {
			return
		}
	}
}

// story is one workspace's life on one cube.
type story struct {
	t        *testing.T
	r        *rand.Rand
	world    *world
	dir      string
	known    map[ident]bool          // actions whose results the cube has
	maybe    map[ident]bool          // and those of which it may have one
	past     []world                 // that were built
	deeds    map[ident]deed          // of the last clean build
	versions map[string]graph.Digest // of the last build
	log      []string                // what happened, for a failure
	chunks   grid.Tiling

	made    map[string]graph.Import     // by the last clean build, by variable
	madeIn  *cube.Cube                  // its cube, which nothing befalls
	holders map[graph.Digest]*cube.Cube // by version that is or was held
}

func newStory(t *testing.T, seed uint64) *story {
	r := rand.New(rand.NewPCG(seed, 0xc0be))
	s := &story{t: t, r: r, dir: t.TempDir(), known: map[ident]bool{}, maybe: map[ident]bool{}, holders: map[graph.Digest]*cube.Cube{}}
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
		if s.r.IntN(2) == 0 {
			s.mishap()
		}
		s.compare()
		if s.r.IntN(4) == 0 {
			s.forgetAndAsk()
		}
	}
	s.t.Log(strings.Join(s.log, "\n"))
}

// compare builds on the cube of the story and on an empty one.
func (s *story) compare() {
	c := s.config()
	clean := s.machine()
	dir := s.t.TempDir()
	want, wantErr := s.build(dir, clean, c)
	c = s.config()
	ours := s.machine()
	join := func() (*Result, error) { return nil, nil }
	if s.r.IntN(4) == 0 {
		join = s.another(ours)
	}
	got, gotErr := s.build(s.dir, ours, c)
	s.agrees(want, wantErr, join)
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
	s.versions, s.deeds = got.Versions, clean.what
	s.remember(dir, want)
	s.past = append(s.past, *s.world.clone())
}

// machine computes for the story's workspace.
func (s *story) machine() *machine {
	w := s.world.clone()
	salts := map[string]int{}
	for _, in := range w.instances {
		salts[in.name] = in.salt
	}
	return &machine{bad: w.isBad, check: w.checkWindows, salts: salts}
}

// another has a second build go on at the same time, with the same machine;
// join waits for its end.
func (s *story) another(m *machine) (join func() (*Result, error)) {
	s.note("two builds at once")
	db, err := cube.Open(s.dir, cube.Config{NoSync: true})
	if err != nil {
		s.t.Fatal(err)
	}
	ws, c := s.workspace(db), s.config()
	plan, err := graph.Resolve(*ws, s.world.targets()...)
	if err != nil {
		s.fatalf("plan: %v", err)
	}
	c.Cube, c.Backend, c.Provider = db, m, s.provider()
	var got *Result
	done := make(chan error, 1)
	go func() {
		var err error
		got, err = Run(s.t.Context(), ws, plan, c)
		done <- errors.Join(err, db.Close())
	}()
	return func() (*Result, error) { err := <-done; return got, err }
}

// agrees holds a build that went on beside another against a clean one.
func (s *story) agrees(want *Result, wantErr error, join func() (*Result, error)) {
	s.t.Helper()
	got, err := join()
	if got == nil && err == nil {
		return
	}
	if (err == nil) != (wantErr == nil) || err != nil && !errors.Is(err, ErrFailed) {
		s.fatalf("clean: %v\nbeside another: %v", wantErr, err)
	}
	if d := cmp.Diff(want.Versions, got.Versions); d != "" {
		s.fatalf("versions of the other build: %s", d)
	}
}

// forgetAndAsk takes away what answers for whole vertices. Their tiles must all
// answer for themselves then, with the same versions.
func (s *story) forgetAndAsk() {
	s.t.Helper()
	s.note("every tile is asked")
	if err := os.Remove(filepath.Join(s.dir, ".cube", "actions", "derivations")); err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	m := s.machine()
	before := len(s.maybe)
	got, err := s.build(s.dir, m, s.config())
	if err != nil && !errors.Is(err, ErrFailed) {
		s.fatalf("%v", err)
	}
	if before == 0 && len(m.ran) > 0 {
		s.fatalf("%d actions ran though all tiles are there: %v", len(m.ran), m.what)
	}
	if d := cmp.Diff(s.versions, got.Versions); d != "" {
		s.fatalf("versions: %s", d)
	}
	for id := range m.ran {
		s.known[id] = true
		delete(s.maybe, id)
	}
}

// minimal holds what ran against what had to.
func (s *story) minimal(clean, ours *machine) {
	for id, n := range ours.ran {
		switch {
		case n > 1:
			s.fatalf("%s ran %d times", ours.what[id], n)
		case clean.ran[id] == 0:
			s.fatalf("%s ran, and not in a clean build", ours.what[id])
		case s.known[id]:
			s.fatalf("%s ran again", ours.what[id])
		}
	}
	for id := range clean.ran {
		if ours.ran[id] == 0 && !s.known[id] && !s.maybe[id] {
			s.fatalf("%s did not run, and never has", clean.what[id])
		}
		s.known[id] = true
		delete(s.maybe, id)
	}
}

func (s *story) config() Config {
	c := Config{Workers: 1 + s.r.IntN(4), KeepGoing: true, Chunks: s.chunks, Imports: s.held()}
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
	c.Cube, c.Backend, c.Provider, c.Events = db, m, s.provider(), rebuilding(s.t, c.Events)
	got, err := Run(s.t.Context(), ws, plan, c)
	if got == nil {
		s.fatalf("build: %v", err)
	}
	heads, headsErr := db.Heads(s.t.Context())
	if headsErr != nil {
		s.fatalf("heads: %v", headsErr)
	}
	for name, v := range got.Versions {
		if _, held := s.world.held[name]; held {
			continue // made beside what is needed, and shown by nobody
		}
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
		if in.Held {
			continue
		}
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

// provider has the source.
func (s *story) provider() Provider {
	path := filepath.Join(s.dir, fmt.Sprint("source-", s.world.source))
	if _, err := os.Stat(path); err != nil {
		if err := os.WriteFile(path, s.world.sourceBytes(), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	return oneSource(path)
}

// oneSource is a provider of the source at its path.
type oneSource string

func (oneSource) Layers(context.Context, *graph.Instance) ([]string, error) { return nil, nil }
func (oneSource) Part(context.Context, *graph.Instance, string, graph.Digest) (string, error) {
	return "", nil
}
func (oneSource) Secrets(context.Context, *graph.Instance) ([]containers.Secret, error) {
	return nil, nil
}
func (o oneSource) Source(context.Context, graph.Source) (string, error) { return string(o), nil }

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
	if s.r.IntN(6) == 0 && s.hold() {
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

// hold has a variable stay as the last clean build made it, or lets go of one.
func (s *story) hold() bool {
	w := s.world.clone()
	if names := slices.Sorted(maps.Keys(w.held)); len(names) > 0 && s.r.IntN(2) == 0 {
		name := pick(s.r, names...)
		if delete(w.held, name); !w.plans() {
			return false
		}
		s.note("%s is held no longer", name)
		s.world = w
		return true
	}
	names := slices.Sorted(maps.Keys(s.made))
	if len(names) == 0 {
		return false
	}
	name := pick(s.r, names...)
	if w.held == nil {
		w.held = map[string]graph.Import{}
	}
	w.held[name] = s.made[name]
	if !w.plans() {
		return false
	}
	s.world, s.holders[s.made[name].Version] = w, s.madeIn
	s.note("%s is held", name)
	return true
}

// held are the cubes in which the versions lie that are held: to a build of the
// story's own cube something may have happened to its own.
func (s *story) held() (out []*cube.Cube) {
	for _, name := range slices.Sorted(maps.Keys(s.world.held)) {
		if c := s.holders[s.world.held[name].Version]; !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

// remember notes what a clean build made, and where.
func (s *story) remember(dir string, r *Result) {
	s.t.Helper()
	c, err := cube.Open(dir, cube.Config{NoSync: true})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	s.made, s.madeIn = map[string]graph.Import{}, c
	for name, version := range r.Versions {
		v, err := c.LoadVersion(s.t.Context(), version)
		if err != nil {
			s.fatalf("%s: %v", name, err)
		}
		h, ok, err := c.Head(s.t.Context(), name)
		if err != nil || !ok {
			continue // held, and made beside what is needed
		}
		s.made[name] = graph.Import{Spec: h.Spec, Grid: v.Layout().Grid, Version: version, Native: h.Native, Held: true}
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
	switch s.r.IntN(11) {
	case 7:
		s.note("heads are moved back")
		if err := s.moveBack(ctx, db); err != nil {
			s.fatalf("%v", err)
		}
		return
	case 8:
		s.invalidate(ctx, db)
		return
	case 9:
		s.note("the log's end is lost")
		err = s.cutResults(db)
	case 10:
		s.note("results are forgotten")
		_, err = db.Results().Compact(ctx, func(graph.Digest, []byte) bool { return s.r.IntN(4) > 0 })
		err = errors.Join(err, loseDerivations(db))
	case 0:
		s.chunks = someChunks(s.r)
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
		if err := loseDerivations(db); err != nil {
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
			m.fails = func(id ident) bool { return id[0]%4 == odd%4 }
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

func loseDerivations(db *cube.Cube) error {
	err := os.Remove(db.Path("actions", "derivations"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// moveBack has some heads show what they showed before, as a restore does.
func (s *story) moveBack(ctx context.Context, db *cube.Cube) error {
	heads, err := db.Heads(ctx)
	if err != nil {
		return err
	}
	expect := map[string]graph.Digest{}
	var moves []cube.Head
	for _, name := range slices.Sorted(maps.Keys(heads)) {
		was, err := db.History(ctx, name)
		if err != nil {
			return err
		}
		was = slices.DeleteFunc(was, func(h cube.Head) bool { return !db.HasVersion(h.Version) })
		if len(was) == 0 || s.r.IntN(2) == 0 {
			continue
		}
		expect[name] = heads[name].Version
		moves = append(moves, was[s.r.IntN(len(was))])
	}
	if len(moves) == 0 {
		return nil
	}
	return db.MoveHeads(ctx, expect, moves)
}

// invalidate takes the results of some tiles away: those must run again, and no
// others may.
func (s *story) invalidate(ctx context.Context, db *cube.Cube) {
	s.t.Helper()
	other, err := cube.Open(s.dir, cube.Config{NoSync: true})
	if err != nil {
		s.t.Fatal(err)
	}
	ws := s.workspace(other)
	if err := other.Close(); err != nil { // who puts something into a cube uses it
		s.t.Fatal(err)
	}
	plan, err := graph.Resolve(*ws, s.world.targets()...)
	if err != nil {
		s.fatalf("plan: %v", err)
	}
	v := plan.Vertices[s.r.IntN(len(plan.Vertices))]
	if v.IsMerge() {
		return
	}
	of := Selection{Vertex: v}
	if v.Len() > 1 && s.r.IntN(2) == 0 {
		n := newScheduler(plan, 0, 1).nodes[slices.Index(plan.Vertices, v)]
		of.Boxes = []grid.Box{n.tile(s.r.Int64N(v.Len())).Box}
	}
	s.note("%s is invalidated, %v", v.Name, of.Boxes)
	if _, err := Invalidate(ctx, ws, plan, Config{Cube: db, Chunks: s.chunks, Imports: s.held()}, Invalidation{Selections: []Selection{of}}); err != nil {
		s.fatalf("invalidate: %v", err)
	}
	unedited := len(s.past) > 0 && s.past[len(s.past)-1].String() == s.world.String()
	for id := range s.known {
		deed, last := s.deeds[id]
		void := deed.instance == v.Name && (of.Boxes == nil || deed.tile == of.Boxes[0])
		switch {
		case unedited && last && void:
			delete(s.known, id) // it must run
		case !last || deed.instance == v.Name: // what the head was made by is void, too
			delete(s.known, id)
			s.maybe[id] = true
		}
	}
}

// cutResults cuts the log of results off, as a crash does, and what was written
// later.
func (s *story) cutResults(db *cube.Cube) error {
	path := db.Path("actions", "results")
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.Truncate(path, s.r.Int64N(info.Size()+1))
	}
	return errors.Join(err, loseDerivations(db))
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
	m, c := s.machine(), s.config()
	arrange(m, &c, cancel)
	c.Cube, c.Backend, c.Provider = db, m, s.provider()
	_, err = Run(ctx, ws, plan, c)
	s.note("  it came to %d actions and %v", len(m.ran), err)
	for id := range m.ran {
		s.maybe[id] = true
	}
}

func someChunks(r *rand.Rand) grid.Tiling {
	return pick(r, grid.Tiling{}, grid.Tiling{T: 1, Y: 2, X: 2}, grid.Tiling{T: 1, Y: 3, X: 1}, grid.Tiling{T: 2, Y: 4, X: 4})
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
