package index

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/catalog"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/lineage"
)

func digest(s string) graph.Digest { return graph.Sum([]byte(s)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ask returns the rows of a query as text.
func ask(t testing.TB, c *catalog.Catalog, query string) string {
	t.Helper()
	rows, err := c.Query(t.Context(), query)
	must(t, err)
	var lines []string
	for row, err := range rows.All() {
		must(t, err)
		lines = append(lines, strings.TrimSuffix(fmt.Sprintln(row...), "\n"))
	}
	return strings.Join(lines, "\n")
}

func update(t testing.TB, c *catalog.Catalog) catalog.Stats {
	t.Helper()
	stats, err := c.Update(t.Context())
	must(t, err)
	return stats
}

var noon = time.Date(2020, 9, 27, 12, 0, 0, 0, time.UTC)

func begin(t testing.TB, dir string, started time.Time) *lineage.Writer {
	t.Helper()
	return lineage.Create(dir, lineage.Run{
		Started: started, Targets: []string{"slope"}, Command: []string{"cube", "build", "slope"},
		Workspace: lineage.Workspace{Name: "rockies", Config: digest("config"), Git: lineage.Git{Commit: "4f1e", Dirty: true}},
		Host:      lineage.Host{Name: "ridge", CPUClass: "amd64-v3", Cores: 8},
		Engine:    lineage.Engine{Version: "0.1.0", KeyVersion: 1},
	}, lineage.Options{})
}

func vertices(t testing.TB, w *lineage.Writer) {
	t.Helper()
	must(t, w.Vertex(lineage.Vertex{
		Instance: "dem", Grid: "default", Derivation: digest("d1"), Status: lineage.Succeeded, Started: noon,
		Producer: lineage.Producer{Name: "dem", Citation: "Gillies"}, Image: lineage.Image{Ref: "builtin:dem", Config: "sha256:dem"},
		Packages: []lineage.Package{{Kind: "python", Name: "rasterio", Version: "1.4.4"}, {Kind: "deb", Name: "libc6", Version: "2.36"}},
		Params:   []byte(`{"resampling":"bilinear"}`),
		Sources:  []lineage.Source{{Role: "dem", Name: "rmnp", URI: "https://example.org/dem.tif", SHA256: digest("tif"), Size: 9, License: "BSD-3-Clause"}},
		Outputs:  []lineage.Output{{Role: "elevation", Variable: "elevation", Version: digest("elevation"), Native: 90}},
	}))
	must(t, w.Vertex(lineage.Vertex{
		Instance: "slope", Grid: "default", Derivation: digest("d2"), Status: lineage.Succeeded, Started: noon.Add(time.Second), Wall: 1500 * time.Millisecond,
		Image:   lineage.Image{Config: "sha256:slope"},
		Inputs:  []lineage.Input{{Role: "elevation", Variable: "elevation", Version: digest("elevation"), Held: true}},
		Outputs: []lineage.Output{{Role: "slope", Variable: "slope", Version: digest("slope")}},
		Counts:  lineage.Counts{Actions: 3, Ran: 2, Hits: 1},
	}))
}

func action(n int) lineage.Action {
	return lineage.Action{ID: digest(fmt.Sprint(n)), Instance: "slope", Grid: "default", Status: lineage.Succeeded, Started: noon, Attempts: 1,
		Tile:    grid.Box{Y: grid.Range{Lo: int64(n), Hi: int64(n) + 1}, X: grid.Range{Lo: -4}},
		Outputs: map[string]graph.Digest{"slope": digest("tile")}, Usage: lineage.Usage{Wall: 250 * time.Millisecond, MaxRSS: 1 << 20}}
}

func TestRecordsAnswerSQL(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := begin(t, filepath.Join(dir, "runs"), noon)
	vertices(t, w)
	for n := range 3 {
		a := action(n)
		if n == 2 {
			a.Status, a.Exit, a.Reason = lineage.Failed, 1, "exited with code 1"
		}
		must(t, w.Action(a))
	}
	must(t, w.End(lineage.Partial, lineage.Counts{Actions: 3, Ran: 2, Failed: 1}, errors.New("slope: tile 2")))
	c := catalog.Open(filepath.Join(dir, "catalog.duckdb"), catalog.Config{Sources: []catalog.Source{Runs(lineage.Open(filepath.Join(dir, "runs")), nil)}})
	defer c.Close()
	for query, want := range map[string]string{
		"SELECT run = '" + w.ID() + "', status, error, targets, git_dirty, cores, ran, failed, finished > started FROM runs": "true partial slope: tile 2 [slope] true 8 2 1 true",
		"SELECT instance, producer, image_config, params, ran, hits, wall_s FROM vertices ORDER BY instance":                 "dem dem sha256:dem {\"resampling\":\"bilinear\"} 0 0 0\nslope <nil> sha256:slope <nil> 2 1 1.5",
		"SELECT name, version FROM packages JOIN vertices USING (image_config) WHERE kind = 'python'":                        "rasterio 1.4.4",
		"SELECT variable, version, held FROM inputs":                                                                         "elevation " + digest("elevation").String() + " true",
		"SELECT variable, native_res_m FROM outputs ORDER BY variable":                                                       "elevation 90\nslope <nil>",
		"SELECT name, uri, sha256, bytes, license FROM sources":                                                              "rmnp https://example.org/dem.tif " + digest("tif").String() + " 9 BSD-3-Clause",
		"SELECT count(*), sum(wall_s), max(max_rss), min(x0) FROM actions":                                                   "3 0.75 1048576 -4",
		"SELECT outputs['slope'] FROM actions LIMIT 1":                                                                       digest("tile").String(),
		"SELECT instance, exit, reason, y0 FROM failures":                                                                    "slope 1 exited with code 1 2",
		"SELECT instance, actions, failed, wall_s FROM costs":                                                                "slope 3 1 0.75",
		"SELECT variable, instance, wall_s FROM timeline":                                                                    "slope slope 1.5\nelevation dem 0",
		`SELECT variable, "from", name, uri FROM lineage ORDER BY variable`:                                                  "elevation source rmnp https://example.org/dem.tif\nslope variable elevation <nil>",
		`WITH RECURSIVE up AS (SELECT * FROM lineage WHERE variable = 'slope' UNION SELECT l.* FROM lineage l JOIN up ON l.version = up.digest) SELECT uri FROM up WHERE "from" = 'source'`: "https://example.org/dem.tif",
	} {
		if d := cmp.Diff(want, ask(t, c, query)); d != "" {
			t.Errorf("%s:\n%s", query, d)
		}
	}
}

func TestARunningRunIsFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	runs := filepath.Join(dir, "runs")
	store := lineage.Open(runs)
	c := catalog.Open(filepath.Join(dir, "catalog.duckdb"), catalog.Config{Sources: []catalog.Source{Runs(store, nil)}})
	defer c.Close()
	first, second := begin(t, runs, noon), begin(t, runs, noon.Add(time.Minute))
	const query = "SELECT status, (SELECT count(*) FROM actions a WHERE a.run = r.run), (SELECT count(*) FROM vertices v WHERE v.run = r.run) FROM runs r ORDER BY run"
	step := func(what, want string) {
		t.Helper()
		update(t, c)
		if d := cmp.Diff(want, ask(t, c, query)); d != "" {
			t.Errorf("%s:\n%s", what, d)
		}
		if stats := update(t, c); stats.Rows != 0 {
			t.Errorf("%s: an update with nothing new added %d rows", what, stats.Rows)
		}
	}
	must(t, first.Action(action(1)))
	step("one action", "running 1 0")
	must(t, first.Action(action(2)))
	vertices(t, first)
	must(t, second.Action(action(1)))
	step("two runs", "running 2 2\nrunning 1 0")
	must(t, first.End(lineage.Succeeded, lineage.Counts{}, nil))
	must(t, second.Action(action(2)))
	step("one has ended", "succeeded 2 2\nrunning 2 0")
	vertices(t, second)
	must(t, second.End(lineage.Cancelled, lineage.Counts{}, nil))
	step("both have ended", "succeeded 2 2\ncancelled 2 2")
	if got := ask(t, c, "SELECT count(*) FROM packages"); got != "2" {
		t.Errorf("%s packages: those of one image are to be there once", got)
	}
	must(t, store.Remove(first.ID()))
	step("the first is removed", "cancelled 2 2")
	_, err := c.Rebuild(t.Context())
	must(t, err)
	step("made anew", "cancelled 2 2")
}

func TestDamagedRecordsArePassedOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	runs := filepath.Join(dir, "runs")
	var bad []*lineage.Writer
	for i := range 2 {
		w := begin(t, runs, noon.Add(time.Duration(i)*time.Minute))
		for n := range 3 {
			must(t, w.Action(action(n)))
		}
		must(t, w.End(lineage.Succeeded, lineage.Counts{}, nil))
		bad = append(bad, w)
	}
	must(t, os.WriteFile(filepath.Join(runs, bad[0].ID(), "run.json"), []byte("{"), 0o644))
	path := filepath.Join(runs, bad[1].ID(), "actions.ndjson")
	b, err := os.ReadFile(path)
	must(t, err)
	b[20] ^= 1
	must(t, os.WriteFile(path, b, 0o644))
	var damage []error
	c := catalog.Open(filepath.Join(dir, "catalog.duckdb"), catalog.Config{
		Sources: []catalog.Source{Runs(lineage.Open(runs), func(err error) { damage = append(damage, err) })}})
	defer c.Close()
	if got := ask(t, c, "SELECT count(*), count(DISTINCT run) FROM actions"); got != "2 1" {
		t.Errorf("got %s", got)
	}
	if len(damage) != 2 {
		t.Errorf("told of %v", damage)
	}
}

