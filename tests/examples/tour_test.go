package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cubebuild/cube/tests/program"
)

// TestTheTourOfTheReadmeWorks runs every block that README.md marks as
// `sh tour`, one after the other, in one shell.
func TestTheTourOfTheReadmeWorks(t *testing.T) {
	t.Parallel()
	root, err := program.Root()
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(readme), "```sh tour\n")[1:]
	if len(blocks) < 5 {
		t.Fatalf("README.md has %d blocks of the tour", len(blocks))
	}
	script := "set -eux\n"
	for _, b := range blocks {
		block, _, closed := strings.Cut(b, "```")
		if !closed {
			t.Fatal("a block of the tour has no end")
		}
		script += block
	}
	cube, err := program.Path()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	env, err := program.Environment(dir)
	if err != nil {
		t.Fatal(err)
	}
	tools := filepath.Join(dir, "tools")
	if err := os.Mkdir(tools, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(cube, filepath.Join(tools, "cube")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(env, "PATH="+tools+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, file := range []string{"slope.png", "plan.svg", "slope.zarr/zarr.json", "cube.lock"} {
		if _, err := os.Stat(filepath.Join(dir, "hills", file)); err != nil {
			t.Errorf("the tour leaves no %s", file)
		}
	}
	if n := strings.Count(string(out), "nothing to do"); n < 2 {
		t.Errorf("%d builds had nothing to do, want 2 at least:\n%s", n, out)
	}
}
