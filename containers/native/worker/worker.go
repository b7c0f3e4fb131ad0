//go:build linux

// Package worker holds the small static programs that cube starts: the first
// process of a native sandbox, and the worker of the process backend.
package worker

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

//go:embed bin
var built embed.FS

// The programs.
const (
	Init = "cube-worker" // the first process of a sandbox
	Node = "cube-node"   // runs actions for an engine
)

// commands is where the programs' sources are.
const commands = "github.com/cubebuild/cube/cmd/"

// ErrAbsent is returned where a program is neither embedded nor can be built.
var ErrAbsent = errors.New("it is not embedded in this program")

// Bytes returns a program: the one that was embedded when this program was
// built or, without one (in a test run by go test), the one that the Go
// toolchain builds from the sources around the working directory.
func Bytes(ctx context.Context, name string) ([]byte, error) {
	if b, err := built.ReadFile("bin/" + name); err == nil {
		return b, nil
	}
	b, err := Build(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: build it: %w", name, ErrAbsent, err)
	}
	return b, nil
}

// Build builds a program with the Go toolchain from the sources of the module
// that the working directory is in.
func Build(ctx context.Context, name string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "cube-worker-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, commands+name)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if output, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build %s: %w: %s", commands+name, err, bytes.TrimSpace(output))
	}
	return os.ReadFile(out)
}

// Open opens the file at path or, where that is empty, puts the program into a
// sealed file in memory, which nobody can change and which no path leads to. It
// is started as /proc/self/fd/N.
func Open(ctx context.Context, name, path string) (*os.File, error) {
	if path != "" {
		return os.Open(path)
	}
	program, err := Bytes(ctx, name)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make memory file: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(program); err != nil {
		f.Close()
		return nil, fmt.Errorf("write memory file: %w", err)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, fmt.Errorf("seal memory file: %w", err)
	}
	return f, nil
}
