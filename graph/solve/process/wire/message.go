//go:build linux

package wire

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/cubebuild/cube/containers"
	"golang.org/x/sys/unix"
)

// Setup tells a worker how to work.
type Setup struct {
	Version int
	State   string // of its sandboxes, which workers share
	Stage   string // the directory for what is too large for memory
	Memory  int64  // as in containers.StagingConfig
	Disk    int64
	Spares  int // as in native.Config
}

// Hello is a worker's first word.
type Hello struct {
	Version int
	Error   string `json:",omitempty"` // why it cannot work
}

// Action is containers.Action without what goes beside it.
type Action = containers.Action

// Done is the result of an action without what goes beside it.
type Done struct {
	Outputs    []Output
	Usage      containers.Usage
	Unenforced []string `json:",omitempty"`
}

// Output is one output; its blob has the same index.
type Output struct {
	Role string
	Name string `json:",omitempty"` // of a file
	File bool   `json:",omitempty"`
}

// Fault says why an action could not be run.
type Fault struct {
	Text string
	Spec bool `json:",omitempty"` // containers.ErrSpec is in its chain
}

// Say makes a frame with a body.
func Say(kind Kind, action uint64, body any, blobs ...Blob) (Frame, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return Frame{}, fmt.Errorf("encode %c: %w", kind, err)
	}
	return Frame{kind, action, b, blobs}, nil
}

// Hear reads a frame's body.
func Hear[T any](f Frame) (v T, err error) {
	if err := json.Unmarshal(f.Body, &v); err != nil {
		return v, fmt.Errorf("%w: %c: %v", ErrFrame, f.Kind, err)
	}
	return v, nil
}

// SayAction makes the frame that has an action run. It does not copy. Log stays
// here, and an action with a Network is refused: what answers that is a function
// of the engine's.
func SayAction(number uint64, a containers.Action) (Frame, error) {
	if a.Network != nil {
		return Frame{}, fmt.Errorf("action %s: no worker can reach what answers it in place of the network", a.Name)
	}
	a.Log, a.Inputs = nil, slices.Clone(a.Inputs)
	var blobs []Blob
	for i, in := range a.Inputs {
		blobs = append(blobs, Blob{Bytes: in.Values})
		a.Inputs[i].Values = nil
	}
	return Say(Run, number, a, blobs...)
}

// HearAction reads the frame that has an action run. What the action refers to
// is there until release is called.
func HearAction(f Frame) (a containers.Action, release func(), err error) {
	if a, err = Hear[containers.Action](f); err != nil {
		return a, nil, err
	}
	if len(f.Blobs) != len(a.Inputs) {
		return a, nil, ErrFrame
	}
	var maps [][]byte
	release = func() {
		for _, m := range maps {
			unix.Munmap(m)
		}
	}
	for i, b := range f.Blobs {
		values := b.Bytes
		if b.File != nil {
			if values, err = mapped(b.File); err != nil {
				release()
				return a, nil, err
			}
			maps = append(maps, values)
		}
		a.Inputs[i].Values = values
	}
	return a, release, nil
}

// mapped is what a file holds, without a copy.
func mapped(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map values: %w", err)
	}
	return b, nil
}

// whole reads what a file holds.
func whole(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, info.Size())
	_, err = io.ReadFull(io.NewSectionReader(f, 0, info.Size()), b)
	return b, err
}

// SayResult makes the frame of a result. It does not copy; the result stays the
// caller's.
func SayResult(number uint64, r *containers.Result) (Frame, error) {
	d := Done{Usage: r.Usage, Unenforced: r.Unenforced}
	var blobs []Blob
	for _, role := range slices.Sorted(maps.Keys(r.Outputs)) {
		o := r.Outputs[role]
		d.Outputs = append(d.Outputs, Output{role, o.Name, o.File != nil})
		blobs = append(blobs, Blob{o.Values, o.File})
	}
	return Say(Ended, number, d, blobs...)
}

// HearResult reads the frame of a result, which takes its files.
func HearResult(f Frame) (*containers.Result, error) {
	d, err := Hear[Done](f)
	if err == nil && len(d.Outputs) != len(f.Blobs) {
		err = ErrFrame
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	r := &containers.Result{Outputs: map[string]containers.Output{}, Usage: d.Usage, Unenforced: d.Unenforced}
	for i, o := range d.Outputs {
		out := containers.Output{Name: o.Name}
		switch b := f.Blobs[i]; {
		case o.File:
			out.File = b.File
		case b.File != nil:
			out.Values, err = whole(b.File)
			b.File.Close()
		default:
			out.Values = b.Bytes
		}
		if o.File && out.File == nil || err != nil {
			f.Close()
			return nil, fmt.Errorf("output %s: %w", o.Role, ErrFrame)
		}
		r.Outputs[o.Role] = out
	}
	return r, nil
}
