// Package ui shows a build to people and machines, and what a cube holds to
// people: progress on a terminal, plain lines elsewhere, JSON lines for
// programs, tables, maps and pictures.
//
// One stream of events feeds every [Display]. Results go to standard output,
// progress and notes to standard error.
//
// # JSON lines
//
// [JSON] prints one object a line. Field names and types are stable; more may
// be added. A digest is "sha256:…", a time RFC 3339 in UTC, a length of time
// seconds, a tile {"t","y","x"} of half-open {"lo","hi"} by absolute index.
//
//	step     text                            what is under way beside actions
//	planned  targets, tiles, vertices: [{vertex, grid, tiles, inputs, outputs}]
//	         before any action runs; tiles are those that may have to
//	started  vertex, grid, tile, action, attempt, time
//	waiting  vertex, grid, tile, action, for
//	         another build runs the same action; or for, once of each vertex: what
//	         it needs of the machine is not free
//	retried  vertex, grid, tile, action, attempt, error, pause_s
//	tile     vertex, grid, tile, outcome (hit, ran, failed or blocked), action;
//	         of those that ran: attempt, time, wall_s, outputs (role → digest);
//	         of failures: error, log, known (from an earlier build);
//	         not_deterministic where another build made other values
//	vertex   vertex, grid, known (nothing was enumerated), complete, derivation,
//	         versions (variable → digest), count {ran, hit, failed, blocked}, wall_s
//	summary  status, targets, versions, count, run, wall_s
//
// Other commands print lines of other types: "variable", "query" and so on, as
// their help says; an error is {"type":"error"} on standard error.
package ui

import (
	"time"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
)

// Display shows a build. Its methods are called one at a time, Step from any
// goroutine.
type Display interface {
	// Step says what is under way before and beside the actions.
	Step(text string)
	// Event shows one event.
	Event(e solve.Event) error
	// Summary ends the display with what the build came to.
	Summary(s Summary) error
	// Close puts the terminal back as it was. It may be called after Summary.
	Close() error
}

// Summary is what a build came to.
type Summary struct {
	Targets []string
	Plan    *graph.Plan
	Result  *solve.Result
	Status  string
	Run     string // id of the run; "" where nothing was recorded
	Took    time.Duration
}
