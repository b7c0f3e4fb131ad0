package cube

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cubebuild/cube/graph"
)

func TestACheckpointStaysUntilItIsDroppedAndThenBeginsEmpty(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(Create(dir))
	open := func() *Cube {
		c, err := Open(dir, Config{NoSync: true})
		must(err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	c, id := open(), graph.Sum([]byte("a"))
	at, err := c.Checkpoint(id)
	must(err)
	must(os.WriteFile(filepath.Join(at, "state"), []byte("1"), 0o644))
	must(os.MkdirAll(filepath.Join(at, "closed"), 0o500))

	again, err := open().Checkpoint(id)
	must(err)
	if _, err := os.Stat(filepath.Join(again, "state")); err != nil || again != at {
		t.Errorf("another process finds %s: %v", again, err)
	}
	must(c.DropCheckpoint(id))
	must(c.DropCheckpoint(id))
	if c.HasCheckpoint(id) {
		t.Error("dropped, and still there")
	}
	at, err = c.Checkpoint(id)
	must(err)
	if left, err := os.ReadDir(at); err != nil || len(left) != 0 {
		t.Errorf("a new one holds %v, %v", left, err)
	}
}

func TestAnInterruptedRemovalIsFinishedAndWhatNobodyWantsIsCollected(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Create(dir); err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir, Config{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	kept, lost := graph.Sum([]byte("kept")), graph.Sum([]byte("lost"))
	for _, id := range []graph.Digest{kept, lost} {
		if _, err := c.Checkpoint(id); err != nil {
			t.Fatal(err)
		}
	}
	gone := c.Path("checkpoints", lost.Hex()+".X"+goneSuffix)
	if err := os.MkdirAll(filepath.Join(gone, "more"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, err := c.CollectCheckpoints(func(id graph.ActionID, changed time.Time) (bool, error) {
		return id == kept && !changed.IsZero(), nil
	})
	if err != nil || n != 1 || !c.HasCheckpoint(kept) || c.HasCheckpoint(lost) {
		t.Errorf("%d collected, %v", n, err)
	}
	if _, err := os.Lstat(gone); !os.IsNotExist(err) {
		t.Errorf("swept, and still there: %v", err)
	}
}
