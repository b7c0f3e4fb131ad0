package catalog

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// childEnv makes the test binary a process that updates a catalog: it holds the
// catalog's path and how many actions there are.
const childEnv, countEnv = "CUBE_TEST_CATALOG", "CUBE_TEST_ACTIONS"

func TestMain(m *testing.M) {
	path := os.Getenv(childEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	n, _ := strconv.ParseInt(os.Getenv(countEnv), 10, 64)
	c := Open(path, Config{Sources: []Source{&counter{n: n}}})
	fmt.Println("ready")
	if _, err := c.Update(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child starts a process that updates the catalog at path to n actions.
func child(t *testing.T, path string, n int64) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+path, countEnv+"="+strconv.FormatInt(n, 10))
	cmd.Stderr = new(bytes.Buffer)
	must(t, cmd.Start())
	return cmd
}

func TestProcessesThatUpdateAtOnceAddEachRowOnce(t *testing.T) {
	t.Parallel()
	c := open(t, Config{Sources: []Source{&counter{n: 30000}}})
	must(t, os.MkdirAll(filepath.Dir(c.path), 0o755))
	var children []*exec.Cmd
	for i := range 4 {
		children = append(children, child(t, c.path, int64(i%2+1)*15000))
	}
	for _, cmd := range children {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, cmd.Stderr)
		}
	}
	if got := ask(t, c, "SELECT count(*), count(DISTINCT action) FROM actions"); got != "30000 30000" {
		t.Errorf("got %s", got)
	}
	alone(t, c)
}

func TestAKilledWriterLeavesACatalogThatIsWhole(t *testing.T) {
	t.Parallel()
	const rounds, each = 5, 20000
	c := open(t, Config{})
	must(t, os.MkdirAll(filepath.Dir(c.path), 0o755))
	took := time.Duration(0)
	for round := range int64(rounds) {
		start := time.Now()
		cmd := child(t, c.path, (round+1)*each)
		if round > 0 {
			time.Sleep(rand.N(took))
			cmd.Process.Kill()
		}
		err := cmd.Wait()
		if round == 0 {
			must(t, err)
			took = time.Since(start)
		}
		c := Open(c.path, Config{Sources: []Source{&counter{n: (round + 1) * each}}, Notice: func(s string) { t.Errorf("notice: %s", s) }})
		want := fmt.Sprint((round+1)*each, (round+1)*each)
		if _, err := c.Update(t.Context()); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if got := ask(t, c, "SELECT count(*), count(DISTINCT action) FROM actions"); got != want {
			t.Errorf("round %d: %s, want %s", round, got, want)
		}
		must(t, c.Close())
		alone(t, c)
	}
}
