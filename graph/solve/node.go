package solve

import (
	"time"

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
//
// Its tiles are looked at in order. One that is not ready waits for a single
// tile of an input that is not done, and is looked at again when that is: so a
// tile costs a few looks, whatever it waits for, and one that comes late holds
// up only those that read it.
type node struct {
	vertex *graph.Vertex
	place  int     // in the plan
	inputs []*node // by Vertex.Inputs; nil for imports
	users  []*node // that read it
	span   grid.Span
	total  int64
	order  shuffle
	todo   []int64 // where tiles are kept: the others, in order
	kept   int64   // tiles whose results a former version holds

	state  state
	probed bool  // its derivation was looked up
	next   int64 // the next place in the order to look at
	parked int   // tiles that were looked at and are not ready
	ready  tasks // tiles that were parked and are ready now

	done     tileSet
	failed   map[int64]struct{} // tiles that are not there
	watchers map[int64][]parked // by the tile that they wait for
	waiters  []parked           // for the node's end
	count    Count

	ran      int64 // tiles that took time
	spent    time.Duration
	expected time.Duration // of one tile, before any has run
	tail     float64       // seconds from its end to the plan's, by estimate
}

// parked is a tile that waits for one of another node.
type parked struct {
	node  *node
	index int64
}

func (n *node) ended() bool { return n.state == complete || n.state == partial }

// take returns the node's next task, if it has one that is ready.
func (n *node) take(stopped bool, most int) (task, bool) {
	if n.state == waiting && n.probed && n.next == n.places() && n.parked == 0 && len(n.ready) == 0 {
		n.state = running
	}
	if n.state == running && n.done.prefix == n.total && n.inputsDone() {
		n.state = ending
		return task{node: n, what: closing}, true
	}
	if n.state != waiting || stopped {
		return task{}, false
	}
	if !n.probed {
		if !n.inputsDone() && !n.look(most) {
			return task{}, false
		}
		n.probed = true
		if n.inputsKnown() {
			n.state = asking
			return task{node: n, what: probe}, true
		}
	}
	if !n.look(most) {
		return task{}, false
	}
	return n.ready.pop(), true
}

// places is how many tiles are to be looked at.
func (n *node) places() int64 { return n.total - n.kept }

// at is the tile in a place of the order in which they are looked at.
func (n *node) at(place int64) int64 {
	if n.kept > 0 {
		return n.todo[place]
	}
	return n.order.at(place)
}

// keep has all tiles be done but those of todo, which are in order.
func (n *node) keep(todo []int64) {
	n.todo, n.kept = todo, n.total-int64(len(todo))
	n.count.Hit += n.kept
	n.done = newTileSet(n.total, todo)
}

// look reports whether a tile is ready, and looks for one among those that
// nobody has looked at, until most of them are parked. Out of order a tile is
// ready once all that the node reads is done.
func (n *node) look(most int) bool {
	if n.order.on() && !n.inputsDone() {
		return false
	}
	for len(n.ready) == 0 && n.next < n.places() && n.parked < most {
		n.try(n.at(n.next))
		n.next++
	}
	return len(n.ready) > 0
}

// try makes a tile ready, or parks it.
func (n *node) try(index int64) {
	t := task{node: n, index: index}
	for i, u := range n.inputs {
		if u == nil || u.ended() {
			continue
		}
		in := n.vertex.Inputs[i]
		if in.From.Spec.Kind == graph.File { // it is there when its version is
			u.waiters = append(u.waiters, parked{n, index})
			n.parked++
			return
		}
		if t.windows == nil {
			t.windows = n.vertex.Windows(n.tile(index))
		}
		if tile, ok := u.missing(in.From, t.windows[i].Read); ok {
			u.watchers[tile] = append(u.watchers[tile], parked{n, index})
			n.parked++
			return
		}
	}
	n.ready.push(t)
}

// wake looks again at tiles that waited.
func wake(all []parked) {
	for _, p := range all {
		p.node.parked--
		p.node.try(p.index)
	}
}

// finish notes that a tile is done.
func (n *node) finish(index int64) {
	n.done.add(index)
	if w := n.watchers[index]; w != nil {
		delete(n.watchers, index)
		wake(w)
	}
}

// end ends the node.
func (n *node) end(s state) {
	n.state = s
	if s == complete {
		n.next, n.ready, n.done = n.places(), nil, tileSet{prefix: n.total}
	}
	watchers, waiters := n.watchers, n.waiters
	n.watchers, n.waiters = nil, nil
	for _, w := range watchers {
		wake(w)
	}
	wake(waiters)
}

func (n *node) inputsDone() bool {
	for _, u := range n.inputs {
		if u != nil && !u.ended() {
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

// tasks is a heap of tiles by their places in the node.
type tasks []task

func (q *tasks) push(t task) {
	h := append(*q, t)
	i := len(h) - 1
	for i > 0 && h[(i-1)/2].index > h[i].index {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
		i = (i - 1) / 2
	}
	*q = h
}

func (q *tasks) pop() task {
	h := *q
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], task{}
	h = h[:last]
	for i := 0; ; {
		least := i
		for _, c := range []int{2*i + 1, 2*i + 2} {
			if c < last && h[c].index < h[least].index {
				least = c
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	*q = h
	return first
}
