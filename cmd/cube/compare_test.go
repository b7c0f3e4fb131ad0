package main

import (
	"math"
	"os"
	"testing"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// TestOneChangedCellAmongManyTilesReadsOneChunk damages every chunk but the one
// that changed: whoever read another one would fail.
func TestOneChangedCellAmongManyTilesReadsOneChunk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := cube.Create(dir); err != nil {
		t.Fatal(err)
	}
	c, err := cube.Open(dir, cube.Config{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const edge, tiles = 4, 100 // 10,000 tiles
	spec := graph.VarSpec{Name: "height"}.WithDefaults()
	g := grid.Grid{Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30, X0: 430000, Y0: 4490000},
		Box: grid.Box{Y: grid.Range{Hi: edge * tiles}, X: grid.Range{Hi: edge * tiles}}}
	l := cube.Layout{Spec: spec, Grid: g, Chunk: grid.Tiling{Y: edge, X: edge}}
	put := func(add float32) *cube.Version {
		var values []byte
		for i := range edge * tiles * edge * tiles {
			v := float32(i)
			if i == 250*edge*tiles+50 { // of tile 62,12
				v += add
			}
			bits := math.Float32bits(v)
			values = append(values, byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24))
		}
		refs, err := c.PutTile(t.Context(), l, l.Domain(), values)
		if err != nil {
			t.Fatal(err)
		}
		b, err := c.NewBuilder(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Set(t.Context(), l.Domain(), refs); err != nil {
			t.Fatal(err)
		}
		v, err := b.Finish(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	old, now := put(0), put(1)
	err = old.Refs(t.Context(), func(_, yi, xi int64, r cube.ChunkRef) error {
		if yi == 62 && xi == 12 {
			return nil
		}
		path := c.Objects().Path(r.Object)
		if err := os.Chmod(path, 0o644); err != nil {
			return err
		}
		return os.WriteFile(path, []byte("damaged"), 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	o := &graph.Output{Variable: "height", Spec: spec, Grid: g,
		Vertex: &graph.Vertex{Name: "height", Grid: g, Box: g.Box, Tiling: l.Chunk}}
	d, err := compareVersions(t.Context(), c, o, old.Digest(), now.Digest())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := d.String(), "changed in 1 of 10 000 tiles, 1 cell; first (250, 50): 100050 → 100051"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
