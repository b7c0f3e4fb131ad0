// Package index feeds a catalog from the records of runs. It stands between
// the packages lineage and catalog so that neither imports the other, and only
// programs that ask for it link DuckDB.
package index

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/cubebuild/cube/cube/catalog"
	"github.com/cubebuild/cube/lineage"
)

// Marks in the catalog: how far a run was read, and which images' packages are
// there.
const (
	runMark      = "run:"
	verticesMark = "vertices:"
	actionsMark  = "actions:"
	imageMark    = "image:"
)

// unreadable is the state of a run whose run.json cannot be read.
const unreadable = "unreadable"

// Runs returns a source that feeds the runs of a store: runs, vertices, inputs,
// outputs, sources, packages and actions. Records that are damaged are passed
// over and told to damaged, if that is not nil.
func Runs(store *lineage.Store, damaged func(error)) catalog.Source {
	if damaged == nil {
		damaged = func(error) {}
	}
	return &runs{store, damaged}
}

type runs struct {
	store   *lineage.Store
	damaged func(error)
}

// Feed implements [catalog.Source].
func (r *runs) Feed(ctx context.Context, b *catalog.Batch) error {
	ids, err := r.store.IDs()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if m, ok := b.Mark(runMark + id); ok && m.State != string(lineage.Running) {
			continue
		}
		if err := r.run(ctx, b, id); err != nil {
			return err
		}
	}
	return forgetRemoved(b, ids)
}

// forgetRemoved removes what the catalog has of runs that are gone.
func forgetRemoved(b *catalog.Batch, ids []string) error {
	for name := range b.Marks(runMark) {
		id := strings.TrimPrefix(name, runMark)
		if _, found := slices.BinarySearch(ids, id); found {
			continue
		}
		if err := b.Forget(id); err != nil {
			return err
		}
		b.DropMark(name)
		dropOffsets(b, id)
	}
	return nil
}

func dropOffsets(b *catalog.Batch, id string) {
	for _, name := range []string{verticesMark + id, actionsMark + id} {
		if _, ok := b.Mark(name); ok {
			b.DropMark(name)
		}
	}
}

// run adds what a run has that is new. Its status is read first: once it has
// ended, so have its files.
func (r *runs) run(ctx context.Context, b *catalog.Batch, id string) error {
	run, err := r.store.Summary(id)
	if errors.Is(err, lineage.ErrNoRun) {
		return nil
	}
	if err != nil {
		r.damaged(err)
		b.SetMark(runMark+id, catalog.Mark{State: unreadable})
		return nil
	}
	a := adder{ctx, b, r.damaged, 0}
	err = feed(&a, verticesMark+id, func(at int64) iter.Seq2[lineage.Placed[lineage.Vertex], error] { return r.store.VerticesFrom(id, at) }, a.vertex)
	if err != nil {
		return err
	}
	err = feed(&a, actionsMark+id, func(at int64) iter.Seq2[lineage.Placed[lineage.Action], error] { return r.store.ActionsFrom(id, at) }, a.action)
	if err != nil {
		return err
	}
	before, known := b.Mark(runMark + id)
	if known && before.State == string(run.Status) && a.added == 0 {
		return nil
	}
	if known {
		if err := b.ForgetRun(id); err != nil {
			return err
		}
	}
	b.SetMark(runMark+id, catalog.Mark{State: string(run.Status)})
	if run.Status != lineage.Running {
		dropOffsets(b, id)
	}
	return b.Add(runRow(run))
}

// adder adds the records of one run.
type adder struct {
	ctx     context.Context // of the Feed that it is part of
	b       *catalog.Batch
	damaged func(error)
	added   int64
}

// feed adds the records behind a mark and moves it.
func feed[T any](a *adder, mark string, read func(int64) iter.Seq2[lineage.Placed[T], error], add func(T) error) error {
	m, _ := a.b.Mark(mark)
	for p, err := range read(m.At) {
		if a.ctx.Err() != nil {
			return a.ctx.Err()
		}
		if err != nil {
			a.damaged(err)
		} else if err := add(p.Record); err != nil {
			return err
		}
		m.At = max(m.At, p.End)
		a.added++
	}
	if m.At > 0 {
		a.b.SetMark(mark, m)
	}
	return nil
}

