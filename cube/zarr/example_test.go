package zarr_test

import (
	"context"
	"fmt"
	"log"

	"github.com/cubebuild/cube/cube/zarr"
)

// A group with one array is created, written to and read from.
func Example() {
	ctx := context.Background()
	store := new(zarr.MemStore) // zarr.OpenDir for a directory
	group, err := zarr.CreateGroup(ctx, store, "", zarr.Attributes{"Conventions": "CF-1.11"})
	if err != nil {
		log.Fatal(err)
	}
	dem, err := group.CreateArray(ctx, "dem", &zarr.ArrayMeta{
		Shape:          []int{3, 5},
		ChunkShape:     []int{2, 2},
		DataType:       zarr.Float32,
		DimensionNames: []string{"y", "x"},
		Attributes:     zarr.Attributes{"units": "m"},
	})
	if err != nil {
		log.Fatal(err)
	}
	rows := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	if err := dem.WriteRegion(ctx, []int{1, 0}, []int{2, 5}, zarr.Bytes(rows)); err != nil {
		log.Fatal(err)
	}
	window := make([]float32, 6)
	if err := dem.ReadRegion(ctx, []int{0, 3}, []int{3, 2}, zarr.Bytes(window)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(window, dem.Meta().ChunkKey(1, 2))
	// Output: [0 0 4 5 9 10] c/1/2
}
