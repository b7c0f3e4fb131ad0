package ui

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
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

	mu      sync.Mutex // of all below, and of painting
	began   time.Time
	stay    bytes.Buffer // lines that are to stay, not painted yet
	step    string
	stepAt  time.Time
	planned bool
	total   int64
	verts   []*progress // those that are under way, in order of their start
	byName  map[*graph.Vertex]*progress
	running map[runKey]running
	first   time.Time // when the first action began
	spent   pace
	over    int64 // tiles that are done
	closed  bool
	err     error

	failures failures
}

// progress is what is known of a vertex that is under way.
type progress struct {
	vertex *graph.Vertex
	total  int64
	count  solve.Count
	pace   pace
}

// pace is what tiles took that ran.
type pace struct {
	ran  int64
	wall time.Duration
}

func (p *pace) add(d time.Duration) { p.ran, p.wall = p.ran+1, p.wall+d }

func (p pace) mean() time.Duration {
	if p.ran == 0 {
		return 0
	}
	return p.wall / time.Duration(p.ran)
}

type runKey struct {
	vertex *graph.Vertex
	box    grid.Box
}

type running struct {
	since time.Time
	note  string
}

// NewTerminal begins to show a build. Close ends it.
func NewTerminal(conf TerminalConfig) *Terminal {
	t := &Terminal{conf: conf, screen: screen{w: conf.Err, size: conf.Size}, quit: make(chan struct{}), done: make(chan struct{}),
		began: time.Now(), byName: map[*graph.Vertex]*progress{}, running: map[runKey]running{}}
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
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e := e.(type) {
	case solve.Planned:
		t.endStep(time.Now())
		t.planned, t.total = true, e.Tiles
	case solve.Started:
		t.of(e.Vertex)
		note := ""
		if e.Attempt > 1 {
			note = fmt.Sprintf("attempt %d", e.Attempt)
		}
		if t.first.IsZero() {
			t.first = e.Time
		}
		t.running[runKey{e.Vertex, e.Tile.Box}] = running{e.Time, note}
	case solve.Waiting:
		t.of(e.Vertex)
		note := "another build runs it"
		if e.For != nil {
			note = "waiting for " + e.For.String()
		}
		t.running[runKey{e.Vertex, e.Tile.Box}] = running{time.Now(), note}
	case solve.Retried:
		t.running[runKey{e.Vertex, e.Tile.Box}] = running{time.Now(), fmt.Sprintf("attempt %d failed, again in %s", e.Attempt, Took(e.Pause))}
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

// of returns the progress of a vertex, which it begins. The lock is held.
func (t *Terminal) of(v *graph.Vertex) *progress {
	p := t.byName[v]
	if p == nil {
		p = &progress{vertex: v, total: v.Len()}
		t.byName[v] = p
		t.verts = append(t.verts, p)
	}
	return p
}

func (t *Terminal) tileDone(e solve.TileDone) {
	delete(t.running, runKey{e.Vertex, e.Tile.Box})
	p := t.of(e.Vertex)
	t.over++
	switch e.Outcome {
	case solve.Hit:
		p.count.Hit++
	case solve.Ran:
		p.count.Ran++
		p.pace.add(e.Wall)
		t.spent.add(e.Wall)
	case solve.Failed:
		p.count.Failed++
		t.failures.write(&t.stay, e, t.conf.Style)
	case solve.Blocked:
		p.count.Blocked++
	}
	if e.Disagrees {
		fmt.Fprintf(&t.stay, "%s %s: not deterministic: the same action made other values before; these stay\n",
			t.conf.Style.Bad("differs"), where(e.Vertex, e.Tile))
	}
}

func (t *Terminal) vertexDone(e solve.VertexDone) {
	if e.Known {
		if t.planned { // what it reads came out as it was
			t.over += e.Vertex.Len()
		}
		return
	}
	t.verts = slices.DeleteFunc(t.verts, func(p *progress) bool { return p.vertex == e.Vertex })
	delete(t.byName, e.Vertex)
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
	if !t.planned {
		return lines
	}
	room := max(1, rows-len(lines)-3)
	bars := min(len(t.verts), max(1, room/2))
	for _, p := range t.verts[:bars] {
		lines = append(lines, t.vertexBar(p, columns))
	}
	if more := len(t.verts) - bars; more > 0 {
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
func (t *Terminal) vertexBar(p *progress, columns int) string {
	s, done := t.conf.Style, p.count.Sum()
	text := fmt.Sprintf("%s/%s", Count(done), Count(p.total))
	if p.count.Hit > 0 {
		text += fmt.Sprintf("  %s known", Count(p.count.Hit))
	}
	if n := p.count.Failed + p.count.Blocked; n > 0 {
		text += "  " + s.Bad(fmt.Sprintf("%s failed or not tried", Count(n)))
	}
	if mean := p.pace.mean(); mean > 0 {
		text += s.Dim("  " + Took(mean) + " each")
	}
	line := "  " + Pad(Fit(p.vertex.Name, max(8, columns/3)), 20) + " "
	if columns >= 60 {
		line += s.bar(share(done, p.total), 20) + " "
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

// runningLines name what runs, the longest first.
func (t *Terminal) runningLines(now time.Time, room int) []string {
	keys := slices.SortedFunc(maps.Keys(t.running), func(a, b runKey) int {
		return cmp.Or(t.running[a].since.Compare(t.running[b].since), cmp.Compare(a.vertex.Name, b.vertex.Name),
			cmp.Compare(a.box.Y.Lo, b.box.Y.Lo), cmp.Compare(a.box.X.Lo, b.box.X.Lo))
	})
	var lines []string
	for i, k := range keys {
		if i == room && room > 0 {
			lines[i-1] = t.conf.Style.Dim(fmt.Sprintf("    … %d more", len(keys)-i+1))
			break
		}
		r := t.running[k]
		line := fmt.Sprintf("    %s %s  %s", spinner(now), where(k.vertex, grid.Tile{Box: k.box}), Took(now.Sub(r.since)))
		if r.note != "" {
			line += "  " + r.note
		}
		lines = append(lines, t.conf.Style.Dim(line))
	}
	return lines
}

// totalLine is the last line: all tiles, and the time that is left.
func (t *Terminal) totalLine(now time.Time, columns int) string {
	s, took := t.conf.Style, now.Sub(t.began)
	line := "  " + s.Bold(Pad("all", 20)) + " "
	if columns >= 60 {
		line += s.bar(share(t.over, t.total), 20) + " "
	}
	line += s.Bold(fmt.Sprintf("%s/%s", Count(t.over), Count(t.total)))
	left, ok := t.left(now)
	if !ok {
		return line + "  " + Took(took)
	}
	line += fmt.Sprintf("  about %s left, %s so far", Took(max(time.Second, left.Round(time.Second))), Took(took))
	line += s.Dim(fmt.Sprintf("  %s tiles/s", digits(float64(t.over)/now.Sub(t.first).Seconds(), 2)))
	return line
}

// left estimates the time that is left from what the tiles of this build took
// so far: a vertex's own, or all, where none of it has run.
func (t *Terminal) left(now time.Time) (time.Duration, bool) {
	if t.spent.ran == 0 || now.Sub(t.first) < time.Second {
		return 0, false
	}
	open := t.total - t.over
	var work time.Duration
	for _, p := range t.verts {
		rest := p.total - p.count.Sum()
		open -= rest
		mean := p.pace.mean()
		if p.pace.ran == 0 {
			mean = t.spent.mean()
		}
		// Tiles that were known cost nothing; so will as many of the rest.
		if seen := p.count.Ran + p.count.Hit; seen > 0 {
			mean = time.Duration(float64(mean) * share(p.count.Ran, seen))
		}
		work += time.Duration(rest) * mean
	}
	work += time.Duration(max(0, open)) * t.spent.mean()
	return time.Duration(float64(work) / t.abreast(now)), true
}

// abreast is how many actions ran at once so far, in the mean.
func (t *Terminal) abreast(now time.Time) float64 {
	spent := t.spent.wall
	for _, r := range t.running {
		spent += now.Sub(r.since)
	}
	return max(1, spent.Seconds()/max(0.001, now.Sub(t.first).Seconds()))
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
