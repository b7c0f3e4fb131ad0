package containers

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// slowToEnd is a container that takes a minute to end.
type slowToEnd struct {
	Session
	ended atomic.Bool
}

func (s *slowToEnd) Close() error {
	time.Sleep(time.Minute)
	s.ended.Store(true)
	return nil
}

func TestAPoolWaitsForAContainerThatEndsForBeingIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1, time.Second)
		s := &slowToEnd{}
		p.enter()
		p.leave(&served{Session: s})
		time.Sleep(2 * time.Second)
		if err := p.close(); err != nil {
			t.Error(err)
		}
		if !s.ended.Load() {
			t.Error("it is closed, and a container of its is there still")
		}
	})
}
