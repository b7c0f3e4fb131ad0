package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/live"
	"github.com/cubebuild/cube/internal/project"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/cubebuild/cube/lineage"
	"github.com/spf13/cobra"
)

type buildOptions struct {
	projectFlags
	jobs        int
	dryRun      bool
	keepGoing   bool
	retryFailed bool
	failOnMiss  bool
	maxCost     string
	only        map[graph.ActionID]bool // of those that failed, what is tried again; nil: all
	backend     string
}

func newBuildCommand(a *app) *cobra.Command {
	var o buildOptions
	c := &cobra.Command{
		Use:     "build [VARIABLE...]",
		Short:   "make variables, and all that they need",
		GroupID: groupBuild,
		Long: `Build makes the named variables (all of the workspace where none is named).
It runs only what has no result yet: a tile whose inputs, params, sources and
image are as they were is not run again, and a tile that comes out as it was
stops the change from going further.

--fail-on-miss runs no action at all, and --max-cost no more than it allows: where
a preview shows that more is needed the build ends before anything runs, and where
that shows only on the way it ends there, and keeps what was made. Both end with
exit code 5. The time of an action is taken from earlier runs.`,
		Example: `  cube build slope
  cube build slope aspect -j 8
  cube build slope --backend process               # in workers that can be lost
  cube build -k                                    # all; go on past failures
  cube build slope --set producers.slope.params.method=zevenbergen
  cube build slope --locked                        # in CI: only what cube.lock pins
  cube build slope --fail-on-miss                  # only what is known: run nothing
  cube build --max-cost 2h,100                     # at most 2 hours of actions, and 100 of them
  cube build slope -n                              # what would run`,
		ValidArgsFunction: a.completeVariables,
		RunE:              func(c *cobra.Command, args []string) error { return runBuild(c.Context(), a, o, args) },
	}
	o.add(c)
	f := c.Flags()
	f.VarP((*count)(&o.jobs), "jobs", "j", "how many actions run at once; 1: in order (default: backend.workers of cube.yaml, or one a processor)")
	f.StringVar(&o.backend, "backend", "", "where actions run: serial, thread or process (default: backend of cube.yaml, or thread)")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "print what would run, and run nothing")
	f.BoolVarP(&o.keepGoing, "keep-going", "k", false, "build everything that does not depend on a failure")
	f.BoolVar(&o.retryFailed, "retry-failed", false, "run actions again that said that their input is bad (exit 65)")
	f.BoolVar(&o.failOnMiss, "fail-on-miss", false, "run no action: fail where one has no result")
	f.StringVar(&o.maxCost, "max-cost", "", "run no more than these `limits`: action time, bytes, actions, as 2h,10GiB,100")
	c.MarkFlagsMutuallyExclusive("fail-on-miss", "dry-run")
	c.MarkFlagsMutuallyExclusive("max-cost", "dry-run")
	return c
}

// allowance decides what the build may run; nil where that is everything. Its
// error says that more is sure to be needed.
func (o *buildOptions) allowance(ctx context.Context, p *project.Project, prep *project.Prepared, c *cube.Cube) (*allowance, error) {
	var most maxCost
	if o.maxCost != "" {
		var err error
		if most, err = parseMaxCost(o.maxCost); err != nil {
			return nil, err
		}
	}
	if !o.failOnMiss && most == (maxCost{}) {
		return nil, nil
	}
	x, err := newForesight(ctx, p, prep, c, workers(o.jobs, p.File.Backend.Workers), solve.Preview, o.retryFailed)
	if err != nil {
		return nil, err
	}
	w := newAllowance(x, o.failOnMiss, most)
	return w, w.check(x)
}

