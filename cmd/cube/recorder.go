package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/catalog"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/project"
	"github.com/cubebuild/cube/lineage"
	"github.com/cubebuild/cube/lineage/index"
)

// recorder turns a build's events into lineage. It writes nothing until an
// action runs or a version is made: a build with nothing to do leaves nothing.
type recorder struct {
	ctx    context.Context
	app    *app
	proj   *project.Project
	prep   *project.Prepared
	cube   *cube.Cube
	run    lineage.Run
	writer *lineage.Writer // nil until there is something to record
	total  int64
}

func newRecorder(ctx context.Context, a *app, p *project.Project, prep *project.Prepared, c *cube.Cube, targets []string) *recorder {
	run := lineage.Run{ID: lineage.NewID(time.Now()), Targets: targets, Command: os.Args,
		Engine:    lineage.Engine{Version: version, Go: runtime.Version(), KeyVersion: graph.KeyVersion},
		Workspace: lineage.Workspace{Name: p.File.Name, Config: p.File.Digest()}}
	return &recorder{ctx: ctx, app: a, proj: p, prep: prep, cube: c, run: run}
}

// id is the run's id, "" where nothing was recorded.
func (r *recorder) id() string {
	if r.writer == nil {
		return ""
	}
	return r.run.ID
}

func (r *recorder) event(e solve.Event) error {
	switch e := e.(type) {
	case solve.Planned:
		r.total = e.Tiles
	case solve.TileDone:
		if e.Outcome == solve.Ran || e.Outcome == solve.Failed && !e.Repeated {
			return r.action(e)
		}
	case solve.VertexDone:
		if !e.Known {
			return r.vertex(e)
		}
	}
	return nil
}

func (r *recorder) begin() error {
	if r.writer != nil {
		return nil
	}
	dir := r.proj.File.Dir()
	git, err := lineage.ReadGit(r.ctx, dir)
	if err != nil {
		return err
	}
	if b, err := os.ReadFile(filepath.Join(dir, config.LockName)); err == nil {
		r.run.Workspace.Lock = graph.Sum(b)
	}
	r.run.Workspace.Git, r.run.Host = git, lineage.ReadHost()
	r.writer = lineage.Create(r.cube.Path("runs"), r.run, lineage.Options{})
	return r.writer.Begin()
}

func (r *recorder) action(e solve.TileDone) error {
	if err := r.begin(); err != nil {
		return err
	}
	a := lineage.Action{ID: e.Action, Instance: e.Vertex.Name, Grid: e.Vertex.GridName, Tile: e.Tile.Box,
		Started: e.Started.UTC(), Status: lineage.Succeeded, Attempts: e.Attempts, Windows: e.Windows, Outputs: e.Outputs,
		Usage:   lineage.Usage{Wall: e.Usage.Wall, User: e.Usage.User, System: e.Usage.System, MaxRSS: e.Usage.MaxRSS},
		Sandbox: "native", Unenforced: e.Unenforced, LogSize: int64(len(e.Log))}
	if e.Outcome == solve.Failed {
		a.Status, a.Reason = lineage.Failed, e.Err.Error()
		var f *containers.Failure
		if errors.As(e.Err, &f) {
			a.Exit = f.Code
		}
	}
	if len(e.Log) > 0 {
		if err := r.writer.AppendLog(e.Action, e.Log); err != nil {
			return err
		}
	}
	return r.writer.Action(a)
}

func (r *recorder) vertex(e solve.VertexDone) error {
	if err := r.begin(); err != nil {
		return err
	}
	v := lineage.Vertex{Instance: e.Vertex.Name, Grid: e.Vertex.GridName, Derivation: e.Derivation, Preimage: e.Preimage,
		Wall: e.Wall, Status: lineage.Succeeded,
		Counts: lineage.Counts{Actions: e.Vertex.Len(), Ran: e.Count.Ran, Hits: e.Count.Hit, Failed: e.Count.Failed}}
	if !e.Complete {
		v.Status = lineage.Partial
	}
	for i, o := range e.Vertex.Outputs {
		out := lineage.Output{Role: o.Role, Variable: o.Variable, Native: o.Native, Partial: !e.Complete}
		if e.Complete {
			out.Version = e.Outputs[i]
		}
		v.Outputs = append(v.Outputs, out)
	}
	for i, b := range e.Vertex.Inputs {
		in := lineage.Input{Role: b.Role, Variable: b.Variable}
		if e.Complete {
			in.Version = e.Inputs[i]
		}
		v.Inputs = append(v.Inputs, in)
	}
	if e.Vertex.Instance != nil {
		if err := r.instance(&v, e.Vertex.Instance); err != nil {
			return err
		}
	}
	return r.writer.Vertex(v)
}

// instance adds what the producer and its image say.
func (r *recorder) instance(v *lineage.Vertex, inst *graph.Instance) error {
	m := inst.Manifest
	v.Producer = lineage.Producer{Name: m.Name, Description: m.Description, License: m.License, Citation: m.Citation}
	v.Image = lineage.Image{Ref: inst.Image.Ref, Config: inst.Image.Config, Manifest: inst.Image.Manifest,
		Platform: inst.Image.Platform, DiffIDs: inst.Image.DiffIDs}
	v.Params = inst.Params
	for role, name := range inst.Sources {
		s := r.prep.Workspace.Sources[name]
		v.Sources = append(v.Sources, lineage.Source{Role: role, Name: name, URI: s.URI, SHA256: s.SHA256, Size: s.Size,
			License: s.License, Citation: s.Citation})
	}
	img := r.proj.Image(inst)
	if img == nil {
		return nil
	}
	pkgs, err := r.proj.Images.Packages(r.ctx, img)
	for _, p := range pkgs {
		v.Packages = append(v.Packages, lineage.Package{Kind: p.Kind, Name: p.Name, Version: p.Version})
	}
	return err
}

// end closes the record and feeds the catalog from it.
func (r *recorder) end(ctx context.Context, status lineage.Status, result *solve.Result, cause error) error {
	counts := lineage.Counts{Actions: r.total, Ran: result.Count.Ran, Hits: result.Count.Hit, Failed: result.Count.Failed}
	if r.writer == nil {
		return nil
	}
	if err := r.writer.End(status, counts, cause); err != nil {
		return err
	}
	cat := r.app.catalog(r.cube)
	_, err := cat.Update(context.WithoutCancel(ctx))
	return errors.Join(err, cat.Close())
}

// catalog opens the index of a cube.
func (a *app) catalog(c *cube.Cube) *catalog.Catalog {
	runs := lineage.Open(c.Path("runs"))
	return catalog.Open(c.Path("catalog.duckdb"), catalog.Config{
		Sources: []catalog.Source{index.Cube(c), index.Runs(runs, func(err error) { a.notice(err.Error()) })},
		Notice:  a.notice,
	})
}
