// Smooth takes the mean of a cell and its neighbours, as far as there are any,
// in whole metres.
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
)

type span struct{ Lo, Hi int }

type box struct{ Y, X span }

type request struct {
	Tile   box
	Inputs map[string]struct {
		File   string
		Window box
	}
	Outputs map[string]struct{ File string }
}

func main() {
	data, err := os.ReadFile("/cube/request.json")
	check(err)
	var r request
	check(json.Unmarshal(data, &r))
	fmt.Println("smoothing")
	in := r.Inputs["relief"]
	w, cells := in.Window, read(in.File)
	var out []float32
	for row := r.Tile.Y.Lo; row < r.Tile.Y.Hi; row++ {
		for col := r.Tile.X.Lo; col < r.Tile.X.Hi; col++ {
			sum, n := 0.0, 0.0
			for y := max(row-1, w.Y.Lo); y < min(row+2, w.Y.Hi); y++ {
				for x := max(col-1, w.X.Lo); x < min(col+2, w.X.Hi); x++ {
					sum += float64(cells[(y-w.Y.Lo)*(w.X.Hi-w.X.Lo)+x-w.X.Lo])
					n++
				}
			}
			out = append(out, float32(math.Floor(sum/n)))
		}
	}
	check(write(r.Outputs["smooth"].File, r.Tile.Y.Hi-r.Tile.Y.Lo, r.Tile.X.Hi-r.Tile.X.Lo, out))
}
