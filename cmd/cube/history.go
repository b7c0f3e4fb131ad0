package main

import (
	"slices"
	"sync"
	"time"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/lineage"
)

// history is what actions took in the newest runs, in time and in bytes. It is read when it is
// first asked, once for all vertices and however long the runs were; what cannot
// be read is left out, since it is for guesses.
type history struct {
	runs *lineage.Store
	mu   sync.Mutex           // of past
	past map[historyKey]*past // nil until it is read
}

type historyKey struct{ instance, grid string }

// past are the actions of an instance on a grid that succeeded.
type past struct {
	took []time.Duration
	// read and written are the bytes of those that told, which are sized.
	read, written, sized int64
	runs                 int    // that had them
	last                 string // of those, the one that was read last
}

// Bounds on what is read: the newest runs, a few of which tell of each instance,
// and a sample of the actions of each.
const (
	historyLook    = 20
	historyRuns    = 5
	historyActions = 2000
)

func newHistory(runs *lineage.Store) *history { return &history{runs: runs} }

func (h *history) read() {
	h.past = map[historyKey]*past{}
	ids, _ := h.runs.IDs()
	slices.Reverse(ids)
	for _, id := range ids[:min(len(ids), historyLook)] {
		for a, err := range h.runs.Sample(id, historyActions) {
			if err == nil && a.Status == lineage.Succeeded {
				h.add(id, a)
			}
		}
	}
}

func (h *history) add(run string, a lineage.Action) {
	key := historyKey{a.Instance, a.Grid}
	p := h.past[key]
	if p == nil {
		p = &past{}
		h.past[key] = p
	}
	if p.last != run {
		if p.runs == historyRuns {
			return
		}
		p.runs, p.last = p.runs+1, run
	}
	p.took = append(p.took, a.Usage.Wall)
	if u := a.Usage; u.Read+u.Written > 0 { // older records do not tell
		p.read, p.written, p.sized = p.read+u.Read, p.written+u.Written, p.sized+1
	}
}

// mean is what an action of a vertex took in the mean; 0 where none ran.
func (h *history) mean(v *graph.Vertex) time.Duration { return h.pace(v).mean }

// pace is what the actions of a vertex took; zero where none ran. It may be called
// from several goroutines at once.
func (h *history) pace(v *graph.Vertex) pace {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.past == nil {
		h.read()
	}
	found := h.past[historyKey{v.Name, v.GridName}]
	if found == nil {
		return pace{}
	}
	var sum time.Duration
	for _, d := range found.took {
		sum += d
	}
	n := len(found.took)
	p := pace{mean: sum / time.Duration(n), p50: percentile(found.took, 0.5), p90: percentile(found.took, 0.9), actions: n, runs: found.runs}
	if p.sized = found.sized > 0; p.sized {
		p.read, p.written = found.read/found.sized, found.written/found.sized
	}
	return p
}
