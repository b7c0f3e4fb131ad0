//go:build linux

package native_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native"
)

// beEngine runs two payloads that do what they can to survive, one of them
// serving requests, says so, and waits to be killed.
func beEngine(dir string) {
	if err := buildAll(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	r, err := native.New(native.Config{StateDir: dir, Worker: built.worker})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	spec := containers.Spec{
		Layers: []string{built.image}, Args: []string{"/probe", "survive", filepath.Base(dir)}, Stdout: os.Stdout,
		Limits: containers.Limits{Memory: 1 << 30, PIDs: 100, CPUs: 1},
	}
	go r.Run(context.Background(), spec)
	s, err := r.Start(context.Background(), spec)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go s.Serve(context.Background(), spec)
	time.Sleep(5 * time.Minute) // a machine that is busy may take long to start both
}

func TestSandboxesDieWithTheirEngine(t *testing.T) {
	build(t)
	for name, kill := range map[string]func(pid int) error{
		"killed alone":          func(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) },
		"killed with its group": func(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), fmt.Sprintf("engine-%d-%d", os.Getpid(), time.Now().UnixNano()))
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), engineVariable+"="+dir, builtVariable+"="+built.dir)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			for range 2 {
				if !lines.Scan() || lines.Text() != "running" {
					t.Fatalf("the engine says %q", lines.Text())
				}
			}
			token := filepath.Base(dir)
			if n := processesWith(t, token); n < 8 { // each payload and three more
				t.Errorf("%d processes while it runs", n)
			}
			if err := kill(cmd.Process.Pid); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			waitFor(t, "processes of the dead engine to end", func() bool { return processesWith(t, token) == 0 })
			part := fmt.Sprintf("-%d-", cmd.Process.Pid)
			newRunner(t, native.Config{StateDir: dir})
			waitFor(t, "cgroups of the dead engine to go", func() bool { return len(leaves(part)) == 0 })
		})
	}
}

// processesWith counts the processes whose command line holds the token.
func processesWith(t *testing.T, token string) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(token)) && strings.HasPrefix(string(b), "/probe") {
			n++
		}
	}
	return n
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for start := time.Now(); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestLeavesOfTheLivingAreNotSwept(t *testing.T) {
	first := newRunner(t, native.Config{})
	done := make(chan struct{})
	spec := probe(t, "sleep")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		if exit, err := first.Run(ctx, spec); err == nil {
			t.Errorf("it ended: %v", exit)
		}
	}()
	part := fmt.Sprintf("-%d-", os.Getpid())
	time.Sleep(100 * time.Millisecond)
	before := leaves(part)
	newRunner(t, native.Config{Spares: -1})
	if after := leaves(part); len(after) < len(before) {
		t.Errorf("before %v, after %v", before, after)
	}
	cancel()
	<-done
}
