package ui

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/progress"
)

const (
	frameEvery = 100 * time.Millisecond
	// A build that is over sooner than this paints no frame at all.
	firstFrame = 150 * time.Millisecond
	// A step that took longer than this stays on the terminal.
	longStep = time.Second
)

// TerminalConfig says where a Terminal paints.
type TerminalConfig struct {
	Out     io.Writer // of the summary
	Err     io.Writer // of all else; a terminal
	Size    func() (columns, rows int)
	Style   Style // of Err
	Summary Style // of Out
}

// Terminal shows a build on a terminal: below what stays (failures, vertices
// that are done, long steps) a few lines that are repainted in place.
type Terminal struct {
	conf   TerminalConfig
	screen screen
	quit   chan struct{}
	done   chan struct{}

	mu     sync.Mutex // of all below, and of painting
	began  time.Time
	stay   bytes.Buffer // lines that are to stay, not painted yet
	step   string
	stepAt time.Time
	build  progress.Build
	closed bool
	err    error

	failures failures
}

// NewTerminal begins to show a build. Close ends it.
func NewTerminal(conf TerminalConfig) *Terminal {
	t := &Terminal{conf: conf, screen: screen{w: conf.Err, size: conf.Size}, quit: make(chan struct{}), done: make(chan struct{}),
		began: time.Now()}
	go t.run()
	return t
}

// run paints frames until the display is closed.
func (t *Terminal) run() {
	defer close(t.done)
	wait := time.NewTimer(firstFrame)
	defer wait.Stop()
	for {
		select {
		case <-t.quit:
			return
		case <-wait.C:
			t.mu.Lock()
			t.paint(t.frame(time.Now()))
			t.mu.Unlock()
			wait.Reset(frameEvery)
		}
	}
}

// paint paints a frame below what stays. The lock is held.
func (t *Terminal) paint(frame []string) {
	if t.closed || t.stay.Len() == 0 && len(frame) == 0 && len(t.screen.shown) == 0 {
		return
	}
	t.err = errors.Join(t.err, t.screen.paint(t.stay.Bytes(), frame))
	t.stay.Reset()
}

// Step implements Display.
func (t *Terminal) Step(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endStep(time.Now())
	t.step, t.stepAt = Printable([]byte(text)), time.Now()
}

// endStep keeps a step on the terminal that took long. The lock is held.
func (t *Terminal) endStep(now time.Time) {
	if took := now.Sub(t.stepAt); t.step != "" && took >= longStep {
		fmt.Fprintln(&t.stay, t.conf.Style.Dim(fmt.Sprintf("  %s (%s)", t.step, Took(took))))
	}
	t.step = ""
}

