package containers

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cubebuild/cube/graph"
)

func newTestStaging(t *testing.T, memory, disk int64) (*Staging, string) {
	t.Helper()
	dir := t.TempDir()
	return NewStaging(StagingConfig{Memory: memory, Disk: disk, Dir: func() (string, error) { return dir, nil }}), dir
}

func TestWhatMemoryDoesNotHoldGoesToDisk(t *testing.T) {
	t.Parallel()
	s, _ := newTestStaging(t, 100, 100)
	release, ok := s.inMemory(60)
	if !ok {
		t.Fatal("there is no memory")
	}
	if _, ok := s.inMemory(60); ok {
		t.Error("more than the budget")
	}
	release()
	if _, ok := s.inMemory(100); !ok {
		t.Error("what was given back is not there")
	}
	if _, ok := s.inMemory(101); ok {
		t.Error("more than the whole budget")
	}
}

func TestAnActionWaitsForRoomOnDisk(t *testing.T) {
	t.Parallel()
	s, _ := newTestStaging(t, 1, 100)
	release, err := s.TakeDisk(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.TakeDisk(ctx, 60); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("it did not wait: %v", err)
	}
	got := make(chan error)
	go func() { _, err := s.TakeDisk(t.Context(), 60); got <- err }()
	release()
	if err := <-got; err != nil {
		t.Error(err)
	}
	if _, err := s.TakeDisk(t.Context(), 101); !errors.Is(err, ErrStaging) || !strings.Contains(err.Error(), "staging.disk") {
		t.Errorf("what can never be: %v", err)
	}
}

func TestAWindowThatComesAgainIsMadeOnce(t *testing.T) {
	t.Parallel()
	s, dir := newTestStaging(t, 1, 10<<20)
	key := graph.Sum([]byte("window"))
	var writes atomic.Int32
	write := func(dir string) error {
		writes.Add(1)
		return os.WriteFile(filepath.Join(dir, "data"), []byte("values"), 0o444)
	}
	if at, leave, err := s.share(t.Context(), key, 2<<20, write); at != "" || leave != nil || err != nil {
		t.Fatalf("the first time: %s %v", at, err)
	}
	if at, _, err := s.share(t.Context(), graph.Sum([]byte("small")), worthSharing-1, write); at != "" || err != nil {
		t.Fatalf("a small one: %s %v", at, err)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			at, leave, err := s.share(t.Context(), key, 2<<20, write)
			if err != nil {
				t.Error(err)
				return
			}
			defer leave()
			if b, err := os.ReadFile(filepath.Join(at, "data")); string(b) != "values" {
				t.Errorf("%q %v", b, err)
			}
		})
	}
	all.Wait()
	if n := writes.Load(); n != 1 {
		t.Errorf("it was made %d times", n)
	}
	// Its room is given to whoever needs it.
	if _, err := s.TakeDisk(t.Context(), 10<<20); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); len(left) != 0 || err != nil {
		t.Errorf("left: %v %v", left, err)
	}
}

