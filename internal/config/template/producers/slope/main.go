// Slope computes the steepness of the ground, in degrees, from elevation.
package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// request is what this producer reads of /cube/request.json.
type request struct {
	Params struct {
		Exaggerate float64 `json:"exaggerate"`
	} `json:"params"`
	Tile box `json:"tile"`
	Grid struct {
		DX float64 `json:"dx"`
		DY float64 `json:"dy"`
	} `json:"grid"`
	Inputs map[string]struct {
		File   string `json:"file"`
		Window box    `json:"window"` // the tile and its halo, as far as the domain reaches
	} `json:"inputs"`
	Outputs map[string]struct {
		File string `json:"file"`
	} `json:"outputs"`
}

// box is a block of cells by absolute row and column, half open.
type box struct {
	Y span `json:"y"`
	X span `json:"x"`
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
	in := req.Inputs["elevation"]
	cells, err := readNPY(in.File)
	if err != nil {
		return fmt.Errorf("%s: %w", in.File, err)
	}
	w := window{in.Window, cells}
	if len(cells) != (w.Y.Hi-w.Y.Lo)*(w.X.Hi-w.X.Lo) {
		return fmt.Errorf("%s: %d cells do not fill its window", in.File, len(cells))
	}
	var out []float32
	for row := req.Tile.Y.Lo; row < req.Tile.Y.Hi; row++ {
		for col := req.Tile.X.Lo; col < req.Tile.X.Hi; col++ {
			out = append(out, w.slope(row, col, req.Grid.DX, req.Grid.DY, req.Params.Exaggerate))
		}
	}
	return writeNPY(req.Outputs["slope"].File, req.Tile.Y.Hi-req.Tile.Y.Lo, req.Tile.X.Hi-req.Tile.X.Lo, out)
}

// window is a block of elevation, row by row.
type window struct {
	box
	cells []float32
}

// at returns a cell; beyond the domain's edge there is none, which is NaN.
func (w *window) at(row, col int) float64 {
	if row < w.Y.Lo || row >= w.Y.Hi || col < w.X.Lo || col >= w.X.Hi {
		return math.NaN()
	}
	return float64(w.cells[(row-w.Y.Lo)*(w.X.Hi-w.X.Lo)+col-w.X.Lo])
}

// slope is the steepness of one cell from its eight neighbours (Horn 1981).
func (w *window) slope(row, col int, dx, dy, exaggerate float64) float32 {
	side := func(r1, c1, r2, c2, r3, c3 int) float64 {
		return w.at(row+r1, col+c1) + 2*w.at(row+r2, col+c2) + w.at(row+r3, col+c3)
	}
	east := (side(-1, 1, 0, 1, 1, 1) - side(-1, -1, 0, -1, 1, -1)) / (8 * dx)
	north := (side(-1, -1, -1, 0, -1, 1) - side(1, -1, 1, 0, 1, 1)) / (8 * dy)
	return float32(math.Atan(exaggerate*math.Sqrt(east*east+north*north)) * 180 / math.Pi)
}

var shape = regexp.MustCompile(`'descr': *'<f4', *'fortran_order': *False, *'shape': *\((\d+), *(\d+)\)`)

// readNPY reads a .npy file, version 1.0, of float32 in C order.
func readNPY(file string) ([]float32, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if len(data) < 10 || string(data[:8]) != "\x93NUMPY\x01\x00" {
		return nil, errors.New("not a .npy file of version 1.0")
	}
	start := min(len(data), 10+int(binary.LittleEndian.Uint16(data[8:])))
	m := shape.FindSubmatch(data[10:start])
	if m == nil {
		return nil, fmt.Errorf("not rows and columns of float32: %s", data[10:start])
	}
	rows, _ := strconv.Atoi(string(m[1]))
	cols, _ := strconv.Atoi(string(m[2]))
	if len(data)-start != 4*rows*cols {
		return nil, fmt.Errorf("%d bytes do not hold %d x %d cells", len(data)-start, rows, cols)
	}
	cells := make([]float32, rows*cols)
	for i := range cells {
		cells[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[start+4*i:]))
	}
	return cells, nil
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
