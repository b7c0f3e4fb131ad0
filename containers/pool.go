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
	ending sync.WaitGroup // those that nobody has asked for
}

// served is a container of a batch.
type served struct {
	Session
	kind  string
	turns int // it has had
	timer *time.Timer
}

func newPool(most int, idleFor time.Duration) *pool { return &pool{most: most, idleFor: idleFor} }

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
	p.mu.Unlock()
	_ = closeServed(gone)
	return nil
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
	for i := range p.idle {
		if p.idle[i] == s {
			p.remove(i)
			p.ending.Add(1)
			defer p.ending.Done()
			p.mu.Unlock()
			s.Close()
			return
		}
	}
	p.mu.Unlock()
}

// close ends all that is idle, and from then on what becomes so. It waits for
// those whose time is over just then.
func (p *pool) close() error {
	p.mu.Lock()
	p.closed = true
	gone := p.idle
	for _, s := range gone {
		s.timer.Stop()
	}
	p.idle = nil
	p.mu.Unlock()
	err := closeServed(gone)
	p.ending.Wait()
	return err
}

func closeServed(list []*served) error {
	var errs []error
	for _, s := range list {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
