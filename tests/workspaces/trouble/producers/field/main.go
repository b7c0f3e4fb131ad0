// Field makes a field of cell numbers, after it has failed as its param "do"
// tells it to. Run with arguments it is what a shell would be: see talk.go.
package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

type request struct {
	Params struct {
		Do     string
		Column int64
	}
	Tile struct {
		X struct{ Lo, Hi int64 }
	}
	Outputs map[string]struct {
		File  string
		Shape []int
		Box   struct{ X struct{ Lo, Hi int64 } }
	}
}

func main() {
	if len(os.Args) > 1 {
		talk(os.Args[1:])
		return
	}
	data, err := os.ReadFile("/cube/request.json")
	check(err)
	var r request
	check(json.Unmarshal(data, &r))
	out := r.Outputs["field"]
	if c := r.Params.Column; c < 0 || c >= out.Box.X.Lo && c < out.Box.X.Hi {
		misbehave(r.Params.Do)
	}
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", out.Shape[0], out.Shape[1])
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	array := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	array = append(array, header...)
	for i := range out.Shape[0] * out.Shape[1] {
		array = binary.LittleEndian.AppendUint32(array, math.Float32bits(float32(i)+shift))
	}
	check(os.WriteFile(out.File, array, 0o644))
}

var shift float32

func misbehave(do string) {
	what, arg, _ := strings.Cut(do, ":")
	n := 0
	fmt.Sscan(arg, &n)
	switch what {
	case "ok":
	case "exit": // with a code
		fmt.Printf("told to exit with %d\n", n)
		os.Exit(n)
	case "flaky": // asks for another attempt so many times
		again(n)
	case "steps": // so many, and then nothing, unless its checkpoint has them already
		steps(n)
	case "shift": // every value
		shift = 1
	case "hold": // something for so many milliseconds
		from := time.Now()
		time.Sleep(time.Duration(n) * time.Millisecond)
		fmt.Printf("held %d %d\n", from.UnixNano(), time.Now().UnixNano())
	case "hang":
		fmt.Println("told to hang")
		time.Sleep(time.Hour)
	case "eat": // so many MiB
		fmt.Printf("told to eat %d MiB\n", n)
		eat(n)
	case "signal":
		fmt.Printf("told to die of signal %d\n", n)
		check(syscall.Kill(os.Getpid(), syscall.Signal(n)))
		time.Sleep(time.Minute)
	case "fork": // without end
		fork()
	case "fill": // the scratch, or the checkpoint
		fill(arg)
	default:
		check(fmt.Errorf("told to do %q", do))
	}
}

// again counts its attempts in the checkpoint, which is empty at first.
func again(n int) {
	const state = "/cube/checkpoint/attempts"
	b, err := os.ReadFile(state)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		check(err)
	}
	fmt.Printf("attempt %d\n", len(b)+1)
	if len(b) < n {
		check(os.WriteFile(state, append(b, 'x'), 0o644))
		os.Exit(75)
	}
}

// steps leaves a file in the checkpoint for each step. Begun anew it waits for
// somebody to end it; begun with the steps behind it, it goes on.
func steps(n int) {
	const dir = "/cube/checkpoint"
	entries, err := os.ReadDir(dir)
	check(err)
	fmt.Printf("goes on after step %d\n", len(entries))
	if len(entries) == n {
		return
	}
	for i := len(entries); i < n; i++ {
		check(os.WriteFile(filepath.Join(dir, fmt.Sprint("step", i+1)), nil, 0o644))
	}
	time.Sleep(time.Hour)
}

func eat(n int) {
	var all [][]byte
	for range n {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
	fmt.Printf("ate %d MiB\n", len(all))
}

// fork makes processes until it may make no more.
func fork() {
	for n := 0; ; n++ {
		c := exec.Command("/proc/self/exe", "wait")
		if err := c.Start(); err != nil {
			fmt.Printf("no more than %t: %v\n", n < 64, err)
			os.Exit(4)
		}
	}
}

// fill writes to a folder below /cube without end.
func fill(dir string) {
	b := make([]byte, 1<<20)
	f, err := os.Create(filepath.Join("/cube", dir, "full"))
	check(err)
	for {
		if _, err := f.Write(b); err != nil {
			check(err)
		}
		check(f.Sync())
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
