package solve

import (
	"fmt"
	"sync"
	"time"

	"github.com/cubebuild/cube/graph"
)

// task is one thing to do.
type task struct {
	node    *node
	what    work
	index   int64          // of the tile
	windows []graph.Window // of the tile, where they are known already
}

// work says what a task is.
type work int

const (
	making  work = iota // a tile
	probe               // the look-up of a derivation
	closing             // the versions, once all tiles are done and all inputs have ended
)

// scheduler hands out tasks: first those that the rest of the plan waits for
// longest, then those nearest to the targets, which keeps few tiles alive. Its
// methods may be called at once.
type scheduler struct {
	mu      sync.Mutex
	wake    sync.Cond
	nodes   []*node // each follows its inputs
	ranked  []*node // those that have not ended, in the order in which they are asked
	workers int
	active  int // tasks handed out and not finished
	ended   int // tiles since the order was made
	stopped bool
}

func newScheduler(plan *graph.Plan, seed uint64, workers int) *scheduler {
	s := &scheduler{workers: max(1, workers)}
	s.wake.L = &s.mu
	byOutput := map[*graph.Output]*node{}
	for i, v := range plan.Vertices {
		n := &node{vertex: v, place: i, span: v.Tiling.Span(v.Box), total: v.Len(),
			failed: map[int64]struct{}{}, watchers: map[int64][]parked{}}
		n.order = newShuffle(n.total, seed)
		for _, b := range v.Inputs {
			u := byOutput[b.From]
			n.inputs = append(n.inputs, u)
			if u != nil {
				u.users = append(u.users, n)
			}
		}
		for _, o := range v.Outputs {
			byOutput[o] = n
		}
		s.nodes = append(s.nodes, n)
	}
	s.rank()
	return s
}

// most is how many tiles of a node may wait for what they read: more than the
// neighbours of all tiles that are under way.
func (s *scheduler) most() int { return 64 + 16*s.workers }

// take returns the next task, waiting until there is one; false where nothing
// is left to do or, but for what is done and wants only its versions, the build
// was stopped.
func (s *scheduler) take() (task, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for _, n := range s.ranked {
			if t, ok := n.take(s.stopped, s.most()); ok {
				s.active++
				return t, true
			}
		}
		if s.stopped || s.active == 0 {
			return task{}, false
		}
		s.wake.Wait()
	}
}

// stop hands out no more tiles.
func (s *scheduler) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	s.wake.Broadcast()
}

// stopping reports whether no more tiles are handed out.
func (s *scheduler) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// leave takes a tile back that was handed out and not tried.
func (s *scheduler) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	s.wake.Broadcast()
}

// probed ends a node whose versions are known, or after a probe found nothing
// lets its tiles go.
func (s *scheduler) probed(t task, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	t.node.state = waiting
	if known {
		t.node.end(complete)
		s.rank()
	}
	s.wake.Broadcast()
}

// finish records a tile's outcome, and how long it took to make.
func (s *scheduler) finish(t task, o Outcome, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	n := t.node
	n.count.Add(o)
	switch o {
	case Failed, Blocked, Lost:
		n.failed[t.index] = struct{}{}
	case Ran:
		n.ran++
		n.spent += took
	}
	n.finish(t.index)
	if s.ended++; s.ended >= rankEvery {
		s.rank()
	}
	s.wake.Broadcast()
}

// close ends a node after its last tile, and its versions where it is whole.
func (s *scheduler) close(n *node, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if whole {
		n.end(complete)
	} else {
		n.end(partial)
	}
	s.rank()
	s.wake.Broadcast()
}

// whole reports whether all tiles of a node that is about to be closed are
// there, and all of its inputs are whole.
func (s *scheduler) whole(n *node) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(n.failed) == 0 && n.inputsKnown()
}

// unended says which node was never ended although nothing stopped the build.
func (s *scheduler) unended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.nodes {
		if !n.ended() && !s.stopped {
			return fmt.Errorf("%s: %d of %d tiles were never ready", n.vertex.Name, n.total-n.count.Sum(), n.total)
		}
	}
	return nil
}

// planned says what is to be looked at.
func (s *scheduler) planned(plan *graph.Plan) Planned {
	p := Planned{Plan: plan, Open: map[*graph.Vertex]int64{}}
	for _, n := range s.nodes {
		if n.state != complete {
			p.Open[n.vertex] = n.places()
			p.Tiles += n.places()
		}
	}
	return p
}

// untried is the number of tiles that were never handed out. Nothing is at
// work any more.
func (s *scheduler) untried() (tiles int64) {
	for _, n := range s.nodes {
		if n.state != complete {
			tiles += n.total - n.count.Sum()
		}
	}
	return tiles
}

// blocked reports whether a tile needs one that is not there.
func (s *scheduler) blocked(t task, windows []graph.Window) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, u := range t.node.inputs {
		if u == nil {
			continue
		}
		from := t.node.vertex.Inputs[i].From
		if u.state == partial && from.Spec.Kind == graph.File {
			return true // it has no version
		}
		if u.fails(from, windows[i].Read) {
			return true
		}
	}
	return false
}
