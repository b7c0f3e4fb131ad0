package solve

import (
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve/resource"
)

// Event is something that a build did: one of [Planned], [Started], [Concluded],
// [TileDone], [Retried], [VertexDone] or [Waiting]. One stream feeds every display
// and the lineage. Events arrive one at a time.
type Event interface{ event() }

// Planned is the first event: what is there to do, before any of it is.
type Planned struct {
	Plan  *graph.Plan
	Tiles int64                   // that are to be looked at
	Open  map[*graph.Vertex]int64 // by vertex, of those that are not known
	// Expect is that of the Config: nil where nothing tells how long actions take.
	Expect func(*graph.Vertex) time.Duration
}

// Started says that an action's container is about to run.
type Started struct {
	Vertex  *graph.Vertex
	Tile    grid.Tile
	Action  graph.ActionID
	Attempt int
	Time    time.Time
}

// Waiting says that an action cannot begin yet: another build runs the same one, or
// what it needs of the machine is not free. It waits until another event tells of it.
type Waiting struct {
	Vertex *graph.Vertex
	Tile   grid.Tile
	Action graph.ActionID
	For    *resource.Shortage // nil: another build runs it
	// News says that it waits for others, and where that is for a resource, that none
	// of the vertex did before.
	News bool
}

// Retried says that an attempt failed, or was lost, and another will follow.
type Retried struct {
	Vertex  *graph.Vertex
	Tile    grid.Tile
	Action  graph.ActionID
	Attempt int
	Err     error
	Pause   time.Duration
	Lost    bool // Err is a LostError: the attempt is begun again and is not another one
}

// Concluded says what came of an action that was tried to its end, before anything
// is kept by which a later build goes: its result, that it is known to fail, its
// dead letter. So whoever records it has a record of each of these, wherever the
// build is killed; of an action that is killed between the two there is a record,
// and it runs again. Where Config.Events returns an error for it nothing is kept: the
// error is to be of this record alone.
type Concluded struct{ TileDone }

// Outcome says what became of a tile.
type Outcome int

// The outcomes of a tile.
const (
	Hit       Outcome = iota // its result was known
	Ran                      // it ran and succeeded
	Failed                   // it spent its attempts, or is known to fail
	Blocked                  // something that it needs failed
	Lost                     // it was lost as often as it may be: nobody knows what it comes to
	Cancelled                // it was under way when the build was stopped; only told, and not counted
)

// Unmade reports whether an action was tried to its end and there is no result.
func (o Outcome) Unmade() bool { return o == Failed || o == Lost }

// String is the outcome in one word.
func (o Outcome) String() string {
	return [...]string{"hit", "ran", "failed", "blocked", "lost", "cancelled"}[o]
}

// TileDone is the end of a tile.
type TileDone struct {
	Vertex  *graph.Vertex
	Tile    grid.Tile
	Outcome Outcome
	Action  graph.ActionID // zero where a cover key answered, or nothing was tried

	// Of actions that ran:
	Shared     *graph.Shared // what all actions of the vertex share
	Request    graph.Digest
	Windows    map[string]graph.Digest // by role
	Parts      graph.Parts             // of indexed sources, that it saw
	Outputs    map[string]graph.Digest // by role: of the tile's values
	Started    time.Time
	Wall       time.Duration // staging to commit
	Attempts   int
	Failed     []Attempt        // those that failed, in order
	Losses     int              // how often it was lost
	Usage      containers.Usage // of all attempts
	Read       int64            // bytes of its windows and files, as it was given them
	Written    int64            // bytes of its outputs, as the cube stores them
	Unenforced []string
	Log        []byte
	Err        error
	Repeated   bool // Failed or Lost, and reported from an earlier run without running again
	Concluded  bool // a Concluded has said all of it but Disagrees
	// Disagrees says that another build made other values for the same action:
	// the producer is not deterministic. The values that were there first stay.
	Disagrees bool
}

// VertexDone is the end of a vertex.
type VertexDone struct {
	Vertex     *graph.Vertex
	Derivation graph.Digest // zero where an input is missing
	Preimage   []byte
	Known      bool // the derivation was known: no tile was enumerated
	Shown      bool // Known, and what the heads show already: nothing comes of it
	Complete   bool // every tile is there
	Inputs     []graph.Digest
	Outputs    []graph.Digest // versions, in the order of Vertex.Outputs; nil unless Complete
	Count      Count
	Wall       time.Duration
}

// Count counts tiles by outcome.
type Count struct{ Hit, Ran, Failed, Blocked, Lost int64 }

// Add counts one more tile.
func (c *Count) Add(o Outcome) {
	switch o {
	case Hit:
		c.Hit++
	case Ran:
		c.Ran++
	case Failed:
		c.Failed++
	case Blocked:
		c.Blocked++
	case Lost:
		c.Lost++
	}
}

// Sum is the number of tiles counted.
func (c Count) Sum() int64 { return c.Hit + c.Ran + c.Failed + c.Blocked + c.Lost }

func (Planned) event()    {}
func (Started) event()    {}
func (Concluded) event()  {}
func (Waiting) event()    {}
func (Retried) event()    {}
func (TileDone) event()   {}
func (VertexDone) event() {}