func runBuild(ctx context.Context, a *app, o buildOptions, targets []string) (err error) {
	if err := checkBackend(o.backend); err != nil {
		return err
	}
	if o.dryRun {
		return runPlan(ctx, a, planOptions{o.projectFlags, o.jobs}, targets)
	}
	a.resumes = true
	display := a.display()
	defer func() { err = errors.Join(err, display.Close()) }()
	p, err := a.open(o.projectFlags, display.Step)
	if err != nil {
		return err
	}
	prep, err := p.Prepare(ctx, targets...)
	if err != nil {
		return err
	}
	total := machineTotal(p.File.Backend, max(o.jobs, p.File.Backend.Workers))
	if err := fits(p.File, prep.Plan, total); err != nil {
		return err
	}
	run, err := a.backend(p, o.backend, workers(o.jobs, p.File.Backend.Workers))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.close()) }()
	shared := a.sharing(p.File.Name, total, run.endIdle)
	defer func() { err = errors.Join(err, shared.Close()) }()
	a.noticeHeld(p.Lock, prep.Plan)
	c, err := p.Cube()
	if err != nil {
		return err
	}
	if err := a.sweep(ctx, c); err != nil {
		return err
	}
	allowed, err := o.allowance(ctx, p, prep, c)
	if err != nil {
		return err
	}
	host, past := hostOf(prep.Plan), newHistory(lineage.Open(c.Path("runs")))
	rec := newRecording(ctx, a, p, prep, c, targets)
	told := live.Publish(c.Path("live"), live.Build{Run: rec.run.ID, Started: time.Now().UTC(), Targets: prep.Plan.Targets})
	defer told.Close()
	cfg := solve.Config{
		Cube: c, Backend: run, Provider: p, Host: host, RunID: rec.run.ID,
		Workers: workers(o.jobs, p.File.Backend.Workers), Retry: p.File.Retry, Chunks: p.File.Storage.Chunks,
		Reserver: shared, KeepGoing: o.keepGoing, RetryFailed: o.retryFailed, RetryOnly: o.only,
		Log: rec.log, Expect: past.mean,
		Events: func(e solve.Event) error {
			told.Event(e)
			return errors.Join(display.Event(e), rec.event(e))
		},
	}
	if allowed != nil {
		cfg.Admit = allowed.admit
	}
	if run.kind == serial {
		cfg.Workers, cfg.Single = 1, true
	}
	started := time.Now()
	result, err := solve.Run(ctx, &prep.Workspace, prep.Plan, cfg)
	if result == nil {
		return err
	}
	if ctx.Err() == nil { // otherwise the next build does it
		err = errors.Join(err, c.View(ctx))
	}
	status, code := outcome(ctx, result, prep.Plan.Targets, err, o.keepGoing)
	err = errors.Join(ignoreFailures(err), rec.end(status, result, time.Since(started), err))
	summary := ui.Summary{Targets: prep.Plan.Targets, Result: result, Plan: prep.Plan, Took: time.Since(started), Status: string(status), Run: rec.id()}
	if err := errors.Join(err, display.Summary(summary)); err != nil || code == exitOK {
		return err
	}
	return &exitError{code: code}
}

// outcome is what a build came to, and the exit code for it. Partial is one that
// made or found some tiles, or of whose targets some are there.
func outcome(ctx context.Context, r *solve.Result, targets []string, err error, keepGoing bool) (lineage.Status, int) {
	there := r.Count.Ran+r.Count.Hit > 0 || slices.ContainsFunc(targets, func(name string) bool { _, ok := r.Versions[name]; return ok })
	switch {
	case err == nil:
		return lineage.Succeeded, exitOK
	case ctx.Err() != nil:
		return lineage.Cancelled, exitInterrupted
	case errors.Is(err, solve.ErrFailed) && keepGoing && there:
		return lineage.Partial, exitPartial
	}
	return lineage.Failed, exitFailed
}

// ignoreFailures drops what the display has shown already.
func ignoreFailures(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var rest []error
		for _, e := range joined.Unwrap() {
			rest = append(rest, ignoreFailures(e))
		}
		return errors.Join(rest...)
	}
	if err == solve.ErrFailed {
		return nil
	}
	return err
}

// completeVariables completes the names of variables.
func (a *app) completeVariables(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	p, err := a.open(projectFlags{}, nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names, err := p.Variables(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(args, n) })
	return names, cobra.ShellCompDirectiveNoFileComp
}

// hostOf is what keys may hold of this machine, read only where a producer
// asks for it.
func hostOf(plan *graph.Plan) graph.Host {
	for _, v := range plan.Vertices {
		if v.Instance != nil && v.Instance.Manifest.Capabilities.CPUClass {
			return graph.Host{CPUClass: lineage.ReadHost().CPUClass}
		}
	}
	return graph.Host{}
}
