// Command producer is what the suite of backends runs: it does what the param
// "do" says, "n" times or so much of it.
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// request is what it reads of /cube/request.json.
type request struct {
	Params struct {
		Do string
		N  int
	}
	Inputs map[string]struct {
		File   string
		Window box
	}
	Outputs map[string]struct {
		Path, File string
		Box        *box
	}
}

type box struct{ Y, X struct{ Lo, Hi int } }

func (b box) width() int { return b.X.Hi - b.X.Lo }

func main() {
	text, err := os.ReadFile("/cube/request.json")
	var r request
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err == nil {
		err = r.do()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func (r request) do() error {
	n := r.Params.N
	switch r.Params.Do {
	case "exit":
		os.Exit(n)
	case "signal":
		syscall.Kill(os.Getpid(), syscall.Signal(n))
		time.Sleep(time.Minute)
	case "wait":
		fmt.Println("ready")
		time.Sleep(time.Duration(n) * time.Millisecond)
	case "eat":
		return eat(n)
	case "fill":
		return os.WriteFile("/cube/scratch/x", make([]byte, n<<20), 0o644)
	case "nothing":
		return nil
	case "print":
		for i := range n {
			fmt.Printf("line %d\n", i)
		}
	case "copy":
		return r.copy()
	}
	return r.compute()
}

// eat takes n MiB of memory and touches them.
func eat(n int) error {
	var all [][]byte
	for range n {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
	fmt.Println(len(all))
	return nil
}

// copy writes the one input out as it is.
func (r request) copy() error {
	for _, in := range r.Inputs {
		b, err := os.ReadFile(in.File)
		if err != nil {
			return err
		}
		for _, out := range r.Outputs {
			return os.WriteFile(out.File, b, 0o644)
		}
	}
	return nil
}

// compute writes every output: a cell is made of its place and of the input's
// cell and the one above it.
func (r request) compute() error {
	for role, out := range r.Outputs {
		if out.Box == nil {
			if err := os.WriteFile(filepath.Join(out.Path, "data.txt"), []byte("a file of "+role+"\n"), 0o644); err != nil {
				return err
			}
			continue
		}
		var values []byte
		for y := out.Box.Y.Lo; y < out.Box.Y.Hi; y++ {
			for x := out.Box.X.Lo; x < out.Box.X.Hi; x++ {
				v := float32(y*7 + x*3)
				for _, in := range r.Inputs {
					above, err := cells(in.File, in.Window, y-1, x)
					if err != nil {
						return err
					}
					own, err := cells(in.File, in.Window, y, x)
					if err != nil {
						return err
					}
					v = own + above + 1
				}
				values = binary.LittleEndian.AppendUint32(values, math.Float32bits(v))
			}
		}
		head := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", out.Box.Y.Hi-out.Box.Y.Lo, out.Box.width())
		head += strings.Repeat(" ", 63-(10+len(head))%64) + "\n"
		npy := append([]byte("\x93NUMPY\x01\x00"), byte(len(head)), byte(len(head)>>8))
		if err := os.WriteFile(out.File, append(append(npy, head...), values...), 0o644); err != nil {
			return err
		}
	}
	return nil
}

var files = map[string][]byte{}

// cells reads one cell of a window, 0 where it lies outside.
func cells(file string, w box, y, x int) (float32, error) {
	if y < w.Y.Lo || y >= w.Y.Hi || x < w.X.Lo || x >= w.X.Hi {
		return 0, nil
	}
	if files[file] == nil {
		b, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		files[file] = b[10+int(b[8])+int(b[9])<<8:]
	}
	at := 4 * ((y-w.Y.Lo)*w.width() + x - w.X.Lo)
	return math.Float32frombits(binary.LittleEndian.Uint32(files[file][at:])), nil
}
