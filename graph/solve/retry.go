package solve

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cubebuild/cube/containers"
)

// RetryPolicy says which failures are tried again, how often, and after what
// pause. The zero value tries nothing again.
type RetryPolicy struct {
	Attempts   int           // in all; 0 and 1 are the same
	Backoff    time.Duration // before the second attempt; it doubles from there
	MaxBackoff time.Duration // 0: no bound
	On         []containers.FailureKind
}

// DefaultRetry tries again what asks for it (exit 75) and what was killed.
var DefaultRetry = RetryPolicy{Attempts: 3, Backoff: time.Second, MaxBackoff: time.Minute,
	On: []containers.FailureKind{containers.FailedRetry, containers.FailedSignal}}

// next says whether another attempt follows a failed one, and after what
// pause: exponential, with up to half of it left to chance, so that many
// actions that failed together do not come back together.
func (p RetryPolicy) next(attempt int, f *containers.Failure) (time.Duration, bool) {
	if attempt >= p.Attempts || !slices.Contains(p.On, f.Kind) {
		return 0, false
	}
	pause := p.Backoff << min(attempt-1, 20)
	if p.MaxBackoff > 0 {
		pause = min(pause, p.MaxBackoff)
	}
	if pause <= 0 {
		return 0, true
	}
	return pause/2 + rand.N(pause/2+1), true
}
