//go:build linux

package ledger

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/cubebuild/cube/graph/solve/resource"
)

// turn is how long kin take over from each other while another build waits: to begin
// anew takes as long as many of them.
const turn = 3 * time.Second

// rests is how long something is held for kin. What an action leaves ends before.
const rests = 4 * time.Second

// resting is what an action had, but for its processors, and is held for its kin.
type resting struct {
	kin   string
	held  resource.Amounts
	began time.Time // when the first of them took it
	since time.Time
}

// left is what is held for one of kin that wants that, by its place, or -1. The lock
// is held.
func (l *Ledger) left(kin string, want resource.Amounts) int {
	if kin == "" {
		return -1
	}
	lasting := want.Lasting()
	for i, r := range l.resting {
		if r.kin == kin && maps.Equal(r.held, lasting) {
			return i
		}
	}
	return -1
}

// leave gives back the processors and holds the rest for kin; false where another
// build waits for some of it and their turn is over.
func (l *Ledger) leave(kin string, held resource.Amounts, began time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := resting{kin, held.Lasting(), began, time.Now()}
	if l.closed || time.Since(began) > turn && l.wanted(r.held) {
		return false
	}
	l.resting = append(l.resting, r)
	l.free(resource.Amounts{resource.CPU: held[resource.CPU]})
	if !l.looking {
		l.looking = true
		time.AfterFunc(poll, l.look)
	}
	return true
}

// look gives back what has rested long enough, or all that no kin came for at once
// where another build waits for some of it, and looks again while there is any.
func (l *Ledger) look() {
	l.mu.Lock()
	for len(l.resting) > 0 && !l.closed && time.Since(l.resting[0].since) > rests {
		l.free(l.resting[0].held)
		l.resting = l.resting[1:]
	}
	idle := resource.Amounts{}
	for _, r := range l.resting {
		if time.Since(r.since) > poll {
			idle.Add(r.held)
		}
	}
	wanted := l.wanted(idle)
	l.looking = len(l.resting) > 0 && !wanted
	if l.looking {
		time.AfterFunc(2*poll, l.look)
	}
	l.mu.Unlock()
	if wanted {
		l.giveBack()
	}
}

// due reports whether something is left that no kin came for at once, or that they
// had for their turn.
func (l *Ledger) due() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.resting, func(r resting) bool { return time.Since(r.since) > poll || time.Since(r.began) > turn })
}

// wanted reports whether another build waits for some of what is held. The lock is
// held.
func (l *Ledger) wanted(held resource.Amounts) (wanted bool) {
	if len(held) == 0 || l.closed {
		return false
	}
	// Who cannot be read is not waited for.
	_ = l.exclusive(context.Background(), func(b *book) error {
		for _, w := range b.waiting {
			for n := range held {
				wanted = wanted || w.Want[n] > l.total[n]-b.line.Held[n]
			}
		}
		return nil
	})
	return wanted
}

// giveBack ends what actions left for their kin and gives back what that has; false
// where nothing was left.
func (l *Ledger) giveBack() bool {
	l.giving.Lock()
	defer l.giving.Unlock()
	l.mu.Lock()
	gone := l.resting
	l.resting = nil
	l.mu.Unlock()
	if len(gone) == 0 {
		return false
	}
	l.endIdle()
	l.mu.Lock()
	defer l.mu.Unlock()
	all := resource.Amounts{}
	for _, r := range gone {
		all.Add(r.held)
	}
	l.free(all)
	return true
}
