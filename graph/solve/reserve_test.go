//go:build linux

package solve

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve/ledger"
	"github.com/cubebuild/cube/graph/solve/resource"
	"github.com/google/go-cmp/cmp"
)

// part is a build's part in the sharing of a machine, whose ledger is in dir.
func part(t *testing.T, dir string, total resource.Amounts) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(ledger.Config{Path: filepath.Join(dir, "ledger"), Total: total, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestMemoryGrowsNoFurtherThanWhatBuildsShare(t *testing.T) {
	t.Parallel()
	e, ws := newEnv(t), chain()
	ws.Tiling = grid.Tiling{}
	ws.Instances[0].Resources.Memory = 100 << 20
	var got []int64
	e.backend.fail = func(a containers.Action) error {
		got = append(got, a.Limits.Memory>>20)
		return &containers.Failure{Kind: containers.FailedMemory, Code: 137, Detail: "out of memory"}
	}
	shared := part(t, t.TempDir(), resource.Amounts{resource.CPU: 1000, resource.Memory: 150 << 20})
	_, err := e.run(ws, func(c *Config) {
		c.Retry, c.Reserver = graph.Retry{Attempts: 4, Backoff: 1, MaxMemory: 1 << 40}, shared
	}, "base")
	if !errors.Is(err, ErrFailed) {
		t.Error(err)
	}
	if d := cmp.Diff([]int64{100, 150}, got); d != "" {
		t.Error(d)
	}
}

// licensedChain is chain, of which two is of one tile, needs a licence and reads nothing.
func licensedChain() *graph.Workspace {
	ws := chain()
	two := &ws.Instances[2].Manifest
	two.Capabilities, two.Needs = graph.Capabilities{Scarce: graph.Scarce{Tokens: map[string]int{"matlab": 1}}}, nil
	return ws
}

func TestALicenceIsFreeForOthersWhileAnActionWaitsForAWorker(t *testing.T) {
	t.Parallel()
	e, ws := newEnv(t), licensedChain()
	plan, err := graph.Resolve(*ws, "base", "two")
	if err != nil {
		t.Fatal(err)
	}
	dir, total := t.TempDir(), resource.Amounts{resource.CPU: 8000, resource.Memory: 64 << 30, resource.Token("matlab"): 1}
	other := part(t, dir, total)
	licence := resource.Demand{CPUs: 1, Tokens: map[string]int{"matlab": 1}}
	release, err := other.Reserve(t.Context(), licence, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	waits := map[resource.Name]chan struct{}{resource.Token("matlab"): make(chan struct{}), resource.Worker: make(chan struct{})}
	once := map[resource.Name]*sync.Once{resource.Token("matlab"): {}, resource.Worker: {}}
	begun, end := make(chan struct{}), make(chan struct{})
	begin := sync.OnceFunc(func() { close(begun) })
	e.backend.fail = func(a containers.Action) error {
		if instanceOf(a) == "base" {
			begin()
			<-end
		}
		return nil
	}
	cfg := Config{Cube: e.open(), Backend: e.backend, Provider: nothing{}, Workers: 1, Reserver: part(t, dir, total), Events: func(ev Event) error {
		if w, ok := ev.(Waiting); ok && w.For != nil {
			once[w.For.Resource].Do(func() { close(waits[w.For.Resource]) })
		}
		return nil
	}}
	within(t, func(ctx context.Context) {
		done := make(chan error, 1)
		go func() { _, err := Run(ctx, ws, plan, cfg); done <- err }()
		await := func(c <-chan struct{}) {
			select {
			case <-c:
			case <-ctx.Done():
			}
		}
		await(waits[resource.Token("matlab")])
		await(begun) // the only worker has a tile of base
		release()
		await(waits[resource.Worker])
		if release, err = other.Try(ctx, licence); release == nil {
			t.Errorf("the licence is held by an action that has no worker: %v", err)
		} else {
			release()
		}
		close(end)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if n := len(e.backend.took()); n != 17 {
		t.Errorf("%d tiles were made, want 17", n)
	}
}
