package project

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/config"
	"github.com/google/go-cmp/cmp"
)

// degrees is a list of parts, a degree each, as it is kept.
func degrees(t testing.TB, n int) []byte {
	t.Helper()
	var parts []graph.Part
	for i := range n {
		w, s := -106+float64(i%40)/50, 40.4+float64(i/40)/50
		parts = append(parts, graph.Part{SHA256: graph.Sum(fmt.Append(nil, i)), Extent: graph.Extent{CRS: "EPSG:4326", Bounds: &[4]float64{w, s, w + 0.01, s + 0.01}}})
	}
	text, err := json.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func metres(size int64) *graph.Vertex {
	v := &graph.Vertex{Grid: grid.Grid{Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30, X0: 400000, Y0: 4500000},
		Box: grid.Box{Y: grid.Range{Hi: size}, X: grid.Range{Hi: size}}}, Tiling: grid.Tiling{Y: 100, X: 100}}
	v.Box = v.Grid.Box
	return v
}

// TestWherePartsLieIsRemembered holds that a list that was placed before is not
// read, and that another list, another domain and another program place anew.
func TestWherePartsLieIsRemembered(t *testing.T) {
	t.Parallel()
	path, text := filepath.Join(t.TempDir(), "memo.json"), degrees(t, 50)
	key := func(program string, text []byte, v *graph.Vertex) (graph.PartsKey, *split) {
		t.Helper()
		memo := config.OpenMemo(path, program)
		s, err := newSplit(memo, text, graph.Sum(text))
		if err != nil {
			t.Fatal(err)
		}
		k, err := s.Key(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := memo.Save(); err != nil {
			t.Fatal(err)
		}
		return k, s
	}
	for _, c := range []struct {
		what    string
		program string
		text    []byte
		v       *graph.Vertex
		read    bool
	}{
		{"first", "one", text, metres(2000), true},
		{"the same", "one", text, metres(2000), false},
		{"of another vertex", "one", text, &graph.Vertex{Name: "x", Grid: metres(2000).Grid, Box: metres(2000).Box, Tiling: grid.Tiling{Y: 7, X: 7}}, false},
		{"another domain", "one", text, metres(1000), true},
		{"another list", "one", degrees(t, 51), metres(2000), true},
		{"another program", "two", text, metres(2000), true},
	} {
		var parts []graph.Part
		if err := json.Unmarshal(c.text, &parts); err != nil {
			t.Fatal(err)
		}
		want, err := graph.PartList(parts).Key(c.v)
		if err != nil || want.Count == 0 {
			t.Fatal(want, err)
		}
		got, s := key(c.program, c.text, c.v)
		if got != want || s.read != c.read {
			t.Errorf("%s: %+v, want %+v; read: %v", c.what, got, want, s.read)
		}
		placed, err := s.Place(c.v)
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := c.v.Place(parts)
		if err != nil {
			t.Fatal(err)
		}
		for tile := range c.v.Tiles() {
			if diff := cmp.Diff(fresh.At(tile), placed.At(tile)); diff != "" {
				t.Fatalf("%s: %s", c.what, diff)
			}
		}
	}
}

func TestAListThatIsNoneIsNotRemembered(t *testing.T) {
	t.Parallel()
	memo := config.OpenMemo(filepath.Join(t.TempDir(), "memo.json"), "one")
	for range 2 {
		if _, err := newSplit(memo, []byte("[{"), graph.Sum([]byte("[{"))); err == nil {
			t.Error("it is taken for one")
		}
	}
}

// BenchmarkKnownParts is what a build with nothing to do does of a source with a
// thousand parts.
func BenchmarkKnownParts(b *testing.B) {
	text, v := degrees(b, 1000), metres(3200)
	memo := config.OpenMemo(filepath.Join(b.TempDir(), "memo.json"), "one")
	for b.Loop() {
		s, err := newSplit(memo, text, graph.Sum(text))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Key(v); err != nil {
			b.Fatal(err)
		}
	}
}
