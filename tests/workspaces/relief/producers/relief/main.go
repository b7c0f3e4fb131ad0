// Relief reads its tile out of a text file, and misbehaves where it is told to.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

type span struct{ Lo, Hi int }

type request struct {
	Tile   struct{ Y, X span }
	Params struct {
		Add       float64
		Misbehave string
	}
	Sources map[string]struct{ File string }
	Outputs map[string]struct{ File string }
}

func main() {
	data, err := os.ReadFile("/cube/request.json")
	check(err)
	var r request
	check(json.Unmarshal(data, &r))
	fmt.Printf("relief of rows %d to %d\n", r.Tile.Y.Lo, r.Tile.Y.Hi)
	file := r.Outputs["relief"].File
	rows, cols := r.Tile.Y.Hi-r.Tile.Y.Lo, r.Tile.X.Hi-r.Tile.X.Lo
	switch r.Params.Misbehave {
	case "crash":
		fmt.Fprintln(os.Stderr, "told to crash")
		os.Exit(1)
	case "refuse":
		fmt.Fprintln(os.Stderr, "told that the input is bad")
		os.Exit(65)
	case "hang":
		time.Sleep(time.Hour)
	case "nothing":
		return
	case "stray":
		check(os.WriteFile(filepath.Join(filepath.Dir(file), "notes.txt"), []byte("stray"), 0o644))
	case "shape":
		cols++
	case "dtype":
		check(os.WriteFile(file, header("<f8", rows, cols, make([]byte, 8*rows*cols)), 0o644))
		return
	}
	text, err := os.ReadFile(r.Sources["heights"].File)
	check(err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var cells []float32
	for row := r.Tile.Y.Lo; row < r.Tile.Y.Lo+rows; row++ {
		fields := strings.Fields(lines[row])
		for col := r.Tile.X.Lo; col < r.Tile.X.Lo+cols; col++ {
			v, err := strconv.ParseFloat(fields[col%len(fields)], 64)
			check(err)
			cells = append(cells, float32(v+r.Params.Add))
		}
	}
	check(write(file, rows, cols, cells))
}
