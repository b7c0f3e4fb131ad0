//go:build linux

package backendtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/google/go-cmp/cmp"
)

// batches makes plans of chance in containers that serve batches: some tiles come
// to a bad end, some builds are cut off, some workers are killed. Then the trouble
// is over, and what comes out is what arithmetic makes.
//
//   - Only the tiles fail that are foreseen to, in whatever batch they are, and only
//     those are blocked that read one.
//   - What was done is never done again, and what was not is.
func (s *suite) batches(t *testing.T) {
	n := uint64(4)
	if s.long {
		n = 60
	}
	for seed := range n {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { s.newTroubled(t, seed).tell() })
	}
}

// troubled is one plan's life on one cube.
type troubled struct {
	*suite
	t       *testing.T
	r       *rand.Rand
	b       Subject
	dir     string
	ws      *graph.Workspace
	layer   string            // that foresees how tiles end
	ends    map[string]string // by tile: the same
	known   map[string]bool   // tiles that have a result
	maybe   map[string]bool   // and those that may have one
	bad     map[string]bool   // tiles that are known to come to exit 65
	retry   graph.Retry
	retries bool // what is known to fail is tried again
}

func (s *suite) newTroubled(t *testing.T, seed uint64) *troubled {
	r := rand.New(rand.NewPCG(seed, 0xba7c4))
	w := &troubled{suite: s, t: t, r: r, b: s.subject(t), dir: newCube(t), ws: workspace(2+r.Int64N(3), `{}`),
		known: map[string]bool{}, maybe: map[string]bool{}, bad: map[string]bool{}}
	for i := range w.ws.Instances {
		w.ws.Instances[i].Manifest.Capabilities.Batch = []int{2, 3, 5, 100, 1}[r.IntN(5-i)] // the second always serves
	}
	return w
}

func (w *troubled) tell() {
	want := w.make(w.t, newCube(w.t), w.ws, Subject{Backend: arithmetic{}}, nil)
	for step := range 3 {
		w.foresee(step)
		w.build(w.r.IntN(2) == 0)
	}
	w.ends, w.layer = nil, ""
	w.retries = true
	got := w.build(false)
	if got.err != nil {
		w.t.Fatal(got.err)
	}
	if diff := cmp.Diff(want.Versions, got.Versions); diff != "" {
		w.t.Errorf("other versions than arithmetic makes (-want +got):\n%s", diff)
	}
	if again := w.build(false); again.Count != (solve.Count{}) || again.Known != len(w.ws.Instances) {
		w.t.Errorf("with nothing to do: %+v, %d vertices are known", again.Count, again.Known)
	}
}

// foresee has some tiles come to a bad end from now on.
func (w *troubled) foresee(step int) {
	w.ends = map[string]string{}
	side := w.ws.Grids[graph.DefaultGrid].Box.Y.Hi / tile
	for range 1 + w.r.IntN(4) {
		name := w.ws.Instances[w.r.IntN(2)].Name
		key := fmt.Sprint(name, " ", tile*w.r.Int64N(side), " ", tile*w.r.Int64N(side))
		w.ends[key] = []string{"1", "7", "65", "75", "killed", "gone", "stray"}[w.r.IntN(7)]
	}
	w.layer = filepath.Join(w.t.TempDir(), fmt.Sprint("trouble", step))
	text, err := json.Marshal(w.ends)
	if err == nil {
		err = errors.Join(os.MkdirAll(w.layer, 0o755), os.WriteFile(filepath.Join(w.layer, "trouble.json"), text, 0o644))
	}
	for dir := w.layer; err == nil && dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) {
		err = os.Chmod(dir, 0o755) // the payload is another user
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.retry = graph.Retry{Attempts: 1 + w.r.IntN(2), Backoff: time.Microsecond, MaxBackoff: time.Microsecond}
	w.retries = w.r.IntN(2) == 0
}

// build builds, perhaps not to its end, and holds what it does against what it
// has to.
func (w *troubled) build(cut bool) ran {
	w.t.Helper()
	cause, left := errors.New("cut off"), w.r.IntN(12)
	keep := w.r.IntN(4) > 0
	begun := map[string]bool{}
	got := w.make(w.t, w.dir, w.ws, w.b, func(c *solve.Config) {
		c.Provider, c.Retry, c.KeepGoing, c.RetryFailed = withTrouble{c.Provider.(provider), w.layer}, w.retry, keep, w.retries
		if w.r.IntN(2) == 0 {
			c.Shuffle = w.r.Uint64() | 1
		}
		if !w.b.Serial {
			c.Workers = 1 + w.r.IntN(4)
		}
		events := c.Events
		c.Events = func(e solve.Event) error {
			switch e := e.(type) {
			case solve.Started:
				begun[name(e.Vertex, e.Tile)] = true
			case solve.TileDone:
				if left--; left == 0 && cut && w.b.Workers != nil && w.r.IntN(2) == 0 {
					for _, pid := range w.b.Workers() {
						syscall.Kill(pid, syscall.SIGKILL) // nothing is lost but time
					}
					cut = false
				} else if left < 0 && cut {
					return errors.Join(cause, events(e))
				}
			}
			return events(e)
		}
	})
	done := w.ended(got.events)
	whole := got.err == nil || errors.Is(got.err, solve.ErrFailed) && keep
	if !whole && !errors.Is(got.err, cause) && !errors.Is(got.err, solve.ErrFailed) {
		w.t.Fatal(got.err)
	}
	for tile := range begun {
		if _, told := done[tile]; !told {
			w.maybe[tile] = true
		}
	}
	if whole && len(done) > 0 {
		w.complete(done)
	}
	return got
}

