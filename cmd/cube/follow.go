package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/live"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/cubebuild/cube/lineage"
)

// followEvery is how often a log is looked at that grows.
const followEvery = 200 * time.Millisecond

// follower shows what the builds that go on now print, as it comes.
type follower struct {
	app   *app
	runs  *lineage.Store
	style ui.Style
	match func(instance string, id graph.ActionID) bool

	names map[graph.ActionID]live.Action
	part  map[graph.ActionID][]byte // of a line that is not whole yet
	at    map[string]int64          // how far each run's log was read
	begun map[string]bool           // runs whose earlier actions were passed over
}

// followLogs shows what is printed until no build goes on any more, or ctx ends.
func (a *app) followLogs(ctx context.Context, g *gallery, runs *lineage.Store, what string) error {
	f := &follower{app: a, runs: runs, style: a.style(a.stdout), names: map[graph.ActionID]live.Action{},
		part: map[graph.ActionID][]byte{}, at: map[string]int64{}, begun: map[string]bool{}}
	run, err := f.choose(ctx, g, what)
	if err != nil {
		return err
	}
	seen := false
	for {
		builds, err := g.building()
		if err != nil {
			return err
		}
		for _, b := range builds {
			if strings.HasPrefix(b.Run, run) {
				seen = true
				f.note(b)
			}
		}
		if err := f.read(); err != nil {
			return err
		}
		if len(builds) == 0 {
			if !seen {
				a.notice("nothing is being built; what earlier builds printed: cube log")
			}
			return f.rest()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(followEvery):
		}
	}
}

// choose reads what is to be followed: a run, an instance or an action.
func (f *follower) choose(ctx context.Context, g *gallery, what string) (run string, err error) {
	f.match = func(string, graph.ActionID) bool { return true }
	if what == "" {
		return "", nil
	}
	if lineage.CheckID(what) == nil {
		return what, nil
	}
	maker, err := g.instanceOf(ctx, what)
	if err != nil {
		return "", err
	}
	prefix, isAction := actionPrefix(what)
	switch {
	case maker != "":
		f.match = func(instance string, _ graph.ActionID) bool { return instance == maker }
	case isAction:
		f.match = func(_ string, id graph.ActionID) bool { return strings.HasPrefix(id.Hex(), prefix) }
	default:
		return "", g.unknown(ctx, what)
	}
	return "", nil
}

// note learns from a build the names of what runs. What its actions that have
// ended printed before is passed over.
func (f *follower) note(b live.Build) {
	for _, x := range b.Actions {
		f.names[x.ID] = x
	}
	if !f.begun[b.Run] {
		f.begun[b.Run] = true
		f.at[b.Run] = 0
		for x, err := range f.runs.Actions(b.Run) {
			if err == nil && f.names[x.ID].Vertex == "" {
				f.names[x.ID] = live.Action{} // over
			}
		}
	}
}

// read shows what has come since the last look.
func (f *follower) read() error {
	for run, at := range f.at {
		for piece, err := range f.runs.PrintedFrom(run, at) {
			var damage *lineage.DamageError
			if errors.As(err, &damage) {
				break
			}
			if err != nil {
				return err
			}
			f.at[run] = piece.End
			if err := f.piece(run, piece.Record); err != nil {
				return err
			}
		}
	}
	return nil
}

// piece shows the whole lines of what an action printed.
func (f *follower) piece(run string, p lineage.Printed) error {
	x, ok := f.names[p.Action]
	if ok && x.Vertex == "" {
		return nil
	}
	if !ok { // it began and ended between two looks, perhaps
		x = f.named(run, p.Action)
	}
	if !f.match(x.Vertex, p.Action) {
		return nil
	}
	text := append(f.part[p.Action], p.Text...)
	for {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if !whole {
			break
		}
		if err := f.line(run, p.Action, x, line); err != nil {
			return err
		}
		text = rest
	}
	f.part[p.Action] = bytes.Clone(text)
	if len(text) == 0 {
		delete(f.part, p.Action)
	}
	return nil
}

// named finds an action among those that have ended.
func (f *follower) named(run string, id graph.ActionID) live.Action {
	for x, err := range f.runs.Actions(run) {
		if err == nil && x.ID == id {
			f.names[id] = live.Action{ID: id, Vertex: x.Instance, Tile: x.Tile}
		}
	}
	return f.names[id]
}

// followLine is a line of cube log -f --json.
type followLine struct {
	Type     string         `json:"type"` // line
	Run      string         `json:"run"`
	Action   graph.ActionID `json:"action"`
	Instance string         `json:"instance"`
	Tile     string         `json:"tile"`
	Text     string         `json:"text"`
}

func (f *follower) line(run string, id graph.ActionID, x live.Action, text []byte) error {
	if f.app.json {
		return f.app.printLines(followLine{"line", run, id, x.Vertex, x.Tile.String(), string(text)})
	}
	name := id.Short()
	if x.Vertex != "" {
		name = nameOf(x)
	}
	_, err := fmt.Fprintf(f.app.stdout, "%s %s\n", f.style.Dim(name+" |"), ui.Printable(text))
	return err
}

// rest shows the lines that never became whole.
func (f *follower) rest() error {
	for id, text := range f.part {
		if err := f.line("", id, f.names[id], text); err != nil {
			return err
		}
	}
	return nil
}
