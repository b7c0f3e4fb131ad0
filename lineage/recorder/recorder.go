// Package recorder turns the events of a build into its lineage: a record for
// each action that ran and for each vertex that the heads did not show before,
// also where its derivation was known: from before an edit, or because another
// instance is told just the same.
package recorder

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/lineage"
)

// Config says what the events do not.
type Config struct {
	// Workspace is what is built: its sources are named in the records.
	Workspace *graph.Workspace
	// Packages returns the software inside an instance's image. It is called
	// once for each image that did something. Nil: none is recorded.
	Packages func(graph.Image) ([]lineage.Package, error)
	// Exchanges returns what is in a recording, or nothing where it is not on
	// this machine. Nil: none is recorded.
	Exchanges func(recording graph.Digest) ([]lineage.Exchange, error)
	// Sandbox is what isolates the actions, such as "native".
	Sandbox string
}

// Recorder records one build. Its Event is for [solve.Config.Events]: it is
// called by one goroutine at a time.
type Recorder struct {
	w        *lineage.Writer
	cfg      Config
	packages map[string][]lineage.Package // by config digest
	based    map[*graph.Vertex]bool       // whose basis is recorded
	counts   lineage.Counts

	mu   sync.Mutex // guards all below
	errs []error
	open map[graph.ActionID]bool // what an action printed last is no whole line
}

// New returns a Recorder that writes to w. The caller ends w.
func New(w *lineage.Writer, cfg Config) *Recorder {
	return &Recorder{w: w, cfg: cfg, packages: map[string][]lineage.Package{}, based: map[*graph.Vertex]bool{}, open: map[graph.ActionID]bool{}}
}

// Counts are of the vertices that are done.
func (r *Recorder) Counts() lineage.Counts { return r.counts }

// Err says what could not be recorded. A build need not fail for it.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.errs...)
}

// maxErrors bounds what Err holds.
const maxErrors = 10

func (r *Recorder) note(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && len(r.errs) < maxErrors {
		r.errs = append(r.errs, err)
	}
	return err
}

// Log is for [solve.Config.Log]: what an action prints is recorded while it
// does. What cannot be recorded shows in Err, and does the action no harm.
func (r *Recorder) Log(id graph.ActionID) io.WriteCloser { return &log{r: r, id: id, Log: r.w.Log(id)} }

type log struct {
	*lineage.Log
	r    *Recorder
	id   graph.ActionID
	last byte
}

func (l *log) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.last = p[len(p)-1]
	}
	_, err := l.Log.Write(p)
	l.r.note(err)
	return len(p), nil
}

func (l *log) Close() error {
	l.r.note(l.Log.Close())
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	if l.last != 0 && l.last != '\n' {
		l.r.open[l.id] = true
	}
	return nil
}

// Event records what an event tells, and says why it cannot, as Err does from then
// on.
func (r *Recorder) Event(e solve.Event) error {
	switch e := e.(type) {
	case solve.Retried:
		return r.note(r.retried(e))
	case solve.Concluded:
		return r.note(r.action(e.TileDone))
	case solve.TileDone:
		if e.Concluded && !e.Disagrees {
			return nil // on record
		}
		if (e.Outcome == solve.Ran || e.Outcome == solve.Cancelled || e.Outcome.Unmade()) && !e.Repeated && !e.Action.IsZero() {
			return r.note(r.action(e))
		}
	case solve.VertexDone:
		r.count(e.Count)
		if !e.Shown && e.Count.Sum() > e.Count.Blocked {
			return r.note(r.w.Vertex(r.vertex(e)))
		}
	}
	return nil
}

func (r *Recorder) count(c solve.Count) {
	n := CountsOf(c)
	r.counts.Actions += n.Actions
	r.counts.Ran += n.Ran
	r.counts.Hits += n.Hits
	r.counts.Failed += n.Failed
}

// CountsOf records how many tiles came to what.
func CountsOf(c solve.Count) lineage.Counts {
	return lineage.Counts{Actions: c.Sum(), Ran: c.Ran, Hits: c.Hit, Failed: c.Failed + c.Lost}
}

// basis records, once, what the actions of a vertex have in common.
func (r *Recorder) basis(e solve.TileDone) error {
	if e.Shared == nil || r.based[e.Vertex] {
		return nil
	}
	err := r.w.Basis(lineage.Basis{Instance: e.Vertex.Name, Grid: e.Vertex.GridName, Basis: e.Vertex.Basis(*e.Shared)})
	r.based[e.Vertex] = err == nil
	return err
}

