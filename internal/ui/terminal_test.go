package ui

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/graph/solve/resource"
	"github.com/google/go-cmp/cmp"
)

// emulator is as much of a terminal as a screen uses: it wraps lines that are
// too long, scrolls, moves up and clears.
type emulator struct {
	mu      sync.Mutex
	columns int
	lines   [][]rune // all that was ever shown, the scrolled part too
	row     int
	column  int
	bad     string // the first sequence that it does not know
}

func (e *emulator) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	text := []rune(string(b))
	for i := 0; i < len(text); i++ {
		switch r := text[i]; r {
		case '\r':
			e.column = 0
		case '\n':
			e.row++
		case '\x1b':
			i += e.sequence(text[i:])
		default:
			e.put(r)
		}
	}
	return len(b), nil
}

func (e *emulator) line() *[]rune {
	for len(e.lines) <= e.row {
		e.lines = append(e.lines, nil)
	}
	return &e.lines[e.row]
}

func (e *emulator) put(r rune) {
	if e.column == e.columns {
		e.row, e.column = e.row+1, 0
	}
	l := e.line()
	for len(*l) <= e.column {
		*l = append(*l, ' ')
	}
	(*l)[e.column] = r
	e.column += runeWidth(r)
}

// sequence runs an escape sequence and returns its length less one.
func (e *emulator) sequence(text []rune) int {
	end := 2
	for end < len(text) && (text[end] < 0x40 || text[end] > 0x7e) {
		end++
	}
	args := string(text[2:end])
	n, _ := strconv.Atoi(args)
	switch text[end] {
	case 'A':
		e.row = max(0, e.row-n)
	case 'K':
		l := e.line()
		*l = (*l)[:min(len(*l), e.column)]
	case 'J':
		l := e.line()
		*l = (*l)[:min(len(*l), e.column)]
		e.lines = e.lines[:e.row+1]
	case 'm', 'h', 'l':
	default:
		if e.bad == "" {
			e.bad = string(text[:end+1])
		}
	}
	return end
}

