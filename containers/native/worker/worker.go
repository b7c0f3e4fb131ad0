// Package worker holds cube-worker, the small static program that the native
// sandbox starts as its first process.
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
)

//go:embed bin
var built embed.FS

// command is the import path of the program.
const command = "github.com/cubebuild/cube/cmd/cube-worker"

// ErrAbsent is returned where the program is neither embedded nor can be built.
var ErrAbsent = errors.New("cube-worker is not embedded in this program")

// Bytes returns the program: the one that was embedded when this program was
// built or, without one (in a test run by go test), the one that the Go
// toolchain builds from the sources around the working directory.
func Bytes(ctx context.Context) ([]byte, error) {
	if b, err := built.ReadFile("bin/cube-worker"); err == nil {
		return b, nil
	}
	b, err := Build(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: build it: %w", ErrAbsent, err)
	}
	return b, nil
}

// Build builds the program with the Go toolchain from the sources of the module
// that the working directory is in.
func Build(ctx context.Context) ([]byte, error) {
	dir, err := os.MkdirTemp("", "cube-worker-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "cube-worker")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, command)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if output, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build %s: %w: %s", command, err, bytes.TrimSpace(output))
	}
	return os.ReadFile(out)
}
