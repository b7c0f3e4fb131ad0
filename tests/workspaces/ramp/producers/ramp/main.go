// Ramp makes a field out of cell indices, and misbehaves where it is told to.
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"
)

type request struct {
	Tile struct {
		Y, X struct{ Lo, Hi int }
	}
	Params struct {
		Add                       float64
		Milliseconds, Fail, Shape int
		Stray                     string
	}
	Outputs map[string]struct{ File string }
}

func main() {
	data, err := os.ReadFile("/cube/request.json")
	check(err)
	var r request
	check(json.Unmarshal(data, &r))
	time.Sleep(time.Duration(r.Params.Milliseconds) * time.Millisecond)
	if r.Params.Fail != 0 {
		fmt.Fprintln(os.Stderr, "told to fail")
		os.Exit(r.Params.Fail)
	}
	file := r.Outputs["ramp"].File
	var values []byte
	for row := r.Tile.Y.Lo; row < r.Tile.Y.Hi; row++ {
		for col := r.Tile.X.Lo; col < r.Tile.X.Hi-r.Params.Shape; col++ {
			v := float32((row*row*31+col*col*17)%1009) + float32(r.Params.Add)
			values = binary.LittleEndian.AppendUint32(values, math.Float32bits(v))
		}
	}
	check(write(file, r.Tile.Y.Hi-r.Tile.Y.Lo, r.Tile.X.Hi-r.Tile.X.Lo-r.Params.Shape, values))
	if r.Params.Stray != "" {
		check(os.WriteFile(filepath.Join(filepath.Dir(file), r.Params.Stray), []byte("stray"), 0o644))
	}
}

func write(file string, ny, nx int, values []byte) error {
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", ny, nx)
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	out := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	return os.WriteFile(file, append(append(out, header...), values...), 0o644)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
