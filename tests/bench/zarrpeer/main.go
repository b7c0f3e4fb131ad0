// Command zarrpeer does what tests/bench/zarr_peers.py asks for with package
// cube/zarr, and says how long it took.
//
// Each line of standard input is a JSON request, and each line of standard
// output the answer to it: the seconds by the clock and of CPU that the work
// itself took.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/cube/zarr/codec"
)

// request is one piece of work on the array in the directory Path.
type request struct {
	Op      string // "load", "write", "read" or "windows"
	Path    string // the array's directory; for load the file of values
	Shape   []int
	Chunks  []int
	Codec   string // "zstd" or "blosc"
	Level   int
	Windows [][]int // starts of windows of the shape Size
	Size    []int
	Cache   int // bytes of decoded chunks to keep, for windows
	Threads int
}

type answer struct {
	Wall, CPU float64
	Equal     bool // what was read is what was loaded
}

// peer holds the values that writes write and reads are compared with.
type peer struct{ values []byte }

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	out := json.NewEncoder(os.Stdout)
	var p peer
	for in.Scan() {
		var r request
		err := json.Unmarshal(in.Bytes(), &r)
		var a answer
		if err == nil {
			a, err = p.do(context.Background(), r)
		}
		if err == nil {
			err = out.Encode(a)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "zarrpeer:", err)
			os.Exit(1)
		}
	}
}

func (p *peer) do(ctx context.Context, r request) (answer, error) {
	if r.Threads > 0 {
		runtime.GOMAXPROCS(r.Threads)
	}
	switch r.Op {
	case "load":
		var err error
		p.values, err = os.ReadFile(r.Path)
		return answer{}, err
	case "write":
		return timed(func() (bool, error) { return true, p.write(ctx, r) })
	}
	store, err := zarr.OpenDir(r.Path, zarr.DirConfig{})
	if err != nil {
		return answer{}, err
	}
	defer store.Close()
	a, err := zarr.OpenArray(ctx, store, "")
	if err != nil {
		return answer{}, err
	}
	if r.Cache > 0 {
		a.Cache = zarr.NewCache(r.Cache)
	}
	if r.Op == "windows" {
		return timed(func() (bool, error) { return true, windows(ctx, a, r) })
	}
	var got []byte
	result, err := timed(func() (bool, error) {
		if got, err = allocate(len(p.values)); err != nil {
			return false, err
		}
		return true, a.ReadRegion(ctx, make([]int, len(r.Shape)), r.Shape, got)
	})
	result.Equal = bytes.Equal(got, p.values)
	return result, errors.Join(err, unix.Munmap(got))
}

// allocate returns fresh memory in huge pages, as numpy has its arrays.
func allocate(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	return b, unix.Madvise(b, unix.MADV_HUGEPAGE)
}

func (p *peer) write(ctx context.Context, r request) error {
	if err := os.MkdirAll(r.Path, 0o755); err != nil {
		return err
	}
	store, err := zarr.OpenDir(r.Path, zarr.DirConfig{})
	if err != nil {
		return err
	}
	defer store.Close()
	specs := []codec.Spec{codec.Little(), codec.Zstd(r.Level)}
	if r.Codec == "blosc" {
		specs[1] = codec.Blosc("zstd", r.Level, 4)
	}
	a, err := zarr.CreateArray(ctx, store, "", &zarr.ArrayMeta{Shape: r.Shape, ChunkShape: r.Chunks, DataType: zarr.Float32, Codecs: specs})
	if err != nil {
		return err
	}
	return a.WriteRegion(ctx, make([]int, len(r.Shape)), r.Shape, p.values)
}

func windows(ctx context.Context, a *zarr.Array, r request) error {
	n := a.Meta().DataType.Size()
	for _, side := range r.Size {
		n *= side
	}
	window := make([]byte, n)
	for _, start := range r.Windows {
		if err := a.ReadRegion(ctx, start, r.Size, window); err != nil {
			return err
		}
	}
	return nil
}

func timed(work func() (bool, error)) (answer, error) {
	cpu, wall := cpuSeconds(), time.Now()
	equal, err := work()
	return answer{Wall: time.Since(wall).Seconds(), CPU: cpuSeconds() - cpu, Equal: equal}, err
}

// cpuSeconds is the CPU time of the whole process.
func cpuSeconds() float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
