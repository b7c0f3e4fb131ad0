package main

import (
	"context"
	"fmt"
	"io"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/spf13/cobra"
)

type repeatOptions struct {
	projectFlags
	keep bool
}

func newRepeatCommand(a *app) *cobra.Command {
	var o repeatOptions
	c := &cobra.Command{
		Use:     "repeat ACTION",
		Short:   "run one action again, alone, with its log on the terminal",
		GroupID: groupExplain,
		Long: `Repeat runs an action again, once and alone, as a build would: one that failed, or
any of earlier runs. What it prints appears as it comes. Its outputs are compared
with those that are recorded; with --keep, those of one that has no result become
it, as in a build. Otherwise nothing of it is kept.

An action is named by the first digits of its id. It must be what the workspace
comes to now: what --set gave to the build is to be given here, too.

Exit codes: 0 it succeeded, with the recorded outputs where there are some; 1 not.
With --json it prints a line {"type": "repeated"}.`,
		Example: `  cube repeat 3f9c0a
  cube repeat 3f9c0a --keep
  cube repeat 3f9c0a --set producers.model.limits.memory=8GiB`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeFailed,
		RunE:              func(c *cobra.Command, args []string) error { return runRepeat(c.Context(), a, o, args[0]) },
	}
	o.add(c)
	c.Flags().BoolVar(&o.keep, "keep", false, "have a success become the action's result, where it has none")
	return c
}

// repeatedLine is the line of cube repeat --json.
type repeatedLine struct {
	Type     string                  `json:"type"` // repeated
	Action   graph.ActionID          `json:"action"`
	Outcome  string                  `json:"outcome"` // ran or failed
	Kind     string                  `json:"kind,omitempty"`
	Code     int                     `json:"code,omitempty"`
	Detail   string                  `json:"detail,omitempty"`
	Wall     float64                 `json:"wall_s"`
	MaxRSS   int64                   `json:"max_rss"`
	Outputs  map[string]graph.Digest `json:"outputs,omitempty"`
	Recorded map[string]graph.Digest `json:"recorded,omitempty"`
	Same     *bool                   `json:"same,omitempty"` // where outputs are recorded
	Kept     bool                    `json:"kept"`
}

func runRepeat(ctx context.Context, a *app, o repeatOptions, arg string) error {
	g, r, err := a.restage(ctx, o.projectFlags, arg)
	if err != nil {
		return err
	}
	release, ok, err := r.Hold(ctx)
	if err != nil {
		return err
	}
	if !ok {
		return atWork(r.ID)
	}
	defer release()
	var log io.Writer = a.stderr
	if a.quiet {
		log = io.Discard
	}
	out, err := r.Repeat(ctx, log, o.keep)
	if err != nil {
		return err
	}
	if a.json {
		err = a.printLines(newRepeatedLine(r.ID, out))
	} else {
		_, err = fmt.Fprintln(a.stdout, a.repeatedText(r, out))
	}
	if err == nil && out.Kept {
		err = g.cube.Sync(ctx)
	}
	if err == nil && (out.Failure != nil || out.Recorded != nil && !out.Same()) {
		return &exitError{code: exitFailed}
	}
	return err
}

func newRepeatedLine(id graph.ActionID, r *solve.Repeated) repeatedLine {
	l := repeatedLine{Type: "repeated", Action: id, Outcome: "ran", Wall: r.Usage.Wall.Seconds(), MaxRSS: r.Usage.MaxRSS,
		Outputs: r.Outputs, Recorded: r.Recorded, Kept: r.Kept}
	if f := r.Failure; f != nil {
		l.Outcome, l.Kind, l.Code, l.Detail = "failed", string(f.Kind), f.Code, f.Detail
	} else if r.Recorded != nil {
		same := r.Same()
		l.Same = &same
	}
	return l
}

func (a *app) repeatedText(r *solve.Restaged, out *solve.Repeated) string {
	s, id := a.style(a.stdout), r.ID.Short()
	used := fmt.Sprintf("in %s, with %s of memory", ui.Took(out.Usage.Wall), ui.Bytes(out.Usage.MaxRSS))
	switch {
	case out.Failure != nil:
		return fmt.Sprintf("%s: %s, %s\n  look inside: cube shell %s", s.Bad("failed"), out.Failure.Detail, used, id)
	case out.Recorded == nil && out.Kept:
		return fmt.Sprintf("%s %s; its result is kept, and the next build takes it", s.Good("succeeded"), used)
	case out.Recorded == nil:
		return fmt.Sprintf("%s %s; nothing is kept (to keep it: cube repeat %s --keep)", s.Good("succeeded"), used, id)
	case out.Same():
		return fmt.Sprintf("%s %s; its outputs are those that are recorded", s.Good("the same"), used)
	}
	return fmt.Sprintf("%s: it succeeded %s with other outputs than those that are recorded: it is not deterministic\n  which cells: cube verify", s.Bad("differs"), used)
}

// atWork says that somebody else runs an action.
func atWork(id graph.ActionID) error {
	return fmt.Errorf("action %s: a build, or another cube repeat, is at it now: try again when it is over", id.Short())
}