func TestHeadsAndVersionsFollowTheCube(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, cube.Create(dir))
	cu, err := cube.Open(dir, cube.Config{NoSync: true})
	must(t, err)
	defer cu.Close()
	c := catalog.Open(filepath.Join(dir, "catalog.duckdb"), catalog.Config{Sources: []catalog.Source{Cube(cu)}})
	defer c.Close()

	made := int64(0)
	move := func(variable, content string) {
		t.Helper()
		f, err := cu.PutFile(t.Context(), strings.NewReader(content), "text/plain", ".txt")
		must(t, err)
		v, err := cu.NewFileVersion(t.Context(), graph.VarSpec{Name: variable, Kind: graph.File, MediaType: "text/plain"}.WithDefaults(), f)
		must(t, err)
		must(t, cu.Sync(t.Context()))
		made++
		must(t, cu.MoveHeads(t.Context(), nil, []cube.Head{{Variable: variable, Version: v.Digest(), Time: made}}))
	}
	const query = "SELECT h.variable, count(v.version), max(l.bytes) FROM heads h JOIN versions v USING (variable) JOIN latest l USING (variable) GROUP BY 1 ORDER BY 1"
	step := func(want string) {
		t.Helper()
		update(t, c)
		if d := cmp.Diff(want, ask(t, c, query)); d != "" {
			t.Error(d)
		}
		if stats := update(t, c); stats.Rows != 0 {
			t.Errorf("an update with nothing new added %d rows", stats.Rows)
		}
	}
	step("")
	move("notes", "one")
	step("notes 1 3")
	move("notes", "three")
	move("table", "a,b")
	step("notes 2 5\ntable 1 3")
	move("notes", "one")
	step("notes 2 3\ntable 1 3")
	must(t, cu.RemoveVariable(t.Context(), "table"))
	step("notes 2 3")
	if got := ask(t, c, "SELECT count(*) FROM versions"); got != "2" {
		t.Errorf("%s versions, want those of the variable that is left", got)
	}
}
