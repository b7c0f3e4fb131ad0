package solve

import (
	"testing"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
)

func TestAShuffleHandsOutEveryTileOnce(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{0, 1, 2, 3, 4, 5, 6, 7, 12, 16, 30, 97, 1000, 30030} {
		for _, seed := range []uint64{0, 1, 2, 7, 1 << 60} {
			s, seen, moved := newShuffle(n, seed), map[int64]bool{}, false
			for i := range n {
				at := s.at(i)
				if at < 0 || at >= n || seen[at] {
					t.Fatalf("%d tiles, seed %d: place %d is tile %d", n, seed, i, at)
				}
				seen[at], moved = true, moved || at != i
			}
			if moved && seed == 0 || !moved && seed != 0 && n > 4 {
				t.Errorf("%d tiles, seed %d: moved: %v", n, seed, moved)
			}
		}
	}
}

func TestProductsThatDoNotFitAreTakenApart(t *testing.T) {
	t.Parallel()
	const n = 1<<61 - 1 // a prime
	// (2⁴⁰ + 3)·2⁵⁰ = 2⁹⁰ + 3·2⁵⁰, and 2⁶¹ is 1.
	if got, want := mulMod(1<<40+3, 1<<50, n), int64(1<<29+3<<50); got != want {
		t.Errorf("%d, want %d", got, want)
	}
}

func TestAShuffledBuildComesToTheSame(t *testing.T) {
	t.Parallel()
	plain, shuffled := newEnv(t), newEnv(t)
	want := plain.build(chain(), "two")
	for _, seed := range []uint64{1, 2, 3} {
		got, err := shuffled.run(chain(), func(c *Config) { c.Shuffle = seed }, "two")
		if err != nil {
			t.Fatal(err)
		}
		if got.Versions["two"] != want.Versions["two"] {
			t.Errorf("seed %d: another version", seed)
		}
		if seed == 1 {
			var order []int64
			for _, e := range shuffled.events {
				if d, ok := e.(TileDone); ok && d.Vertex.Name == "base" {
					order = append(order, d.Tile.Y*4+d.Tile.X)
				}
			}
			if len(order) != 16 || order[0] == 0 && order[1] == 1 && order[2] == 2 {
				t.Errorf("tiles were made in the order %v", order)
			}
		}
	}
}

func TestATileAloneIsTheActionThatItIsAmongOthers(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	e.build(ws, "two")
	ids := map[graph.ActionID]bool{}
	for _, ev := range e.events {
		if d, ok := ev.(TileDone); ok && d.Vertex.Name == "two" {
			ids[d.Action] = true
		}
	}
	plan, err := graph.Resolve(*ws, "two")
	if err != nil {
		t.Fatal(err)
	}
	c := e.open()
	one, _, err := c.Head(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	v := plan.Output("two").Vertex.Pinned([]graph.Digest{one.Version})
	for tile := range v.Tiles() {
		alone := newEnv(t)
		plan := &graph.Plan{Targets: []string{"two"}, Vertices: []*graph.Vertex{v.Only(tile.Box)}}
		var done []TileDone
		_, err := Run(t.Context(), ws, plan, Config{Cube: alone.open(), Imports: []*cube.Cube{c}, Backend: e.backend, Provider: nothing{},
			Events: func(ev Event) error {
				if d, ok := ev.(TileDone); ok {
					done = append(done, d)
				}
				return nil
			}})
		if err != nil {
			t.Fatal(err)
		}
		if len(done) != 1 || done[0].Outcome != Ran || !ids[done[0].Action] {
			t.Errorf("tile %s: %+v", tile.Box, done)
		}
		delete(ids, done[0].Action)
	}
	if len(ids) != 0 {
		t.Errorf("%d actions were not met again", len(ids))
	}
}
