package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/spf13/cobra"
)

type shellOptions struct {
	projectFlags
	inputs string
}

func newShellCommand(a *app) *cobra.Command {
	var o shellOptions
	c := &cobra.Command{
		Use:     "shell ACTION [-- COMMAND ARG...]",
		Short:   "open the very sandbox of an action, with its inputs",
		GroupID: groupExplain,
		Long: `Shell opens the sandbox of an action that failed, or of any of earlier runs, with
its inputs, request and sources as the action would see them, its limits but that of
time, and the image's own shell in place of its command, which stands in
$CUBE_COMMAND. An image without a shell runs another of its programs, after --.

/cube/checkpoint is empty here; that of the action stays as it is. Nothing that is
done here is kept or becomes a result.

The exit code is that of the shell or command.`,
		Example: `  cube shell 3f9c0a
  cube shell 3f9c0a -- /usr/bin/python3 -i /app/main.py
  cube shell 3f9c0a --inputs /tmp/look    # only lay out what it reads`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeFailed,
		RunE: func(c *cobra.Command, args []string) error {
			if n := c.ArgsLenAtDash(); len(args) > 1 && n != 1 {
				return &usageError{errors.New("one action, and a command after --\n  try: cube shell --help")}
			}
			return runShell(c.Context(), a, o, args[0], args[1:])
		},
	}
	o.add(c)
	c.Flags().StringVar(&o.inputs, "inputs", "", "lay out in `DIRECTORY` what the action is given, and run nothing")
	return c
}

func runShell(ctx context.Context, a *app, o shellOptions, arg string, command []string) (err error) {
	g, r, err := a.restage(ctx, o.projectFlags, arg)
	if err != nil {
		return err
	}
	if o.inputs != "" {
		return a.layOut(ctx, r, o.inputs)
	}
	stage, err := g.cube.Stage()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Close()) }()
	if r.HasCheckpoint() {
		r.Action.Checkpoint = stage.Dir
	}
	x, err := g.proj.Executor(ctx)
	if err != nil {
		return err
	}
	code, err := a.attend(ctx, x, r, command)
	if err == nil && code != 0 {
		err = &exitError{code: code}
	}
	return err
}

// layOut writes what an action is given into a new directory.
func (a *app) layOut(ctx context.Context, r *solve.Restaged, dir string) error {
	if err := os.Mkdir(dir, 0o777); err != nil {
		return &usageError{fmt.Errorf("--inputs: %w", err)}
	}
	if err := containers.LayOut(ctx, r.Action, dir); err != nil {
		return err
	}
	if a.json {
		return a.printLines(struct {
			Type      string         `json:"type"`
			Action    graph.ActionID `json:"action"`
			Directory string         `json:"directory"`
		}{"laid_out", r.ID, dir})
	}
	_, err := fmt.Fprintf(a.stdout, "%s/cube holds what %s is given; its command: %s\n", dir, r.ID.Short(), commandText(r.Action.Image))
	return err
}

func commandText(i graph.Image) string { return ui.Printable([]byte(strings.Join(i.Command, " "))) }

// shells are looked for in an image, in this order.
var shells = []string{"/bin/bash", "/bin/sh", "/usr/bin/bash", "/usr/bin/sh", "/busybox/sh"}

// attend runs a command, or the first shell that the image has, and returns its
// exit code.
func (a *app) attend(ctx context.Context, x *containers.Executor, r *solve.Restaged, command []string) (int, error) {
	if len(command) > 0 {
		return a.attendOne(ctx, x, r, command)
	}
	a.notice(fmt.Sprintf("the sandbox of action %s: what it reads is below /cube/in and /cube/sources, its command is $CUBE_COMMAND: %s. Nothing that is done here is kept.",
		r.ID.Short(), commandText(r.Action.Image)))
	for _, shell := range shells {
		code, err := a.attendOne(ctx, x, r, []string{shell})
		if !errors.Is(err, containers.ErrSpec) {
			return code, err
		}
	}
	program := "COMMAND ARG..."
	if c := r.Action.Image.Command; len(c) > 1 { // an interpreter
		program = c[0]
	}
	return 0, &usageError{fmt.Errorf("image %s has no shell (%s)\n  run one of its own programs: cube shell %s -- %s\n  or look at what it is given: cube shell %s --inputs DIRECTORY",
		r.Action.Image.Ref, strings.Join(shells, ", "), r.ID.Short(), program, r.ID.Short())}
}

func (a *app) attendOne(ctx context.Context, x *containers.Executor, r *solve.Restaged, command []string) (int, error) {
	with := containers.Attendance{Args: command, Env: []string{"CUBE_COMMAND=" + strings.Join(r.Action.Image.Command, " ")}}
	in, inFile := a.stdin.(*os.File)
	out, outFile := a.stdout.(*os.File)
	run := func() (*containers.Exit, error) { return x.Attend(ctx, r.Action, with) }
	var exit *containers.Exit
	var err error
	if inFile && outFile && ui.IsTerminal(in) && ui.IsTerminal(out) {
		with.Env = append(with.Env, "TERM="+a.env("TERM"))
		exit, err = onTerminal(in, out, func(tty *os.File) (*containers.Exit, error) {
			with.Terminal = tty
			return run()
		})
	} else {
		with.Stdout, with.Stderr = a.stdout, a.stderr
		exit, err = piped(a.stdin, func(from *os.File) (*containers.Exit, error) {
			with.Stdin = from
			return run()
		})
	}
	if err != nil {
		return 0, err
	}
	defer exit.Close()
	if exit.Reason != containers.Exited {
		a.notice(exit.String())
	}
	return exit.Code, nil
}
