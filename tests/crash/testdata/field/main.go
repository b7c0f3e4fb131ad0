// Field makes fields that do not compress: out of a source and the indices of
// each cell, out of another field, out of the parts of an indexed source that it
// sees, or, where a file is asked for, a sum.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc64"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"
)

type span struct{ Lo, Hi int }

func (s span) len() int { return s.Hi - s.Lo }

type box struct{ Y, X span }

type request struct {
	Operation string
	Tile      box
	Grid      struct{ DX, DY, X0, Y0 float64 }
	Params    struct {
		Add          float64
		Milliseconds int
		Print        int
		Fail         bool // the tile of the first cell
		Again        int  // attempts that are asked for
	}
	Inputs map[string]struct {
		File   string
		Window box
	}
	Sources map[string]struct {
		File  string
		Parts []string
	}
	Outputs map[string]struct{ Path, File, Kind string }
}

func main() {
	answers := os.NewFile(3, "answers")
	if _, err := answers.Stat(); err == nil {
		serve(answers)
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve makes the tiles of a batch, one after the other.
func serve(answers *os.File) {
	for requests := bufio.NewScanner(os.Stdin); requests.Scan(); {
		code := 0
		if err := run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		fmt.Fprintln(answers, code)
	}
}

func run() error {
	data, err := os.ReadFile("/cube/request.json")
	if err != nil {
		return err
	}
	var r request
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	fmt.Print(strings.Repeat("x", r.Params.Print))
	time.Sleep(time.Duration(r.Params.Milliseconds) * time.Millisecond)
	if r.Operation == "index" {
		return r.index()
	}
	if err := r.attempt(); err != nil {
		return err
	}
	in, err := r.input()
	if err != nil {
		return err
	}
	for _, out := range r.Outputs {
		if out.Kind == "file" {
			return os.WriteFile(filepath.Join(out.Path, "total.json"), in.total(), 0o644)
		}
		cells := r.cells(in)
		if in.marks != nil {
			cells = r.marked(in.marks)
		}
		return write(out.File, r.Tile.Y.len(), r.Tile.X.len(), cells)
	}
	return nil
}

// input is what the field is made of.
type input struct {
	box
	cells []float32 // nil: made of seed
	seed  uint64
	marks []mark // nil: there is no indexed source
}

func (r *request) input() (*input, error) {
	for _, in := range r.Inputs {
		data, err := os.ReadFile(in.File)
		if err != nil {
			return nil, err
		}
		body := data[10+int(binary.LittleEndian.Uint16(data[8:])):]
		cells := make([]float32, len(body)/4)
		for i := range cells {
			cells[i] = math.Float32frombits(binary.LittleEndian.Uint32(body[4*i:]))
		}
		return &input{box: in.Window, cells: cells}, nil
	}
	seed := uint64(1)
	for _, s := range r.Sources {
		if s.Parts != nil {
			marks, err := readMarks(s.Parts...)
			return &input{marks: marks}, err
		}
		data, err := os.ReadFile(s.File)
		if err != nil {
			return nil, err
		}
		seed = crc64.Checksum(data, crc64.MakeTable(crc64.ECMA))
	}
	return &input{seed: seed}, nil
}

func (r *request) cells(in *input) []byte {
	var out []byte
	for row := r.Tile.Y.Lo; row < r.Tile.Y.Hi; row++ {
		for col := r.Tile.X.Lo; col < r.Tile.X.Hi; col++ {
			v := in.at(row, col) + float32(r.Params.Add)
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
		}
	}
	return out
}

// at is a number that only the seed and the cell decide, or the mean of a cell
// and its neighbours, as far as there are any.
func (in *input) at(row, col int) float32 {
	if in.cells == nil {
		h := in.seed ^ uint64(row)<<32 ^ uint64(col)
		for _, m := range []uint64{0xbf58476d1ce4e5b9, 0x94d049bb133111eb} {
			h = (h ^ h>>29) * m
		}
		return float32(h>>40) / (1 << 24)
	}
	sum, n := 0.0, 0.0
	for y := max(row-1, in.Y.Lo); y < min(row+2, in.Y.Hi); y++ {
		for x := max(col-1, in.X.Lo); x < min(col+2, in.X.Hi); x++ {
			sum += float64(in.cells[(y-in.Y.Lo)*in.X.len()+x-in.X.Lo])
			n++
		}
	}
	return float32(sum / n)
}

func (in *input) total() []byte {
	sum := 0.0
	for _, c := range in.cells {
		sum += float64(c)
	}
	return fmt.Appendf(nil, "{\"cells\": %d, \"sum\": %v}\n", len(in.cells), sum)
}

func write(file string, ny, nx int, values []byte) error {
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", ny, nx)
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	out := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	return os.WriteFile(file, append(append(out, header...), values...), 0o644)
}