func (a *adder) action(r lineage.Action) error { return a.b.Add(actionRow(r)) }

func (a *adder) vertex(v lineage.Vertex) error {
	made := catalog.Made{Run: v.Run, Instance: v.Instance, Grid: v.Grid}
	rows := []catalog.Row{vertexRow(v, made)}
	for _, in := range v.Inputs {
		rows = append(rows, catalog.Input{Made: made, Role: in.Role, Variable: in.Variable, Version: in.Version, Held: in.Held})
	}
	for _, o := range v.Outputs {
		rows = append(rows, catalog.Output{Made: made, Role: o.Role, Variable: o.Variable, Version: o.Version, Native: o.Native, Partial: o.Partial})
	}
	for _, s := range v.Sources {
		rows = append(rows, catalog.SourceRow{Made: made, Role: s.Role, Name: s.Name, URI: s.URI, SHA256: s.SHA256,
			Bytes: s.Size, License: s.License, Citation: s.Citation})
	}
	rows = append(rows, a.packages(v)...)
	for _, row := range rows {
		if err := a.b.Add(row); err != nil {
			return err
		}
	}
	return nil
}

// packages are the rows of an image's packages, once for each image.
func (a *adder) packages(v lineage.Vertex) []catalog.Row {
	image := v.Image.Config
	if _, known := a.b.Mark(imageMark + image); known || image == "" || len(v.Packages) == 0 {
		return nil
	}
	a.b.SetMark(imageMark+image, catalog.Mark{At: int64(len(v.Packages))})
	rows := make([]catalog.Row, len(v.Packages))
	for i, p := range v.Packages {
		rows[i] = catalog.Package{ImageConfig: image, Kind: p.Kind, Name: p.Name, Version: p.Version}
	}
	return rows
}

func runRow(r lineage.Run) catalog.Run {
	w, h, e := r.Workspace, r.Host, r.Engine
	return catalog.Run{
		Run: r.ID, Started: r.Started, Finished: r.Finished, Status: string(r.Status), Error: r.Error,
		Targets: r.Targets, Command: r.Command,
		Workspace: w.Name, Config: w.Config, Lock: w.Lock,
		GitCommit: w.Git.Commit, GitDirty: w.Git.Dirty, GitDescribe: w.Git.Describe,
		Host: h.Name, OS: h.OS, Kernel: h.Kernel, Arch: h.Arch, CPUModel: h.CPUModel, CPUClass: h.CPUClass,
		Cores: h.Cores, Memory: h.Memory,
		Engine: e.Version, Go: e.Go, KeyVersion: e.KeyVersion, Counts: catalog.Counts(r.Counts),
	}
}

func vertexRow(v lineage.Vertex, made catalog.Made) catalog.Vertex {
	p, i := v.Producer, v.Image
	return catalog.Vertex{
		Made: made, Derivation: v.Derivation, Started: v.Started, Status: string(v.Status),
		Producer: p.Name, License: p.License, Citation: p.Citation,
		ImageRef: i.Ref, ImageConfig: i.Config, ImageManifest: i.Manifest, Platform: i.Platform,
		Params: string(v.Params), Counts: catalog.Counts(v.Counts), Wall: v.Wall,
	}
}

func actionRow(a lineage.Action) catalog.Action {
	return catalog.Action{
		Action: a.ID, Made: catalog.Made{Run: a.Run, Instance: a.Instance, Grid: a.Grid}, Tile: a.Tile,
		Started: a.Started, Status: string(a.Status), Attempts: a.Attempts, Exit: a.Exit, Reason: a.Reason,
		Wall: a.Usage.Wall, User: a.Usage.User, System: a.Usage.System, MaxRSS: a.Usage.MaxRSS,
		Sandbox: a.Sandbox, Host: a.Host, Windows: a.Windows, Outputs: a.Outputs,
		Unenforced: a.Unenforced, LogBytes: a.LogSize,
	}
}
