//go:build linux

package containers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
)

// batch is one executor whose containers the tests' own runner makes, so that
// what is left of them can be seen.
type batch struct {
	*bench
}

func newBatch(t testing.TB) *batch {
	t.Helper()
	b := &batch{newBench(t, 0)}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// tile is an action of a batch whose payload takes the steps.
func tile(t testing.TB, steps ...step) containers.Action {
	t.Helper()
	build(t)
	request, err := json.Marshal(steps)
	if err != nil {
		t.Fatal(err)
	}
	return containers.Action{Name: t.Name(), Layers: []string{built.layer}, Image: graph.Image{Command: []string{"/payload"}},
		Request: request, Outputs: map[string]graph.RequestOutput{}, CPUs: 1, Limits: graph.Resources{}.WithDefaults(), Batch: 100}
}

// with gives the action a window in either format, and two outputs.
func with(t testing.TB, a containers.Action, values string) containers.Action {
	cells := append([]byte(values), make([]byte, 48-len(values))...)
	spec := graph.VarSpec{DType: graph.Uint8, Kind: graph.Static}
	a.Inputs = []containers.Input{window(t, "in", spec, graph.NPY, cells), window(t, "zarr", spec, graph.Zarr, cells)}
	a.Outputs = map[string]graph.RequestOutput{"out": grids(graph.Uint8, 6, 8), "also": grids(graph.Uint8, 1)}
	return a
}

// outcome is all that an action comes to, as far as it is to be the same each
// time.
type outcome struct {
	Outputs map[string]string
	Log     string
	Failure string
}

func (b *batch) outcome(t testing.TB, a containers.Action) outcome {
	t.Helper()
	log := &forgetful{}
	a.Log = log
	r, err := b.Run(t.Context(), a)
	o := outcome{Log: log.String(), Outputs: map[string]string{}}
	var f *containers.Failure
	switch {
	case errors.As(err, &f):
		o.Failure = fmt.Sprint(f.Kind, f.Code, f.Detail)
	case err != nil:
		t.Errorf("%v\n%s", err, log)
	default:
		for role, out := range r.Outputs {
			o.Outputs[role] = string(out.Values)
		}
		r.Close()
	}
	return o
}

// forgetful is a log that starts anew with its action.
type forgetful struct{ bytes.Buffer }

func (f *forgetful) Forget() { f.Reset() }

func TestABatchGivesEachTileWhatItWouldGetAlone(t *testing.T) {
	t.Parallel()
	const n = 40
	tiles := make([]containers.Action, n)
	for i := range tiles {
		values := fmt.Sprintf("tile %02d%s", i, strings.Repeat(".", i%40))
		steps := []step{
			{Do: "list", Path: "/cube"}, {Do: "list", Path: "/tmp"}, {Do: "list", Path: "/dev/shm"},
			{Do: "write", Path: "/cube/scratch/a", Data: []byte(values)}, {Do: "mkdir", Path: "/cube/scratch/d/e"},
			{Do: "write", Path: "/tmp/x", Data: []byte(values)}, {Do: "write", Path: "/dev/shm/y", Data: []byte(values)},
			{Do: "copy", Path: "out/data.npy", To: "/cube/in/in/data.npy"},
			{Do: "write", Path: "also/data.npy", Data: array(t, "uint8", []byte{byte(i)}, 1)},
			{Do: "chmod", Path: "/cube/out", N: 0o700}, {Do: "chmod", Path: "/cube/scratch", N: 0o711},
		}
		switch i {
		case 13:
			steps = append(steps, step{Do: "answer", N: 65})
		case 25:
			steps = append(steps, step{Do: "exit", N: 7})
		case 27:
			steps = append(steps, step{Do: "write", Path: "stray", Data: []byte("x")})
		case 38:
			steps = append(steps, step{Do: "remove", Path: "out"})
		}
		tiles[i] = with(t, tile(t, steps...), values)
		tiles[i].Sources = append(parts(t, "rows", i%4, values), parts(t, "more", i%5%2, values)...)
		tiles[i].PartDirs = partDirs("rows", "more")
	}
	b := newBatch(t)
	alone := make([]outcome, n)
	for i, a := range tiles {
		a.Alone = true
		alone[i] = b.outcome(t, a)
	}
	order := rand.New(rand.NewPCG(1, 2)).Perm(n)
	for name, indexes := range map[string][]int{"in order": nil, "shuffled": order} {
		for i := range tiles {
			if indexes != nil {
				i = indexes[i]
			}
			if diff := cmp.Diff(alone[i], b.outcome(t, tiles[i])); diff != "" {
				t.Errorf("%s, tile %d: alone and batched differ:\n%s", name, i, diff)
			}
		}
	}
	var work sync.WaitGroup
	for i := range tiles {
		work.Go(func() {
			if diff := cmp.Diff(alone[i], b.outcome(t, tiles[i])); diff != "" {
				t.Errorf("at once, tile %d: alone and batched differ:\n%s", i, diff)
			}
		})
	}
	work.Wait()
}

// parts are n parts of a source, as a tile sees them.
func parts(t testing.TB, role string, n int, text string) (out []containers.SourceFile) {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		path := filepath.Join(dir, strconv.Itoa(i))
		if err := os.WriteFile(path, fmt.Append(nil, text, i), 0o444); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Unix(0, 0), time.Unix(0, 0)); err != nil {
			t.Fatal(err)
		}
		out = append(out, containers.SourceFile{Path: path, Target: fmt.Sprintf("%s/%s/%04d", graph.SourceDir, role, i), Part: true})
	}
	return out
}

