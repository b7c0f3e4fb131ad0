package images

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cubebuild/cube/internal/peers"
)

// batched is a script that a test has served.
type batched struct {
	t        *testing.T
	cmd      *exec.Cmd
	requests io.WriteCloser
	answers  *os.File
	out      bytes.Buffer
}

// startServing starts a Python as a container does.
func startServing(t *testing.T, dir string, env string, args ...string) *batched {
	t.Helper()
	b := &batched{t: t}
	b.cmd = exec.CommandContext(t.Context(), peers.Python(t), args...)
	b.cmd.Dir = dir
	b.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "PYTHONHASHSEED=0", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1", env}
	module, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	b.cmd.Env = append(b.cmd.Env, "PYTHONPATH="+module)
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.out
	answers, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	b.answers, b.cmd.ExtraFiles = answers, []*os.File{to}
	if b.requests, err = b.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	to.Close()
	t.Cleanup(func() { answers.Close() })
	return b
}

// ask sends a request and returns the answer.
func (b *batched) ask() string {
	b.t.Helper()
	if _, err := io.WriteString(b.requests, "run\n"); err != nil {
		b.t.Fatal(err)
	}
	line := make([]byte, 16)
	n, err := b.answers.Read(line)
	if err != nil {
		b.t.Fatalf("no answer: %v", err)
	}
	return string(line[:n])
}

// end ends the input, and returns what was printed and the exit code.
func (b *batched) end() (string, int) {
	b.requests.Close()
	err := b.cmd.Wait()
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		b.t.Fatal(err)
	}
	return b.out.String(), b.cmd.ProcessState.ExitCode()
}

const tileScript = `
import atexit, os, sys, signal
import steps
steps.count += 1
if __name__ != "__main__": raise Exception(__name__)
what = open("what").read().split()
print("tile", steps.count, sys.argv[1:], "preloaded" if steps.preloaded else "", os.read(0, 1))
atexit.register(print, "at its end")
if what[0] == "exit": sys.exit(int(what[1]))
if what[0] == "words": sys.exit("it went wrong")
if what[0] == "raise": raise ValueError("no such cell")
if what[0] == "kill": os.kill(os.getpid(), signal.SIGKILL)
if what[0] == "end": # the one that waits for the next tile
    waiting = []
    while not waiting:
        waiting = [int(p) for p in open(f"/proc/{os.getppid()}/task/{os.getppid()}/children").read().split() if int(p) != os.getpid()]
    os.kill(waiting[0], signal.SIGKILL)
    while open(f"/proc/{waiting[0]}/stat").read().rpartition(")")[2].split()[0] != "Z": pass
if what[0] == "close": os.closerange(3, 1000)
if what[0] in ("spawn", "orphan") and os.fork() == 0: signal.pause()
if what[0] == "orphan": os.kill(os.getpid(), signal.SIGKILL)
if what[0] == "answers":
    try: os.write(3, b"1\n")
    except OSError as e: print("descriptor 3:", e.strerror)
`

func TestTheForkServerGivesEachTileAProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"app/main.py": tileScript, "app/steps.py": "import sys\ncount = 0\npreloaded = 'cube_serve' in sys.modules or '__main__' in sys.modules and hasattr(sys.modules['__main__'], 'serve')\n"})
	b := startServing(t, dir, "CUBE_SERVE=1", "-m", "cube_serve", "--preload", "json,steps", "app/main.py", "one", "two")
	for _, c := range []struct{ what, answer string }{
		{"nothing", "0\n"}, {"exit 65", "65\n"}, {"nothing", "0\n"}, {"exit 300", "44\n"}, {"words", "1\n"},
		{"raise", "1\n"}, {"kill", "137\n"}, {"spawn", "0\n"}, {"answers", "0\n"}, {"end", "0\n"}, {"nothing", "0\n"},
		{"close", "0\n"}, {"orphan", "137\n"}, {"nothing", "0\n"},
	} {
		write(t, dir, map[string]string{"what": c.what})
		if got := b.ask(); got != c.answer {
			t.Errorf("%s: it answers %q, want %q", c.what, got, c.answer)
		}
	}
	out, code := b.end()
	if code != 0 {
		t.Errorf("it ended with %d", code)
	}
	if n := strings.Count(out, "tile 1 ['one', 'two'] preloaded b''\n"); n != 14 {
		t.Errorf("%d of 14 tiles ran as the first of their process:\n%s", n, out)
	}
	for _, want := range []string{"it went wrong\n", "ValueError: no such cell\n", "descriptor 3: Bad file descriptor\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
	if n := strings.Count(out, "at its end\n"); n != 12 { // all but those that were killed
		t.Errorf("%d of 12 processes ended as they would alone:\n%s", n, out)
	}
}

const loopScript = `
import os, sys
from cube_serve import serve
count = 0
def tile():
    global count
    count += 1
    os.chdir("/")
    print("tile", count)
    if count == 2: sys.exit(65)
    if count == 3: raise ValueError("no such cell")
serve(tile)
`

func TestTheLoopServesAllTilesInOneProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"main.py": loopScript})
	b := startServing(t, dir, "CUBE_SERVE=1", "main.py")
	for i, want := range []string{"0\n", "65\n", "1\n", "0\n"} {
		if got := b.ask(); got != want {
			t.Errorf("tile %d: it answers %q, want %q", i+1, got, want)
		}
	}
	out, code := b.end()
	if code != 0 || !strings.Contains(out, "tile 4\n") || !strings.Contains(out, "no such cell") {
		t.Errorf("%d:\n%s", code, out)
	}
}

func TestWithoutABatchAScriptRunsOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"loop.py": loopScript, "app/main.py": tileScript, "app/steps.py": "count = 0\npreloaded = True\n", "what": "exit 65"})
	for args, want := range map[string]int{"loop.py": 0, "-m cube_serve app/main.py": 65} {
		out, code := startServing(t, dir, "A=1", strings.Fields(args)...).end()
		if code != want || !strings.Contains(out, "tile 1") {
			t.Errorf("%s: it ends with %d, want %d:\n%s", args, code, want, out)
		}
	}
}

func TestAModuleToServeNeedsAPython(t *testing.T) {
	t.Parallel()
	r := Recipe{Serve: true, Debs: []string{"libc6"}, Command: []string{"/x"}}
	if err := r.Validate(); err == nil || !strings.Contains(fmt.Sprint(err), "needs one among debs") {
		t.Error(err)
	}
}
