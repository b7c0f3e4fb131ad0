//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// cost is what a process took from its start to its end.
type cost struct {
	wall time.Duration
	rss  int64 // its largest, in bytes
}

// ms is the time by the clock, in milliseconds.
func (c cost) ms() float64 { return milliseconds(c.wall) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// time runs a command in a folder and says what it cost. What it prints goes
// into a file, which an error quotes.
func (l *lab) time(ctx context.Context, dir string, argv ...string) (cost, error) {
	c, _, err := l.run(ctx, dir, l.env, argv...)
	return c, err
}

// run is time for a command whose output matters, too.
func (l *lab) run(ctx context.Context, dir string, env []string, argv ...string) (cost, string, error) {
	out, err := os.Create(l.path("output")) // one after the other
	if err != nil {
		return cost{}, "", err
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, out, out
	if err := forgetPeak(); err != nil {
		return cost{}, "", err
	}
	started := time.Now()
	err = cmd.Run()
	c := cost{wall: time.Since(started)}
	text, readErr := os.ReadFile(out.Name())
	if err != nil {
		return c, "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, tail(text))
	}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.rss = u.Maxrss << 10
	}
	return c, string(text), readErr
}

// forgetPeak has the most memory that this process ever had be what it has now:
// the kernel counts it as the children's, too (getrusage(2), proc_pid_clear_refs(5)).
func forgetPeak() error { return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// do runs a command whose time does not matter.
func (l *lab) do(ctx context.Context, dir string, argv ...string) error {
	_, err := l.time(ctx, dir, argv...)
	return err
}

func tail(text []byte) string {
	const most = 2000
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return strings.TrimSpace(string(text))
}

// find looks for a program, and says what is missing where it is not there.
func (l *lab) find(name, purpose string) (string, bool) {
	path, err := exec.LookPath(name)
	if err != nil {
		l.skip("%s: no %s here", purpose, name)
	}
	return path, err == nil
}
