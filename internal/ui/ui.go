// Package ui shows a build to people and machines, and what a cube holds to
// people: progress on a terminal, plain lines elsewhere, JSON lines for
// programs, tables, maps and pictures.
//
// One stream of events feeds every [Display]. Results go to standard output,
// progress and notes to standard error.
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