// ended holds the end of each tile against what is foreseen.
func (w *troubled) ended(events []solve.Event) map[string]solve.Outcome {
	w.t.Helper()
	done := map[string]solve.Outcome{}
	for _, e := range events {
		e, ok := e.(solve.TileDone)
		if !ok {
			continue
		}
		tile := name(e.Vertex, e.Tile)
		done[tile] = e.Outcome
		end, reported := w.ends[tile], w.bad[tile] && !w.retries
		switch e.Outcome {
		case solve.Ran:
			if w.known[tile] || end != "" || reported {
				w.t.Errorf("%s ran: known %v, foreseen %q, known to fail %v", tile, w.known[tile], end, reported)
			}
			w.known[tile] = true
			delete(w.bad, tile)
		case solve.Hit:
			if !w.known[tile] && !w.maybe[tile] {
				w.t.Errorf("%s has a result, and never ran", tile)
			}
			w.known[tile] = true
		case solve.Failed:
			w.failed(tile, end, reported, e)
		case solve.Lost:
			w.t.Errorf("%s was lost: %v", tile, e.Err)
		}
	}
	return done
}

// failed holds a failure against what is foreseen of the tile.
func (w *troubled) failed(tile, end string, reported bool, e solve.TileDone) {
	w.t.Helper()
	switch {
	case reported && e.Repeated:
	case end == "":
		w.t.Errorf("%s failed with nothing amiss: %v\n%s", tile, e.Err, e.Log)
	case e.Attempts != w.attempts(end):
		w.t.Errorf("%s (%s) had %d attempts, want %d", tile, end, e.Attempts, w.attempts(end))
	case w.known[tile]:
		w.t.Errorf("%s (%s) ran again", tile, end)
	}
	if end == "65" {
		w.bad[tile] = true
	}
}

// attempts is how often a tile is tried that ends in that way.
func (w *troubled) attempts(end string) int {
	if end == "75" || end == "killed" {
		return w.retry.Attempts
	}
	return 1
}

// complete holds a build that came to its end against the plan: all is done that
// does not read what failed.
func (w *troubled) complete(done map[string]solve.Outcome) {
	w.t.Helper()
	for tile, outcome := range done {
		if outcome == solve.Blocked && !w.blocks(tile, done) {
			w.t.Errorf("%s is blocked, and nothing that it reads failed", tile)
		}
	}
	side := w.ws.Grids[graph.DefaultGrid].Box.Y.Hi / tile
	for _, v := range []string{"base", "sum"} {
		for i := range side * side {
			key := fmt.Sprint(v, " ", tile*(i/side), " ", tile*(i%side))
			if _, ok := done[key]; !ok && !w.known[key] && !w.maybe[key] {
				w.t.Errorf("%s was left out", key)
			}
		}
	}
}

// blocks reports whether a tile of sum reads a tile of base that failed.
func (w *troubled) blocks(of string, done map[string]solve.Outcome) bool {
	var y, x int64
	if _, err := fmt.Sscanf(of, "sum %d %d", &y, &x); err != nil {
		return false
	}
	for dy := int64(-tile); dy <= tile; dy += tile {
		for dx := int64(-tile); dx <= tile; dx += tile {
			if done[fmt.Sprint("base ", y+dy, " ", x+dx)].Unmade() {
				return true
			}
		}
	}
	return false
}

// name is a tile's, as the producer tells it.
func name(v *graph.Vertex, t grid.Tile) string {
	return fmt.Sprint(v.Name, " ", t.Box.Y.Lo, " ", t.Box.X.Lo)
}

// withTrouble adds a layer to the images of a provider.
type withTrouble struct {
	provider
	layer string
}

func (p withTrouble) Layers(ctx context.Context, inst *graph.Instance) ([]string, error) {
	layers, err := p.provider.Layers(ctx, inst)
	if p.layer != "" {
		layers = append(layers, p.layer)
	}
	return layers, err
}

// inTurns holds that a container serves tiles one after the other, and no more than
// it may.
func (s *suite) inTurns(t *testing.T) {
	ws := workspace(3, `{}`)
	for i := range ws.Instances {
		ws.Instances[i].Manifest.Capabilities.Batch = 4
	}
	r := s.make(t, newCube(t), ws, s.subject(t), func(c *solve.Config) { c.Workers, c.Single = 1, true })
	if r.err != nil {
		t.Fatal(r.err)
	}
	turns := map[string]int{}
	for _, e := range r.events {
		if e, ok := e.(solve.TileDone); ok {
			turns[strings.TrimSpace(string(e.Log))]++
		}
	}
	if turns["turn 1"]+turns["turn 2"]+turns["turn 3"]+turns["turn 4"] != 18 || turns["turn 2"] == 0 {
		t.Errorf("twice nine tiles in batches of four were served so: %v", turns)
	}
}
