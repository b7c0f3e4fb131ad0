package cube_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/graph"
)

// A variable is put tile by tile, becomes a version and is shown as a head; any
// window of it can be read.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "cube")
	check(err)
	defer os.RemoveAll(dir)
	check(cube.Create(dir))
	c, err := cube.Open(dir, cube.Config{})
	check(err)
	defer c.Close()

	tiles := grid.Tiling{Y: 2, X: 2}
	layout := cube.NewLayout(
		graph.VarSpec{Name: "elevation", DType: graph.Int16, Units: "m"}.WithDefaults(),
		grid.Grid{
			Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 250, DY: 250, X0: 430000, Y0: 4480000},
			Box:     grid.Box{Y: grid.Range{Hi: 4}, X: grid.Range{Hi: 4}},
		}, tiles)
	b, err := c.NewBuilder(ctx, layout)
	check(err)
	for tile := range tiles.Tiles(layout.Domain()) {
		values := []int16{int16(10*tile.Y + tile.X), 1, 2, 3}
		refs, err := c.PutTile(ctx, layout, tile.Box, zarr.Bytes(values))
		check(err)
		check(b.Set(ctx, tile.Box, refs))
	}
	v, err := b.Finish(ctx)
	check(err)
	check(c.Sync(ctx))
	check(c.MoveHeads(ctx, nil, []cube.Head{{Variable: "elevation", Version: v.Digest(), Native: 250}}))
	check(c.View(ctx)) // .cube/zarr/elevation

	tile := tiles.Tile(0, 1, 1, layout.Domain())
	window := grid.Halo{Y: 1, X: 1}.Window(tile.Box, layout.Domain())
	values, err := c.ReadWindow(ctx, v, window, nil)
	check(err)
	fmt.Println(window, values[:2], values[2:4], values[4:6])
	ok, _, err := c.Satisfies(ctx, cube.Want{Variable: "elevation", MaxRes: 250})
	check(err)
	fmt.Println(ok)
	ok, reasons, err := c.Satisfies(ctx, cube.Want{Variable: "elevation", MaxRes: 30})
	check(err)
	fmt.Println(ok, reasons)
	// Output:
	// y[1,4) x[1,4) [3 0] [2 0] [3 0]
	// true
	// false [elevation was made from data of 250 m, and 30 m are asked for.]
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
