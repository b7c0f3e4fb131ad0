package grid_test

import (
	"fmt"

	"github.com/cubebuild/cube/cube/grid"
)

// A grid of 30 m cells, cut into tiles from a common origin, and the window
// that the first tile reads with a halo of one cell.
func Example() {
	g, err := grid.New("EPSG:32610", 30, 30,
		grid.Bounds{West: 540000, South: 4260000, East: 552000, North: 4269000},
		&grid.Point{X: 540000, Y: 4260000}, grid.AlignExact)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(g.Lattice.CRS.Name(), g.Box)

	halo := grid.Halo{Y: 1, X: 1}
	for tile := range (grid.Tiling{Y: 256, X: 256}).Tiles(g.Box) {
		fmt.Println("tile", tile.Y, tile.X, "is", tile.Box, "and reads", halo.Window(tile.Box, g.Box))
	}
	fmt.Printf("cells of %.2f m on the ground\n", grid.ResolutionMetres(g.Lattice, g.Box))
	// Output:
	// WGS 84 / UTM zone 10N y[-300,0) x[0,400)
	// tile -2 0 is y[-300,-256) x[0,256) and reads y[-300,-255) x[0,257)
	// tile -2 1 is y[-300,-256) x[256,400) and reads y[-300,-255) x[255,400)
	// tile -1 0 is y[-256,0) x[0,256) and reads y[-257,0) x[0,257)
	// tile -1 1 is y[-256,0) x[256,400) and reads y[-257,0) x[255,400)
	// cells of 30.01 m on the ground
}

// A source in degrees, seen from a tile in metres: what must be read of it,
// and the resampling.
func ExampleResample() {
	src, err := grid.Like("EPSG:4326", [6]float64{-123, 0.01, 0, 39, 0, -0.01}, 100, 100)
	if err != nil {
		fmt.Println(err)
		return
	}
	tile := grid.Box{Y: grid.Range{Lo: 0, Hi: 2}, X: grid.Range{Lo: 0, Hi: 3}}
	dst := grid.Lattice{CRS: "EPSG:32610", DX: 300, DY: 300, X0: 540000, Y0: 4269000}

	window, err := grid.Bilinear.Cover(dst, tile, src)
	if err != nil {
		fmt.Println(err)
		return
	}
	from := grid.Raster{Lattice: src.Lattice, Box: window, DType: "uint8", Data: make([]byte, window.Cells())}
	for i := range from.Data {
		from.Data[i] = byte(10 * (i % int(window.X.Len())))
	}
	to := grid.Raster{Lattice: dst, Box: tile, DType: "uint8", Data: make([]byte, tile.Cells())}
	err = grid.Resample(to, from, grid.Bilinear, grid.ResampleOptions{Domain: src.Box})
	fmt.Println(window, to.Data, err)
	// Output:
	// y[41,46) x[43,49) [26 29 33 26 29 33] <nil>
}
