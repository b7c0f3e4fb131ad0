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

// requestFile is what a producer is told: the tile, its parameters, and where
// each input lies and each output is wanted.
const requestFile = "/cube/request.json"

// request is the part of the request that these producers read.
type request struct {
	Version int              `json:"version"`
	Params  json.RawMessage  `json:"params"`
	Tile    box              `json:"tile"`
	Grid    lattice          `json:"grid"`
	Inputs  map[string]array `json:"inputs"`
	Outputs map[string]array `json:"outputs"`
}

// lattice is where the tile lies; dx and dy are a cell's size.
type lattice struct {
	CRS  string  `json:"crs"`
	Unit string  `json:"unit"`
	DX   float64 `json:"dx"`
	DY   float64 `json:"dy"`
}

// box is a block of cells by absolute row and column, half open.
type box struct {
	Y span `json:"y"`
	X span `json:"x"`
}

type span struct {
	Lo int `json:"lo"`
	Hi int `json:"hi"`
}

func (s span) len() int { return s.Hi - s.Lo }

// array is an input's window or an output's tile, in a .npy file.
type array struct {
	File    string `json:"file"`
	DType   string `json:"dtype"`
	Window  box    `json:"window"` // of an input: the tile and its halo, as far as the domain reaches
	Clipped sides  `json:"clipped"`
}

// sides are the cells that the domain's edge took from a window's halo.
type sides struct {
	North int `json:"north"`
	South int `json:"south"`
	West  int `json:"west"`
	East  int `json:"east"`
}

// errInput marks what no second attempt would mend; the exit code is then 65.
var errInput = errors.New("bad input")

// produce runs one request. compute gets the window of the role in and returns
// the values of the tile, row by row, which become the role out.
func produce[T float32 | uint8](in, out string, compute func(*request, *window) ([]T, error)) {
	err := func() error {
		req, err := readRequest()
		if err != nil {
			return err
		}
		w, err := readWindow(req, in)
		if err != nil {
			return err
		}
		values, err := compute(req, w)
		if err != nil {
			return err
		}
		return writeArray(req.Outputs[out].File, []int{req.Tile.Y.len(), req.Tile.X.len()}, values)
	}()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, err)
	if errors.Is(err, errInput) {
		os.Exit(65)
	}
	os.Exit(1)
}

func readRequest() (*request, error) {
	data, err := os.ReadFile(requestFile)
	if err != nil {
		return nil, err
	}
	req := new(request)
	if err := json.Unmarshal(data, req); err != nil {
		return nil, fmt.Errorf("%s: %w", requestFile, err)
	}
	if req.Version != 1 {
		return nil, fmt.Errorf("%s: version %d: this producer speaks 1", requestFile, req.Version)
	}
	return req, nil
}

// npyHeader is the header of a .npy file of float32 in C order.
var npyHeader = regexp.MustCompile(`'descr': *'<f4', *'fortran_order': *False, *'shape': *\((\d+), *(\d+)\)`)

// readWindow reads the window of an input of float32, whose nodata is NaN.
func readWindow(req *request, role string) (*window, error) {
	in, ok := req.Inputs[role]
	if !ok {
		return nil, fmt.Errorf("the request has no input %s", role)
	}
	data, err := os.ReadFile(in.File)
	if err != nil {
		return nil, err
	}
	ny, nx, values, err := parseArray(data)
	if err == nil && (ny != in.Window.Y.len() || nx != in.Window.X.len()) {
		err = fmt.Errorf("it is %d x %d and should be %d x %d", ny, nx, in.Window.Y.len(), in.Window.X.len())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", in.File, err)
	}
	return &window{cells: values, box: in.Window, tile: req.Tile, clipped: in.Clipped, dx: req.Grid.DX, dy: req.Grid.DY}, nil
}

func parseArray(data []byte) (ny, nx int, values []float32, err error) {
	const preamble = "\x93NUMPY\x01\x00"
	if len(data) < 10 || string(data[:8]) != preamble {
		return 0, 0, nil, errors.New("not a .npy file of version 1.0")
	}
	start := 10 + int(binary.LittleEndian.Uint16(data[8:]))
	if start > len(data) {
		return 0, 0, nil, errors.New("truncated in its header")
	}
	m := npyHeader.FindSubmatch(data[10:start])
	if m == nil {
		return 0, 0, nil, fmt.Errorf("not a float32 array of two dimensions: %s", data[10:start])
	}
	ny, _ = strconv.Atoi(string(m[1]))
	nx, _ = strconv.Atoi(string(m[2]))
	if len(data)-start != 4*ny*nx {
		return 0, 0, nil, fmt.Errorf("%d bytes of values for %d x %d cells", len(data)-start, ny, nx)
	}
	values = make([]float32, ny*nx)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[start+4*i:]))
	}
	return ny, nx, values, nil
}

// writeArray writes a .npy file of version 1.0, little-endian, in C order.
func writeArray[T float32 | uint8](file string, shape []int, values []T) error {
	descr := map[int]string{1: "|u1", 4: "<f4"}[binary.Size(values[:1])]
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%d, %d), }", descr, shape[0], shape[1])
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n" // so that the values start at a multiple of 64
	out := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	out = append(out, header...)
	out, err := binary.Append(out, binary.LittleEndian, values)
	if err != nil {
		return err
	}
	return os.WriteFile(file, out, 0o644)
}
