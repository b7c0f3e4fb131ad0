package recorder

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/lineage"
)

func digest(s string) graph.Digest { return graph.Sum([]byte(s)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var noon = time.Date(2020, 9, 27, 12, 0, 0, 0, time.UTC)

// dem makes elevation of a source; filled reads it under another name.
func plan() (*graph.Workspace, *graph.Vertex, *graph.Vertex) {
	ws := &graph.Workspace{Sources: map[string]graph.Source{
		"rmnp": {Name: "rmnp", URI: "https://me:pw@example.org/dem.tif", SHA256: digest("tif"), Size: 9, License: "BSD-3-Clause", Citation: "Wasser"}}}
	dem := &graph.Vertex{Name: "dem", GridName: "default", Instance: &graph.Instance{
		Name: "dem", Params: json.RawMessage(`{"a":1}`), Sources: map[string]string{"dem": "rmnp"},
		Image: graph.Image{Ref: "builtin:dem", Config: "sha256:c", Manifest: "sha256:m", Platform: "linux/amd64", DiffIDs: []string{"sha256:l"}},
		Manifest: graph.Manifest{Name: "dem", License: "Apache-2.0", Citation: "Gillies",
			Sources: []graph.SourceNeed{{Name: "dem"}, {Name: "mask", Optional: true}}}}}
	dem.Outputs = []*graph.Output{{Vertex: dem, Role: "elevation", Variable: "elevation", Native: 90}}
	fill := &graph.Vertex{Name: "merge:filled", GridName: "default", Inputs: []*graph.Binding{{Variable: "elevation", From: dem.Outputs[0]}}}
	fill.Outputs = []*graph.Output{{Vertex: fill, Variable: "filled", Native: 90}}
	return ws, dem, fill
}

func TestABuildsEventsBecomeItsLineage(t *testing.T) {
	t.Parallel()
	runs := t.TempDir()
	ws, dem, fill := plan()
	w := lineage.Create(runs, lineage.Run{Started: noon}, lineage.Options{})
	asked := 0
	r := New(w, Config{Workspace: ws, Sandbox: "native", Packages: func(i graph.Image) ([]lineage.Package, error) {
		asked++
		return []lineage.Package{{Kind: "python", Name: "rasterio", Version: "1.4.4"}}, nil
	}})
	box := grid.Box{Y: grid.Range{Hi: 4}, X: grid.Range{Hi: 4}}
	for _, e := range []solve.Event{
		solve.Planned{},
		solve.TileDone{Vertex: dem, Tile: grid.Tile{Box: box}, Outcome: solve.Ran, Action: digest("a1"), Started: noon, Wall: time.Second, Attempts: 2,
			Outputs: map[string]graph.Digest{"elevation": digest("tile")}, Usage: containers.Usage{User: time.Millisecond, MaxRSS: 7},
			Unenforced: []string{"memory"}, Log: []byte("read dem\n")},
		solve.TileDone{Vertex: dem, Outcome: solve.Hit, Action: digest("a2")},
		solve.TileDone{Vertex: dem, Outcome: solve.Failed, Action: digest("a3"), Attempts: 1, Started: noon,
			Err: fmt.Errorf("tile: %w", &containers.Failure{Kind: containers.FailedExit, Code: 3, Detail: "exited with code 3"})},
		solve.TileDone{Vertex: dem, Outcome: solve.Failed, Action: digest("a4"), Repeated: true, Err: errors.New("bad input")},
		solve.TileDone{Vertex: dem, Outcome: solve.Blocked},
		solve.VertexDone{Vertex: dem, Derivation: digest("d1"), Preimage: []byte(`{"b":1}`), Complete: true,
			Outputs: []graph.Digest{digest("elevation")}, Count: solve.Count{Hit: 1, Ran: 1, Failed: 2, Blocked: 1}, Wall: time.Minute},
		solve.VertexDone{Vertex: fill, Derivation: digest("d2"), Preimage: []byte(`{"b":2}`), Complete: true,
			Inputs: []graph.Digest{digest("elevation")}, Outputs: []graph.Digest{digest("filled")}, Count: solve.Count{Ran: 1}},
		solve.VertexDone{Vertex: dem, Known: true, Shown: true, Complete: true, Outputs: []graph.Digest{digest("elevation")}, Count: solve.Count{Hit: 5}},
		solve.VertexDone{Vertex: dem, Count: solve.Count{Blocked: 4}},
	} {
		if done, ok := e.(solve.TileDone); ok && done.Outcome == solve.Ran {
			log := r.Log(done.Action)
			_, err := log.Write([]byte("no network"))
			must(t, errors.Join(err, log.Close()))
			r.Event(solve.Retried{Vertex: dem, Action: done.Action, Attempt: 1, Err: errors.New("exited with code 75")})
			log = r.Log(done.Action)
			_, err = log.Write(done.Log)
			must(t, errors.Join(err, log.Close()))
		}
		r.Event(e)
	}
	must(t, r.Err())
	want := lineage.Counts{Actions: 15, Ran: 2, Hits: 6, Failed: 2}
	if d := cmp.Diff(want, r.Counts()); d != "" {
		t.Error(d)
	}
	must(t, w.End(lineage.Partial, r.Counts(), nil))
	if asked != 1 {
		t.Errorf("asked %d times for the image's packages", asked)
	}

	store := lineage.Open(runs)
	run, err := store.Run(w.ID())
	must(t, err)
	vertices := []lineage.Vertex{{
		Instance: "dem", Grid: "default", Derivation: digest("d1"), Run: w.ID(), Status: lineage.Succeeded, Wall: time.Minute,
		Producer: lineage.Producer{Name: "dem", License: "Apache-2.0", Citation: "Gillies"},
		Image:    lineage.Image{Ref: "builtin:dem", Config: "sha256:c", Manifest: "sha256:m", Platform: "linux/amd64", DiffIDs: []string{"sha256:l"}},
		Params:   json.RawMessage(`{"a":1}`), Limits: graph.Resources{}.WithDefaults(), Packages: []lineage.Package{{Kind: "python", Name: "rasterio", Version: "1.4.4"}},
		Sources: []lineage.Source{{Role: "dem", Name: "rmnp", URI: "https://REDACTED@example.org/dem.tif", SHA256: digest("tif"), Size: 9, License: "BSD-3-Clause", Citation: "Wasser"}},
		Outputs: []lineage.Output{{Role: "elevation", Variable: "elevation", Version: digest("elevation"), Native: 90}},
		Counts:  lineage.Counts{Actions: 5, Ran: 1, Hits: 1, Failed: 2}, Preimage: json.RawMessage(`{"b":1}`),
	}, {
		Instance: "merge:filled", Grid: "default", Derivation: digest("d2"), Run: w.ID(), Status: lineage.Succeeded,
		Inputs:  []lineage.Input{{Variable: "elevation", Version: digest("elevation")}},
		Outputs: []lineage.Output{{Variable: "filled", Version: digest("filled"), Native: 90}},
		Counts:  lineage.Counts{Actions: 1, Ran: 1}, Preimage: json.RawMessage(`{"b":2}`),
	}}
	if d := cmp.Diff(vertices, run.Vertices, cmpopts.IgnoreFields(lineage.Vertex{}, "Started")); d != "" {
		t.Error(d)
	}
	var actions []lineage.Action
	for a, err := range store.Actions(w.ID()) {
		must(t, err)
		actions = append(actions, a)
	}
	if d := cmp.Diff([]lineage.Action{{
		ID: digest("a1"), Run: w.ID(), Instance: "dem", Grid: "default", Tile: box, Started: noon, Status: lineage.Succeeded, Attempts: 2,
		Usage:   lineage.Usage{Wall: time.Second, User: time.Millisecond, MaxRSS: 7},
		Outputs: map[string]graph.Digest{"elevation": digest("tile")}, Sandbox: "native", Unenforced: []string{"memory"}, LogSize: 9,
	}, {
		ID: digest("a3"), Run: w.ID(), Instance: "dem", Grid: "default", Started: noon, Status: lineage.Failed, Attempts: 1, Exit: 3,
		Reason: "tile: exited with code 3", Sandbox: "native",
	}}, actions); d != "" {
		t.Error(d)
	}
	id := digest("a1")
	text := ""
	for p, err := range store.Printed(w.ID(), &id) {
		must(t, err)
		text += string(p.Text)
	}
	if text != "no network\n[attempt 1: exited with code 75]\nread dem\n" {
		t.Errorf("log %q", text)
	}
}

func TestAnActionIsOnRecordOnceAndAgainWhereItsResultIsAnother(t *testing.T) {
	t.Parallel()
	runs := t.TempDir()
	ws, dem, _ := plan()
	w := lineage.Create(runs, lineage.Run{Started: noon}, lineage.Options{})
	r := New(w, Config{Workspace: ws})
	for _, disagrees := range []bool{false, true} {
		done := solve.TileDone{Vertex: dem, Outcome: solve.Ran, Action: digest(fmt.Sprint(disagrees)), Started: noon, Attempts: 1}
		must(t, r.Event(solve.Concluded{TileDone: done}))
		done.Concluded, done.Disagrees = true, disagrees
		must(t, r.Event(done))
	}
	must(t, w.End(lineage.Succeeded, r.Counts(), nil))
	var reasons []string
	for a, err := range lineage.Open(runs).Actions(w.ID()) {
		must(t, err)
		reasons = append(reasons, a.Reason)
	}
	if len(reasons) != 3 || reasons[0]+reasons[1] != "" || reasons[2] == "" {
		t.Errorf("%d records, with the reasons %q", len(reasons), reasons)
	}
}

func TestABuildWithNothingToDoLeavesNothing(t *testing.T) {
	t.Parallel()
	runs := filepath.Join(t.TempDir(), "runs")
	ws, dem, _ := plan()
	w := lineage.Create(runs, lineage.Run{}, lineage.Options{})
	r := New(w, Config{Workspace: ws})
	r.Event(solve.Planned{})
	r.Event(solve.VertexDone{Vertex: dem, Known: true, Shown: true, Complete: true, Outputs: []graph.Digest{digest("elevation")}, Count: solve.Count{Hit: 5}})
	must(t, r.Err())
	must(t, w.End(lineage.Succeeded, r.Counts(), nil))
	if _, err := os.Stat(runs); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
}

func TestWhatWasKnownAndIsShownFromNowOnIsRecorded(t *testing.T) {
	t.Parallel()
	runs := filepath.Join(t.TempDir(), "runs")
	ws, dem, _ := plan()
	w := lineage.Create(runs, lineage.Run{}, lineage.Options{})
	r := New(w, Config{Workspace: ws})
	r.Event(solve.VertexDone{Vertex: dem, Known: true, Complete: true, Outputs: []graph.Digest{digest("elevation")}, Count: solve.Count{Hit: 5}})
	must(t, r.Err())
	must(t, w.End(lineage.Succeeded, r.Counts(), nil))
	v, _, err := lineage.Open(runs).ByVersion("elevation", digest("elevation"))
	must(t, err)
	if want := (lineage.Counts{Actions: 5, Hits: 5}); v.Counts != want {
		t.Errorf("counts %+v, want %+v", v.Counts, want)
	}
}
