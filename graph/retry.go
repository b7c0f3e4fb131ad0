package graph

import (
	"cmp"
	"time"
)

// Retry says when and how often a failed action runs again. No value depends
// on it: it is in no key. A zero field says nothing, and leaves it to whoever
// is asked next.
type Retry struct {
	Attempts   int           `json:"attempts,omitempty"`    // in all; 1: never again
	Backoff    time.Duration `json:"backoff,omitempty"`     // before the second attempt, in nanoseconds; it doubles from there
	MaxBackoff time.Duration `json:"max_backoff,omitempty"` // the longest
	// On lists what is tried again: "exit:N", an exit code; "exit", any but 65,
	// which says that another attempt is of no use; "signal", "timeout", "oom".
	On []string `json:"on,omitzero"`
	// MemoryFactor is what the memory limit grows by after each attempt that
	// ran out of it, up to MaxMemory.
	MemoryFactor float64 `json:"memory_factor,omitempty"`
	MaxMemory    int64   `json:"max_memory,omitempty"` // bytes; 0: what the machine has
}

// DefaultRetry is the policy where nobody says anything: what asks for it
// (exit 75), what was killed, what took too long and what ran out of memory is
// tried again, the last with twice the memory.
var DefaultRetry = Retry{Attempts: 3, Backoff: time.Second, MaxBackoff: time.Minute,
	On: []string{"exit:75", "signal", "timeout", "oom"}, MemoryFactor: 2}

// Or returns r with what it does not say taken from o.
func (r Retry) Or(o Retry) Retry {
	if r.On == nil {
		r.On = o.On
	}
	return Retry{cmp.Or(r.Attempts, o.Attempts), cmp.Or(r.Backoff, o.Backoff), cmp.Or(r.MaxBackoff, o.MaxBackoff),
		r.On, cmp.Or(r.MemoryFactor, o.MemoryFactor), cmp.Or(r.MaxMemory, o.MaxMemory)}
}

// RetryPolicy is when and how often the instance's actions run again: what
// cube.yaml says of it, of all (the workspace's), what its contract says, and
// the defaults.
func (i *Instance) RetryPolicy(workspace Retry) Retry {
	return i.Retry.Or(workspace).Or(i.Manifest.Capabilities.Retry).Or(DefaultRetry)
}
