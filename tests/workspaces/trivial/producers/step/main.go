// Step adds a number to each cell of a tile: about the least that a producer
// can do. Outside a sandbox it is told where its files are:
//
//	step REQUEST IN OUT
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
)

type request struct {
	Params          struct{ Add float32 }
	Inputs, Outputs map[string]struct{ File string }
}

func main() {
	name := "/cube/request.json"
	if len(os.Args) == 4 {
		name = os.Args[1]
	}
	data, err := os.ReadFile(name)
	check(err)
	var r request
	check(json.Unmarshal(data, &r))
	in, out := r.Inputs["base"].File, r.Outputs["step"].File
	if len(os.Args) == 4 {
		in, out = os.Args[2], os.Args[3]
	}
	array, err := os.ReadFile(in)
	check(err)
	cells := array[10+int(binary.LittleEndian.Uint16(array[8:])):]
	for ; len(cells) >= 4; cells = cells[4:] {
		v := math.Float32frombits(binary.LittleEndian.Uint32(cells))
		binary.LittleEndian.PutUint32(cells, math.Float32bits(v+r.Params.Add))
	}
	check(os.WriteFile(out, array, 0o644))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
