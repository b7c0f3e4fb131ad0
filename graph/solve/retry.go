package solve

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph"
)

// retries decides what follows a failed attempt at one action.
type retries struct {
	graph.Retry
	machine func() int64 // the most memory that an action can have, in bytes; 0 where it is unknown
}

// next is what follows a failed attempt, the how-manieth of which is given with
// the memory limit that it had: another one, after a pause and with so much
// memory, or none.
func (r retries) next(attempt int, f *containers.Failure, memory int64) (pause time.Duration, more int64, again bool) {
	if attempt >= r.Attempts || !r.covers(f) {
		return 0, memory, false
	}
	if f.Kind == containers.FailedMemory {
		more = r.grown(memory)
		if r.MemoryFactor > 1 && more <= memory {
			return 0, memory, false // there is no more to be had: it would come to the same
		}
		memory = more
	}
	return r.pause(attempt), memory, true
}

// covers reports whether the policy tries such a failure again. One for which
// it would come to the same (exit 65, a full disk, a wrong output) never is.
func (r retries) covers(f *containers.Failure) bool {
	switch f.Kind {
	case containers.FailedExit, containers.FailedRetry:
		return slices.Contains(r.On, "exit") || slices.Contains(r.On, "exit:"+strconv.Itoa(f.Code))
	case containers.FailedSignal, containers.FailedTimeout, containers.FailedMemory:
		return slices.Contains(r.On, string(f.Kind))
	}
	return false
}

// grown is the memory limit after one that was too small. The ceiling is what
// the policy says, and never more than there can be; it lowers no limit.
func (r retries) grown(memory int64) int64 {
	ceiling := int64(1 << 60)
	for _, most := range []int64{r.MaxMemory, r.machine()} {
		if most > 0 {
			ceiling = min(ceiling, most)
		}
	}
	grown := float64(memory) * r.MemoryFactor
	return max(memory, int64(min(grown, float64(ceiling))))
}

// pause is exponential, with up to half of it left to chance, so that many
// actions that failed together do not come back together.
func (r retries) pause(attempt int) time.Duration {
	pause := r.Backoff
	for range min(attempt-1, 30) {
		pause = min(2*pause, math.MaxInt64/4)
	}
	if r.MaxBackoff > 0 {
		pause = min(pause, r.MaxBackoff)
	}
	if pause <= 0 {
		return 0
	}
	return pause/2 + rand.N(pause/2+1)
}
