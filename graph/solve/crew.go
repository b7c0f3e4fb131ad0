package solve

import "sync"

// crew counts the goroutines that do a build's tasks. One that has to wait for
// something that is no task steps aside and has another one work in its place.
type crew struct {
	call func() // puts one more to work

	mu    sync.Mutex
	size  int // how many are to be at work
	at    int // how many are
	aside int // how many stepped aside and were replaced
	spare int // how many may be at most
}

// stepAside calls wait while another goroutine works in the place of this one. What
// waits holds its windows, so that only some are replaced.
func (c *crew) stepAside(wait func() error) error {
	c.mu.Lock()
	replaced := c.aside < c.spare
	if replaced {
		c.aside++
		c.call()
	}
	c.mu.Unlock()
	err := wait()
	if replaced {
		c.mu.Lock()
		c.aside--
		c.at++
		c.mu.Unlock()
	}
	return err
}

// leave reports whether more are at work than need be, and counts the caller
// out then: it ends.
func (c *crew) leave() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at <= c.size {
		return false
	}
	c.at--
	return true
}
