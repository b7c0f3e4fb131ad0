package cube

import (
	"testing"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

func TestChunksAreWholeTilesAndSmall(t *testing.T) {
	t.Parallel()
	big := testGrid(0, 0, 5000, 7000, 1000)
	for _, tc := range []struct {
		spec   graph.VarSpec
		tiling grid.Tiling
		want   grid.Tiling
	}{
		{graph.VarSpec{DType: graph.Float32}, grid.Tiling{Y: 256, X: 256}, grid.Tiling{Y: 256, X: 256}},
		{graph.VarSpec{DType: graph.Float32}, grid.Tiling{Y: 2048, X: 2048}, grid.Tiling{Y: 512, X: 512}},
		{graph.VarSpec{DType: graph.Float32}, grid.Tiling{}, grid.Tiling{Y: 512, X: 512}},
		{graph.VarSpec{DType: graph.Float64}, grid.Tiling{}, grid.Tiling{Y: 256, X: 512}},
		{graph.VarSpec{DType: graph.Uint8}, grid.Tiling{Y: 1000, X: 1000}, grid.Tiling{Y: 1000, X: 1000}},
		{graph.VarSpec{DType: graph.Float32, Kind: graph.Time}, grid.Tiling{T: 24, Y: 256, X: 256}, grid.Tiling{T: 4, Y: 256, X: 256}},
		{graph.VarSpec{DType: graph.Float32, Kind: graph.Time}, grid.Tiling{T: 7, Y: 100, X: 100}, grid.Tiling{T: 7, Y: 100, X: 100}},
		{graph.VarSpec{DType: graph.Float32, Kind: graph.Time}, grid.Tiling{}, grid.Tiling{T: 1, Y: 512, X: 512}},
		{graph.VarSpec{DType: graph.Float32, Dims: []graph.Dim{{Name: "level", Size: 40}}}, grid.Tiling{Y: 256, X: 256}, grid.Tiling{Y: 64, X: 64}},
		{graph.VarSpec{DType: graph.Float32}, grid.Tiling{Y: 1009, X: 1009}, grid.Tiling{Y: 1009, X: 1009}}, // a prime
	} {
		got := ChunksFor(tc.spec.WithDefaults(), tc.tiling, big)
		if got != tc.want {
			t.Errorf("%s %s in tiles of %+v: chunks of %+v, want %+v", tc.spec.DType, tc.spec.Kind, tc.tiling, got, tc.want)
		}
		l := NewLayout(tc.spec.WithDefaults(), big, tc.tiling)
		if err := l.Fits(tc.tiling); err != nil {
			t.Errorf("tiles of %+v: %v", tc.tiling, err)
		}
		if err := l.Valid(); err != nil {
			t.Error(err)
		}
	}
}

func TestChunksDoNotDependOnTheDomain(t *testing.T) {
	t.Parallel()
	spec := graph.VarSpec{Kind: graph.Time}.WithDefaults()
	tiling := grid.Tiling{T: 24, Y: 200, X: 200}
	small, large := ChunksFor(spec, tiling, testGrid(0, 0, 10, 10, 1)), ChunksFor(spec, tiling, testGrid(-500, 0, 10000, 9999, 8760))
	if small != large {
		t.Errorf("chunks of %+v and %+v", small, large)
	}
}

func TestEveryCellIsInOneChunk(t *testing.T) {
	t.Parallel()
	l := Layout{Spec: graph.VarSpec{Kind: graph.Time}.WithDefaults(), Grid: testGrid(-13, 5, 30, 25, 5), Chunk: grid.Tiling{T: 2, Y: 8, X: 7}}
	if err := l.Valid(); err != nil {
		t.Fatal(err)
	}
	seen := map[[3]int64]int{}
	for i := range l.Chunks() {
		ti, yi, xi := l.At(i)
		if l.Index(ti, yi, xi) != i {
			t.Fatalf("chunk %d is (%d, %d, %d), which is chunk %d", i, ti, yi, xi, l.Index(ti, yi, xi))
		}
		b := l.ChunkBox(ti, yi, xi)
		if full := l.fullBox(ti, yi, xi); !full.Contains(b) || b.Empty() {
			t.Fatalf("chunk %d: %s within %s", i, b, full)
		}
		for tt := b.T.Lo; tt < b.T.Hi; tt++ {
			for y := b.Y.Lo; y < b.Y.Hi; y++ {
				for x := b.X.Lo; x < b.X.Hi; x++ {
					seen[[3]int64{tt, y, x}]++
				}
			}
		}
	}
	if len(seen) != 5*30*25 {
		t.Errorf("%d cells, want %d", len(seen), 5*30*25)
	}
	for cell, n := range seen {
		if n != 1 {
			t.Errorf("cell %v is in %d chunks", cell, n)
		}
	}
	if s := l.Stored(); s.Y.Lo != -16 || s.X.Lo != 0 || s.T.Lo != 0 || s.Y.Hi != 17 {
		t.Errorf("stored %s", s)
	}
	for _, out := range [][3]int64{{-1, 0, 0}, {3, 0, 0}, {0, -3, 0}, {0, 3, 0}, {0, 0, 5}} {
		if l.Index(out[0], out[1], out[2]) >= 0 {
			t.Errorf("chunk %v is outside", out)
		}
	}
}

func TestLayoutsFromOutsideAreChecked(t *testing.T) {
	t.Parallel()
	good := Layout{Spec: graph.VarSpec{Name: "a"}.WithDefaults(), Grid: testGrid(0, 0, 8, 8, 0), Chunk: grid.Tiling{Y: 4, X: 4}}
	if err := good.Valid(); err != nil {
		t.Fatal(err)
	}
	fill := graph.Number("300")
	for name, edit := range map[string]func(*Layout){
		"dtype":          func(l *Layout) { l.Spec.DType = "float16" },
		"kind":           func(l *Layout) { l.Spec.Kind = "moving" },
		"file":           func(l *Layout) { l.Spec.Kind = graph.File },
		"no time":        func(l *Layout) { l.Spec.Kind = graph.Time },
		"empty":          func(l *Layout) { l.Grid.Box.X.Hi = 0 },
		"fill":           func(l *Layout) { l.Spec.DType, l.Spec.Fill = graph.Uint8, &fill },
		"negative chunk": func(l *Layout) { l.Chunk.X = -4 },
		"huge chunk":     func(l *Layout) { l.Chunk = grid.Tiling{Y: 1 << 39, X: 1 << 39} },
		"huge dim":       func(l *Layout) { l.Spec.Dims = []graph.Dim{{Size: 1 << 31}, {Size: 1 << 31}, {Size: 1 << 31}} },
		"dim of none":    func(l *Layout) { l.Spec.Dims = []graph.Dim{{Size: 0}} },
		"many chunks":    func(l *Layout) { l.Grid.Box = grid.Box{Y: grid.Range{Hi: 1 << 24}, X: grid.Range{Hi: 1 << 24}} },
	} {
		l := good
		edit(&l)
		if l.Valid() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
