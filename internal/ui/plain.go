package ui

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/progress"
)

// Plain prints a line for each vertex and each failure, and now and then how far
// the build is: for logs and pipes.
type Plain struct {
	Out   io.Writer
	Err   io.Writer
	Quiet bool          // failures and the summary only
	Every time.Duration // how far it is, at most so often; a minute without it

	mu       sync.Mutex
	failures failures
	build    progress.Build
	told     time.Time // how far it is
}

// Step implements Display.
func (p *Plain) Step(text string) { p.printf("%s\n", text) }

func (p *Plain) printf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.Quiet {
		fmt.Fprintf(p.Err, format, args...)
	}
}

// Event implements Display.
func (p *Plain) Event(e solve.Event) error {
	p.build.Event(e)
	switch e := e.(type) {
	case solve.Planned:
		p.told = time.Now()
	case solve.Waiting:
		if e.News && e.For != nil {
			p.printf("%s: waiting for %s\n", e.Vertex.Name, e.For)
		}
	case solve.Retried:
		p.printf("%s %s: attempt %d %s: %v; again in %s\n", e.Vertex.Name, e.Tile.Box, e.Attempt, ended(e), e.Err, Took(e.Pause))
	case solve.TileDone:
		if e.Outcome.Unmade() {
			p.failures.write(p.Err, e, Style{})
		}
		if e.Disagrees {
			p.printf("%s %s: not deterministic: the same action made other values before; these stay\n", e.Vertex.Name, e.Tile.Box)
		}
		p.far(time.Now())
	case solve.VertexDone:
		p.printf("%s\n", vertexLine(e))
	}
	return nil
}

// shownVertices is how many vertices under way are named.
const shownVertices = 3

// far says how far the build is, where it did not lately.
func (p *Plain) far(now time.Time) {
	every := p.Every
	if every == 0 {
		every = time.Minute
	}
	if p.Quiet || now.Sub(p.told) < every || len(p.build.Vertices) == 0 {
		return
	}
	p.told = now
	text := fmt.Sprintf("%s of %s tiles", Count(p.build.Over), Count(p.build.Total))
	if left, ok := p.build.Left(now); ok {
		text += fmt.Sprintf(", about %s left", Took(max(time.Second, left.Round(time.Second))))
	}
	var under []string
	for _, v := range p.build.Vertices[:min(len(p.build.Vertices), shownVertices)] {
		under = append(under, fmt.Sprintf("%s %s/%s", v.Name, Count(v.Count.Sum()), Count(v.Total)))
	}
	if more := len(p.build.Vertices) - len(under); more > 0 {
		under = append(under, fmt.Sprintf("%d more", more))
	}
	p.printf("%s: %s\n", text, strings.Join(under, ", "))
}

// ended says how an attempt ended that another one follows.
func ended(e solve.Retried) string {
	if e.Lost {
		return "was lost"
	}
	return "failed"
}

// vertexLine says what became of a vertex.
func vertexLine(e solve.VertexDone) string {
	c := e.Count
	if e.Known {
		return fmt.Sprintf("%-20s unchanged", e.Vertex.Name)
	}
	s := fmt.Sprintf("%-20s %d ran, %d known", e.Vertex.Name, c.Ran, c.Hit)
	if c.Failed > 0 {
		s += fmt.Sprintf(", %d failed", c.Failed)
	}
	if c.Lost > 0 {
		s += fmt.Sprintf(", %d lost", c.Lost)
	}
	if c.Blocked > 0 {
		s += fmt.Sprintf(", %d not tried", c.Blocked)
	}
	return s + "   " + Took(e.Wall)
}

const (
	logLines    = 12 // how much of a failed action's log is shown
	maxFailures = 10 // how many failed actions are shown
)

// failures shows failed actions, up to a number that people still read.
type failures struct{ seen int }

// write shows a failed action with the end of what it printed.
func (f *failures) write(w io.Writer, e solve.TileDone, s Style) {
	if f.seen++; f.seen > maxFailures {
		if f.seen == maxFailures+1 {
			fmt.Fprintf(w, "%s\n", s.Bad("and more failed: cube failed lists them"))
		}
		return
	}
	where := e.Vertex.Name
	if e.Vertex.Len() > 1 {
		where += " " + e.Tile.Box.String()
	}
	again := ""
	if e.Repeated {
		again = " (known from an earlier build; to run it again: cube failed retry " + e.Action.Short() + ")"
	}
	fmt.Fprintf(w, "%s %s: %v%s\n", s.Bad("failed"), where, e.Err, again)
	f.writeLog(w, e)
	if !e.Action.IsZero() {
		fmt.Fprintf(w, "  to look into it: cube failed show %s\n", e.Action.Short())
	}
}

// writeLog shows the end of what a failed action printed.
func (f *failures) writeLog(w io.Writer, e solve.TileDone) {
	lines := bytes.Split(bytes.TrimRight(e.Log, "\n"), []byte("\n"))
	if len(e.Log) == 0 {
		return
	}
	if n := len(lines) - logLines; n > 0 {
		fmt.Fprintf(w, "  … %d lines more: cube log %s\n", n, e.Action.Short())
		lines = lines[n:]
	}
	for _, l := range lines {
		fmt.Fprintf(w, "  | %s\n", Printable(bytes.TrimRight(l, " \r")))
	}
}

// Summary implements Display.
func (p *Plain) Summary(s Summary) error {
	_, err := fmt.Fprintln(p.Out, summaryLine(s, Style{}))
	return err
}

// Unmade says how many actions failed and how many were lost.
func Unmade(failed, lost int64) string {
	switch {
	case lost == 0:
		return fmt.Sprintf("%d failed", failed)
	case failed == 0:
		return fmt.Sprintf("%d lost", lost)
	}
	return fmt.Sprintf("%d failed, %d lost", failed, lost)
}

// summaryLine is the last line of a build.
func summaryLine(s Summary, style Style) string {
	c := s.Result.Count
	took := Took(s.Took)
	switch {
	case c.Failed+c.Lost > 0:
		return fmt.Sprintf("%s: %s, %d not tried, %d ran, %d known, in %s", style.Bad(s.Status), Unmade(c.Failed, c.Lost), c.Blocked+s.Result.Untried, c.Ran, c.Hit, took)
	case s.Status != "succeeded":
		return fmt.Sprintf("%s after %s: %d ran, %d known", style.Bad(s.Status), took, c.Ran, c.Hit)
	case c.Ran == 0:
		return fmt.Sprintf("%s: nothing to do for %s (%s)", style.Good("up to date"), names(s.Targets), took)
	}
	return fmt.Sprintf("%s %s: %d ran, %d known, in %s", style.Good("built"), names(s.Targets), c.Ran, c.Hit, took)
}

func names(targets []string) string {
	if len(targets) > 4 {
		return fmt.Sprintf("%d variables", len(targets))
	}
	s := ""
	for i, t := range targets {
		if i > 0 {
			s += ", "
		}
		s += t
	}
	return s
}

// Close implements Display.
func (p *Plain) Close() error { return nil }
