package solve

import (
	"fmt"
	"sync"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// state is where a node stands.
type state int

const (
	waiting  state = iota // some tiles are still to be handed out
	asking                // somebody looks up its derivation: no tile is handed out
	running               // all are handed out
	ending                // all are done, and somebody makes the versions
	complete              // every tile is there and so are its versions
	partial               // every tile is done, and some are not there
)

// node is a vertex while it is being built.
type node struct {
	vertex *graph.Vertex
	inputs []*node // by Vertex.Inputs; nil for imports
	span   grid.Span
	total  int64
	order  shuffle

	state  state
	probed bool               // its derivation was looked up
	next   int64              // the next tile to hand out
	ready  int64              // tiles below it may be handed out
	prefix int64              // every tile below it is done
	late   map[int64]struct{} // done tiles above prefix
	failed map[int64]struct{} // tiles that are not there
	count  Count
}

// task is one thing to do.
type task struct {
	node  *node
	what  work
	index int64 // of the tile
}

// work says what a task is.
type work int

const (
	making  work = iota // a tile
	probe               // the look-up of a derivation
	closing             // the versions, once all tiles are done and all inputs have ended
)

// scheduler hands out tasks in an order that keeps few tiles alive: the
// vertices nearest to the targets first. Its methods may be called at once.
type scheduler struct {
	mu      sync.Mutex
	wake    sync.Cond
	nodes   []*node // each follows its inputs
	active  int     // tasks handed out and not finished
	stopped bool
}

func newScheduler(plan *graph.Plan, seed uint64) *scheduler {
	s := &scheduler{}
	s.wake.L = &s.mu
	byOutput := map[*graph.Output]*node{}
	for _, v := range plan.Vertices {
		n := &node{vertex: v, span: v.Tiling.Span(v.Box), total: v.Len(),
			late: map[int64]struct{}{}, failed: map[int64]struct{}{}}
		n.order = newShuffle(n.total, seed)
		for _, b := range v.Inputs {
			n.inputs = append(n.inputs, byOutput[b.From])
		}
		for _, o := range v.Outputs {
			byOutput[o] = n
		}
		s.nodes = append(s.nodes, n)
	}
	return s
}

// take returns the next task, waiting until there is one; false where nothing
// is left to do or, but for what is done and wants only its versions, the build
// was stopped.
func (s *scheduler) take() (task, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for i := len(s.nodes) - 1; i >= 0; i-- {
			if t, ok := s.nodes[i].take(s.stopped); ok {
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

// probed ends a node whose versions are known, or after a probe found nothing
// lets its tiles go.
func (s *scheduler) probed(t task, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	t.node.state = waiting
	if known {
		t.node.state, t.node.prefix, t.node.next = complete, t.node.total, t.node.total
	}
	s.wake.Broadcast()
}

// finish records a tile's outcome.
func (s *scheduler) finish(t task, o Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	n := t.node
	n.count.add(o)
	if o == Failed || o == Blocked {
		n.failed[t.index] = struct{}{}
	}
	n.late[t.index] = struct{}{}
	for {
		if _, ok := n.late[n.prefix]; !ok {
			break
		}
		delete(n.late, n.prefix)
		n.prefix++
	}
	s.wake.Broadcast()
}

// close ends a node after its last tile, and its versions where it is whole.
func (s *scheduler) close(n *node, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	n.state = partial
	if whole {
		n.state = complete
	}
	s.wake.Broadcast()
}

// whole reports whether all tiles of a node that is about to be closed are
// there, and all of its inputs are whole.
func (s *scheduler) whole(n *node) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(n.failed) == 0 && n.inputsKnown()
}

// ended says which node was never ended although nothing stopped the build.
func (s *scheduler) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.nodes {
		if n.state != complete && n.state != partial && !s.stopped {
			return fmt.Errorf("%s: %d of %d tiles were never ready", n.vertex.Name, n.total-n.next, n.total)
		}
	}
	return nil
}

// open is the number of tiles of the nodes that are not settled.
func (s *scheduler) open() (tiles int64) {
	for _, n := range s.nodes {
		if n.state != complete {
			tiles += n.total
		}
	}
	return tiles
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
		if u.state == partial && t.node.vertex.Inputs[i].From.Spec.Kind == graph.File {
			return true // it has no version
		}
		if len(u.failed) == 0 {
			continue
		}
		for tile := range u.touched(t.node.vertex.Inputs[i].From, windows[i].Read) {
			if _, ok := u.failed[tile]; ok {
				return true
			}
		}
	}
	return false
}

// take returns the node's next task, if it has one that is ready.
func (n *node) take(stopped bool) (task, bool) {
	if n.state == running && n.prefix == n.total && n.inputsDone() {
		n.state = ending
		return task{node: n, what: closing}, true
	}
	if n.state != waiting || stopped {
		return task{}, false
	}
	if !n.probed {
		if !n.inputsDone() && !n.anyReady() {
			return task{}, false
		}
		n.probed = true
		if n.inputsKnown() {
			n.state = asking
			return task{node: n, what: probe}, true
		}
	}
	if !n.anyReady() {
		return task{}, false
	}
	t := task{node: n, index: n.order.at(n.next)}
	n.next++
	if n.next == n.total {
		n.state = running
	}
	return t, true
}

func (n *node) inputsDone() bool {
	for _, u := range n.inputs {
		if u != nil && u.state != complete && u.state != partial {
			return false
		}
	}
	return true
}

func (n *node) inputsKnown() bool {
	for _, u := range n.inputs {
		if u != nil && u.state != complete {
			return false
		}
	}
	return true
}

// anyReady reports whether a tile may be handed out: in order as soon as what
// it reads is done, out of order once all is.
func (n *node) anyReady() bool {
	if n.order.on() {
		return n.next < n.total && n.inputsDone()
	}
	return n.next < n.total && n.isReady(n.next)
}

// isReady reports whether the inputs of the tile with this index are all done.
func (n *node) isReady(index int64) bool {
	if index < n.ready {
		return true
	}
	var windows []graph.Window
	for i, u := range n.inputs {
		if u == nil || u.state == complete || u.state == partial {
			continue
		}
		if n.vertex.Inputs[i].From.Spec.Kind == graph.File {
			return false // a file is there when its version is
		}
		if windows == nil {
			windows = n.vertex.Windows(n.tile(index))
		}
		if last, ok := u.last(n.vertex.Inputs[i].From, windows[i].Read); ok && u.prefix <= last {
			return false
		}
	}
	n.ready = index + 1
	return true
}

// tile returns the tile with this index.
func (n *node) tile(index int64) grid.Tile {
	nx, ny := n.span.X.Len(), n.span.Y.Len()
	x, y, t := index%nx, index/nx%ny, index/nx/ny
	return n.vertex.Tiling.Tile(n.span.T.Lo+t, n.span.Y.Lo+y, n.span.X.Lo+x, n.vertex.Box)
}

// cut returns the node's tiles that a block of one of its outputs meets.
func (n *node) cut(o *graph.Output, read grid.Box) grid.Span {
	if r := max(1, o.Spec.Refine); r > 1 {
		read.Y = grid.Range{Lo: floorDiv(read.Y.Lo, r), Hi: floorDiv(read.Y.Hi-1, r) + 1}
		read.X = grid.Range{Lo: floorDiv(read.X.Lo, r), Hi: floorDiv(read.X.Hi-1, r) + 1}
	}
	s := n.vertex.Tiling.Span(read)
	if o.Spec.Kind != graph.Time {
		s.T = n.span.T
	}
	return s
}

// last returns the index of the last tile that a block meets; false where it
// meets none.
func (n *node) last(o *graph.Output, read grid.Box) (int64, bool) {
	if o.Spec.Kind == graph.File {
		return n.total - 1, true
	}
	if read.Empty() {
		return 0, false
	}
	s := n.cut(o, read)
	return n.index(s.T.Hi-1, s.Y.Hi-1, s.X.Hi-1), true
}

func (n *node) index(t, y, x int64) int64 {
	return ((t-n.span.T.Lo)*n.span.Y.Len()+(y-n.span.Y.Lo))*n.span.X.Len() + (x - n.span.X.Lo)
}

// touched yields the indices of the tiles that a block meets.
func (n *node) touched(o *graph.Output, read grid.Box) func(func(int64) bool) {
	return func(yield func(int64) bool) {
		if o.Spec.Kind == graph.File {
			yield(0)
			return
		}
		if read.Empty() {
			return
		}
		s := n.cut(o, read)
		for t := s.T.Lo; t < s.T.Hi; t++ {
			for y := s.Y.Lo; y < s.Y.Hi; y++ {
				for x := s.X.Lo; x < s.X.Hi; x++ {
					if !yield(n.index(t, y, x)) {
						return
					}
				}
			}
		}
	}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}
