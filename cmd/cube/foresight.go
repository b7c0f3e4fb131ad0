package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/project"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/cubebuild/cube/lineage"
)

// foresight is what a build would do, and what is known of earlier ones.
type foresight struct {
	proj     *project.Project
	prep     *project.Prepared
	cube     *cube.Cube // nil where nothing was built yet
	runs     *lineage.Store
	workers  int
	previews []solve.VertexPreview
	by       map[*graph.Vertex]*solve.VertexPreview
	history  *history
}

// foresee prepares the targets as a build would, writes nothing into the
// workspace, and previews the build.
func (a *app) foresee(ctx context.Context, f projectFlags, jobs int, targets []string) (*foresight, error) {
	return a.foreseeBy(ctx, f, jobs, targets, solve.Preview)
}

// preview is solve.Preview, or a likeness of it.
type preview func(context.Context, *graph.Workspace, *graph.Plan, solve.Config) ([]solve.VertexPreview, error)

// foreseeBy is foresee with another look at the build.
func (a *app) foreseeBy(ctx context.Context, f projectFlags, jobs int, targets []string, look preview) (*foresight, error) {
	f.dryRun = true
	p, err := a.open(f, a.step)
	if err != nil {
		return nil, err
	}
	prep, err := p.Prepare(ctx, targets...)
	if err != nil {
		return nil, err
	}
	a.noticeHeld(p.Lock, prep.Plan)
	c, err := p.Cube()
	if errors.Is(err, cube.ErrNotCube) {
		c = nil
	} else if err != nil {
		return nil, err
	}
	return newForesight(ctx, p, prep, c, workers(jobs, p.File.Backend.Workers), look, false)
}

// newForesight previews the build of a plan. c is nil where nothing was built
// yet.
func newForesight(ctx context.Context, p *project.Project, prep *project.Prepared, c *cube.Cube, workers int, look preview, retryFailed bool) (*foresight, error) {
	x := &foresight{proj: p, prep: prep, cube: c, runs: lineage.Open(""), workers: workers,
		by: map[*graph.Vertex]*solve.VertexPreview{}}
	if c != nil {
		x.runs = lineage.Open(c.Path("runs"))
	}
	x.history = newHistory(x.runs)
	conf := x.config()
	conf.RetryFailed = retryFailed
	var err error
	x.previews, err = look(ctx, &prep.Workspace, prep.Plan, conf)
	for i := range x.previews {
		x.by[x.previews[i].Vertex] = &x.previews[i]
	}
	return x, err
}

// config is what a look at the build goes by.
func (x *foresight) config() solve.Config {
	return solve.Config{Cube: x.cube, Host: hostOf(x.prep.Plan), Chunks: x.proj.File.Storage.Chunks}
}

// step shows what is under way before the results of a command.
func (a *app) step(text string) {
	if !a.quiet && !a.json {
		fmt.Fprintln(a.stderr, a.style(a.stderr).Dim(text))
	}
}

// pace is what an action of an instance took before.
type pace struct {
	mean     time.Duration
	p50, p90 time.Duration
	// read and written are the mean bytes, where sized says that they are known: of
	// what it was given, files too, and of its outputs as the cube stores them.
	read, written int64
	sized         bool
	actions       int // that tell of it
	runs          int // that had them
}

// pace is what the actions of a vertex took in the newest runs.
func (x *foresight) pace(v *graph.Vertex) pace { return x.history.pace(v) }

// bytes is what one action of a vertex is expected to read and to write: what
// earlier ones did or, where none tells, what its windows hold before they are
// compressed.
func (x *foresight) bytes(v *graph.Vertex) (read, written int64, known bool) {
	if p := x.pace(v); p.sized {
		return p.read, p.written, true
	}
	volume := v.Volume()
	return volume.Read, volume.Made, false
}

// predict guesses how long n actions of a vertex take; zero where nothing like
// them ran before.
func (x *foresight) predict(v *graph.Vertex, n int64) time.Duration {
	if n == 0 {
		return 0
	}
	rounds := (n + int64(x.workers) - 1) / int64(x.workers)
	return x.pace(v).mean * time.Duration(rounds)
}

// about is a guess in words, "" where there is none.
func about(d time.Duration, runs int) string {
	switch {
	case d <= 0:
		return ""
	case runs == 1:
		return "about " + ui.Took(d) + " (from 1 earlier run)"
	}
	return fmt.Sprintf("about %s (from %d earlier runs)", ui.Took(d), runs)
}

// count says in words how many of a vertex's tiles would run.
func countText(p *solve.VertexPreview) string {
	s := ""
	switch {
	case p.Idle():
		s = "none"
	case p.Open == 0:
		s = ui.Count(p.Misses)
	case p.Misses == 0:
		s = "up to " + ui.Count(p.Open)
	default:
		s = fmt.Sprintf("%s, up to %s more", ui.Count(p.Misses), ui.Count(p.Open))
	}
	if p.Unseen > 0 && p.Open > 0 {
		s += fmt.Sprintf(" (%s of %s looked at)", ui.Count(p.Vertex.Len()-p.Unseen), ui.Count(p.Vertex.Len()))
	}
	if p.Failing > 0 {
		s += fmt.Sprintf(", and %s known to fail", ui.Count(p.Failing))
	}
	return s
}
