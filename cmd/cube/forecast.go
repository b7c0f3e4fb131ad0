package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/ui"
)

// forecast is what the actions of a step, or of a whole plan, are expected to
// cost: those that may run are counted as if they did.
type forecast struct {
	// P50 and P90 are how long they take where each takes as long as the median of
	// the earlier ones, and as their 90th percentile; 0: nothing is known.
	P50 float64 `json:"p50_s,omitempty"`
	P90 float64 `json:"p90_s,omitempty"`
	// Read and Made are bytes: what like actions of earlier runs were given and what
	// the cube stores of their outputs. Of the steps in FromWindows no action tells:
	// theirs are those of the tiles' windows, without files and before they are
	// compressed.
	Read        int64    `json:"read_bytes"`
	Made        int64    `json:"made_bytes"`
	FromHistory bool     `json:"bytes_from_history"` // of one step at least
	FromWindows []string `json:"bytes_from_windows,omitempty"`
	Samples     int      `json:"from_actions"` // that the times are taken from
	// Unknown are the steps whose actions never ran before: the times leave them
	// out.
	Unknown []string `json:"no_history,omitempty"`
}

// forecast says what n actions of a vertex are expected to cost.
func (x *foresight) forecast(v *graph.Vertex, n int64) forecast {
	if n == 0 {
		return forecast{}
	}
	read, made, known := x.bytes(v)
	f := forecast{Read: n * read, Made: n * made, FromHistory: known}
	if !known {
		f.FromWindows = []string{v.Name}
	}
	p := x.pace(v)
	if p.actions == 0 {
		f.Unknown = []string{v.Name}
		return f
	}
	rounds := float64((n + int64(x.workers) - 1) / int64(x.workers))
	f.P50, f.P90, f.Samples = rounds*p.p50.Seconds(), rounds*p.p90.Seconds(), p.actions
	return f
}

// add is the cost of both, one after the other.
func (f *forecast) add(o forecast) {
	f.P50, f.P90, f.Read, f.Made, f.Samples = f.P50+o.P50, f.P90+o.P90, f.Read+o.Read, f.Made+o.Made, f.Samples+o.Samples
	f.Unknown = append(f.Unknown, o.Unknown...)
	f.FromHistory, f.FromWindows = f.FromHistory || o.FromHistory, append(f.FromWindows, o.FromWindows...)
}

// String is the second line of a plan, "" where nothing would run.
func (f forecast) String() string {
	var parts []string
	if f.Samples > 0 {
		parts = append(parts, fmt.Sprintf("%s if actions are like the median of %s, %s if like the slowest tenth",
			tookSeconds(f.P50), plural(f.Samples, "earlier one"), tookSeconds(f.P90)))
	}
	if len(f.Unknown) > 0 {
		text := "no history of " + strings.Join(f.Unknown, ", ")
		if f.Samples > 0 {
			text += ", not counted"
		}
		parts = append(parts, text)
	}
	if f.Read+f.Made > 0 {
		parts = append(parts, fmt.Sprintf("up to about %s read and %s made (%s)", ui.Bytes(f.Read), ui.Bytes(f.Made), f.basis()))
	}
	return strings.Join(parts, "; ")
}

// basis says what the bytes are taken from.
func (f forecast) basis() string {
	const windows = "from the tiles' windows, before compression"
	switch {
	case len(f.FromWindows) == 0:
		return "from history"
	case !f.FromHistory:
		return windows
	}
	return "from history; of " + strings.Join(f.FromWindows, ", ") + " " + windows
}

func tookSeconds(s float64) string { return ui.Took(time.Duration(s * float64(time.Second))) }

// percentile is the smallest of the durations that so great a share of them
// does not exceed; 0 where there is none. It sorts them.
func percentile(d []time.Duration, share float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[max(0, int(math.Ceil(share*float64(len(d))))-1)]
}
