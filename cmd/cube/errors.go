package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/cas"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/images"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/project"
	"github.com/cubebuild/cube/internal/yamlfile"
	"github.com/cubebuild/cube/lineage"
)

// The exit codes; rootLong documents them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitPartial     = 3
	exitLocked      = 4
	exitRefused     = 5
	exitInterrupted = 130
)

// usageError is a mistake in the command line.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// exitError has an exit code of its own. Where Err is nil everything has been
// said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return fmt.Sprint(e.err) }
func (e *exitError) Unwrap() error { return e.err }

// report prints an error with what can be done about it, and returns the exit
// code.
func (a *app) report(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	err = a.place(ctx, err)
	code := exitCode(ctx, err)
	var said *exitError
	if errors.As(err, &said) && said.err == nil {
		return code
	}
	if code == exitInterrupted {
		said := "interrupted"
		if a.resumes {
			said += "; what was finished is kept, and the next build goes on from there"
		}
		fmt.Fprintln(a.stderr, said)
		return code
	}
	if a.json {
		b, _ := json.Marshal(errorLine(err, code))
		fmt.Fprintf(a.stderr, "%s\n", b)
		return code
	}
	fmt.Fprintf(a.stderr, "error: %s\n", local(err.Error()))
	if h := hint(err); h != "" {
		fmt.Fprintf(a.stderr, "  %s\n", strings.ReplaceAll(h, "\n", "\n  "))
	}
	return code
}

// errorLine is an error as a line of JSON, with the first place in a file that
// it is about.
func errorLine(err error, code int) any {
	line := struct {
		Type   string `json:"type"`
		Error  string `json:"error"`
		Exit   int    `json:"exit"`
		Hint   string `json:"hint,omitempty"`
		File   string `json:"file,omitempty"`
		Line   int    `json:"line,omitempty"`
		Column int    `json:"column,omitempty"`
	}{Type: "error", Error: err.Error(), Exit: code, Hint: hint(err)}
	var at *yamlfile.Error
	if errors.As(err, &at) {
		line.File, line.Line, line.Column = at.File, at.Line, at.Column
	}
	return line
}

func exitCode(ctx context.Context, err error) int {
	var (
		own    *exitError
		usage  *usageError
		yamls  yamlfile.Errors
		yaml   *yamlfile.Error
		locked *project.LockError
		drift  *images.DriftError
		unlock *images.LockError

		refused *solve.RefusedError
		absent  *project.AbsentError
		failure *containers.Failure
	)
	switch {
	case errors.As(err, &own):
		return own.code
	case interrupted(ctx, err):
		return exitInterrupted
	case errors.As(err, &refused):
		return exitRefused
	case errors.As(err, &absent):
		return exitFailed
	case errors.As(err, &locked), errors.As(err, &drift), errors.As(err, &unlock):
		return exitLocked
	case errors.As(err, &failure): // also where it is shown at its place in cube.yaml
		return exitFailed
	case errors.As(err, &usage), errors.As(err, &yaml), errors.As(err, &yamls),
		errors.Is(err, config.ErrNoWorkspace), isPlanError(err):
		return exitUsage
	}
	return exitFailed
}

// interrupted reports whether the error comes of the user's having stopped the
// command. A terminal interrupts the tools that it runs, too, and a tool's end
// may be noticed first.
func interrupted(ctx context.Context, err error) bool {
	var tool *exec.ExitError
	if !errors.As(err, &tool) {
		return ctx.Err() != nil && errors.Is(err, context.Canceled)
	}
	select {
	case <-ctx.Done():
		return true
	case <-time.After(100 * time.Millisecond):
		return false
	}
}

// isPlanError reports whether the workspace cannot be resolved.
func isPlanError(err error) bool {
	var (
		missing    *graph.MissingError
		ambiguous  *graph.AmbiguousError
		cycle      *graph.CycleError
		mismatch   *graph.MismatchError
		resolution *graph.ResolutionError
		gridErr    *graph.GridError
	)
	return errors.As(err, &missing) || errors.As(err, &ambiguous) || errors.As(err, &cycle) ||
		errors.As(err, &mismatch) || errors.As(err, &resolution) || errors.As(err, &gridErr)
}

// hint says what can be done about an error, where the error does not.
func hint(err error) string {
	var (
		missing *graph.MissingError
		locked  *project.LockError
		corrupt *cas.CorruptError
		failure *containers.Failure
		action  *solve.ActionError
	)
	switch {
	case errors.Is(err, config.ErrNoWorkspace):
		return "make one with: cube init DIRECTORY"
	case errors.As(err, &missing) && missing.Nearest == "" && len(missing.Makes) == 0:
		return "what there is to build: cube ls --all"
	case errors.As(err, &locked):
		return "if the change is meant: cube lock"
	case errors.Is(err, syscall.ENOSPC):
		return "the disk is full; the cube is as it was. Make room (cube du shows what it holds) and build again: what was finished is kept"
	case errors.As(err, &corrupt):
		return "the object is damaged on disk; mend the cube with: cube fsck --repair"
	case errors.Is(err, cube.ErrFormat):
		return "it is damaged on disk, or a newer cube wrote it. Where it is damaged, mend the cube with: cube fsck --repair"
	case errors.As(err, &failure) && errors.As(err, &action):
		return "what it printed: cube log " + action.Action.Short() + "; to look into it: cube failed show " + action.Action.Short()
	case errors.Is(err, lineage.ErrNoBasis):
		return "an older cube recorded it; what it was derived from: cube lineage"
	case errors.Is(err, graph.ErrPreimage):
		return "its record is damaged, or a cube wrote it whose keys are another version's"
	case errors.Is(err, images.ErrTool):
		return "cube doctor shows what this machine lacks"
	}
	return ""
}

func numCPU() int { return runtime.NumCPU() }
