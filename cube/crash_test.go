package cube

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// writeEnv has the test binary write to the cube that it names until it is
// killed.
const writeEnv = "CUBE_TEST_WRITE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writeEnv); dir != "" {
		if err := writeForEver(context.Background(), dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

var (
	crashTiling = grid.Tiling{Y: 8, X: 8}
	crashLayout = NewLayout(graph.VarSpec{Name: "dem"}.WithDefaults(), testGrid(0, 0, 40, 48, 0), crashTiling)
)

// crashValues are those of a tile in round n: it differs from round to round.
func crashValues(n int, tile grid.Tile) []byte {
	return floats(uint64(n)%5+uint64(tile.Y*100+tile.X), tile.Box.Cells())
}

// writeForEver does what builds do.
func writeForEver(ctx context.Context, dir string) error {
	c, err := Open(dir, Config{NoSync: true})
	if err != nil {
		return err
	}
	if _, err := c.Sweep(ctx); err != nil {
		return err
	}
	if _, err := c.Stage(); err != nil {
		return err
	}
	for n := int(time.Now().UnixNano() % 5); ; n++ {
		if err := writeOnce(ctx, c, n); err != nil {
			return err
		}
	}
}

func writeOnce(ctx context.Context, c *Cube, n int) error {
	b, err := c.NewBuilder(ctx, crashLayout)
	if err != nil {
		return err
	}
	for tile := range crashTiling.Tiles(crashLayout.Domain()) {
		key := graph.Sum(fmt.Append(nil, n%5, tile))
		value, ok, err := c.Results().Get(key)
		if err != nil {
			return err
		}
		if !ok {
			refs, err := c.PutTile(ctx, crashLayout, tile.Box, crashValues(n, tile))
			if err != nil {
				return err
			}
			if value, err = c.Results().Put(ctx, key, EncodeRefs(refs)); err != nil {
				return err
			}
		}
		refs, err := DecodeRefs(value)
		if err == nil {
			err = b.Set(ctx, tile.Box, refs)
		}
		if err != nil {
			return err
		}
		if n%11 == 0 {
			if err := c.Results().Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	v, err := b.Finish(ctx)
	if err != nil {
		return err
	}
	if err := c.Sync(ctx); err != nil {
		return err
	}
	variable := fmt.Sprint("dem", n%3)
	if err := c.MoveHeads(ctx, nil, []Head{{Variable: variable, Version: v.Digest(), Run: fmt.Sprint(n % 5)}}); err != nil {
		return err
	}
	return c.View(ctx)
}

func TestAfterKillTheCubeIsWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Create(dir); err != nil {
		t.Fatal(err)
	}
	shown := 0
	for round := 0; round < 20 || shown == 0; round++ { // a busy machine takes longer to move a head
		killWriters(t, dir, time.Duration(20+10*round)*time.Millisecond)
		shown = max(shown, checkWhole(t, dir, round))
	}
}

// killWriters lets two processes write and kills them.
func killWriters(t *testing.T, dir string, after time.Duration) {
	t.Helper()
	var stderr [2]bytes.Buffer
	var cmds []*exec.Cmd
	for i := range stderr {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), writeEnv+"="+dir)
		cmd.Stderr = &stderr[i]
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	time.Sleep(after)
	for _, cmd := range cmds {
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	for i, cmd := range cmds {
		_ = cmd.Wait()
		if stderr[i].Len() > 0 {
			t.Fatalf("a writer says %s", stderr[i].Bytes())
		}
	}
}

// checkWhole reopens the cube as the next build does and returns the number of
// heads.
func checkWhole(t *testing.T, dir string, round int) int {
	t.Helper()
	c, err := Open(dir, Config{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = c.Results().Range(t.Context(), func(_ graph.Digest, value []byte) error {
		refs, err := DecodeRefs(value)
		for _, r := range refs {
			if !c.Objects().Has(r.Object) {
				t.Fatalf("round %d: a result names what is not there", round)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.View(t.Context()); err != nil {
		t.Fatal(err)
	}
	heads, err := c.Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n, h := range heads {
		v, err := c.LoadVersion(t.Context(), h.Version)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.ReadWindow(t.Context(), v, crashLayout.Domain(), nil)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		var of int
		fmt.Sscan(h.Run, &of)
		for tile := range crashTiling.Tiles(crashLayout.Domain()) {
			if !bytes.Equal(cellsOf(crashLayout, got, tile.Box), crashValues(of, tile)) {
				t.Fatalf("round %d: head %s has other values in %s", round, n, tile.Box)
			}
		}
		if !bytes.Equal(readView(t, c, n), got) {
			t.Fatalf("round %d: the view of %s has other values than its head", round, n)
		}
	}
	_ = filepath.WalkDir(c.dir, func(path string, _ os.DirEntry, _ error) error {
		if rel, _ := filepath.Rel(c.dir, path); strings.Contains(rel, tempPrefix) || strings.Contains(rel, "staging/") || strings.Contains(rel, "temp/") {
			t.Errorf("round %d: left behind: %s", round, rel)
		}
		return nil
	})
	return len(heads)
}
