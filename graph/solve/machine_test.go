package solve

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"strings"
	"sync"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// ident is everything that a container would be given, as the container sees
// it, but for the seed, which follows from the key; and the salt of a bump. It is
// the test's own idea of what an action is.
type ident [sha256.Size]byte

// machine is a backend that computes in this process, as a function of what it
// is given and of nothing else.
type machine struct {
	mu     sync.Mutex
	ran    map[ident]int // that came to a result or to a bad input, how often
	what   map[ident]deed
	before func() error
	fails  func(ident) bool              // for a reason that may pass
	bad    func(ident) bool              // for good
	check  func(containers.Action) error // what is wrong with what it is given
	salts  map[string]int                // by instance
}

// deed is what an action was, for people and for whoever invalidates it.
type deed struct {
	instance string
	tile     grid.Box
	request  string
}

func (d deed) String() string { return d.instance + " " + d.request }

func (m *machine) Run(ctx context.Context, a containers.Action) (*containers.Result, error) {
	id, err := identify(a, m.salts[instanceOf(a)])
	if err != nil {
		return nil, err
	}
	if m.check != nil {
		if err := m.check(a); err != nil {
			return nil, err
		}
	}
	if m.before != nil {
		if err := m.before(); err != nil {
			return nil, err
		}
	}
	if m.fails != nil && m.fails(id) {
		return nil, &containers.Failure{Kind: containers.FailedExit, Code: 1, Detail: "exited with code 1"}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	m.mu.Lock()
	if m.ran == nil {
		m.ran, m.what = map[ident]int{}, map[ident]deed{}
	}
	m.ran[id]++
	m.what[id] = deed{instanceOf(a), boxOf(a), string(a.Request)}
	m.mu.Unlock()
	if m.bad != nil && m.bad(id) {
		return nil, &containers.Failure{Kind: containers.FailedBadInput, Code: containers.ExitBadInput, Detail: "its input is bad"}
	}
	r := &containers.Result{Outputs: map[string]containers.Output{}}
	for role, o := range a.Outputs {
		if r.Outputs[role], err = compute(a, id, role, o); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

// boxOf is the tile of an action; nothing where it computes all there is.
func boxOf(a containers.Action) grid.Box {
	var r graph.Request
	if err := json.Unmarshal(a.Request, &r); err != nil {
		panic(err)
	}
	if r.Tile == nil {
		return grid.Box{}
	}
	return *r.Tile
}

// instanceOf is the instance whose action it is.
func instanceOf(a containers.Action) string { return a.Name[:strings.LastIndexByte(a.Name, '-')] }

var seedOf = regexp.MustCompile(`"seed":[0-9]+,`)

func identify(a containers.Action, salt int) (id ident, err error) {
	h := sha256.New()
	part := func(b []byte) { fmt.Fprintf(h, "%d:%s", len(b), b) }
	image, err := json.Marshal(a.Image)
	part(image)
	part(seedOf.ReplaceAll(a.Request, nil))
	part(fmt.Append(nil, a.CPUs, salt))
	for _, in := range a.Inputs {
		part([]byte(in.Role))
		part(in.Values)
		if in.File != "" {
			b, readErr := os.ReadFile(in.File)
			err = errors.Join(err, readErr)
			part(b)
		}
	}
	for _, s := range a.Sources {
		part([]byte(s.Target))
		b, readErr := os.ReadFile(s.Path)
		err = errors.Join(err, readErr)
		part(b)
	}
	h.Sum(id[:0])
	return id, err
}

// compute makes one output.
func compute(a containers.Action, id ident, role string, o graph.RequestOutput) (containers.Output, error) {
	if o.Kind == graph.File {
		f, err := scratch(fmt.Append(nil, a.Image.Command[0], params(a), inputsSum(a)))
		return containers.Output{File: f, Name: "data.txt"}, err
	}
	times := o.Box.T
	if o.Kind != graph.Time {
		times = grid.Range{Hi: 1}
	}
	levels := int64(1)
	for _, d := range o.Further {
		levels *= d.Size
	}
	var values []byte
	for t := times.Lo; t < times.Hi; t++ {
		for k := range levels {
			for y := o.Box.Y.Lo; y < o.Box.Y.Hi; y++ {
				for x := o.Box.X.Lo; x < o.Box.X.Hi; x++ {
					values = appendValue(values, o.DType, cellOf(a, id, role, o, t, k, y, x))
				}
			}
		}
	}
	return containers.Output{Values: values}, nil
}

// cellOf is one value: a small whole number, or none.
func cellOf(a containers.Action, id ident, role string, o graph.RequestOutput, t, k, y, x int64) float64 {
	var p struct{ Edition, Spot int64 }
	if err := json.Unmarshal(params(a), &p); err != nil {
		panic(err)
	}
	switch a.Image.Command[0] {
	case "base": // the edition shows in a part of the grid alone
		v := 7*y + 3*x + t + k
		if abs(y-p.Spot) < 3 && abs(x-p.Spot) < 3 {
			v += p.Edition
		}
		return float64(v % 11)
	case "mix": // everything that there is to know
		return float64((int64(id[(y*5+x*3+t+k)&31]) + y + x) % 19)
	case "near": // the neighbourhood of the cell, coarsely
		return math.Floor(near(a, t, y, x)/4) + float64(p.Edition%2)
	case "local":
		return local(a, role, o.Kind == graph.Time, t, y, x) + float64(p.Edition%2)
	}
	return math.NaN() // dull: nothing
}

func abs(v int64) int64 { return max(v, -v) }

func params(a containers.Action) json.RawMessage {
	var r graph.Request
	if err := json.Unmarshal(a.Request, &r); err != nil {
		panic(err)
	}
	return r.Params
}

func inputsSum(a containers.Action) (sum int64) {
	for _, in := range a.Inputs {
		for i, b := range in.Values {
			sum += int64(b) * int64(i%7)
		}
	}
	return sum / 16
}

// near sums what the inputs have about a cell, by its index where they are on
// its own lattice, and by that modulo their size where not.
func near(a containers.Action, t, y, x int64) (sum float64) {
	for _, in := range a.Inputs {
		if in.Spec.Kind == graph.File {
			continue
		}
		b := in.Box
		rows, cols := b.Y.Len(), b.X.Len()
		for d := int64(-1); d <= 1; d++ {
			r, c := y+d-b.Y.Lo, x-d-b.X.Lo
			plane := int64(0)
			if in.Spec.Kind == graph.Time {
				plane = max(0, min(b.T.Len()-1, t+d-b.T.Lo))
				for _, dim := range in.Spec.Dims {
					plane *= dim.Size
				}
			}
			i := (plane*rows+(r%rows+rows)%rows)*cols + (c%cols+cols)%cols
			if v := valueAt(in.Values, in.Spec.DType, i); v == v {
				sum += v
			}
		}
	}
	return sum
}

func valueAt(b []byte, d graph.DType, i int64) float64 {
	switch d {
	case graph.Int16:
		return float64(int16(binary.LittleEndian.Uint16(b[2*i:])))
	case graph.Float64:
		return math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
}

func appendValue(b []byte, d graph.DType, v float64) []byte {
	switch d {
	case graph.Int16:
		if v != v {
			v = 3 // the fill, where there is one
		}
		return binary.LittleEndian.AppendUint16(b, uint16(int16(v)))
	case graph.Float64:
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
}
