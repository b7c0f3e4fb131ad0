package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strings"
)

// write writes a .npy file of float32.
func write(file string, rows, cols int, cells []float32) error {
	var values []byte
	for _, c := range cells {
		values = binary.LittleEndian.AppendUint32(values, math.Float32bits(c))
	}
	return os.WriteFile(file, header("<f4", rows, cols, values), 0o644)
}

// header puts the header of a .npy file before its values.
func header(dtype string, rows, cols int, values []byte) []byte {
	h := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%d, %d), }", dtype, rows, cols)
	h += strings.Repeat(" ", 63-(10+len(h))%64) + "\n"
	out := append([]byte("\x93NUMPY\x01\x00"), byte(len(h)), byte(len(h)>>8))
	return append(append(out, h...), values...)
}

// read reads the values of a .npy file of float32.
func read(file string) []float32 {
	data, err := os.ReadFile(file)
	check(err)
	data = data[10+int(binary.LittleEndian.Uint16(data[8:])):]
	cells := make([]float32, len(data)/4)
	for i := range cells {
		cells[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return cells
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
