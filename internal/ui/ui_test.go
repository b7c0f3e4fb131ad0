package ui

import (
	"bytes"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares with a file of testdata, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// story is a build with one of everything.
func story(t *testing.T, d Display) {
	t.Helper()
	v, w := vertex("elevation", 2), vertex("slope", 2)
	w.Inputs = []*graph.Binding{{Role: "elevation", Variable: "elevation", From: v.Outputs[0]}}
	at := time.Date(2026, 9, 27, 11, 0, 0, 0, time.UTC)
	id, version := graph.Sum([]byte("action")), graph.Sum([]byte("version"))
	plan := &graph.Plan{Targets: []string{"slope"}, Vertices: []*graph.Vertex{v, w}}
	ran := done(w, 0, solve.Ran)
	ran.Action, ran.Attempts, ran.Started, ran.Outputs = id, 2, at, map[string]graph.Digest{"slope": version}
	failed := done(w, 1, solve.Failed)
	failed.Action, failed.Err, failed.Log, failed.Attempts = id, errors.New("exited with code 3"), []byte("it broke\n"), 1
	d.Step("image ./slope: compile")
	for _, e := range []solve.Event{
		solve.VertexDone{Vertex: v, Known: true, Complete: true, Derivation: id, Outputs: []graph.Digest{version}, Count: solve.Count{Hit: 2}},
		solve.Planned{Plan: plan, Tiles: 2},
		solve.Started{Vertex: w, Tile: tileOf(w, 0), Action: id, Attempt: 1, Time: at},
		solve.Retried{Vertex: w, Tile: tileOf(w, 0), Action: id, Attempt: 1, Err: errors.New("exited with code 75"), Pause: time.Second},
		ran,
		solve.Waiting{Vertex: w, Tile: tileOf(w, 1), Action: id, News: true},
		failed,
		solve.VertexDone{Vertex: w, Count: solve.Count{Ran: 1, Failed: 1}, Wall: 1500 * time.Millisecond},
	} {
		must(t, d.Event(e))
	}
	must(t, d.Summary(Summary{Targets: plan.Targets, Plan: plan, Status: "partial", Run: "20260927T110000Z-0", Took: 2 * time.Second,
		Result: &solve.Result{Versions: map[string]graph.Digest{"elevation": version}, Count: solve.Count{Ran: 1, Failed: 1, Hit: 2}}}))
	must(t, d.Close())
}

func TestJSONLinesAreStable(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	story(t, &JSON{Out: &b})
	golden(t, "story.json", b.Bytes())
}

func TestPlainLinesTellTheStory(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	story(t, &Plain{Out: &b, Err: &b})
	golden(t, "story.txt", b.Bytes())
}

func TestPlainLinesSayNowAndThenHowFarABuildIs(t *testing.T) {
	t.Parallel()
	for every, want := range map[time.Duration]bool{time.Nanosecond: true, time.Hour: false} {
		var b bytes.Buffer
		story(t, &Plain{Out: &b, Err: &b, Every: every})
		if got := farLine.Match(b.Bytes()); got != want {
			t.Errorf("every %s: %v\n%s", every, got, b.Bytes())
		}
	}
}

var farLine = regexp.MustCompile(`(?m)^\d+ of \d+ tiles.*: \w+ \d+/\d+`)

func TestQuietPlainTellsFailuresAndTheSummary(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	story(t, &Plain{Out: &b, Err: &b, Quiet: true})
	golden(t, "story.quiet.txt", b.Bytes())
}

func TestDisplaysReportThatNobodyListens(t *testing.T) {
	t.Parallel()
	d := &JSON{Out: brokenPipe{}}
	if err := d.Event(solve.Planned{Plan: &graph.Plan{}}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Event: %v", err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestColourIsDecidedByTerminalAndEnvironment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		terminal bool
		env      map[string]string
		want     bool
	}{
		{true, nil, true},
		{false, nil, false},
		{true, map[string]string{"NO_COLOR": ""}, true},
		{true, map[string]string{"NO_COLOR": "0"}, false},
		{true, map[string]string{"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, false},
		{false, map[string]string{"CLICOLOR_FORCE": "1"}, true},
		{false, map[string]string{"CLICOLOR_FORCE": "0"}, false},
		{true, map[string]string{"TERM": "dumb"}, false},
	} {
		if got := UseColor(c.terminal, func(k string) string { return c.env[k] }); got != c.want {
			t.Errorf("terminal %v, %v: %v", c.terminal, c.env, got)
		}
	}
}

func TestNumbersReadWell(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{Bytes(0), "0 B"}, {Bytes(999), "999 B"}, {Bytes(1000), "1.0 kB"}, {Bytes(12345), "12 kB"}, {Bytes(999_600), "1.0 MB"}, {Bytes(math.MaxInt64), "9.2 EB"},
		{Count(0), "0"}, {Count(9999), "9999"}, {Count(26113), "26 113"}, {Count(-1234567), "-1 234 567"},
		{Value(0), "0"}, {Value(17), "17"}, {Value(12.3456), "12.35"}, {Value(-0.00001), "-1e-05"}, {Value(123456), "123456"}, {Value(1e9), "1e+09"}, {Value(math.NaN()), "NaN"},
		{Percent(0), "0 %"}, {Percent(1), "100 %"}, {Percent(0.45), "45 %"}, {Percent(0.031), "3.1 %"}, {Percent(0.0003), "< 0.1 %"}, {Percent(0.9999), "> 99.9 %"},
		{Area(900), "900 m²"}, {Area(27_000), "2.7 ha"}, {Area(261_130_000), "26 113 ha"}, {Area(5e11), "500 000 km²"},
		{Metres(30), "30 m"}, {Metres(0.47), "0.47 m"}, {Metres(9.3), "9.3 m"}, {Metres(25000), "25 km"}, {Metres(0), "unknown"}, {Metres(math.Inf(1)), "unknown"},
		{Took(0), "0 ms"}, {Took(1300 * time.Millisecond), "1.3 s"}, {Took(59 * time.Second), "59 s"}, {Took(200 * time.Second), "3 min 20 s"}, {Took(2*time.Hour + 5*time.Minute), "2 h 05 min"},
		{Spark([]int64{1, 2, 4, 0, 8, 0}), "▂▃▅ █"}, {Spark(nil), ""},
		{BarOf(0.5, 4), "██  "}, {BarOf(1, 2), "██"}, {BarOf(7, 2), "██"}, {BarOf(0, 2), "  "},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func TestTextIsMeasuredAndCutByColumns(t *testing.T) {
	t.Parallel()
	red := Style{Color: true}.Bad
	for _, c := range []struct {
		text    string
		columns int
		want    string
	}{
		{"slope", 5, "slope"}, {"slope", 4, "slo…"}, {"slope", 1, "…"}, {"slope", 0, ""},
		{"斜面です", 8, "斜面です"}, {"斜面です", 7, "斜面で…"}, {"斜面です", 6, "斜面…"},
		{"é" + "́", 1, "é" + "́"},
		{red("slope"), 5, red("slope")}, {red("slope"), 3, "\x1b[1;31msl…\x1b[0m"},
	} {
		got := Fit(c.text, c.columns)
		if got != c.want || Width(got) > c.columns {
			t.Errorf("Fit(%q, %d) = %q, want %q", c.text, c.columns, got, c.want)
		}
	}
}

func FuzzFit(f *testing.F) {
	f.Add("slope", 3)
	f.Add("\x1b[31m斜\x1b[0m面", 2)
	f.Add("\x1b[", 1)
	f.Add("\xff\xfe", 1)
	f.Fuzz(func(t *testing.T, text string, columns int) {
		if got := Fit(text, columns); Width(got) > max(0, columns) {
			t.Errorf("Fit(%q, %d) = %q takes %d", text, columns, got, Width(got))
		}
	})
}

func TestPrintableShowsControlCharactersByTheirCode(t *testing.T) {
	t.Parallel()
	if got, want := Printable([]byte("a\tb\x1b[31m\x00\xff\u202eé")), `a    b\u001b[31m\u0000\xff\u202eé`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTableAlignsWideAndColouredCells(t *testing.T) {
	t.Parallel()
	table := Table{Header: []string{"variable", "size"}, Right: []bool{false, true}}
	table.Add("斜面", "1 kB")
	table.Add(Style{Color: true}.Good("ok"), "12 kB")
	var b bytes.Buffer
	must(t, table.Write(&b, Style{}))
	want := "variable   size\n斜面       1 kB\n\x1b[32mok\x1b[0m        12 kB\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