func (e *emulator) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var b strings.Builder
	for _, l := range e.lines {
		b.WriteString(strings.TrimRight(string(l), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// vertex is one of so many tiles in a row.
func vertex(name string, tiles int64) *graph.Vertex {
	box := grid.Box{Y: grid.Range{Lo: 0, Hi: 10}, X: grid.Range{Lo: 0, Hi: 10 * tiles}}
	v := &graph.Vertex{Name: name, GridName: "default", Box: box, Tiling: grid.Tiling{Y: 10, X: 10}}
	v.Outputs = []*graph.Output{{Vertex: v, Role: name, Variable: name}}
	return v
}

func tileOf(v *graph.Vertex, i int64) grid.Tile { return v.Tiling.Tile(0, 0, i, v.Box) }

func done(v *graph.Vertex, i int64, o solve.Outcome) solve.TileDone {
	return solve.TileDone{Vertex: v, Tile: tileOf(v, i), Outcome: o, Wall: 20 * time.Millisecond}
}

// sized is a terminal's size that a test may change.
type sized struct {
	mu            sync.Mutex
	columns, rows int
}

func (s *sized) size() (int, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.columns, s.rows
}

func newTestTerminal(e *emulator, out io.Writer, rows int) *Terminal {
	return NewTerminal(TerminalConfig{Out: out, Err: e, Size: (&sized{columns: e.columns, rows: rows}).size})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTerminalKeepsWhatStaysAndClearsTheRest(t *testing.T) {
	t.Parallel()
	e, out := &emulator{columns: 60}, &bytes.Buffer{}
	d := newTestTerminal(e, out, 24)
	v := vertex("slope", 3)
	plan := &graph.Plan{Targets: []string{"slope"}, Vertices: []*graph.Vertex{v}}
	must(t, d.Event(solve.Planned{Plan: plan, Tiles: 3}))
	for i := range int64(3) {
		must(t, d.Event(solve.Started{Vertex: v, Tile: tileOf(v, i), Attempt: 1, Time: time.Now()}))
		time.Sleep(firstFrame + frameEvery) // so that frames are painted between
		outcome := done(v, i, solve.Ran)
		if i == 1 {
			outcome.Outcome, outcome.Err = solve.Failed, errors.New("exited with code 3")
			outcome.Log = []byte("first\nit broke\x1b[2J here\n")
		}
		must(t, d.Event(outcome))
	}
	must(t, d.Event(solve.VertexDone{Vertex: v, Count: solve.Count{Ran: 2, Failed: 1}, Wall: 30 * time.Millisecond}))
	result := &solve.Result{Count: solve.Count{Ran: 2, Failed: 1}}
	must(t, d.Summary(Summary{Targets: plan.Targets, Result: result, Status: "failed", Took: time.Second}))
	must(t, d.Close())
	want := `failed slope y[0,10) x[10,20): exited with code 3
  | first
  | it broke\u001b[2J here
✗ slope                2 ran, 0 known, 1 failed   30 ms
`
	if diff := cmp.Diff(want, e.text()); diff != "" {
		t.Errorf("terminal (-want +got):\n%s", diff)
	}
	if got, want := out.String(), "failed: 1 failed, 0 not tried, 2 ran, 0 known, in 1.0 s\n"; got != want {
		t.Errorf("summary %q, want %q", got, want)
	}
	if e.bad != "" {
		t.Errorf("a sequence that not every terminal knows: %q", e.bad)
	}
}

func TestTerminalShowsWhatRuns(t *testing.T) {
	t.Parallel()
	e := &emulator{columns: 100}
	d := newTestTerminal(e, io.Discard, 24)
	v := vertex("slope", 40)
	must(t, d.Event(solve.Planned{Plan: &graph.Plan{}, Tiles: 40}))
	for i := range int64(10) {
		must(t, d.Event(done(v, i, solve.Hit)))
	}
	must(t, d.Event(solve.Started{Vertex: v, Tile: tileOf(v, 10), Attempt: 2, Time: time.Now()}))
	must(t, d.Event(solve.Waiting{Vertex: v, Tile: tileOf(v, 11)}))
	for i := range int64(3) {
		must(t, d.Event(solve.Waiting{Vertex: v, Tile: tileOf(v, 12+i), For: &resource.Shortage{Resource: resource.Token("idl"), Others: 2}}))
	}
	time.Sleep(firstFrame + 2*frameEvery)
	text := e.text()
	must(t, d.Close())
	for _, want := range []string{"slope", "10/40", "10 known", "x[100,110)", "attempt 2", "1 that another build runs", "3 waiting for a token of idl: 2 held by another build", "all"} {
		if !strings.Contains(text, want) {
			t.Errorf("the frame lacks %q:\n%s", want, text)
		}
	}
	if left := e.text(); left != "\n" {
		t.Errorf("Close left %q", left)
	}
}

func TestTerminalNeverWrapsNorOutgrowsTheScreen(t *testing.T) {
	t.Parallel()
	for _, columns := range []int{1, 2, 10, 30, 61} {
		for _, rows := range []int{1, 2, 6} {
			e := &emulator{columns: columns}
			d := newTestTerminal(e, io.Discard, rows)
			d.Step("image ./producers/長い名前の生産者: compile")
			must(t, d.Event(solve.Planned{Plan: &graph.Plan{}, Tiles: 1000}))
			for n := range 20 {
				v := vertex(fmt.Sprintf("斜面-%d-with-a-long-name", n), 50)
				must(t, d.Event(solve.Started{Vertex: v, Tile: tileOf(v, 1), Attempt: 1, Time: time.Now()}))
			}
			d.mu.Lock()
			for range 3 {
				d.paint(d.frame(time.Now()))
			}
			d.mu.Unlock()
			if got := strings.Count(e.text(), "\n"); got > rows {
				t.Errorf("%d × %d: the frame takes %d rows:\n%s", columns, rows, got, e.text())
			}
			must(t, d.Close())
			if left := strings.TrimSpace(e.text()); left != "" {
				t.Errorf("%d × %d: frames left %q", columns, rows, left)
			}
		}
	}
}

func TestTerminalSurvivesBeingMadeNarrower(t *testing.T) {
	t.Parallel()
	s := screen{}
	e := &emulator{columns: 80}
	size := &sized{columns: 80, rows: 24}
	s.w, s.size = e, size.size
	must(t, s.paint([]byte("stays\n"), []string{strings.Repeat("a", 79), "b"}))
	// A terminal of 40 columns shows the first line in two rows.
	e.columns, size.columns = 40, 40
	e.lines = [][]rune{[]rune("stays"), []rune(strings.Repeat("a", 40)), []rune(strings.Repeat("a", 39)), []rune("b"), nil}
	e.row = 4
	must(t, s.paint(nil, []string{"c"}))
	if got, want := e.text(), "stays\nc\n"; got != want {
		t.Errorf("terminal %q, want %q", got, want)
	}
}

func TestTerminalOfAnIdleBuildPaintsNothing(t *testing.T) {
	t.Parallel()
	e, out := &emulator{columns: 80}, &bytes.Buffer{}
	d := newTestTerminal(e, out, 24)
	v := vertex("slope", 10)
	must(t, d.Event(solve.VertexDone{Vertex: v, Known: true, Complete: true, Count: solve.Count{Hit: 10}}))
	must(t, d.Event(solve.Planned{Plan: &graph.Plan{}, Tiles: 0}))
	must(t, d.Summary(Summary{Targets: []string{"slope"}, Result: &solve.Result{Count: solve.Count{Hit: 10}}, Status: "succeeded", Took: 20 * time.Millisecond}))
	must(t, d.Close())
	if len(e.lines) > 0 {
		t.Errorf("painted %q", e.text())
	}
	if got, want := out.String(), "up to date: nothing to do for slope (20 ms)\n"; got != want {
		t.Errorf("summary %q, want %q", got, want)
	}
}
