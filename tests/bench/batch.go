//go:build linux

package main

import (
	"context"
	"fmt"
)

// batch runs tiles that one container serves one after the other, and the same
// work by a bare fork and exec for each. Ours is all that an action is, but that
// the container is there already.
func batch(ctx context.Context, l *lab) ([]comparison, error) {
	p, err := newPayload(ctx, l)
	if err != nil {
		return nil, err
	}
	n := l.rounds(1000, 100)
	c := comparison{ours: fmt.Sprintf("a tile of a batch of `cube build -j1`, of %d", n), theirs: "bare fork and exec", unit: "ms", limit: 0.5}
	for range l.rounds(7, 2) {
		a, err := l.oneBuildOfActions(ctx, "batched", n)
		if err != nil {
			return nil, err
		}
		b, err := l.oneAfterTheOther(ctx, min(n, 200), p.bare())
		if err != nil {
			return nil, err
		}
		c.a, c.b = append(c.a, a.ms()), append(c.b, b.ms())
	}
	return []comparison{c}, nil
}