func (r *Recorder) action(e solve.TileDone) error {
	if err := r.basis(e); err != nil {
		return err
	}
	a := lineage.Action{
		ID: e.Action, Instance: e.Vertex.Name, Grid: e.Vertex.GridName, Tile: e.Tile.Box,
		Started: e.Started, Status: lineage.Succeeded, Attempts: e.Attempts, Losses: e.Losses, Windows: e.Windows, Parts: e.Parts, Outputs: e.Outputs,
		Usage:      lineage.Usage{Wall: e.Wall, User: e.Usage.User, System: e.Usage.System, MaxRSS: e.Usage.MaxRSS, Read: e.Read, Written: e.Written},
		Unenforced: e.Unenforced, LogSize: int64(len(e.Log)),
	}
	if !e.Vertex.IsMerge() {
		a.Sandbox = r.cfg.Sandbox
	}
	if s, ok := map[solve.Outcome]lineage.Status{solve.Failed: lineage.Failed, solve.Lost: lineage.Lost, solve.Cancelled: lineage.Cancelled}[e.Outcome]; ok {
		a.Status = s
	}
	if e.Err != nil {
		a.Reason = e.Err.Error()
	}
	if f, ok := errors.AsType[*containers.Failure](e.Err); ok {
		a.Exit = f.Code
	}
	if e.Disagrees {
		a.Reason = "it made other values than another run of the same action: it is not deterministic"
	}
	r.earlier(&a, e)
	r.ended(e.Action)
	return r.w.Action(a)
}

// earlier adds the attempts that failed.
func (r *Recorder) earlier(a *lineage.Action, e solve.TileDone) {
	for i, f := range e.Failed {
		a.Failures = append(a.Failures, lineage.Failure{Started: f.Started, Wall: f.Wall, Memory: f.Memory,
			Kind: string(f.Failure.Kind), Exit: f.Failure.Code, Reason: f.Failure.Detail})
		if i+1 < e.Attempts {
			a.LogSize += int64(len(f.Log))
		}
	}
}

// retried parts what an attempt printed from what the next one will.
func (r *Recorder) retried(e solve.Retried) error {
	line := fmt.Appendf(nil, "[attempt %d: %v]\n", e.Attempt, e.Err)
	if r.ended(e.Action) {
		line = append([]byte{'\n'}, line...)
	}
	return r.w.AppendLog(e.Action, line)
}

// ended forgets how an action's print ended, and reports whether that was within
// a line.
func (r *Recorder) ended(id graph.ActionID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	open := r.open[id]
	delete(r.open, id)
	return open
}

func (r *Recorder) vertex(e solve.VertexDone) lineage.Vertex {
	v := lineage.Vertex{
		Instance: e.Vertex.Name, Grid: e.Vertex.GridName, Derivation: e.Derivation, Preimage: e.Preimage,
		Started: time.Now().Add(-e.Wall).UTC(), Status: lineage.Succeeded, Counts: CountsOf(e.Count), Wall: e.Wall,
	}
	if !e.Complete {
		v.Status = lineage.Failed
	}
	for i, b := range e.Vertex.Inputs {
		if i < len(e.Inputs) {
			v.Inputs = append(v.Inputs, lineage.Input{Role: b.Role, Variable: b.Variable, Version: e.Inputs[i], Held: b.Import != nil && b.Import.Held})
		}
	}
	for i, o := range e.Vertex.Outputs {
		if i < len(e.Outputs) {
			v.Outputs = append(v.Outputs, lineage.Output{Role: o.Role, Variable: o.Variable, Version: e.Outputs[i], Native: o.Native})
		}
	}
	if inst := e.Vertex.Instance; inst != nil {
		r.instance(&v, inst)
	}
	return v
}

// instance adds what a producer brings: its contract, image, params and
// sources.
func (r *Recorder) instance(v *lineage.Vertex, inst *graph.Instance) {
	m, image := inst.Manifest, inst.Image
	v.Producer = lineage.Producer{Name: m.Name, Description: m.Description, License: m.License, Citation: m.Citation}
	v.Image = lineage.Image{Ref: image.Ref, Config: image.Config, Manifest: image.Manifest, Platform: image.Platform, DiffIDs: image.DiffIDs}
	v.Params, v.Limits = inst.Params, inst.Limits()
	v.Packages = r.imagePackages(image)
	for _, need := range m.Sources {
		name, ok := inst.Sources[need.Name]
		if !ok {
			continue
		}
		s := r.cfg.Workspace.Sources[name]
		v.Sources = append(v.Sources, lineage.Source{Role: need.Name, Name: name, URI: s.URI, SHA256: s.SHA256,
			Size: s.Size, License: s.License, Citation: s.Citation, Recording: r.recording(s.Fetched)})
	}
}

func (r *Recorder) recording(f *graph.Fetched) *lineage.Recording {
	if f == nil {
		return nil
	}
	var all []lineage.Exchange
	if r.cfg.Exchanges != nil {
		var err error
		all, err = r.cfg.Exchanges(f.Recording)
		r.note(err)
	}
	return lineage.NewRecording(f.Recording, f.At, all)
}

func (r *Recorder) imagePackages(image graph.Image) []lineage.Package {
	if r.cfg.Packages == nil {
		return nil
	}
	p, known := r.packages[image.Config]
	if !known {
		var err error
		p, err = r.cfg.Packages(image)
		r.note(err)
		r.packages[image.Config] = p
	}
	return p
}
