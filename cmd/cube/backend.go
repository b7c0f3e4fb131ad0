package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/graph/solve/process"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/project"
)

// The backends of this machine.
const (
	serial  = "serial"  // one action after the other
	apart   = "process" // in worker processes
	nowhere = ""        // as cube.yaml says
)

// backend runs the actions of a build. It makes nothing before there is one to
// run.
type backend struct {
	solve.Backend
	kind    string
	endIdle func() // the containers that wait for another action
	close   func() error
}

// checkBackend refuses what is no backend.
func checkBackend(kind string) error {
	if kind == nowhere || slices.Contains(config.Backends, kind) {
		return nil
	}
	return &usageError{fmt.Errorf("there is no backend %s: write one of %s", kind, strings.Join(config.Backends, ", "))}
}

// backend makes the backend of a kind, or the one that cube.yaml asks for, for so
// many actions at once. The caller closes it when the build has ended.
func (a *app) backend(p *project.Project, kind string, workers int) (*backend, error) {
	if kind == nowhere {
		kind = p.File.Backend.Kind
	}
	if kind != apart {
		b := lazyBackend{p.Executor}
		return &backend{b, kind, b.endIdle, func() error { return nil }}, nil
	}
	cache, err := a.cacheDir()
	if err != nil {
		return nil, err
	}
	b := process.New(process.Config{State: filepath.Join(cache, "sandbox"), Stage: p.Stage, Memory: p.File.Staging.Memory, Disk: p.File.Staging.Disk,
		Workers: workers, Program: a.env("CUBE_NODE"), Init: a.env("CUBE_WORKER")})
	return &backend{b, kind, b.EndIdle, b.Close}, nil
}

// lazyBackend makes the sandbox when the first action needs one.
type lazyBackend struct {
	executor func(context.Context) (*containers.Executor, error)
}

func (b lazyBackend) Run(ctx context.Context, action containers.Action) (*containers.Result, error) {
	x, err := b.executor(ctx)
	if err != nil {
		return nil, err
	}
	return x.Run(ctx, action)
}

// endIdle is for when actions ran: the sandbox is made.
func (b lazyBackend) endIdle() {
	if x, err := b.executor(context.Background()); err == nil {
		x.EndIdle()
	}
}
