package live_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/live"
)

func vertex() *graph.Vertex {
	return &graph.Vertex{Name: "slope", Box: grid.Box{Y: grid.Range{Hi: 1}, X: grid.Range{Hi: 200}}, Tiling: grid.Tiling{Y: 1, X: 1}}
}

// until waits for something that another goroutine brings about.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 500 {
		if is() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func TestABuildIsSeenWhileItGoesOnAndNoLonger(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "live")
	see := func() []live.Build {
		all, err := live.Builds(dir)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if n := len(see()); n != 0 {
		t.Errorf("%d builds where there is none", n)
	}
	p := live.Publish(dir, live.Build{Run: "r1", Started: time.Now(), Targets: []string{"slope"}})
	v := vertex()
	p.Event(solve.Planned{Plan: &graph.Plan{}, Tiles: 200})
	for i := range int64(100) {
		p.Event(solve.Started{Vertex: v, Tile: grid.Tile{X: i, Box: grid.Box{Y: grid.Range{Hi: 1}, X: grid.Range{Lo: i, Hi: i + 1}}}, Attempt: 1, Time: time.Now()})
	}
	p.Event(solve.TileDone{Vertex: v, Tile: grid.Tile{Box: grid.Box{Y: grid.Range{Hi: 1}, X: grid.Range{Hi: 1}}}, Outcome: solve.Ran})
	until(t, "it is told", func() bool { b := see(); return len(b) == 1 && b[0].Ran == 1 })
	b := see()[0]
	if b.PID != os.Getpid() || b.Tiles != 200 || b.Done != 1 || len(b.Actions) != live.MaxActions || b.More != 99-live.MaxActions {
		t.Errorf("%+v", b)
	}
	p.Close()
	if n := len(see()); n != 0 {
		t.Errorf("%d builds afterwards", n)
	}
	if left, err := os.ReadDir(dir); len(left) != 0 || err != nil {
		t.Errorf("left: %v %v", left, err)
	}
}

func TestABuildWithNothingToDoTellsNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "live")
	p := live.Publish(dir, live.Build{Run: "r1"})
	p.Event(solve.VertexDone{Vertex: vertex(), Known: true})
	p.Event(solve.Planned{Plan: &graph.Plan{}})
	p.Close()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Error(err)
	}
}

// TestABuildThatIsKilled is run by the test below in a process of its own.
func TestABuildThatIsKilled(t *testing.T) {
	dir := os.Getenv("LIVE_DIR")
	if dir == "" {
		return
	}
	p := live.Publish(dir, live.Build{Run: "r1", Started: time.Now()})
	p.Event(solve.Planned{Plan: &graph.Plan{}, Tiles: 1})
	time.Sleep(time.Minute)
}

func TestAKilledBuildIsNotSeenAndIsSwept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "live")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestABuildThatIsKilled$")
	cmd.Env = append(os.Environ(), "LIVE_DIR="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "it is told", func() bool { b, err := live.Builds(dir); return err == nil && len(b) == 1 })
	if err := live.Sweep(dir, nil); err != nil {
		t.Fatal(err)
	}
	if b, err := live.Builds(dir); err != nil || len(b) != 1 {
		t.Fatalf("it is swept while it goes on: %v %v", b, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if b, err := live.Builds(dir); err != nil || len(b) != 0 {
		t.Errorf("it is still seen: %v %v", b, err)
	}
	if left, _ := os.ReadDir(dir); len(left) == 0 {
		t.Error("nothing is there to be swept")
	}
	gone := ""
	if err := live.Sweep(dir, func(run string) { gone += run }); err != nil {
		t.Fatal(err)
	}
	if gone != "r1" {
		t.Errorf("gone are %q", gone)
	}
	if left, err := os.ReadDir(dir); len(left) != 0 || err != nil {
		t.Errorf("left: %v %v", left, err)
	}
}

func FuzzWhatIsToldIsReadOrPassedOver(f *testing.F) {
	f.Add([]byte(`{"version":1,"run":"r1","actions":[{"state":"running"}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"run":"r1","tiles":1e99}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "r1.json"), data, 0o666); err != nil {
			t.Fatal(err)
		}
		lock, err := os.Create(filepath.Join(dir, "r1.lock"))
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Close()
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		if b, err := live.Builds(dir); err != nil || len(b) > 1 || len(b) == 1 && b[0].Run != "r1" {
			t.Errorf("%v %v", b, err)
		}
	})
}
