package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/ui"
)

// maxCost bounds what a build may run; what is 0 is not bounded.
type maxCost struct {
	actions int64
	time    time.Duration // of all actions together
	bytes   int64         // that they read and make
}

// parseMaxCost reads limits such as 2h, 10GiB or 100, with commas between them:
// action time, bytes, and actions.
func parseMaxCost(text string) (m maxCost, err error) {
	for _, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		if n, err := strconv.ParseInt(part, 10, 64); err == nil && n > 0 && m.actions == 0 {
			m.actions = n
		} else if d, err := time.ParseDuration(part); err == nil && d > 0 && m.time == 0 {
			m.time = d
		} else if n, ok := parseBytes(part); ok && m.bytes == 0 {
			m.bytes = n
		} else {
			return m, &usageError{fmt.Errorf("--max-cost %s: want at most one each of a time (2h), a size (10GiB) and a number of actions (100)", text)}
		}
	}
	return m, nil
}

// parseBytes reads a size such as 10GiB or 1.5GB.
func parseBytes(text string) (int64, bool) {
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB", "kB", "MB", "GB", "TB"} {
		number, ok := strings.CutSuffix(text, unit)
		if !ok {
			continue
		}
		size := 1.0
		for range i%4 + 1 {
			size *= []float64{1024, 1000}[i/4]
		}
		v, err := strconv.ParseFloat(number, 64)
		if v *= size; err == nil && v >= 1 && v < 1<<60 {
			return int64(v), true
		}
	}
	return 0, false
}

// rate is what one action of a vertex costs.
type rate struct {
	time  time.Duration // 0: nothing like it ran before
	bytes int64
}

// rate is what an action of a vertex is expected to cost.
func (x *foresight) rate(v *graph.Vertex) rate {
	read, made, _ := x.bytes(v)
	return rate{x.pace(v).mean, read + made}
}

// The reasons for which a build is not let run.
var (
	errMiss    = errors.New("it has no result, and --fail-on-miss lets nothing run")
	errTooDear = errors.New("more than --max-cost allows")
	// errNoHistory says that a time was given as a limit where none can be told.
	errNoHistory = errors.New("no action of it ran before, so that nobody knows how long one takes; bound the build by a number of actions or a size, as --max-cost 100")
)

// allowance decides what a build may run. Its admit may be called at once.
type allowance struct {
	noMiss bool
	most   maxCost
	rates  map[*graph.Vertex]rate

	mu    sync.Mutex
	spent maxCost
}

// newAllowance prepares to decide, nil where everything may run.
func newAllowance(x *foresight, noMiss bool, most maxCost) *allowance {
	if !noMiss && most == (maxCost{}) {
		return nil
	}
	w := &allowance{noMiss: noMiss, most: most, rates: map[*graph.Vertex]rate{}}
	for i := range x.previews {
		if p := &x.previews[i]; !p.Known {
			w.rates[p.Vertex] = x.rate(p.Vertex)
		}
	}
	return w
}

// admit says why an action may not run, and otherwise counts it: also one that
// no preview could tell of, since what it reads was still to be made.
func (w *allowance) admit(c solve.Candidate) error {
	if w.noMiss {
		return errMiss
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	next, err := w.with(w.spent, c.Vertex, 1)
	if err == nil {
		w.spent = next
	}
	return err
}

// with is what has been spent when n more actions of a vertex have run, or why
// they may not.
func (w *allowance) with(spent maxCost, v *graph.Vertex, n int64) (maxCost, error) {
	r := w.rates[v]
	if w.most.time > 0 && r.time == 0 && !v.IsMerge() && n > 0 {
		return spent, fmt.Errorf("%s: %w", v.Name, errNoHistory)
	}
	spent.actions += n
	spent.time += time.Duration(n) * r.time
	spent.bytes += n * r.bytes
	switch m := w.most; {
	case m.actions > 0 && spent.actions > m.actions:
		return spent, fmt.Errorf("%s: %w: %s", actions(spent.actions, 0), errTooDear, actions(m.actions, 0))
	case m.time > 0 && spent.time > m.time:
		return spent, fmt.Errorf("about %s of action time: %w: %s", ui.Took(spent.time), errTooDear, duration(m.time))
	case m.bytes > 0 && spent.bytes > m.bytes:
		return spent, fmt.Errorf("about %s read and made: %w: %s", ui.Bytes(spent.bytes), errTooDear, ui.Bytes(m.bytes))
	}
	return spent, nil
}

// check decides on what is sure to run, before anything does.
func (w *allowance) check(x *foresight) error {
	var spent maxCost
	var missing []string
	for i := range x.previews {
		p := &x.previews[i]
		if p.Misses == 0 {
			continue
		}
		if w.noMiss {
			missing = append(missing, x.missing(p))
			continue
		}
		var err error
		if spent, err = w.with(spent, p.Vertex, p.Misses); err != nil {
			return &exitError{exitRefused, fmt.Errorf("nothing was run: %w", err)}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &exitError{exitRefused, fmt.Errorf("nothing was run, since not everything has a result (--fail-on-miss):\n  %s", strings.Join(shorten(missing, shownMisses), "\n  "))}
}

// shownMisses is how many steps with misses are named.
const shownMisses = 5

// missing names a step that has misses, and why.
func (x *foresight) missing(p *solve.VertexPreview) string {
	text := fmt.Sprintf("%s: %s of %s", p.Vertex.Name, ui.Count(p.Misses), tiles(p.Vertex.Len()))
	found, err := causes(p, p.Before)
	if err != nil || len(found) == 0 {
		return text
	}
	return text + ": " + reasons(found)
}

// shorten shortens a list, and says how many it leaves out.
func shorten(list []string, most int) []string {
	if len(list) <= most {
		return list
	}
	return append(list[:most:most], fmt.Sprintf("and %d more steps", len(list)-most))
}
