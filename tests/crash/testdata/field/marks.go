package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
)

// mark is a value at a place, in the coordinates of the grid.
type mark struct{ x, y, value float64 }

// side is that of the squares that marks are split by, in the grid's units.
const side = 1600

// readMarks reads files of lines with x, y and a value. It never returns nil
// without an error.
func readMarks(files ...string) ([]mark, error) {
	marks := []mark{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(data) {
			var m mark
			if _, err := fmt.Sscan(string(line), &m.x, &m.y, &m.value); err != nil {
				return nil, fmt.Errorf("line %q: %w", line, err)
			}
			marks = append(marks, m)
		}
	}
	return marks, nil
}

type part struct {
	Offset int        `json:"offset"`
	Size   int        `json:"size"`
	CRS    string     `json:"crs"`
	Bounds [4]float64 `json:"bounds"`
}

// index splits a source into its squares.
func (r *request) index() error {
	squares := map[[2]float64][]string{}
	for _, s := range r.Sources {
		marks, err := readMarks(s.File)
		if err != nil {
			return err
		}
		for _, m := range marks {
			at := [2]float64{math.Floor(m.x/side) * side, math.Floor(m.y/side) * side}
			squares[at] = append(squares[at], fmt.Sprintln(m.x, m.y, m.value))
		}
	}
	var out bytes.Buffer
	parts := []part{}
	for at, lines := range squares { // in any order: a part has its place by itself
		p := part{Offset: out.Len(), CRS: "EPSG:32613", Bounds: [4]float64{at[0], at[1], at[0] + side, at[1] + side}}
		slices.Sort(lines)
		for _, line := range lines {
			out.WriteString(line)
		}
		p.Size = out.Len() - p.Offset
		parts = append(parts, p)
	}
	text, err := json.Marshal(map[string]any{"parts": parts})
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.Outputs["parts"].File, out.Bytes(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(r.Outputs["index"].File, text, 0o644)
}

// marked is the sum of the values in each cell.
func (r *request) marked(marks []mark) []byte {
	sums := make([]float32, r.Tile.Y.len()*r.Tile.X.len())
	for _, m := range marks {
		row := int(math.Floor((r.Grid.Y0-m.y)/r.Grid.DY)) - r.Tile.Y.Lo
		col := int(math.Floor((m.x-r.Grid.X0)/r.Grid.DX)) - r.Tile.X.Lo
		if row >= 0 && row < r.Tile.Y.len() && col >= 0 && col < r.Tile.X.len() {
			sums[row*r.Tile.X.len()+col] += float32(m.value)
		}
	}
	var out []byte
	for _, v := range sums {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v+float32(r.Params.Add)))
	}
	return out
}
