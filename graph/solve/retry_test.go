package solve

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
)

func TestAPolicyTriesAgainWhatItListsAndNothingElse(t *testing.T) {
	t.Parallel()
	exit := func(code int) *containers.Failure {
		return &containers.Failure{Kind: containers.FailedExit, Code: code}
	}
	of := func(kind containers.FailureKind, code int) *containers.Failure {
		return &containers.Failure{Kind: kind, Code: code}
	}
	for _, c := range []struct {
		on   []string
		f    *containers.Failure
		want bool
	}{
		{[]string{"exit:75"}, of(containers.FailedRetry, 75), true},
		{[]string{"exit:3"}, of(containers.FailedRetry, 75), false},
		{[]string{"exit:3", "exit:4"}, exit(4), true},
		{[]string{"exit:3", "exit:4"}, exit(5), false},
		{[]string{"exit"}, exit(5), true},
		{[]string{"exit"}, of(containers.FailedRetry, 75), true},
		{[]string{"exit", "exit:65"}, of(containers.FailedBadInput, 65), false},
		{[]string{"signal"}, of(containers.FailedSignal, 137), true},
		{[]string{"signal"}, of(containers.FailedTimeout, 137), false},
		{[]string{"timeout"}, of(containers.FailedTimeout, 137), true},
		{[]string{"oom"}, of(containers.FailedMemory, 137), true},
		{[]string{"exit", "signal", "timeout", "oom"}, of(containers.FailedDisk, 0), false},
		{[]string{"exit", "signal", "timeout", "oom"}, of(containers.FailedOutput, 0), false},
		{[]string{}, of(containers.FailedRetry, 75), false},
	} {
		r := retries{graph.Retry{Attempts: 2, On: c.on, MemoryFactor: 1}, machineMemory}
		if _, _, again := r.next(1, c.f, 1<<20); again != c.want {
			t.Errorf("%v: %s %d: again %v, want %v", c.on, c.f.Kind, c.f.Code, again, c.want)
		}
		if _, _, again := r.next(2, c.f, 1<<20); again {
			t.Errorf("%v: more attempts than there are", c.on)
		}
	}
}

func TestMemoryGrowsWithEachOOMKillUpToItsCeiling(t *testing.T) {
	t.Parallel()
	oom := &containers.Failure{Kind: containers.FailedMemory}
	for _, c := range []struct {
		retry   graph.Retry
		machine int64
		limits  []int64 // before each further attempt
	}{
		{graph.Retry{MemoryFactor: 2}, 1000, []int64{200, 400, 800, 1000}},
		{graph.Retry{MemoryFactor: 2, MaxMemory: 500}, 1000, []int64{200, 400, 500}},
		{graph.Retry{MemoryFactor: 1.5}, 0, []int64{150, 225, 337, 505}},
		{graph.Retry{MemoryFactor: 2, MaxMemory: 50}, 1000, nil},
		{graph.Retry{MemoryFactor: 1}, 1000, []int64{100, 100, 100, 100}},
		{graph.Retry{MemoryFactor: 16}, math.MaxInt64, []int64{1600, 25600, 409600, 6553600}},
	} {
		c.retry.Attempts, c.retry.On = 5, []string{"oom"}
		r := retries{c.retry, func() int64 { return c.machine }}
		var got []int64
		memory := int64(100)
		for attempt := 1; ; attempt++ {
			_, more, again := r.next(attempt, oom, memory)
			if !again {
				break
			}
			memory = more
			got = append(got, more)
		}
		if d := cmp.Diff(c.limits, got); d != "" {
			t.Errorf("%+v: %s", c.retry, d)
		}
	}
}

func TestPausesDoubleUpToTheirBoundAndLeaveHalfToChance(t *testing.T) {
	t.Parallel()
	r := retries{graph.Retry{Attempts: 100, Backoff: time.Second, MaxBackoff: 10 * time.Second}, machineMemory}
	for attempt, whole := range []time.Duration{1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 4: 8 * time.Second, 5: 10 * time.Second, 99: 10 * time.Second} {
		if whole == 0 {
			continue
		}
		seen := map[time.Duration]bool{}
		for range 50 {
			p := r.pause(attempt)
			seen[p] = true
			if p < whole/2 || p > whole {
				t.Errorf("before attempt %d: %v, want between %v and %v", attempt+1, p, whole/2, whole)
			}
		}
		if len(seen) < 2 {
			t.Errorf("attempt %d: always after the same pause", attempt+1)
		}
	}
}

