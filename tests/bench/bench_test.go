//go:build linux

package main

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheMedianOfRatiosIsHeldAgainstTheLimit(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		comparison
		ratio   spread
		reached bool
	}{
		"paired":             {comparison{a: sample{2, 9, 3}, b: sample{4, 3, 3}, limit: 1}, spread{0.5, 1, 3}, true},
		"over":               {comparison{a: sample{2, 9}, b: sample{2, 3}, limit: 1}, spread{1, 2, 3}, false},
		"not paired":         {comparison{a: sample{1, 5, 3}, b: sample{2, 4}, limit: 0.5}, spread{1, 1, 1}, false},
		"more is better":     {comparison{a: sample{3, 3}, b: sample{2, 4}, limit: 1, atLeast: true}, spread{0.75, 1.125, 1.5}, true},
		"less than it ought": {comparison{a: sample{1}, b: sample{2}, limit: 1, atLeast: true}, spread{0.5, 0.5, 0.5}, false},
		"for reference":      {comparison{a: sample{7}, b: sample{1}}, spread{7, 7, 7}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tt.row("b")
			if diff := cmp.Diff(tt.ratio, got.Ratio); diff != "" || got.Reached != tt.reached {
				t.Errorf("reached %v, want %v; ratio:\n%s", got.Reached, tt.reached, diff)
			}
		})
	}
}

func TestFiguresOfGoBenchmarksAreRead(t *testing.T) {
	t.Parallel()
	got, err := parseBench(`goos: linux
BenchmarkLookup/cube-2         	    100	   4500 ns/op	 12 B/op
BenchmarkLookup/cube-2         	    100	   5500.5 ns/op
BenchmarkLookup/of-two-2       	    100	   1000 ns/op
    bench_test.go:51: 1000000 rows in 8s
PASS
`)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]sample{"BenchmarkLookup/cube": {4.5, 5.5005}, "BenchmarkLookup/of-two": {1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAReportReplacesTheOneBetweenTheMarks(t *testing.T) {
	t.Parallel()
	text := "before\n" + beginMark + "\nold\n" + endMark + "\nafter\n"
	for range 2 { // again gives the same
		out, err := replaceBetween([]byte(text), []byte("new\n"))
		if err != nil {
			t.Fatal(err)
		}
		text = string(out)
	}
	if want := "before\n" + beginMark + "\n\nnew\n\n" + endMark + "\nafter\n"; text != want {
		t.Errorf("got %q, want %q", text, want)
	}
	if _, err := replaceBetween([]byte("no marks"), nil); err == nil {
		t.Error("a file without marks is no error")
	}
}

func TestATableSaysWhetherALimitIsReached(t *testing.T) {
	t.Parallel()
	r := report{Rows: []row{
		comparison{ours: "ours", theirs: "other", unit: "ms", a: sample{6.1, 5.2, 9.5}, b: sample{7, 6, 10}, limit: 1}.row("b"),
		comparison{ours: "slow", theirs: "other", unit: "ms", a: sample{20}, b: sample{100}, limit: 0.05, note: "a note"}.row("b"),
	}, Missing: []string{"docker: none here"}, Scale: 0.1}
	var text strings.Builder
	if err := r.text(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"6.10 (5.20–9.50)", "≤ 1.00", "reached", "0.20", "≤ 0.050", "not reached", "not measured: docker: none here", "`-scale 0.1`"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, text.String())
		}
	}
	if md := string(r.markdown()); !strings.Contains(md, "| slow | other | ms | 20.0 | 100 | 0.20 | ≤ 0.050 | not reached |") || !strings.Contains(md, "a note") {
		t.Errorf("markdown:\n%s", md)
	}
}

func TestWhatTheBenchTookIsNotItsCommands(t *testing.T) {
	large := make([]byte, 256<<20)
	for i := 0; i < len(large); i += 4096 {
		large[i] = 1
	}
	runtime.KeepAlive(large)
	large = nil
	debug.FreeOSMemory()
	l := &lab{dir: t.TempDir()}
	c, err := l.time(t.Context(), t.TempDir(), "true")
	if err != nil || c.rss == 0 || c.rss > 128<<20 {
		t.Errorf("true took %d MiB: %v", c.rss>>20, err)
	}
}