func TestAWindowInUseIsNotTakenAway(t *testing.T) {
	t.Parallel()
	s, _ := newTestStaging(t, 1, 3<<20)
	key := graph.Sum([]byte("window"))
	write := func(string) error { return nil }
	s.share(t.Context(), key, 2<<20, write)
	at, leave, err := s.share(t.Context(), key, 2<<20, write)
	if err != nil || at == "" {
		t.Fatal(at, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.TakeDisk(ctx, 2<<20); err == nil {
		t.Error("its room was given away")
	}
	if _, err := os.Stat(at); err != nil {
		t.Error(err)
	}
	leave()
	if _, err := s.TakeDisk(t.Context(), 2<<20); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(at); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestAnActionThatWaitsGetsTheRoomOfAWindowThatFallsOutOfUse(t *testing.T) {
	t.Parallel()
	s, _ := newTestStaging(t, 1, 3<<20)
	key := graph.Sum([]byte("window"))
	write := func(string) error { return nil }
	s.share(t.Context(), key, 2<<20, write)
	_, leave, err := s.share(t.Context(), key, 2<<20, write)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() { _, err := s.TakeDisk(t.Context(), 2<<20); got <- err }()
	for wanting := 0; wanting == 0; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		wanting = s.wanting
		s.mu.Unlock()
	}
	leave()
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func TestAWindowThatCannotBeWrittenIsTriedAgain(t *testing.T) {
	t.Parallel()
	s, dir := newTestStaging(t, 1, 3<<20)
	key := graph.Sum([]byte("window"))
	full := errors.New("no room")
	s.share(t.Context(), key, 2<<20, nil)
	if _, _, err := s.share(t.Context(), key, 2<<20, func(string) error { return full }); !errors.Is(err, full) {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	at, leave, err := s.share(t.Context(), key, 2<<20, func(string) error { return nil })
	if err != nil || at == "" {
		t.Fatal(at, err)
	}
	leave()
}

// large is an action with a window of 2 MiB that others have, too, and so large a
// scratch that it is on disk.
func large() Action {
	return Action{Inputs: []Input{{Role: "a", Window: graph.RequestInput{Format: graph.NPY}, Spec: graph.VarSpec{Name: "a", DType: graph.Uint8},
		Values: make([]byte, 2<<20), Digest: graph.Sum([]byte("window"))}}, Limits: graph.Resources{Disk: graph.DefaultDisk + 1}}
}

func TestNoActionThatWaitsForDiskKeepsAWindowFromIt(t *testing.T) {
	t.Parallel()
	s, _ := newTestStaging(t, 8<<20, graph.DefaultDisk+1<<20) // less than scratch and window
	x := &Executor{staging: s}
	for range 2 { // the second is shown the window that it has in common with the first
		a, st := large(), &staged{}
		if err := x.makeRoom(t.Context(), st, &a); err != nil {
			t.Fatal(err)
		}
		if len(st.shared) != 0 {
			t.Error("a window is on disk, where there is no room for it and the scratch")
		}
		st.remove()
	}
	if !s.memory.TryAcquire(8<<20) || !s.disk.TryAcquire(s.conf.Disk) {
		t.Error("room is not given back")
	}
}

func TestAnActionThatNoDiskCanHoldWaitsForMemory(t *testing.T) {
	t.Parallel()
	s, _ := newTestStaging(t, 3<<20, 4<<20)
	x := &Executor{staging: s}
	action := func() (Action, *staged) {
		a := large()
		a.Limits.Disk, a.OwnWindows = graph.DefaultDisk, true
		return a, &staged{}
	}
	a, first := action()
	if err := x.makeRoom(t.Context(), first, &a); err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	b, second := action()
	if err := x.makeRoom(soon, second, &b); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it did not wait: %v", err)
	}
	second.remove()
	got := make(chan error)
	go func() { got <- x.makeRoom(t.Context(), second, &b) }()
	first.remove()
	if err := <-got; err != nil {
		t.Error(err)
	}
	second.remove()
	if !s.memory.TryAcquire(3<<20) || !s.disk.TryAcquire(4<<20) {
		t.Error("room is not given back")
	}
}

func TestWhatAnActionTakesOfDiskIsKnownBeforehand(t *testing.T) {
	t.Parallel()
	const memory, disk = 1 << 20, 1 << 40
	grids := map[string]graph.RequestOutput{"a": {Kind: graph.Static, DType: graph.Float32, Shape: []int64{100, 100}}}
	for name, a := range map[string]Action{
		"all in memory":   {Outputs: grids, Inputs: []Input{{Values: make([]byte, 1000)}}},
		"a large window":  {Outputs: grids, Inputs: []Input{{Values: make([]byte, memory)}}},
		"a large output":  {Outputs: map[string]graph.RequestOutput{"a": {Kind: graph.Static, DType: graph.Float32, Shape: []int64{1000, 1000}}}},
		"a file":          {Outputs: map[string]graph.RequestOutput{"a": {Kind: graph.File}}},
		"a large scratch": {Outputs: grids, Limits: graph.Resources{Disk: graph.DefaultDisk + 1}},
	} {
		s, _ := newTestStaging(t, memory, disk)
		a.Limits.Disk = cmp.Or(a.Limits.Disk, graph.DefaultDisk)
		if err := (&Executor{staging: s}).makeRoom(t.Context(), &staged{}, &a); err != nil {
			t.Fatal(err)
		}
		left := disk - OnDisk(a, memory)
		if s.disk.TryAcquire(left+1) || !s.disk.TryAcquire(left) {
			t.Errorf("%s: it took another amount of disk than %d", name, disk-left)
		}
	}
}
