package cli

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cubebuild/cube/tests/program"
)

// held is when a producer had what there is one of, by its own clock, in
// nanoseconds.
type held struct {
	build    int
	from, to int64
}

// Builds of different workspaces share what a machine has: two that need the one
// licence at once never have it at the same time, on whichever backend, and each
// comes to its end.
func TestTwoBuildsNeverHaveTheOneLicenceAtOnce(t *testing.T) {
	t.Parallel()
	cube, err := program.Path()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	env, err := program.Environment(dir)
	if err != nil {
		t.Fatal(err)
	}
	env = append(env, "PATH="+os.Getenv("PATH"), "NO_COLOR=1")
	backends := []string{"thread", "process"}
	logs := make([]string, len(backends))
	command := func(i int, args ...string) (string, error) {
		c := exec.Command(cube, args...)
		c.Dir, c.Env = filepath.Join(dir, fmt.Sprint("workspace", i)), env
		out, err := c.CombinedOutput()
		return string(out), err
	}
	for i := range backends {
		work := filepath.Join(dir, fmt.Sprint("workspace", i))
		program.Copy(t, "tests/workspaces/trouble", work)
		licensed(t, filepath.Join(work, "cube.yaml"))
		if out, err := command(i, "build", "ground"); err != nil { // the image is there, so that both begin at once
			t.Fatalf("%v: %s", err, out)
		}
	}
	var wait sync.WaitGroup
	for i, backend := range backends {
		wait.Go(func() {
			out, err := command(i, "build", "field", "-j", "2", "--backend", backend, "--set", "producers.field.params.do=hold:20")
			if err == nil {
				logs[i], err = command(i, "log", "field")
			}
			if err != nil {
				t.Errorf("%s: %v: %s", backend, err, out)
			}
		})
	}
	wait.Wait()
	var all []held
	for i, log := range logs {
		for line := range strings.Lines(log) {
			h := held{build: i}
			if _, after, ok := strings.Cut(line, "held "); ok {
				if _, err := fmt.Sscan(after, &h.from, &h.to); err != nil {
					t.Fatalf("%v: %s", err, line)
				}
				all = append(all, h)
			}
		}
	}
	const tiles = 8
	if len(all) != tiles*len(backends) {
		t.Fatalf("%d actions had the licence, want %d:\n%s", len(all), tiles*len(backends), strings.Join(logs, "\n"))
	}
	slices.SortFunc(all, func(a, b held) int { return cmp.Compare(a.from, b.from) })
	for i := range all[1:] {
		if a, b := all[i], all[i+1]; b.from < a.to {
			t.Errorf("build %d had it until %d, and build %d from %d on", a.build, a.to, b.build, b.from)
		}
	}
}

// licensed has field need the one licence, and be of eight tiles.
func licensed(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(
		"tiles: 8", "tiles: 4\nbackend: {tokens: {licence: 1}}",
		"field: ./producers/field", "field: {image: ./producers/field, limits: {tokens: {licence: 1}}}").Replace(string(b))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
