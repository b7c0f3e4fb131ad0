// Package progress knows how far a build is: from the events of it, which
// vertices are under way, what runs and since when, and how long the rest may
// take. It shows nothing; displays and other terminals ask it.
package progress

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/graph/solve/resource"
)

// Build is how far a build is. Its methods are called one at a time.
type Build struct {
	Planned bool
	Total   int64 // tiles that are to be looked at
	Over    int64 // of them, those that are done
	Count   solve.Count
	// Vertices are those that are under way, in the order in which they began.
	Vertices []*Vertex

	open    map[*graph.Vertex]int64 // tiles that are to be looked at, of vertices that are not done
	expect  func(*graph.Vertex) time.Duration
	earlier map[*graph.Vertex]time.Duration // what expect said
	by      map[*graph.Vertex]*Vertex
	running map[tile]Action
	first   time.Time // when the first action began
	spent   Pace
}

// Vertex is how far a vertex is that is under way.
type Vertex struct {
	*graph.Vertex
	Total int64 // tiles that are to be looked at
	Count solve.Count
	Pace  Pace
}

// Pace is what tiles took that ran.
type Pace struct {
	Ran  int64
	Wall time.Duration
}

func (p *Pace) add(d time.Duration) { p.Ran, p.Wall = p.Ran+1, p.Wall+d }

// Mean is what one took.
func (p Pace) Mean() time.Duration {
	if p.Ran == 0 {
		return 0
	}
	return p.Wall / time.Duration(p.Ran)
}

type tile struct {
	vertex *graph.Vertex
	box    grid.Box
}

// State says what an action is doing.
type State string

// The states of an action.
const (
	Running  State = "running"
	Waiting  State = "waiting" // for another build that runs it, or for what it needs of the machine
	Retrying State = "retrying"
)

// Action is an action that runs or is waited for.
type Action struct {
	Vertex  *graph.Vertex
	Tile    grid.Tile
	ID      graph.ActionID
	Since   time.Time
	State   State
	Attempt int           // that runs, or has failed
	Pause   time.Duration // before the next attempt
	Lost    bool          // of one that is retried: nobody saw the attempt's end
	// Resource is what is waited for, "" where another build runs it, and For says how
	// much of it there is.
	Resource resource.Name
	For      string
}

// Wait is what actions of a vertex wait for.
type Wait struct {
	Vertex  *graph.Vertex
	Actions int
	// Resource and For are as in Action; For and Since are of the one that waits
	// longest.
	Resource resource.Name
	For      string
	Since    time.Time
}

// Event takes in what the build did.
func (b *Build) Event(e solve.Event) {
	switch e := e.(type) {
	case solve.Planned:
		b.Planned, b.Total, b.open, b.expect = true, e.Tiles, maps.Clone(e.Open), e.Expect
	case solve.Started:
		if b.first.IsZero() {
			b.first = e.Time
		}
		b.put(Action{Vertex: e.Vertex, Tile: e.Tile, ID: e.Action, Since: e.Time, State: Running, Attempt: e.Attempt})
	case solve.Waiting:
		a := Action{Vertex: e.Vertex, Tile: e.Tile, ID: e.Action, Since: time.Now(), State: Waiting}
		if e.For != nil {
			a.Resource, a.For = e.For.Resource, e.For.String()
		}
		b.put(a)
	case solve.Retried:
		b.put(Action{Vertex: e.Vertex, Tile: e.Tile, ID: e.Action, Since: time.Now(), State: Retrying, Attempt: e.Attempt, Pause: e.Pause, Lost: e.Lost})
	case solve.TileDone:
		b.tileDone(e)
	case solve.VertexDone:
		b.vertexDone(e)
	}
}

func (b *Build) put(a Action) {
	b.of(a.Vertex)
	if b.running == nil {
		b.running = map[tile]Action{}
	}
	b.running[tile{a.Vertex, a.Tile.Box}] = a
}

// of returns the progress of a vertex, which it begins.
func (b *Build) of(v *graph.Vertex) *Vertex {
	p := b.by[v]
	if p == nil {
		if b.by == nil {
			b.by = map[*graph.Vertex]*Vertex{}
		}
		p = &Vertex{Vertex: v, Total: b.tiles(v)}
		b.by[v], b.Vertices = p, append(b.Vertices, p)
	}
	return p
}

// tiles is how many tiles of a vertex are to be looked at.
func (b *Build) tiles(v *graph.Vertex) int64 {
	if n, ok := b.open[v]; ok {
		return n
	}
	return v.Len()
}

func (b *Build) tileDone(e solve.TileDone) {
	delete(b.running, tile{e.Vertex, e.Tile.Box})
	p := b.of(e.Vertex)
	b.Over++
	for _, c := range []*solve.Count{&p.Count, &b.Count} {
		c.Add(e.Outcome)
	}
	if e.Outcome == solve.Ran {
		p.Pace.add(e.Wall)
		b.spent.add(e.Wall)
	}
}