func partDirs(roles ...string) (out []string) {
	for _, role := range roles {
		out = append(out, graph.SourceDir+"/"+role)
	}
	return out
}

func TestTilesThatSeeOtherPartsShareAContainer(t *testing.T) {
	t.Parallel()
	large := func(path string) { // a hole, of which no byte is read
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 17<<20); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		sources func(i int) []containers.SourceFile
		shares  bool
	}{
		"small or none":  {func(i int) []containers.SourceFile { return parts(t, "rows", i%2, fmt.Sprint(i)) }, true},
		"as many as may": {func(i int) []containers.SourceFile { return parts(t, "rows", graph.MaxTileParts, fmt.Sprint(i)) }, true},
		"large": {func(i int) []containers.SourceFile {
			p := parts(t, "rows", 1, fmt.Sprint(i))
			large(p[0].Path)
			return p
		}, false},
		"of another whole source": {func(i int) []containers.SourceFile {
			p := parts(t, "rows", 1, fmt.Sprint(i))
			p[0].Part = false
			return p
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBatch(t)
			for i := range 3 {
				which := step{Do: "first"}
				if i > 0 && c.shares {
					which.Do = "later"
				}
				a := tile(t, which)
				a.Sources = c.sources(i)
				if name != "of another whole source" {
					a.PartDirs = partDirs("rows")
				}
				if got := b.outcome(t, a); got.Failure != "" {
					t.Errorf("tile %d: %s\n%s", i, got.Failure, got.Log)
				}
			}
		})
	}
}

