package containers

import (
	"errors"
	"sync"
	"time"
)

// pool keeps the containers that wait for another action, and counts those at
// work: an idle one ends before there are more than may be.
type pool struct {
	idleFor time.Duration

	mu     sync.Mutex
	most   int // that may be there at once
	busy   int
	idle   []*served // that has been idle for longest is first
	closed bool
	ending int       // containers that are being ended
	ended  sync.Cond // one of them was
}

// served is a container of a batch.
type served struct {
	Session
	kind  string
	turns int // it has had
	timer *time.Timer
}

func newPool(most int, idleFor time.Duration) *pool {
	p := &pool{most: most, idleFor: idleFor}
	p.ended.L = &p.mu
	return p
}

// enter counts one more container at work, for which an idle one may have to go.
func (p *pool) enter() { _ = p.take("") }

// take is enter, and returns an idle container of the kind, if there is one.
func (p *pool) take(kind string) *served {
	p.mu.Lock()
	p.busy++
	p.most = max(p.most, p.busy)
	for i := len(p.idle) - 1; i >= 0; i-- {
		if s := p.idle[i]; s.kind == kind {
			p.remove(i)
			p.mu.Unlock()
			return s
		}
	}
	var gone []*served
	for len(p.idle) > 0 && len(p.idle)+p.busy > p.most {
		gone = append(gone, p.idle[0])
		p.remove(0)
	}
	_ = p.endAll(gone)
	p.mu.Unlock()
	return nil
}

// endAll ends containers that are off the idle ones. The lock is held, but for while
// they end.
func (p *pool) endAll(gone []*served) error {
	if len(gone) == 0 {
		return nil
	}
	p.ending += len(gone)
	p.mu.Unlock()
	err := closeServed(gone)
	p.mu.Lock()
	p.ending -= len(gone)
	p.ended.Broadcast()
	return err
}

// remove takes a container off the idle ones. The lock is held.
func (p *pool) remove(i int) {
	p.idle[i].timer.Stop()
	p.idle = append(p.idle[:i], p.idle[i+1:]...)
}

// leave counts a container out that was at work. It becomes idle; nil is one
// that has ended.
func (p *pool) leave(s *served) {
	p.mu.Lock()
	p.busy--
	keep := s != nil && !p.closed
	if keep {
		s.timer = time.AfterFunc(p.idleFor, func() { p.expire(s) })
		p.idle = append(p.idle, s)
	}
	p.mu.Unlock()
	if s != nil && !keep {
		s.Close()
	}
}

// expire ends a container that nobody has asked for.
func (p *pool) expire(s *served) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.idle {
		if p.idle[i] == s {
			p.remove(i)
			_ = p.endAll([]*served{s})
			return
		}
	}
}

// close ends all that is idle, and from then on what becomes so.
func (p *pool) close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	return p.endIdle()
}

// endIdle ends all that is idle, and waits for what is being ended.
func (p *pool) endIdle() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := p.idle
	for _, s := range gone {
		s.timer.Stop()
	}
	p.idle = nil
	err := p.endAll(gone)
	for p.ending > 0 {
		p.ended.Wait()
	}
	return err
}

func closeServed(list []*served) error {
	var errs []error
	for _, s := range list {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
