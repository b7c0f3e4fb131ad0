//go:build linux

package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
)

func (s *suite) succeeds(t *testing.T) {
	b := s.subject(t)
	r, err := b.Run(t.Context(), s.action(t, "compute", 0))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if len(r.Outputs) != 1 || r.Usage.Wall <= 0 {
		t.Errorf("got %+v", r)
	}
}

// failure runs an action and returns how it failed.
func failure(t *testing.T, b solve.Backend, a containers.Action) *containers.Failure {
	t.Helper()
	r, err := b.Run(t.Context(), a)
	if err == nil {
		r.Close()
		t.Fatal("it succeeded")
	}
	f, ok := errors.AsType[*containers.Failure](err)
	if !ok {
		t.Fatalf("got %v, want a failure of the producer", err)
	}
	return f
}

func (s *suite) fails(t *testing.T) {
	b := s.subject(t)
	for _, c := range []struct {
		do     string
		n      int
		limits graph.Resources
		kind   containers.FailureKind
		code   int
	}{
		{"exit", 1, graph.Resources{}, containers.FailedExit, 1},
		{"exit", 65, graph.Resources{}, containers.FailedBadInput, 65},
		{"exit", 75, graph.Resources{}, containers.FailedRetry, 75},
		{"signal", int(syscall.SIGKILL), graph.Resources{}, containers.FailedSignal, 137},
		{"wait", 60000, graph.Resources{Timeout: 200 * time.Millisecond}, containers.FailedTimeout, 137},
		{"fill", 8, graph.Resources{Disk: 4 << 20}, containers.FailedDisk, 1},
		{"nothing", 0, graph.Resources{}, containers.FailedOutput, 0},
	} {
		a := s.action(t, c.do, c.n)
		a.Limits = c.limits.WithDefaults()
		if f := failure(t, b, a); f.Kind != c.kind || f.Code != c.code {
			t.Errorf("%s %d: %s, code %d: %v", c.do, c.n, f.Kind, f.Code, f)
		}
	}
	r, err := b.Run(t.Context(), s.action(t, "compute", 0)) // and the backend is as it was
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
}

func (s *suite) limits(t *testing.T) {
	b := s.subject(t)
	a := s.action(t, "eat", 256)
	a.Limits.Memory = 64 << 20
	r, err := b.Run(t.Context(), a)
	if err == nil {
		defer r.Close()
		if len(r.Unenforced) == 0 {
			t.Error("it took four times its memory, and nothing says that the limit did not hold")
		}
		return // the machine lets nobody set it, and the result says so
	}
	if f, ok := errors.AsType[*containers.Failure](err); !ok || f.Kind != containers.FailedMemory {
		t.Errorf("got %v, want out of memory", err)
	}
}

func (s *suite) logs(t *testing.T) {
	b := s.subject(t)
	const lines = 20000
	var log lockedBuffer
	a := s.action(t, "print", lines)
	a.Log = &log
	r, err := b.Run(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	var want strings.Builder
	for i := range lines {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if got := log.String(); got != want.String() {
		t.Errorf("%d bytes of log, want %d", len(got), want.Len())
	}
}

// lockedBuffer may be written from several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// waiting starts an action that waits, and returns when it has said so: its log
// came while it ran.
func (s *suite) waiting(t *testing.T, ctx context.Context, b solve.Backend) <-chan error {
	t.Helper()
	said, ended := make(chan struct{}), make(chan error, 1)
	a := s.action(t, "wait", 600000)
	a.Log = &announce{said: said}
	go func() {
		r, err := b.Run(ctx, a)
		if err == nil {
			r.Close()
		}
		ended <- err
	}()
	select {
	case <-said:
	case err := <-ended:
		t.Fatalf("it ended before it began: %v", err)
	}
	return ended
}

// announce closes said with the first that is written.
type announce struct {
	once sync.Once
	said chan struct{}
}

func (a *announce) Write(p []byte) (int, error) {
	a.once.Do(func() { close(a.said) })
	return len(p), nil
}

var _ io.Writer = (*announce)(nil)

func (s *suite) cancelled(t *testing.T) {
	b := s.subject(t)
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := s.waiting(t, ctx, b)
	cancel(cause)
	// The producer would go on for ten minutes.
	if err := <-ended; !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
	r, err := b.Run(t.Context(), s.action(t, "compute", 0))
	if err != nil {
		t.Fatalf("after that: %v", err)
	}
	r.Close()
}

func (s *suite) large(t *testing.T) {
	b := s.subject(t)
	const side = 1500
	values := make([]byte, 4*side*side)
	for i := range values {
		values[i] = byte(i>>2+i>>11)&0x3f | 1 // no NaN
	}
	g := grid.Grid{Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30}, Box: grid.Box{Y: grid.Range{Hi: side}, X: grid.Range{Hi: side}}}
	a := s.action(t, "copy", 0)
	a.Request = []byte(`{"params": {"do": "copy"}, "inputs": {"in": {"file": "/cube/in/in/data.npy"}}, "outputs": {"a": {"file": "/cube/out/a/data.npy"}}}`)
	a.Inputs = []containers.Input{{Role: "in", Window: graph.RequestInput{Path: "/cube/in/in", File: "/cube/in/in/data.npy", Format: graph.NPY, Shape: []int64{side, side}},
		Spec: graph.VarSpec{Name: "in", Kind: graph.Static, DType: graph.Float32}, Grid: g, Box: g.Box, Values: values,
		Digest: cube.WindowDigest(graph.Float32, []int64{side, side}, values)}}
	a.Outputs = map[string]graph.RequestOutput{"a": {Kind: graph.Static, DType: graph.Float32, Shape: []int64{side, side}, Dims: []string{"y", "x"}, Format: graph.NPY}}
	for range 2 { // what is given twice may be kept in one place
		r, err := b.Run(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(r.Outputs["a"].Values, values) {
			t.Error("the values came out otherwise")
		}
		r.Close()
	}
}

func (s *suite) file(t *testing.T) {
	b := s.subject(t)
	r, err := b.Run(t.Context(), s.action(t, "compute", 0))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r.Outputs["a"].File)
	if string(text) != "a file of a\n" || err != nil || r.Outputs["a"].Name != "data.txt" {
		t.Errorf("%q holds %q, %v", r.Outputs["a"].Name, text, err)
	}
}

func (s *suite) spec(t *testing.T) {
	a := s.action(t, "compute", 0)
	a.Image.Command = []string{"/nothing"}
	if _, err := s.subject(t).Run(t.Context(), a); !errors.Is(err, containers.ErrSpec) {
		t.Errorf("got %v, want ErrSpec", err)
	}
}
