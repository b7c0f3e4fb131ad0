// Keeper makes a field out of cell indices, and of how many tiles it has served
// before, which is nobody's business.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
)

type request struct {
	Tile    struct{ Y, X struct{ Lo, Hi int } }
	Outputs map[string]struct{ File string }
}

func main() {
	answers := os.NewFile(3, "answers")
	requests := bufio.NewScanner(os.Stdin)
	for served := 0; requests.Scan(); served++ {
		code := 0
		if err := tile(float32(served) / 4); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		fmt.Fprintln(answers, code)
	}
}

func tile(kept float32) error {
	data, err := os.ReadFile("/cube/request.json")
	if err != nil {
		return err
	}
	var r request
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	y, x := r.Tile.Y, r.Tile.X
	var values []byte
	for row := y.Lo; row < y.Hi; row++ {
		for col := x.Lo; col < x.Hi; col++ {
			values = binary.LittleEndian.AppendUint32(values, math.Float32bits(float32(row*8+col)+kept))
		}
	}
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", y.Hi-y.Lo, x.Hi-x.Lo)
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	out := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	return os.WriteFile(r.Outputs["field"].File, append(append(out, header...), values...), 0o644)
}