func TestAContainerServesAsManyTilesAsItMay(t *testing.T) {
	t.Parallel()
	b := newBatch(t)
	var got []string
	for range 7 {
		which := step{Do: "later"}
		if len(got)%3 == 0 {
			which.Do = "first"
		}
		a := tile(t, which)
		a.Batch = 3
		got = append(got, b.outcome(t, a).Failure)
	}
	if diff := cmp.Diff(make([]string, 7), got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatEarlierTilesLeftIsNoFailureOfATile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, fails []step
		limits        graph.Resources
	}{
		"answers 1":            {nil, []step{{Do: "answer", N: 1}}, graph.Resources{}},
		"answers 65":           {nil, []step{{Do: "answer", N: 65}}, graph.Resources{}},
		"exits":                {nil, []step{{Do: "exit", N: 1}}, graph.Resources{}},
		"exits as if done":     {nil, []step{{Do: "exit", N: 0}}, graph.Resources{}},
		"crashes":              {nil, []step{{Do: "signal", N: 9}}, graph.Resources{}},
		"hangs":                {nil, []step{{Do: "sleep", N: 60000}}, graph.Resources{Timeout: 300 * time.Millisecond}},
		"says nonsense":        {nil, []step{{Do: "say", Data: []byte("done\n")}}, graph.Resources{}},
		"says too much":        {nil, []step{{Do: "say", Data: []byte("0\n0\n")}}, graph.Resources{}},
		"floods":               {nil, []step{{Do: "flood"}}, graph.Resources{}},
		"closes the answers":   {nil, []step{{Do: "close"}}, graph.Resources{}},
		"is out of disk":       {[]step{{Do: "hold", Path: "/cube/scratch/x", N: 3}}, []step{{Do: "fill", Path: "/cube/scratch/y", N: 2}}, graph.Resources{Disk: 4 << 20}},
		"is out of memory":     {[]step{{Do: "leak", N: 60}}, []step{{Do: "leak", N: 60}}, graph.Resources{Memory: 100 << 20}},
		"leaves no output":     {nil, []step{{Do: "remove", Path: "/cube/out/a"}}, graph.Resources{}},
		"leaves a stray thing": {nil, []step{{Do: "write", Path: "stray"}}, graph.Resources{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBatch(t)
			run := func(steps ...step) outcome {
				a := tile(t, append(steps, step{Do: "write", Path: "a/data.npy", Data: array(t, "uint8", []byte{1}, 1)})...)
				a.Outputs["a"] = grids(graph.Uint8, 1)
				a.Limits = c.limits.WithDefaults()
				return b.outcome(t, a)
			}
			good := outcome{Outputs: map[string]string{"a": "\x01"}}
			if diff := cmp.Diff(good, run(c.before...)); diff != "" {
				t.Fatal(diff)
			}
			// In a new container it would go well: it takes the steps only where it
			// is not the first.
			steps := []step{{Do: "unless first"}}
			if diff := cmp.Diff(good, run(append(steps, c.fails...)...)); diff != "" {
				t.Errorf("the tile that fails: %s", diff)
			}
			if diff := cmp.Diff(good, run(step{Do: "first"})); diff != "" {
				t.Errorf("the tile after it: %s", diff)
			}
		})
	}
}

// limitsMemory reports whether the sandbox enforces a limit of memory here.
func (b *batch) limitsMemory(t testing.TB) bool {
	r, _ := b.run(t, tile(t))
	return !slices.ContainsFunc(r.Unenforced, func(s string) bool { return strings.HasPrefix(s, "memory") })
}