func (b *Build) vertexDone(e solve.VertexDone) {
	if e.Known {
		if b.Planned { // what it reads came out as it was
			b.Over += b.tiles(e.Vertex)
		}
		delete(b.open, e.Vertex)
		return
	}
	delete(b.open, e.Vertex)
	b.Vertices = slices.DeleteFunc(b.Vertices, func(p *Vertex) bool { return p.Vertex == e.Vertex })
	delete(b.by, e.Vertex)
}

// Running lists what runs and then what waits, the longest first.
func (b *Build) Running() []Action {
	return slices.SortedFunc(maps.Values(b.running), func(x, y Action) int {
		return cmp.Or(cmp.Compare(x.waits(), y.waits()), x.Since.Compare(y.Since), cmp.Compare(x.Vertex.Name, y.Vertex.Name), cmp.Compare(x.Tile.Box.T.Lo, y.Tile.Box.T.Lo),
			cmp.Compare(x.Tile.Box.Y.Lo, y.Tile.Box.Y.Lo), cmp.Compare(x.Tile.Box.X.Lo, y.Tile.Box.X.Lo))
	})
}

func (a Action) waits() int {
	if a.State == Waiting {
		return 1
	}
	return 0
}

// Waits counts what waits, by vertex and by what for, the longest first.
func (b *Build) Waits() (all []Wait) {
	for _, a := range b.Running() {
		if a.State != Waiting {
			continue
		}
		i := slices.IndexFunc(all, func(w Wait) bool { return w.Vertex == a.Vertex && w.Resource == a.Resource })
		if i < 0 {
			i = len(all)
			all = append(all, Wait{Vertex: a.Vertex, Resource: a.Resource, For: a.For, Since: a.Since})
		}
		all[i].Actions++
	}
	return all
}

// Rate is how many tiles were done a second since the first action began.
func (b *Build) Rate(now time.Time) float64 {
	if b.first.IsZero() {
		return 0
	}
	return float64(b.Over) / max(0.001, now.Sub(b.first).Seconds())
}

// Left estimates the time that is left from what the tiles of this build took
// so far: a vertex's own; where none of it has run, what earlier builds tell of it,
// or all. It is false while nothing tells, and when it is over.
func (b *Build) Left(now time.Time) (time.Duration, bool) {
	if b.first.IsZero() || now.Sub(b.first) < time.Second {
		return 0, false
	}
	open := b.Total - b.Over
	var work time.Duration
	for _, p := range b.Vertices {
		rest := p.Total - p.Count.Sum()
		open -= rest
		mean, ok := b.mean(p.Vertex, p.Pace)
		if !ok {
			return 0, false
		}
		work -= b.begun(p.Vertex, mean, now)
		// Tiles that were known cost nothing; so will as many of the rest.
		if seen := p.Count.Ran + p.Count.Hit; seen > 0 {
			mean = time.Duration(float64(mean) * float64(p.Count.Ran) / float64(seen))
		}
		work += time.Duration(rest) * mean
	}
	for v, n := range b.open {
		if b.by[v] != nil {
			continue
		}
		mean, ok := b.mean(v, Pace{})
		if !ok {
			return 0, false
		}
		open -= n
		work += time.Duration(n) * mean
	}
	work += time.Duration(max(0, open)) * b.spent.Mean()
	return time.Duration(float64(work) / b.abreast(now)), work > 0
}

// mean is what a tile of a vertex is likely to take.
func (b *Build) mean(v *graph.Vertex, own Pace) (time.Duration, bool) {
	if own.Ran > 0 {
		return own.Mean(), true
	}
	if d := b.earlierMean(v); d > 0 {
		return d, true
	}
	return b.spent.Mean(), b.spent.Ran > 0
}

// earlierMean is what a tile of a vertex took in earlier builds, which is asked
// once; 0 where nothing tells.
func (b *Build) earlierMean(v *graph.Vertex) time.Duration {
	if b.expect == nil {
		return 0
	}
	d, asked := b.earlier[v]
	if !asked {
		if b.earlier == nil {
			b.earlier = map[*graph.Vertex]time.Duration{}
		}
		d = b.expect(v)
		b.earlier[v] = d
	}
	return d
}

// begun is what of a vertex's work the actions that run have done, if each takes
// as long as the mean.
func (b *Build) begun(v *graph.Vertex, mean time.Duration, now time.Time) (done time.Duration) {
	for _, r := range b.running {
		if r.Vertex == v && r.State == Running {
			done += min(mean, max(0, now.Sub(r.Since)))
		}
	}
	return done
}

// abreast is how many actions ran at once so far, in the mean.
func (b *Build) abreast(now time.Time) float64 {
	spent := b.spent.Wall
	for _, r := range b.running {
		if r.State == Running {
			spent += now.Sub(r.Since)
		}
	}
	return max(1, spent.Seconds()/max(0.001, now.Sub(b.first).Seconds()))
}