// Event implements Display.
func (t *Terminal) Event(e solve.Event) error {
	if _, ok := e.(solve.Concluded); ok {
		return nil // whether it is kept is no matter of terminals
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.build.Event(e)
	switch e := e.(type) {
	case solve.Planned:
		t.endStep(time.Now())
	case solve.Retried:
		fmt.Fprintf(&t.stay, "%s %s: attempt %d: %v\n", t.conf.Style.Bad("again"), where(e.Vertex, e.Tile), e.Attempt, e.Err)
	case solve.TileDone:
		t.tileDone(e)
	case solve.VertexDone:
		t.vertexDone(e)
	}
	return t.err
}

// where names a tile.
func where(v *graph.Vertex, tile grid.Tile) string {
	if v.Len() > 1 {
		return v.Name + " " + tile.Box.String()
	}
	return v.Name
}

func (t *Terminal) tileDone(e solve.TileDone) {
	if e.Outcome.Unmade() {
		t.failures.write(&t.stay, e, t.conf.Style)
	}
	if e.Disagrees {
		fmt.Fprintf(&t.stay, "%s %s: not deterministic: the same action made other values before; these stay\n",
			t.conf.Style.Bad("differs"), where(e.Vertex, e.Tile))
	}
}

func (t *Terminal) vertexDone(e solve.VertexDone) {
	if e.Known {
		return
	}
	mark := t.conf.Style.Good("✓")
	if !e.Complete {
		mark = t.conf.Style.Bad("✗")
	}
	fmt.Fprintf(&t.stay, "%s %s\n", mark, vertexLine(e))
}

// frame is what is painted now. The lock is held.
func (t *Terminal) frame(now time.Time) []string {
	columns, rows := t.conf.Size()
	var lines []string
	if t.step != "" {
		lines = append(lines, fmt.Sprintf("%s %s  %s", spinner(now), t.step, t.conf.Style.Dim(Took(now.Sub(t.stepAt)))))
	}
	if !t.build.Planned {
		return lines
	}
	room := max(1, rows-len(lines)-3)
	bars := min(len(t.build.Vertices), max(1, room/2))
	for _, p := range t.build.Vertices[:bars] {
		lines = append(lines, t.vertexBar(p, columns))
	}
	if more := len(t.build.Vertices) - bars; more > 0 {
		lines = append(lines, t.conf.Style.Dim(fmt.Sprintf("  … %d more under way", more)))
	}
	lines = append(lines, t.runningLines(now, room-bars)...)
	return append(lines, t.totalLine(now, columns))
}

// spinner turns once a second.
func spinner(now time.Time) string {
	turn := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	return string(turn[now.UnixMilli()/100%int64(len(turn))])
}

// vertexBar is the line of a vertex that is under way.
func (t *Terminal) vertexBar(p *progress.Vertex, columns int) string {
	s, done := t.conf.Style, p.Count.Sum()
	text := fmt.Sprintf("%s/%s", Count(done), Count(p.Total))
	if p.Count.Hit > 0 {
		text += fmt.Sprintf("  %s known", Count(p.Count.Hit))
	}
	if n := p.Count.Failed + p.Count.Lost + p.Count.Blocked; n > 0 {
		text += "  " + s.Bad(fmt.Sprintf("%s failed or not tried", Count(n)))
	}
	if mean := p.Pace.Mean(); mean > 0 {
		text += s.Dim("  " + Took(mean) + " each")
	}
	line := "  " + Pad(Fit(p.Name, max(8, columns/3)), 20) + " "
	if columns >= 60 {
		line += s.bar(share(done, p.Total), 20) + " "
	}
	return line + text
}

// bar draws a share on a ground that shows the whole.
func (s Style) bar(part float64, columns int) string {
	full := strings.TrimRight(BarOf(part, columns), " ")
	return s.paint("36", full) + s.Dim(strings.Repeat("·", columns-Width(full)))
}

func share(part, whole int64) float64 {
	if whole == 0 {
		return 1
	}
	return float64(part) / float64(whole)
}

// runningLines name what runs, the longest first, and say how many wait for what.
func (t *Terminal) runningLines(now time.Time, room int) []string {
	var lines []string
	for _, r := range t.build.Running() {
		if r.State == progress.Waiting {
			break // those come last
		}
		line := fmt.Sprintf("    %s %s  %s", spinner(now), where(r.Vertex, r.Tile), Took(now.Sub(r.Since)))
		if note := doing(r); note != "" {
			line += "  " + note
		}
		lines = append(lines, t.conf.Style.Dim(line))
	}
	for _, w := range t.build.Waits() {
		line := fmt.Sprintf("    %s %s  %s  %s", spinner(now), w.Vertex.Name, Took(now.Sub(w.Since)), Waiting(w.Actions, w.For))
		lines = append(lines, t.conf.Style.Dim(line))
	}
	if len(lines) > room && room > 0 {
		lines = append(lines[:room-1], t.conf.Style.Dim(fmt.Sprintf("    … %d more", len(lines)-room+1)))
	}
	return lines
}

// Waiting says how many actions wait, and for what of the machine; "" where another
// build runs them.
func Waiting(actions int, what string) string {
	if what == "" {
		return fmt.Sprintf("%d that another build runs", actions)
	}
	return fmt.Sprintf("%d waiting for %s", actions, what)
}

// doing says what an action is doing, where it does not simply run.
func doing(a progress.Action) string {
	switch {
	case a.State == progress.Retrying:
		return fmt.Sprintf("attempt %d failed, again in %s", a.Attempt, Took(a.Pause))
	case a.Attempt > 1:
		return fmt.Sprintf("attempt %d", a.Attempt)
	}
	return ""
}

// totalLine is the last line: all tiles, and the time that is left.
func (t *Terminal) totalLine(now time.Time, columns int) string {
	s, took := t.conf.Style, now.Sub(t.began)
	line := "  " + s.Bold(Pad("all", 20)) + " "
	if columns >= 60 {
		line += s.bar(share(t.build.Over, t.build.Total), 20) + " "
	}
	line += s.Bold(fmt.Sprintf("%s/%s", Count(t.build.Over), Count(t.build.Total)))
	left, ok := t.build.Left(now)
	if !ok {
		return line + "  " + Took(took)
	}
	line += fmt.Sprintf("  about %s left, %s so far", Took(max(time.Second, left.Round(time.Second))), Took(took))
	if rate := fmt.Sprintf("  %s tiles/s", digits(t.build.Rate(now), 2)); Width(line)+Width(rate) <= columns {
		line += s.Dim(rate)
	}
	return line
}

// Summary implements Display.
func (t *Terminal) Summary(s Summary) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endStep(time.Now())
	t.paint(nil)
	_, err := fmt.Fprintln(t.conf.Out, summaryLine(s, t.conf.Summary))
	return errors.Join(t.err, err)
}

// Close implements Display.
func (t *Terminal) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.step = ""
	t.paint(nil)
	t.closed = true
	t.mu.Unlock()
	close(t.quit)
	<-t.done
	return nil
}
