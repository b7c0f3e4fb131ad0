package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/cubebuild/cube/lineage"
)

// actionPreimage is what cube why --action says of one.
type actionPreimage struct {
	Type     string          `json:"type"` // action
	Action   graph.ActionID  `json:"action"`
	Run      string          `json:"run"`
	Instance string          `json:"instance"`
	Grid     string          `json:"grid"`
	Tile     grid.Box        `json:"tile"`
	Status   lineage.Status  `json:"status"`
	Preimage json.RawMessage `json:"preimage"` // {action, shared, request}, checked against the id
	Before   *actionBefore   `json:"before,omitempty"`

	preimage *graph.Preimage
}

// actionBefore is an earlier action of the same tile.
type actionBefore struct {
	Action  graph.ActionID   `json:"action"`
	Run     string           `json:"run"`
	Changes []lineage.Change `json:"changes"`
	Unknown string           `json:"unknown,omitempty"` // why they cannot be compared
}

func runWhyAction(ctx context.Context, a *app, what string) error {
	prefix, ok := actionPrefix(what)
	if !ok {
		return &usageError{fmt.Errorf("--action %s: want the first digits of an action's id, at least 4\n  cube log shows them", what)}
	}
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	runs := lineage.Open("")
	if g.cube != nil {
		runs = lineage.Open(g.cube.Path("runs"))
	}
	action, before, err := findAction(ctx, runs, prefix)
	if err != nil {
		return err
	}
	e, err := explainAction(runs, action, before)
	if err != nil {
		return err
	}
	if a.json {
		return a.printLines(e)
	}
	return e.write(a.stdout, a.style(a.stdout))
}

// findAction finds the newest action with a prefix, and the newest other one of
// its tile before it, nil where there is none.
func findAction(ctx context.Context, runs *lineage.Store, prefix string) (lineage.Action, *lineage.Action, error) {
	ids, err := runs.IDs()
	if err != nil {
		return lineage.Action{}, nil, err
	}
	slices.Reverse(ids)
	for i, id := range ids {
		found, err := newest(ctx, runs, id, func(x lineage.Action) bool { return strings.HasPrefix(x.ID.Hex(), prefix) }, prefix)
		if err != nil {
			return lineage.Action{}, nil, err
		}
		if found == nil {
			continue
		}
		like := func(x lineage.Action) bool {
			return x.ID != found.ID && x.Instance == found.Instance && x.Grid == found.Grid && x.Tile == found.Tile && x.Started.Before(found.Started)
		}
		for _, id := range ids[i:] {
			before, err := newest(ctx, runs, id, like, "")
			if err != nil || before != nil {
				return *found, before, err
			}
		}
		return *found, nil, nil
	}
	return lineage.Action{}, nil, &usageError{fmt.Errorf("no action that ran begins with %s\n  cube log shows their ids", prefix)}
}

// newest is the last action of a run that matches. With a prefix several ids
// that match are an error.
func newest(ctx context.Context, runs *lineage.Store, id string, match func(lineage.Action) bool, prefix string) (*lineage.Action, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found, err := logsOf(runs, id, match)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	last := found[len(found)-1].action
	for _, f := range found {
		if prefix != "" && f.action.ID != last.ID {
			return nil, &usageError{fmt.Errorf("several actions begin with %s: %s and %s", prefix, f.action.ID.Short(), last.ID.Short())}
		}
	}
	return &last, nil
}

func explainAction(runs *lineage.Store, action lineage.Action, before *lineage.Action) (*actionPreimage, error) {
	p, err := runs.Preimage(action)
	if err != nil {
		return nil, err
	}
	e := &actionPreimage{Type: "action", Action: action.ID, Run: action.Run, Instance: action.Instance, Grid: action.Grid,
		Tile: action.Tile, Status: action.Status, preimage: p}
	if e.Preimage, err = lineage.MarshalPreimage(p); err != nil || before == nil {
		return e, err
	}
	e.Before = &actionBefore{Action: before.ID, Run: before.Run, Changes: []lineage.Change{}}
	was, err := runs.Preimage(*before)
	if errors.Is(err, lineage.ErrNoBasis) {
		e.Before.Unknown = err.Error()
		return e, nil
	}
	if err != nil {
		return nil, err
	}
	changes, err := lineage.ExplainActions(was, p)
	e.Before.Changes = append(e.Before.Changes, changes...)
	return e, err
}

func (e *actionPreimage) write(w io.Writer, s ui.Style) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s  action %s, run %s, %s\n", s.Bold(e.Instance), e.Tile, e.Action.Short(), e.Run, e.Status)
	fmt.Fprintf(&b, "  %s\n", s.Dim("its id is the digest of all this, computed again now:"))
	var shared struct {
		Image   *graph.Image               `json:"image"`
		Params  json.RawMessage            `json:"params"`
		Sources map[string]graph.SourceKey `json:"sources"`
		Salt    json.Number                `json:"salt"`
	}
	if err := json.Unmarshal(e.preimage.Shared, &shared); err != nil {
		return fmt.Errorf("action %s: %w", e.Action.Short(), err)
	}
	if shared.Image == nil {
		b.WriteString("  a merge by the engine itself\n")
	} else {
		fmt.Fprintf(&b, "  image %s, %s, %s\n", shared.Image.Platform, plural(len(shared.Image.DiffIDs), "layer"), ui.Printable([]byte(strings.Join(shared.Image.Command, " "))))
	}
	for _, role := range slices.Sorted(maps.Keys(shared.Sources)) {
		fmt.Fprintf(&b, "  source %s %s\n", role, shared.Sources[role].SHA256.Short())
	}
	if len(shared.Params) > 0 {
		fmt.Fprintf(&b, "  params %s\n", ui.Printable(shared.Params))
	}
	for _, role := range slices.Sorted(maps.Keys(e.preimage.Action.Windows)) {
		fmt.Fprintf(&b, "  window of %s %s\n", role, e.preimage.Action.Windows[role].Short())
	}
	fmt.Fprintf(&b, "  shared %s\n  request %s\n", e.preimage.Action.Shared.Short(), ui.Printable(e.preimage.Request))
	e.writeBefore(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (e *actionPreimage) writeBefore(b *strings.Builder) {
	switch {
	case e.Before == nil:
		b.WriteString("no other action of this tile is recorded before it\n")
	case e.Before.Unknown != "":
		fmt.Fprintf(b, "before it was action %s of run %s: %s\n", e.Before.Action.Short(), e.Before.Run, e.Before.Unknown)
	default:
		fmt.Fprintf(b, "since action %s of run %s, the one before of this tile:\n", e.Before.Action.Short(), e.Before.Run)
		for _, c := range e.Before.Changes {
			b.WriteString("  " + ui.Printable([]byte(c.Sentence)) + "\n")
		}
	}
}