func TestCubeYAMLComesBeforeTheContractAndItsInstanceBeforeAll(t *testing.T) {
	t.Parallel()
	i := graph.Instance{Retry: graph.Retry{Attempts: 7}}
	i.Manifest.Capabilities.Retry = graph.Retry{Attempts: 5, Backoff: time.Minute, On: []string{"exit:3"}, MemoryFactor: 4}
	want := graph.Retry{Attempts: 7, Backoff: time.Hour, MaxBackoff: time.Minute, On: []string{"exit:3"}, MemoryFactor: 4}
	if d := cmp.Diff(want, i.RetryPolicy(graph.Retry{Attempts: 2, Backoff: time.Hour})); d != "" {
		t.Error(d)
	}
	i.Retry.On = []string{}
	if got := i.RetryPolicy(graph.Retry{}).On; len(got) != 0 {
		t.Errorf("an empty list is a list: got %v", got)
	}
}

// A waiting action gives its room up: with one worker, all others run while
// the first waits for its second attempt.
func TestAWaitingRetryHoldsNoRoom(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain() // 16 tiles of base
	var mu sync.Mutex
	var order []string
	e.backend.fail = func(a containers.Action) error {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, a.Name)
		if slices.Index(order, a.Name) == 0 && len(order) < 16 {
			return &containers.Failure{Kind: containers.FailedRetry, Code: 75, Detail: "again"}
		}
		return nil
	}
	policy := graph.Retry{Attempts: 1000, Backoff: 5 * time.Millisecond, MaxBackoff: 5 * time.Millisecond}
	r, err := e.run(ws, func(c *Config) { c.Retry, c.Workers = policy, 1 }, "base")
	if err != nil || r.Count.Ran != 16 {
		t.Fatalf("%v %+v", err, r)
	}
	distinct := slices.Compact(slices.Sorted(slices.Values(order[:16])))
	if len(distinct) < 2 {
		t.Errorf("nothing else ran while %s waited: %v", order[0], order)
	}
	for _, ev := range e.events {
		if d, ok := ev.(TileDone); ok && strings.HasSuffix(order[0], d.Action.Short()) && len(d.Failed) != d.Attempts-1 {
			t.Errorf("%d attempts, and %d of them told as failed", d.Attempts, len(d.Failed))
		}
	}
}

func TestEveryAttemptIsToldWithItsMemory(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	ws.Tiling = grid.Tiling{}
	ws.Instances[0].Resources.Memory = 100 << 20
	e.backend.fail = func(a containers.Action) error {
		fmt.Fprintf(a.Log, "with %d MiB\n", a.Limits.Memory>>20)
		return &containers.Failure{Kind: containers.FailedMemory, Code: 137, Detail: "out of memory"}
	}
	policy := graph.Retry{Attempts: 4, Backoff: 1, MaxMemory: 250 << 20}
	if _, err := e.run(ws, func(c *Config) { c.Retry = policy }, "base"); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	var got []string
	for _, ev := range e.events {
		if d, ok := ev.(TileDone); ok {
			for _, a := range d.Failed {
				got = append(got, fmt.Sprintf("%d %s %s", a.Memory>>20, a.Failure.Kind, a.Log[bytesBefore(a.Log):]))
			}
		}
	}
	want := []string{"100 oom with 100 MiB\n", "200 oom with 200 MiB\n", "250 oom with 250 MiB\n"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func bytesBefore(log []byte) int { return strings.Index(string(log), "with ") }

func TestAnEndedBuildWaitsForNoAttempt(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ws := chain()
	ws.Tiling = grid.Tiling{}
	ctx, cancel := context.WithCancelCause(t.Context())
	e.backend.fail = func(containers.Action) error {
		return &containers.Failure{Kind: containers.FailedRetry, Code: 75, Detail: "again"}
	}
	plan, err := graph.Resolve(*ws, "base")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Cube: e.open(), Backend: e.backend, Provider: nothing{}, Retry: graph.Retry{Backoff: time.Hour, MaxBackoff: time.Hour},
		Events: func(ev Event) error {
			if _, ok := ev.(Retried); ok {
				cancel(context.Canceled)
			}
			return nil
		}}
	if _, err := Run(ctx, ws, plan, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
