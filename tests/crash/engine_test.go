package crash

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cubebuild/cube/tests/program"
)

// engine is a running program, alone with what it starts in a process group.
type engine struct {
	cmd  *exec.Cmd
	self process
	log  string
	done chan struct{} // closed when it has ended
}

var (
	engines atomic.Int64
	started sync.Map // by process id
)

// start starts the program in the workspace. What it starts is killed with the
// test.
func (w *workspace) start(args ...string) *engine {
	w.t.Helper()
	log := filepath.Join(w.logs, strconv.FormatInt(engines.Add(1), 10))
	e, err := startEngine(w.home, w.dir, log, args...)
	w.must(err)
	w.t.Cleanup(func() {
		e.signal(syscall.SIGKILL)
		<-e.done
	})
	return e
}

// home is how the program runs.
type home struct {
	program string // "": what program.Path says
	env     []string
	user    *syscall.Credential // nil: as this process
}

func startEngine(h home, dir, log string, args ...string) (*engine, error) {
	if h.program == "" {
		var err error
		if h.program, err = program.Path(); err != nil {
			return nil, err
		}
	}
	// A file, not a pipe: nothing waits for whoever inherits it.
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.Command(h.program, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, h.env, f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: h.user}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	started.Store(cmd.Process.Pid, true)
	e := &engine{cmd: cmd, log: log, done: make(chan struct{})}
	e.self, _ = readProcess(cmd.Process.Pid) // nobody has waited for it yet
	go func() {
		_ = cmd.Wait()
		close(e.done)
	}()
	return e, nil
}

// readable is a copy of the program where everybody can run it.
var readable = sync.OnceValues(func() (string, error) {
	cube, err := program.Path()
	if err != nil {
		return "", err
	}
	shared, err := warm()
	if err != nil {
		return "", err
	}
	to := filepath.Join(shared, "cube")
	if out, err := exec.Command("install", "-m", "755", cube, to).CombinedOutput(); err != nil {
		return "", fmt.Errorf("copy the program: %w: %s", err, out)
	}
	return to, nil
})

func (e *engine) pid() int { return e.cmd.Process.Pid }

// signal sends a signal to the whole process group, as a terminal does. It does
// nothing once the program has ended: the group's number may be another's then.
func (e *engine) signal(s syscall.Signal) {
	if !e.ended() {
		_ = syscall.Kill(-e.pid(), s)
	}
}

// signalAlone sends a signal to the program and nothing that it started.
func (e *engine) signalAlone(s syscall.Signal) { _ = e.cmd.Process.Signal(s) }

// wait waits for the end and returns the exit code, −1 after a signal.
func (e *engine) wait() int {
	<-e.done
	return e.cmd.ProcessState.ExitCode()
}

func (e *engine) ended() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// output is what it has printed so far.
func (e *engine) output() string {
	b, _ := os.ReadFile(e.log)
	return string(b)
}

// until waits for something to be so, or for the program's end.
func (e *engine) until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !so(); time.Sleep(2 * time.Millisecond) {
		if e.ended() && !so() {
			t.Fatalf("it ended (%v) before %s:\n%s", e.cmd.ProcessState, what, e.output())
		}
		if time.Now().After(end) {
			t.Fatalf("two minutes went by before %s:\n%s", what, e.output())
		}
	}
}

// soon waits for something to be so, but not for long.
func soon(limit time.Duration, so func() bool) bool {
	for end := time.Now().Add(limit); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return so()
		}
	}
	return true
}

// counter counts the actions that are on record, as they come in.
type counter struct {
	w    *workspace
	size map[string]int64 // that was read, by file
	n    int
}

func (c *counter) count() int {
	files, _ := filepath.Glob(c.w.path(".cube", "runs", "*", "actions.ndjson"))
	if c.size == nil {
		c.size = map[string]int64{}
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		c.read(f)
		f.Close()
	}
	return c.n
}

func (c *counter) read(f *os.File) {
	buf := make([]byte, 64<<10)
	for {
		n, err := f.ReadAt(buf, c.size[f.Name()])
		for _, b := range buf[:n] {
			if b == '\n' {
				c.n++
			}
		}
		c.size[f.Name()] += int64(n)
		if err != nil || n == 0 {
			return
		}
	}
}

// hasHeads reports whether the cube shows anything.
func (w *workspace) hasHeads() bool {
	_, err := os.Stat(w.path(".cube", "heads"))
	return !errors.Is(err, os.ErrNotExist)
}
