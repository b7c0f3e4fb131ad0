//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// dockerImage is what the payload is called in Docker.
const dockerImage = "cube-bench"

// docker is a daemon of our own: its data, its socket, and no network.
type docker struct {
	client, socket string
	group          string // the parent of its containers' cgroups
	daemon         *exec.Cmd
	log            bytes.Buffer
	done           chan error
}

// startDocker starts a daemon and gives it the root directory as an image. It
// returns false where the machine has no Docker or does not allow one.
func startDocker(ctx context.Context, l *lab, root string) (*docker, bool, error) {
	const what = "actions beside docker run"
	if os.Geteuid() != 0 {
		l.skip("%s: dockerd wants root", what)
		return nil, false, nil
	}
	server, ok := l.find("dockerd", what)
	if !ok {
		return nil, false, nil
	}
	client, ok := l.find("docker", what)
	if !ok {
		return nil, false, nil
	}
	dir := l.path("docker")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, false, err
	}
	d := &docker{client: client, socket: "unix://" + filepath.Join(dir, "socket"), done: make(chan error, 1),
		group: "cube-bench-" + strconv.Itoa(os.Getpid())}
	d.daemon = exec.Command(server, "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "-H", d.socket, "--bridge=none", "--iptables=false", "--cgroup-parent", "/"+d.group)
	d.daemon.Stdout, d.daemon.Stderr = &d.log, &d.log
	// A signal to the terminal's group is for us; the daemon is stopped in order.
	d.daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.daemon.Start(); err != nil {
		return nil, false, fmt.Errorf("start dockerd: %w", err)
	}
	go func() { d.done <- d.daemon.Wait() }()
	if err := d.ready(ctx, l); err != nil {
		l.skip("%s: dockerd does not start here: %v", what, err)
		return nil, false, d.stop()
	}
	if err := d.load(ctx, root); err != nil {
		return nil, false, errors.Join(err, d.stop())
	}
	return d, true, nil
}

func (d *docker) ready(ctx context.Context, l *lab) error {
	deadline := time.Now().Add(time.Minute)
	for {
		err := l.do(ctx, l.dir, d.client, "-H", d.socket, "version")
		if err == nil || ctx.Err() != nil {
			return context.Cause(ctx)
		}
		select {
		case end := <-d.done:
			d.done <- end
			return fmt.Errorf("it ended: %w: %s", end, tail(d.log.Bytes()))
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// load makes an image of a root directory.
func (d *docker) load(ctx context.Context, root string) error {
	tar := exec.CommandContext(ctx, "tar", "-C", root, "-cf", "-", ".")
	load := exec.CommandContext(ctx, d.client, "-H", d.socket, "import", "--change", "CMD [\"/producer\"]", "-", dockerImage)
	var err error
	if load.Stdin, err = tar.StdoutPipe(); err != nil {
		return err
	}
	if err := tar.Start(); err != nil {
		return err
	}
	if out, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("docker import: %w: %s", err, out)
	}
	return tar.Wait()
}

// run is the payload with an action's mounts.
func (d *docker) run(p *payload) []string {
	return []string{d.client, "-H", d.socket, "run", "--rm", "--network", "none", "--read-only", "--user", "65534:65534", "--cap-drop", "ALL",
		"-v", p.request + ":/cube/request.json:ro", "-v", p.in + ":/cube/in:ro",
		"--tmpfs", "/cube/out", "--tmpfs", "/cube/scratch", "--tmpfs", "/tmp", "-w", "/cube/scratch", dockerImage}
}

// stop ends the daemon, waits for its end and removes the cgroups it leaves.
func (d *docker) stop() error {
	if err := d.daemon.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop dockerd: %w", err)
	}
	select {
	case <-d.done:
		return d.removeGroups()
	case <-time.After(30 * time.Second):
		return errors.Join(errors.New("dockerd did not stop within 30 s"), d.daemon.Process.Kill())
	}
}

// removeGroups removes the cgroups of the daemon's containers, which are empty.
func (d *docker) removeGroups() error {
	var errs []error
	for _, pattern := range []string{"/sys/fs/cgroup/" + d.group, "/sys/fs/cgroup/*/" + d.group} {
		dirs, err := filepath.Glob(pattern)
		errs = append(errs, err)
		for _, dir := range dirs {
			errs = append(errs, os.Remove(dir))
		}
	}
	return errors.Join(errs...)
}