func TestATileThatFailsInAContainerOfItsOwnHasFailed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		step  step
		kind  containers.FailureKind
		limit graph.Resources
	}{
		"answers 1":          {step{Do: "answer", N: 1}, containers.FailedExit, graph.Resources{}},
		"answers 65":         {step{Do: "answer", N: 65}, containers.FailedBadInput, graph.Resources{}},
		"answers 75":         {step{Do: "answer", N: 75}, containers.FailedRetry, graph.Resources{}},
		"exits with 65":      {step{Do: "exit", N: 65}, containers.FailedBadInput, graph.Resources{}},
		"exits with 0":       {step{Do: "exit", N: 0}, containers.FailedProtocol, graph.Resources{}},
		"crashes":            {step{Do: "signal", N: 9}, containers.FailedSignal, graph.Resources{}},
		"hangs":              {step{Do: "sleep", N: 60000}, containers.FailedTimeout, graph.Resources{Timeout: 300 * time.Millisecond}},
		"is endless":         {step{Do: "flood"}, containers.FailedProtocol, graph.Resources{}},
		"says nonsense":      {step{Do: "say", Data: []byte("ok\n")}, containers.FailedProtocol, graph.Resources{}},
		"says no whole line": {step{Do: "say", Data: []byte("0")}, containers.FailedTimeout, graph.Resources{Timeout: 300 * time.Millisecond}},
		"closes the answers": {step{Do: "close"}, containers.FailedProtocol, graph.Resources{}},
		"fills its disk":     {step{Do: "fill", Path: "/cube/scratch/x", N: 8}, containers.FailedDisk, graph.Resources{Disk: 4 << 20}},
		"eats":               {step{Do: "leak", N: 200}, containers.FailedMemory, graph.Resources{Memory: 64 << 20}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBatch(t)
			a := tile(t, c.step)
			a.Limits = c.limit.WithDefaults()
			if c.kind == containers.FailedMemory && !b.limitsMemory(t) {
				t.Skip("memory is not limited here")
			}
			for range 2 { // the second time, no container is there to go on in
				if f := b.fail(t, a); f.Kind != c.kind {
					t.Errorf("%s: %v, want %s", f.Kind, f, c.kind)
				}
			}
		})
	}
}

func TestLogsOfABatchHoldNoLineOfAnotherTile(t *testing.T) {
	t.Parallel()
	b := newBatch(t)
	for i := range 20 {
		want := strings.Repeat(fmt.Sprintf("tile %d\n", i), 1+i*500)
		if got := b.outcome(t, tile(t, step{Do: "print", Data: []byte(want)})); got.Log != want || got.Failure != "" {
			t.Fatalf("tile %d: %d bytes of log, want %d; %s", i, len(got.Log), len(want), got.Failure)
		}
	}
	b.outcome(t, tile(t, step{Do: "then", N: 1, Data: []byte("too late\n")}))
	time.Sleep(50 * time.Millisecond)
	if got := b.outcome(t, tile(t, step{Do: "later"})); got.Log != "" || got.Failure != "" {
		t.Errorf("what came after the answer is in the next log: %+v", got)
	}
}

func TestAPayloadThatPrintsWithoutEndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	b := newBatch(t)
	for range 5 {
		if got := b.outcome(t, tile(t, step{Do: "babble"})); got.Failure != "" {
			t.Error(got.Failure)
		}
	}
}

func TestAContainerThatEndsBetweenTilesIsReplaced(t *testing.T) {
	t.Parallel()
	b := newBatch(t)
	b.outcome(t, tile(t, step{Do: "then", N: 1, To: "exit"}))
	time.Sleep(100 * time.Millisecond)
	if got := b.outcome(t, tile(t, step{Do: "first"})); got.Failure != "" {
		t.Error(got.Failure)
	}
}

