// Hills computes elevation from nothing but the coordinates of each cell.
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
)

// request is what this producer reads of /cube/request.json.
type request struct {
	Params struct {
		Height     float64 `json:"height"`
		Wavelength float64 `json:"wavelength"`
	} `json:"params"`
	Tile struct {
		Y span `json:"y"`
		X span `json:"x"`
	} `json:"tile"` // absolute rows and columns: row 0, column 0 is the north-west cell of the lattice
	Grid struct {
		X0 float64 `json:"x0"`
		Y0 float64 `json:"y0"`
		DX float64 `json:"dx"`
		DY float64 `json:"dy"`
	} `json:"grid"`
	Outputs map[string]struct {
		File string `json:"file"`
	} `json:"outputs"`
}

type span struct{ Lo, Hi int }

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	data, err := os.ReadFile("/cube/request.json")
	if err != nil {
		return err
	}
	var req request
	if err := json.Unmarshal(data, &req); err != nil {
		return err
	}
	var cells []float32
	for row := req.Tile.Y.Lo; row < req.Tile.Y.Hi; row++ {
		for col := req.Tile.X.Lo; col < req.Tile.X.Hi; col++ {
			x := req.Grid.X0 + (float64(col)+0.5)*req.Grid.DX
			y := req.Grid.Y0 - (float64(row)+0.5)*req.Grid.DY
			cells = append(cells, float32(elevation(x, y, req.Params.Height, req.Params.Wavelength)))
		}
	}
	return writeNPY(req.Outputs["elevation"].File, req.Tile.Y.Hi-req.Tile.Y.Lo, req.Tile.X.Hi-req.Tile.X.Lo, cells)
}

// elevation is the sum of three waves that run in different directions.
func elevation(x, y, height, wavelength float64) float64 {
	wave := func(angle, length float64) float64 {
		return math.Sin(2 * math.Pi * (x*math.Cos(angle) + y*math.Sin(angle)) / length)
	}
	sum := wave(0.3, wavelength) + 0.5*wave(1.9, wavelength/1.7) + 0.25*wave(2.6, wavelength/3.1)
	return height * (0.5 + sum/3.5)
}

// writeNPY writes a .npy file, version 1.0, of float32 in C order.
func writeNPY(file string, rows, cols int, cells []float32) error {
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, cols)
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	out := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	out = append(out, header...)
	for _, c := range cells {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(c))
	}
	return os.WriteFile(file, out, 0o644)
}
