package solve

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
)

// TestTilesComeToTheSameHoweverTheyAreCut makes workspaces of chance whose
// producers do not care how they are tiled, and builds each with several
// tilings, chunks and orders: every cell of every variable is the same.
func TestTilesComeToTheSameHoweverTheyAreCut(t *testing.T) {
	t.Parallel()
	first, n := seeds(t, 4, 1500)
	for seed := first; seed < first+n; seed++ {
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { newCutting(t, seed).cut() }) {
			return
		}
	}
}

// seeds are those of a test: so many, or with CUBE_SOAK many, or from the one on
// that CUBE_SEED names: that one alone, but with CUBE_SOAK.
func seeds(t *testing.T, short, long uint64) (first, n uint64) {
	first, n = 1, short
	soak := os.Getenv("CUBE_SOAK") != ""
	if soak {
		n = long
	}
	if s := os.Getenv("CUBE_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &first); err != nil {
			t.Fatal(err)
		}
		if !soak {
			n = 1
		}
	}
	return first, n
}

func newCutting(t *testing.T, seed uint64) *story {
	r := rand.New(rand.NewPCG(seed, 0x711e5))
	s := &story{t: t, r: r}
	for s.world == nil {
		w := newWorld(r)
		w.bad = 0
		for i := range w.instances {
			if w.instances[i].does != "base" {
				w.instances[i].does = pick(r, "local", "local", "local", "dull")
			}
		}
		if w.plans() {
			s.world = w
		}
	}
	return s
}

// cut builds the workspace with several tilings.
func (s *story) cut() {
	want := s.cells()
	for range 3 {
		s.world = s.otherTiles()
		s.chunks = someChunks(s.r)
		s.note("tiles of %v, chunks of %v", s.world.tiling, s.chunks)
		for name, got := range s.cells() {
			if d := cmp.Diff(want[name], got); d != "" && want[name] != "" {
				s.fatalf("the values of %s differ: %s", name, d)
			}
		}
	}
}

// otherTiles is the workspace, cut otherwise.
func (s *story) otherTiles() *world {
	for {
		w := s.world.clone()
		w.tiling = someTiling(s.r)
		for i := range w.instances {
			w.instances[i].tiling, w.instances[i].whole = nil, s.r.IntN(8) == 0
			if s.r.IntN(3) == 0 {
				t := someTiling(s.r)
				w.instances[i].tiling = &t
			}
		}
		if w.plans() {
			return w
		}
	}
}

// cells builds in a new cube and returns what every variable holds that is
// whole. Others have tiles that an input on its own grid does not reach.
func (s *story) cells() map[string]string {
	s.t.Helper()
	s.dir = s.t.TempDir()
	got, err := s.build(s.dir, s.machine(), s.config())
	if err != nil && !errors.Is(err, ErrFailed) {
		s.fatalf("%v", err)
	}
	db, err := cube.Open(s.dir, cube.Config{NoSync: true})
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	cells := map[string]string{}
	for name, d := range got.Versions {
		v, err := db.LoadVersion(s.t.Context(), d)
		if err != nil {
			s.fatalf("%s: %v", name, err)
		}
		if f, ok := v.File(); ok {
			cells[name] = f.Object.String()
			continue
		}
		values, err := db.ReadWindow(s.t.Context(), v, v.Layout().Domain(), nil)
		if err != nil {
			s.fatalf("%s: %v", name, err)
		}
		cells[name] = fmt.Sprintf("%x", values)
	}
	return cells
}

// local sums what the inputs have about a cell of an output: within the halo
// that the need names and no further, so that it is the same in every tile.
func local(a containers.Action, role string, timed bool, t, y, x int64) (sum float64) {
	var r graph.Request
	var p struct {
		Halos  map[string][2]int64
		Refine map[string]int64
	}
	if err := json.Unmarshal(a.Request, &r); err != nil {
		panic(err)
	}
	if err := json.Unmarshal(r.Params, &p); err != nil {
		panic(err)
	}
	y, x = grid.FloorDiv(y, max(1, p.Refine[role])), grid.FloorDiv(x, max(1, p.Refine[role]))
	for _, in := range a.Inputs {
		l := in.Grid.Lattice
		if in.Spec.Kind == graph.File || l.DX != r.Grid.DX || l.DY != r.Grid.DY || l.X0 != r.Grid.X0 || l.Y0 != r.Grid.Y0 {
			continue
		}
		times := grid.Range{Hi: 1}
		if in.Spec.Kind == graph.Time {
			times = grid.Range{Hi: in.Box.T.Len()}
			if timed {
				times = grid.Range{Lo: t - in.Box.T.Lo, Hi: t - in.Box.T.Lo + 1}
			}
		}
		halo := p.Halos[in.Role]
		for step := max(0, times.Lo); step < min(max(1, in.Box.T.Len()), times.Hi); step++ {
			for dy := -min(1, halo[0]); dy <= min(1, halo[0]); dy++ {
				for dx := -min(1, halo[1]); dx <= min(1, halo[1]); dx++ {
					sum += cellAt(in, step, y+dy, x+dx)
				}
			}
		}
	}
	return math.Floor(sum / 4)
}

// cellAt is one value of an input, of its first level; 0 where there is none.
func cellAt(in containers.Input, step, y, x int64) float64 {
	b := in.Box
	if y < b.Y.Lo || y >= b.Y.Hi || x < b.X.Lo || x >= b.X.Hi {
		return 0
	}
	plane := step
	for _, d := range in.Spec.Dims {
		plane *= d.Size
	}
	v := valueAt(in.Values, in.Spec.DType, (plane*b.Y.Len()+y-b.Y.Lo)*b.X.Len()+x-b.X.Lo)
	if v != v || math.IsInf(v, 0) {
		return 0
	}
	return v
}
