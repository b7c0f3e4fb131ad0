// High is 1 where the ground is above a level, and 0 elsewhere.
package main

import (
	"encoding/json"
	"os"
)

type span struct{ Lo, Hi int }

type request struct {
	Tile    struct{ Y, X span }
	Params  struct{ Level float64 }
	Inputs  map[string]struct{ File string }
	Outputs map[string]struct{ File string }
}

func main() {
	data, err := os.ReadFile("/cube/request.json")
	check(err)
	var r request
	check(json.Unmarshal(data, &r))
	cells := read(r.Inputs["smooth"].File)
	for i, c := range cells {
		cells[i] = 0
		if float64(c) > r.Params.Level {
			cells[i] = 1
		}
	}
	check(write(r.Outputs["high"].File, r.Tile.Y.Hi-r.Tile.Y.Lo, r.Tile.X.Hi-r.Tile.X.Lo, cells))
}
