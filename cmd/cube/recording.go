package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/catalog"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/project"
	"github.com/cubebuild/cube/lineage"
	"github.com/cubebuild/cube/lineage/index"
	"github.com/cubebuild/cube/lineage/recorder"
)

// recording is the lineage of one build. It begins with the first thing that
// the build does: one with nothing to do asks neither git nor the machine, and
// leaves nothing. Nothing waits for it before there is something to record.
type recording struct {
	ctx     context.Context
	app     *app
	project *project.Project
	prep    *project.Prepared
	cube    *cube.Cube
	run     lineage.Run

	git    func() (lineage.Git, error) // of the workspace, asked once
	cancel func()                      // ends that
	asked  bool
	begin  func() error // makes what follows, once, and says why it cannot
	begun  bool         // begin was called, or is about to be

	writer *lineage.Writer
	events *recorder.Recorder
}

func newRecording(ctx context.Context, a *app, p *project.Project, prep *project.Prepared, c *cube.Cube, targets []string) *recording {
	r := &recording{ctx: ctx, app: a, project: p, prep: prep, cube: c, run: lineage.Run{
		ID: lineage.NewID(time.Now()), Targets: targets, Command: os.Args,
		Engine:    lineage.Engine{Version: version, Go: runtime.Version(), KeyVersion: graph.KeyVersion},
		Workspace: lineage.Workspace{Name: p.File.Name, Config: p.File.Digest()}}}
	ctx, r.cancel = context.WithCancel(ctx)
	r.git = sync.OnceValues(func() (lineage.Git, error) { return lineage.ReadGit(ctx, p.File.Dir()) })
	r.begin = sync.OnceValue(r.open)
	return r
}

// id is the run's id, "" where nothing was recorded. The recording has ended.
func (r *recording) id() string {
	if r.writer == nil {
		return ""
	}
	return r.run.ID
}

// event records what an event tells. What cannot be recorded ends the build:
// a version without a history is of no use.
func (r *recording) event(e solve.Event) error {
	switch e := e.(type) {
	case solve.Planned:
		if e.Tiles > 0 {
			r.asked = true
			go r.git() // it takes its time, while tiles are looked up
		}
		return nil
	case solve.Started:
		if !r.begun {
			r.begun = true
			go r.begin()
		}
		return nil
	case solve.Retried, solve.Concluded:
	case solve.TileDone:
		if e.Outcome == solve.Hit || e.Repeated {
			return nil
		}
	case solve.VertexDone:
		if e.Shown {
			return nil
		}
	default:
		return nil
	}
	r.begun = true
	if err := r.begin(); err != nil {
		return err
	}
	err := r.events.Event(e)
	if _, ok := e.(solve.Concluded); ok {
		return err // what is on record may be kept, whatever else is not
	}
	return r.events.Err()
}

// open makes the run's folder. The workspace is described as it was when the
// build began.
func (r *recording) open() error {
	git, err := r.git()
	if err != nil {
		return err
	}
	if b, err := os.ReadFile(filepath.Join(r.project.File.Dir(), config.LockName)); err == nil {
		r.run.Workspace.Lock = graph.Sum(b)
	}
	r.run.Workspace.Git, r.run.Host = git, lineage.ReadHost()
	r.writer = lineage.Create(r.cube.Path("runs"), r.run, lineage.Options{})
	r.events = recorder.New(r.writer, recorder.Config{Workspace: &r.prep.Workspace, Packages: r.packages, Exchanges: r.exchanges, Sandbox: "native"})
	return r.writer.Begin()
}

// log is where what an action prints is recorded. Its Started was an event
// before.
func (r *recording) log(id graph.ActionID) io.WriteCloser { return &heard{r: r, id: id} }

// heard takes what an action prints. The first of it waits for the recording
// to begin; where that cannot be, an event says so.
type heard struct {
	r  *recording
	id graph.ActionID

	mu sync.Mutex
	to io.WriteCloser // nil until something is printed
}

func (l *heard) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.to == nil {
		if l.r.begin() != nil {
			return len(p), nil
		}
		l.to = l.r.events.Log(l.id)
	}
	return l.to.Write(p)
}

func (l *heard) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.to == nil {
		return nil
	}
	return l.to.Close()
}

// packages reads the software inside an image.
func (r *recording) packages(image graph.Image) ([]lineage.Package, error) {
	img := r.project.ImageByConfig(image.Config)
	if img == nil {
		return nil, nil
	}
	found, err := r.project.Images.Packages(r.ctx, img)
	out := make([]lineage.Package, len(found))
	for i, p := range found {
		out[i] = lineage.Package{Kind: p.Kind, Name: p.Name, Version: p.Version}
	}
	return out, err
}

// exchanges reads a recording that is on this machine.
func (r *recording) exchanges(d graph.Digest) ([]lineage.Exchange, error) {
	found, err := r.project.Recording(r.ctx, d)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := make([]lineage.Exchange, len(found.Exchanges))
	for i, e := range found.Exchanges {
		out[i] = lineage.Exchange{Method: e.Request.Method, URL: e.Request.URL, Status: e.Response.Status, SHA256: e.Response.Body, Size: e.Response.Size}
	}
	return out, nil
}

// longRun is how long a build must take for the catalog to be brought up to
// date at its end; otherwise the next query does it.
const longRun = 5 * time.Second

// end closes the record of a build that came to a result.
func (r *recording) end(status lineage.Status, result *solve.Result, took time.Duration, cause error) error {
	defer r.cancel()
	if !r.begun {
		r.cancel()
		if r.asked {
			_, _ = r.git() // which ends now
		}
		return nil
	}
	err := r.begin()
	if r.writer == nil {
		if errors.Is(cause, err) {
			return nil // an event has said so
		}
		return err
	}
	counts := r.events.Counts()
	if status == lineage.Failed || status == lineage.Cancelled { // vertices that never were done have tiles that were
		counts = recorder.CountsOf(result.Count)
	}
	if err := r.writer.End(status, counts, why(status, result, cause)); err != nil || took < longRun {
		return err
	}
	cat := r.app.catalog(r.cube)
	_, err = cat.Update(context.WithoutCancel(r.ctx))
	return errors.Join(err, cat.Close())
}

// why is what the record says of a build that did not succeed: the first failure,
// where actions failed and nothing else did. Of one that was stopped its status
// says all.
func why(status lineage.Status, result *solve.Result, cause error) error {
	switch {
	case status == lineage.Cancelled:
		return nil
	case cause != nil && ignoreFailures(cause) == nil && len(result.Failures) > 0:
		return result.Failures[0]
	}
	return cause
}

// catalog opens the index of a cube.
func (a *app) catalog(c *cube.Cube) *catalog.Catalog {
	runs := lineage.Open(c.Path("runs"))
	return catalog.Open(c.Path("catalog.duckdb"), catalog.Config{
		Sources: []catalog.Source{index.Cube(c), index.Runs(runs, func(err error) { a.notice(err.Error()) })},
		Notice:  a.notice,
	})
}