func TestWhatCannotBeClearedAwayEndsTheContainer(t *testing.T) {
	t.Parallel()
	for name, steps := range map[string][]step{
		"depth":     {{Do: "deep", Path: "/cube/scratch", N: 200}},
		"many":      {{Do: "many", Path: "/cube/scratch", N: 1<<14 + 1}},
		"a mailbox": {{Do: "say", Data: []byte("0\n")}, {Do: "answer"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBatch(t)
			b.outcome(t, tile(t, steps...))
			if got := b.outcome(t, tile(t, step{Do: "first"})); got.Failure != "" || got.Log != "" {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestInputsAreReadOnlyInEveryTile(t *testing.T) {
	t.Parallel()
	b := newBatch(t)
	for range 3 {
		for _, s := range []step{{Do: "write", Path: "/cube/in/in/data.npy"}, {Do: "mkdir", Path: "/cube/in/x"}, {Do: "chmod", Path: "/cube/in", N: 0o777},
			{Do: "remove", Path: "/cube/in/in"}, {Do: "write", Path: "/cube/request.json"}, {Do: "write", Path: "/cube/x"}} {
			got := b.outcome(t, with(t, tile(t, step{Do: "copy", Path: "out/data.npy", To: "/cube/in/in/data.npy"}, s), "abc"))
			if !strings.Contains(got.Log, "read-only file system") {
				t.Errorf("%s %s: %+v", s.Do, s.Path, got)
			}
		}
		ok := with(t, tile(t, step{Do: "copy", Path: "out/data.npy", To: "/cube/in/in/data.npy"},
			step{Do: "write", Path: "also/data.npy", Data: array(t, "uint8", []byte{1}, 1)}), "abc")
		if got := b.outcome(t, ok); !strings.HasPrefix(got.Outputs["out"], "abc\x00") {
			t.Errorf("%+v", got)
		}
	}
}

func TestUsageIsThatOfTheTile(t *testing.T) {
	t.Parallel()
	b := newBatch(t)
	var before time.Duration
	for i, ms := range []int64{200, 1, 200} {
		a := tile(t, step{Do: "sleep", N: ms})
		r, _ := b.run(t, a)
		if wall := r.Usage.Wall; wall < time.Duration(ms)*time.Millisecond || i == 1 && wall > before {
			t.Errorf("tile %d slept %d ms and took %v", i, ms, wall)
		}
		before = r.Usage.Wall
	}
}

func TestIdleContainersEnd(t *testing.T) {
	t.Parallel()
	build(t)
	x := containers.NewExecutor(containers.ExecutorConfig{Runner: built.runner, Staging: containers.NewStaging(containers.StagingConfig{}), Idle: 50 * time.Millisecond})
	defer x.Close()
	b := &batch{&bench{Executor: x}}
	b.outcome(t, tile(t, step{Do: "first"}))
	waitUntil(t, "the idle container to end", func() bool { return x.IdleSessions() == 0 })
	if got := b.outcome(t, tile(t, step{Do: "first"})); got.Failure != "" {
		t.Error(got.Failure)
	}
}

func TestAnIdleContainerMakesWayForAnotherKind(t *testing.T) {
	t.Parallel()
	build(t)
	x := containers.NewExecutor(containers.ExecutorConfig{Runner: built.runner, Staging: containers.NewStaging(containers.StagingConfig{}), Sessions: 1, Idle: time.Minute})
	b := &batch{&bench{Executor: x}}
	for i := range 3 {
		a := tile(t, step{Do: "first"})
		a.Limits.PIDs = 50 + i
		if got := b.outcome(t, a); got.Failure != "" {
			t.Error(got.Failure)
		}
		if n := x.IdleSessions(); n != 1 {
			t.Errorf("%d are idle", n)
		}
	}
	if err := x.Close(); err != nil || x.IdleSessions() != 0 {
		t.Errorf("%d are idle after the end: %v", x.IdleSessions(), err)
	}
}

// once hides that a runner can do more than run a container once.
type once struct{ containers.Runner }

func TestABatchRunsOnARunnerThatKeepsNothing(t *testing.T) {
	t.Parallel()
	build(t)
	x := containers.NewExecutor(containers.ExecutorConfig{Runner: once{built.runner}, Staging: containers.NewStaging(containers.StagingConfig{})})
	b := &batch{&bench{Executor: x}}
	for _, c := range []struct {
		step step
		want string
	}{
		{step{Do: "first"}, ""}, {step{Do: "answer", N: 65}, "bad_input"}, {step{Do: "exit", N: 1}, "exit1"},
		{step{Do: "exit", N: 0}, "protocol"}, {step{Do: "say", Data: []byte("0\n0\n")}, "protocol"}, {step{Do: "flood"}, "timeout"},
	} {
		a := tile(t, c.step)
		a.Limits.Timeout = 2 * time.Second
		if got := b.outcome(t, a); !strings.HasPrefix(got.Failure, c.want) || (c.want == "") != (got.Failure == "") {
			t.Errorf("%s: %q, want %q", c.step.Do, got.Failure, c.want)
		}
	}
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for start := time.Now(); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
