//go:build linux

package containers_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph"
)

func TestEveryEndHasItsKind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		steps  []step
		limits graph.Resources
		kind   containers.FailureKind
		code   int
		says   string
	}{
		"exit 1":            {[]step{{Do: "exit", N: 1}}, graph.Resources{}, containers.FailedExit, 1, "exited with code 1"},
		"exit 65":           {[]step{{Do: "exit", N: 65}}, graph.Resources{}, containers.FailedBadInput, 65, "its input is bad"},
		"exit 75":           {[]step{{Do: "exit", N: 75}}, graph.Resources{}, containers.FailedRetry, 75, "asks to be tried again"},
		"signal":            {[]step{{Do: "signal", N: 9}}, graph.Resources{}, containers.FailedSignal, 137, "signal 9"},
		"too long":          {[]step{{Do: "sleep", N: 60000}}, graph.Resources{Timeout: 200 * time.Millisecond}, containers.FailedTimeout, 137, "time limit of 200ms"},
		"scratch is full":   {[]step{{Do: "fill", Path: "/cube/scratch/x", N: 8}}, graph.Resources{Disk: 4 << 20}, containers.FailedDisk, 1, "disk, whose limit is 4 MiB"},
		"output is full":    {[]step{{Do: "fill", Path: "a/x", N: 8}}, graph.Resources{Disk: 4 << 20}, containers.FailedDisk, 1, "disk, whose limit is 4 MiB"},
		"too many files":    {[]step{{Do: "many", Path: "/cube/scratch", N: 8192}}, graph.Resources{Disk: 4 << 20}, containers.FailedDisk, 1, "disk, whose limit is 4 MiB"},
		"mapped file full":  {[]step{{Do: "map", Path: "a/x", N: 8}}, graph.Resources{Disk: 4 << 20}, containers.FailedDisk, 0, "disk, whose limit is 4 MiB"},
		"asks for no retry": {[]step{{Do: "fill", Path: "a/x", N: 4}, {Do: "exit", N: 75}}, graph.Resources{Disk: 4 << 20}, containers.FailedRetry, 75, "again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := action(t, c.steps...)
			a.Outputs["a"] = graph.RequestOutput{Kind: graph.File}
			a.Limits = c.limits.WithDefaults()
			f := newBench(t, 0).fail(t, a)
			if f.Kind != c.kind || c.code != 0 && f.Code != c.code || !strings.Contains(f.Error(), c.says) {
				t.Errorf("got %s, code %d: %v", f.Kind, f.Code, f)
			}
		})
	}
}

func TestTooMuchMemoryIsItsOwnFailure(t *testing.T) {
	t.Parallel()
	a := action(t, step{Do: "eat", N: 512})
	a.Limits.Memory = 64 << 20
	var f *containers.Failure
	r, err := newBench(t, 0).Run(t.Context(), a)
	switch {
	case err == nil && len(r.Unenforced) > 0:
		t.Skipf("not limited here: %v", r.Unenforced)
	case !errors.As(err, &f) || f.Kind != containers.FailedMemory || !strings.Contains(f.Error(), "64 MiB"):
		t.Errorf("got %v, want out of memory", err)
	}
}

// onDisk is an action whose disk limit is served from disk by newBench(t, 1<<20).
func onDisk(t *testing.T, steps ...step) containers.Action {
	a := action(t, steps...)
	a.Outputs["a"] = graph.RequestOutput{Kind: graph.File}
	a.Limits.Disk = 4 << 20
	return a
}

func TestWhatIsTooLargeForMemoryIsWatchedOnDisk(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"output": "a/x", "scratch": "/cube/scratch/x"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 1<<20)
			b.Watch(10 * time.Millisecond)
			start := time.Now()
			f := b.fail(t, onDisk(t, step{Do: "fill", Path: path, N: 500, To: "slowly"}))
			if f.Kind != containers.FailedDisk || !strings.Contains(f.Error(), "its disk limit is 4 MiB") {
				t.Errorf("got %s: %v", f.Kind, f)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it was stopped only after %v", took)
			}
		})
	}
}

func TestWhatIsWrittenBetweenTwoLooksCountsToo(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1<<20)
	b.Watch(time.Hour)
	if f := b.fail(t, onDisk(t, step{Do: "fill", Path: "a/x", N: 8})); f.Kind != containers.FailedDisk {
		t.Errorf("got %s: %v", f.Kind, f)
	}
}

func TestNothingStaysOnDiskWhateverItsPermissions(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1<<20)
	secret := []step{{Do: "mkdir", Path: "/cube/scratch/d/e"}, {Do: "write", Path: "/cube/scratch/d/e/f"},
		{Do: "chmod", Path: "/cube/scratch/d/e", N: 0}, {Do: "chmod", Path: "/cube/scratch/d", N: 0}, {Do: "chmod", Path: "/cube/scratch", N: 0}}
	if f := b.fail(t, onDisk(t, append(secret, step{Do: "exit", N: 1})...)); f.Kind != containers.FailedExit {
		t.Errorf("got %s: %v", f.Kind, f)
	}
}

func TestACancelledActionIsNobodysFault(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1<<20)
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(cause) })
	r, err := b.Run(ctx, onDisk(t, step{Do: "sleep", N: 60000}))
	var f *containers.Failure
	if r != nil || !errors.Is(err, cause) || errors.As(err, &f) {
		t.Errorf("got %v, want %v", err, cause)
	}
}

func TestACommandThatIsNotInTheImageIsNoFailureOfTheProducer(t *testing.T) {
	t.Parallel()
	a := action(t)
	a.Image.Command = []string{"/nothing"}
	_, err := newBench(t, 1<<20).Run(t.Context(), a)
	if !errors.Is(err, containers.ErrSpec) || !strings.Contains(err.Error(), a.Name) {
		t.Errorf("got %v, want ErrSpec", err)
	}
}
