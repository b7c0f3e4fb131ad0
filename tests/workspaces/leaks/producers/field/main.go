// Field makes a field out of cell indices, and lets something into it that no
// request holds where it is told to.
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

type request struct {
	Tile struct {
		Y, X struct{ Lo, Hi int }
	}
	Params struct {
		Leak               string
		Milliseconds, Fail int
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
	y, x := r.Tile.Y, r.Tile.X
	var values []byte
	for row := y.Lo; row < y.Hi; row++ {
		for col := x.Lo; col < x.Hi; col++ {
			values = binary.LittleEndian.AppendUint32(values, math.Float32bits(cell(r.Params.Leak, row, col)))
		}
	}
	check(write(r.Outputs["field"].File, y.Hi-y.Lo, x.Hi-x.Lo, values))
}

func cell(leak string, row, col int) float32 {
	v := float32(row*8 + col)
	switch {
	case leak == "clock" && row == 5 && col == 6:
		return v + float32(time.Now().UnixNano()%1e9)/1e9
	case leak == "random":
		return v + rand.Float32()
	}
	return v
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
