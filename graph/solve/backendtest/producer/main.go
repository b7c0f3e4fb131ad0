// Command producer is what the suite of backends runs: it does what the param
// "do" says, "n" times or so much of it. Where it is to serve, it does so for one
// request after the other. /trouble.json of its image, which no key knows, says
// which tiles come to a bad end, and how.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
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
	if os.Getenv("CUBE_SERVE") == "" {
		if err := run(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	answers := os.NewFile(3, "answers")
	requests := bufio.NewScanner(os.Stdin)
	for turn := 1; requests.Scan(); turn++ {
		fmt.Println("turn", turn)
		code := 0
		if err := run(); err != nil {
			fmt.Println(err)
			code = 1
			if e, ok := errors.AsType[exit](err); ok {
				code = int(e)
			}
		}
		clear(files)
		fmt.Fprintln(answers, code)
	}
}

// exit is an error that says with which code to end.
type exit int

func (e exit) Error() string { return fmt.Sprint("exit ", int(e)) }

// run does what the request says.
func run() error {
	text, err := os.ReadFile("/cube/request.json")
	if err != nil {
		return err
	}
	var r request
	if err := json.Unmarshal(text, &r); err != nil {
		return err
	}
	if err := r.trouble(); err != nil {
		return err
	}
	return r.do()
}

// trouble has the tile come to the end that is foreseen for it.
func (r request) trouble() error {
	text, err := os.ReadFile("/trouble.json")
	if err != nil {
		return nil
	}
	var foreseen map[string]string
	if err := json.Unmarshal(text, &foreseen); err != nil {
		return err
	}
	for role, out := range r.Outputs {
		if out.Box == nil {
			continue
		}
		how := foreseen[fmt.Sprint(role, " ", out.Box.Y.Lo, " ", out.Box.X.Lo)]
		switch how {
		case "":
			continue
		case "killed":
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case "gone":
			os.Exit(0)
		case "stray":
			os.WriteFile(filepath.Join(out.Path, "stray"), []byte(how), 0o600)
			os.WriteFile("/cube/scratch/stray", []byte(how), 0o600)
			return nil
		}
		code, err := strconv.Atoi(how)
		if err != nil {
			return err
		}
		if os.Getenv("CUBE_SERVE") == "" {
			os.Exit(code)
		}
		return exit(code)
	}
	return nil
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
