package lineage

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/graph"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with testdata/<name>.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s:\n%s", path, d)
	}
}

func TestATreeGoesDownToItsSources(t *testing.T) {
	t.Parallel()
	store, w := rockies(t)
	must(t, w.End(Succeeded, Counts{}, nil))
	tree, err := Trace(store, "terrain_class", digest("classes"))
	must(t, err)

	var text, methods bytes.Buffer
	must(t, tree.WriteText(&text))
	must(t, tree.Methods(&methods))
	golden(t, "tree.txt", text.Bytes())
	golden(t, "methods.txt", methods.Bytes())
	b, err := json.MarshalIndent(tree, "", "  ")
	must(t, err)
	golden(t, "tree.json", append(b, '\n'))
}

func TestAMergeIsDrawnAsOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := aRun(noon)
	run.ID = "20200927T120000Z-0000abcdef"
	w := Create(dir, run, Options{})
	for _, name := range []string{"north", "south"} {
		must(t, w.Vertex(Vertex{Instance: name, Grid: "default", Producer: Producer{Name: "spread"}, Image: Image{Config: digest("spread").String()},
			Outputs: []Output{{Role: "arrival", Variable: "arrival@" + name, Version: digest(name)}}}))
	}
	must(t, w.Vertex(Vertex{Instance: "merge:arrival", Grid: "default",
		Inputs:  []Input{{Variable: "arrival@north", Version: digest("north")}, {Variable: "arrival@south", Version: digest("south")}},
		Outputs: []Output{{Variable: "arrival", Version: digest("both")}}}))
	must(t, w.End(Succeeded, Counts{}, nil))
	tree, err := Trace(Open(dir), "arrival", digest("both"))
	must(t, err)
	var text bytes.Buffer
	must(t, tree.WriteText(&text))
	golden(t, "merge.txt", text.Bytes())
}

func TestRecordsThatGoInACircleEndTheTree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := Create(dir, aRun(noon), Options{})
	for _, pair := range [][2]string{{"a", "b"}, {"b", "a"}} {
		must(t, w.Vertex(Vertex{Instance: "make-" + pair[0], Inputs: []Input{{Variable: pair[1], Version: digest("same")}},
			Outputs: []Output{{Variable: pair[0], Version: digest("same")}}}))
	}
	must(t, w.End(Succeeded, Counts{}, nil))
	tree, err := Trace(Open(dir), "a", digest("same"))
	must(t, err)
	if len(tree.Nodes) != 2 {
		t.Errorf("%d nodes, want 2", len(tree.Nodes))
	}
	var text bytes.Buffer
	must(t, tree.WriteText(&text))
	if n := bytes.Count(text.Bytes(), []byte("see above")); n != 1 {
		t.Errorf("drawn as\n%s", &text)
	}
	must(t, tree.Methods(&text))
}

func TestAVersionOfWhichNoRunTellsHasNoTree(t *testing.T) {
	t.Parallel()
	if _, err := Trace(Open(t.TempDir()), "slope", digest("slope")); !errors.Is(err, ErrNoRecord) {
		t.Error(err)
	}
}

func TestATreeOfManySharedVersionsIsSmall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := Create(dir, aRun(noon), Options{})
	version := func(n int) graph.Digest { return digest(string(rune('A' + n))) }
	const depth = 40 // 2^40 paths
	for n := 1; n <= depth; n++ {
		below := Input{Variable: "v", Version: version(n - 1)}
		must(t, w.Vertex(Vertex{Instance: "twice", Inputs: []Input{below, below}, Outputs: []Output{{Variable: "v", Version: version(n)}}}))
	}
	must(t, w.End(Succeeded, Counts{}, nil))
	tree, err := Trace(Open(dir), "v", version(depth))
	must(t, err)
	var text bytes.Buffer
	must(t, tree.WriteText(&text))
	if len(tree.Nodes) != depth+1 || text.Len() > 20000 {
		t.Errorf("%d nodes, %d bytes of text", len(tree.Nodes), text.Len())
	}
}
