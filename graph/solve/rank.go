package solve

import (
	"cmp"
	"slices"
)

// rankEvery is how many tiles end before the order is made anew.
const rankEvery = 256

// rank orders the nodes that have not ended by how much of the plan waits for
// them, in eighths of what is left of it, and then by how near they are to the
// targets.
//
// A node's tail is what follows its end at least: one tile of whoever reads it
// tile by tile, and all of whoever begins only when it has ended. So in a chain
// of tiles all tails are short and the nearest to the target goes first; what
// leads to a long computation goes before what does not. One worker takes as long in
// any order, and has the one that no clock decides.
func (s *scheduler) rank() {
	s.ended = 0
	s.ranked = s.ranked[:0]
	for _, n := range s.nodes {
		if !n.ended() {
			s.ranked = append(s.ranked, n)
		}
	}
	if s.workers == 1 {
		slices.SortFunc(s.ranked, func(a, b *node) int { return cmp.Compare(b.place, a.place) })
		return
	}
	whole, longest := 0.0, 0.0
	usual := s.usual()
	for i := len(s.ranked) - 1; i >= 0; i-- {
		n := s.ranked[i]
		n.tail = 0
		for _, u := range n.users {
			n.tail = max(n.tail, u.after(n, usual, s.workers)+u.tail)
		}
		whole += float64(n.total-n.count.Sum()) * n.cost(usual)
		longest = max(longest, n.tail+n.left(usual, s.workers))
	}
	span := max(longest, whole/float64(s.workers))
	slices.SortFunc(s.ranked, func(a, b *node) int {
		return cmp.Or(cmp.Compare(eighths(b.tail, span), eighths(a.tail, span)), cmp.Compare(b.place, a.place))
	})
}

func eighths(tail, span float64) int {
	if span <= 0 {
		return 0
	}
	return int(8 * tail / span)
}

// usual is what a tile costs of which nothing is known, in seconds: what the
// others cost that something is known of.
func (s *scheduler) usual() float64 {
	var sum float64
	var known int
	for _, n := range s.nodes {
		if c := n.cost(0); c > 0 {
			sum, known = sum+c, known+1
		}
	}
	if known == 0 {
		return 1
	}
	return sum / float64(known)
}

// cost is how long a tile of the node takes, in seconds.
func (n *node) cost(usual float64) float64 {
	switch {
	case n.ran > 0:
		return n.spent.Seconds() / float64(n.ran)
	case n.expected > 0:
		return n.expected.Seconds()
	}
	return usual
}

// left is how long the rest of the node takes at least, in seconds.
func (n *node) left(usual float64, workers int) float64 {
	tiles := n.total - n.count.Sum()
	rounds := (tiles + int64(workers) - 1) / int64(workers)
	return float64(rounds) * n.cost(usual)
}

// after is how long the node goes on at least once u, which it reads, has ended.
func (n *node) after(u *node, usual float64, workers int) float64 {
	if n.total == 1 && u.total > 1 {
		return n.left(usual, workers)
	}
	return n.cost(usual)
}
