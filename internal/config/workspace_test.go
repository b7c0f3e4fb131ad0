package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/graph"
)

// testProducers resolves the instances of a file with the producers under
// testdata/workspace.
func testProducers(t *testing.T, f *File) map[string]ResolvedProducer {
	t.Helper()
	out := map[string]ResolvedProducer{}
	for _, p := range f.Producers {
		path := "testdata/workspace/" + strings.TrimPrefix(p.Image, "./") + ".producer.yaml"
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		pf, err := ParseProducer(path, data)
		if err != nil {
			t.Fatal(err)
		}
		out[p.Name] = ResolvedProducer{Manifest: pf.Manifest, Image: graph.Image{Platform: "linux/amd64", Command: pf.Manifest.Command}}
	}
	return out
}

// Each *.cube.yaml under testdata/workspace becomes the workspace of the .json
// beside it, or the error of the .err.
func TestWorkspacesComeTogetherAsTheGoldenFilesSay(t *testing.T) {
	t.Parallel()
	lock, err := LoadLock("testdata/workspace/cube.lock")
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob("testdata/workspace/*.cube.yaml")
	if len(files) == 0 {
		t.Fatal("no files")
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse("cube.yaml", data)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		ws, err := Workspace(f, lock, testProducers(t, f))
		if err != nil {
			golden(t, strings.TrimSuffix(path, ".cube.yaml")+".err", err.Error()+"\n")
			continue
		}
		for i := range ws.Instances {
			ws.Instances[i].Manifest.Params = nil
		}
		out, err := json.MarshalIndent(ws, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, strings.TrimSuffix(path, ".cube.yaml")+".json", string(out)+"\n")
	}
}

func TestOverridesAreReadAsIfTheyStoodInTheFile(t *testing.T) {
	t.Parallel()
	const text = "grid: {crs: EPSG:32613, resolution: 250, bounds: [0, 0, 1000, 1000]}\nproducers: {slope: ./slope, b: {image: ./b, params: {l: [1, 2]}}}\nbackend: process\n"
	f, err := Parse("cube.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	before := f.Digest()
	for _, s := range []string{
		"producers.slope.params.method=zevenbergen", "producers.slope.limits.memory=2GiB", `producers.b.params."a.b".c={x: 1}`,
		"producers.b.params.l.1=5", "grid.resolution=100", "grid.bounds=[0, 0, 500, 500]", "backend.workers=3", "backend.tokens.licence=1", "name=ho",
	} {
		if err := f.Set(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	want, err := Parse("cube.yaml", []byte(`
grid: {crs: EPSG:32613, resolution: 100, bounds: [0, 0, 500, 500]}
producers:
  slope: {image: ./slope, params: {method: zevenbergen}, limits: {memory: 2GiB}}
  b: {image: ./b, params: {l: [1, 5], a.b: {c: {x: 1}}}}
backend: {kind: process, workers: 3, tokens: {licence: 1}}
name: ho
`))
	if err != nil {
		t.Fatal(err)
	}
	if f.Digest() != want.Digest() || f.Digest() == before {
		t.Errorf("the overridden file is not the same as the one that says so")
	}
	ignore := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".doc" || p.Last().String() == ".sets" }, cmp.Ignore())
	if diff := cmp.Diff(*want, *f, cmp.AllowUnexported(File{}), ignore); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(f.Sets()) != 9 {
		t.Errorf("Sets() = %v", f.Sets())
	}
}

func TestWrongOverridesChangeNothing(t *testing.T) {
	t.Parallel()
	f, err := Parse("cube.yaml", []byte("name: a\nproducers: {slope: ./slope}\ntiles: 64\n"))
	if err != nil {
		t.Fatal(err)
	}
	before := f.Digest()
	var b strings.Builder
	for _, s := range []string{"", "name", "=x", "name=", ".a=1", "producers.slop.grid=x", "producers.slope.limits.memory=lots", "tiles.y.z=3",
		"tile=3", "name={a: 1", "name=a\nb: 1", "producers.slope.tiles={y: 1, y: 2}", `"x=1`, "producers=[1]", "sources.dem=x.tif"} {
		err := f.Set(s)
		if err == nil {
			t.Errorf("%q: accepted", s)
			continue
		}
		b.WriteString(err.Error() + "\n")
	}
	golden(t, "testdata/overrides.err", b.String())
	if f.Digest() != before || len(f.Sets()) != 0 {
		t.Error("a refused override has changed the file")
	}
}

func TestPlacesAreFoundAfterTheFact(t *testing.T) {
	t.Parallel()
	f, err := Parse("cube.yaml", []byte("producers:\n  slope:\n    image: ./slope\n    in: {elevation: dem}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for want, path := range map[string][]string{
		"cube.yaml:4:21": {"producers", "slope", "in", "elevation"},
		"cube.yaml:4:9":  {"producers", "slope", "in", "wind"},
		"cube.yaml:3:5":  {"producers", "slope", "tiles"},
		"cube.yaml:1:1":  {"sources"},
	} {
		if got := f.At(path...).String(); got != want {
			t.Errorf("%v: %s, want %s", path, got, want)
		}
	}
	e := f.Errorf([]string{"producers", "slope", "in", "elevation"}, "make it", "nothing makes %s", "dem")
	if got, want := e.Summary(), "cube.yaml:4:21: nothing makes dem (make it)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
