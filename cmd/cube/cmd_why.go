package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/cubebuild/cube/lineage"
	"github.com/spf13/cobra"
)

func newWhyCommand(a *app) *cobra.Command {
	var o whyOptions
	c := &cobra.Command{
		Use:     "why VARIABLE... | --action ID",
		Short:   "say what would run again for a variable, and what is the cause",
		GroupID: groupExplain,
		Long: `Why compares what a variable was made of with what it would be made of now, and
follows each input that is itself out of date down to its cause: the source, the
param, the producer's code or the grid that changed. It says what is unchanged,
and which changes count for nothing ("Not keyed").

With --tile or --at it says so of single tiles: whether each would run, and within
its very windows which cells of which input are not what they were.

It reads no values but those of chunks whose digests differ.

With --action it prints everything that the id of an action that ran is the digest
of, computes the digest again, and says what differs from the action before it of
the same tile.

With --json it prints a line {"type": "why"} for each variable, or {"type":
"why_tile"} for each tile, whose causes are {what, name, old, new, sentence,
because: [...]}; that of an input has {window: {...}} for a tile. Of an action it
prints {"type": "action"} with {preimage: {action, shared, request}}.`,
		Example: `  cube why slope
  cube why slope --tile 0,1                        # y,x: as cube verify names tiles
  cube why slope --tile 'y[0,64) x[64,128)'        # the cells: as failures and logs do
  cube why wind --tile 3,0,1                       # t,y,x
  cube why slope --at 446175,4464025               # the tile there
  cube why --action 3f9c0a                         # what went into one action
  cube why slope --set producers.slope.params.method=zevenbergen
  cube why slope --json | jq '.causes[].sentence'`,
		Args: func(c *cobra.Command, args []string) error {
			if o.action != "" {
				return cobra.NoArgs(c, args)
			}
			return cobra.MinimumNArgs(1)(c, args)
		},
		ValidArgsFunction: a.completeVariables,
		RunE: func(c *cobra.Command, args []string) error {
			if o.action != "" && !o.where.empty() {
				return &usageError{errors.New("--action names one action of one tile: it goes with neither --tile nor --at")}
			}
			if o.action != "" {
				return runWhyAction(c.Context(), a, o.action)
			}
			return runWhy(c.Context(), a, o, args)
		},
	}
	o.add(c)
	f := c.Flags()
	f.StringArrayVar(&o.where.tiles, "tile", nil, "of this tile, as `[t,]y,x` (repeatable)")
	f.StringArrayVar(&o.where.at, "at", nil, "of the tile at coordinates `x,y` of the variable's grid (repeatable)")
	f.StringVar(&o.action, "action", "", "of the action that ran and whose `id` begins so")
	return c
}

type whyOptions struct {
	projectFlags
	where  tileFlags
	action string
}

// explanation is what cube why says of a variable.
type explanation struct {
	Type     string       `json:"type"` // why
	Variable string       `json:"variable"`
	Vertex   string       `json:"vertex,omitempty"`
	Clean    bool         `json:"clean"`
	Imported bool         `json:"imported,omitempty"`
	Held     graph.Digest `json:"held,omitzero"` // the version that is used whatever its producer would make
	Tiles    int64        `json:"tiles"`
	Known    int64        `json:"known"`
	ToRun    int64        `json:"to_run"`
	MayRun   int64        `json:"may_run"`
	grounds

	preview *solve.VertexPreview
}

func runWhy(ctx context.Context, a *app, o whyOptions, variables []string) error {
	if !o.where.empty() {
		return runWhyTile(ctx, a, o, variables)
	}
	x, err := a.foresee(ctx, o.projectFlags, 0, variables)
	if err != nil {
		return err
	}
	for _, name := range variables {
		e, err := x.explain(ctx, name)
		if err != nil {
			return err
		}
		if err := a.tell(e, &e.grounds); err != nil {
			return err
		}
	}
	return nil
}

func (x *foresight) explain(ctx context.Context, name string) (*explanation, error) {
	e := &explanation{Type: "why", Variable: name, grounds: noGrounds()}
	o := x.prep.Plan.Output(name)
	if o == nil {
		pin := x.prep.Workspace.Imports[name]
		if e.Clean, e.Imported = true, !pin.Held; pin.Held {
			e.Held = pin.Version
		}
		return e, nil
	}
	p := x.by[o.Vertex]
	e.preview, e.Vertex, e.Clean = p, o.Vertex.Name, p.Known
	e.Tiles, e.Known, e.ToRun, e.MayRun = o.Vertex.Len(), p.Hits, p.Misses, p.Open
	var err error
	if e.grounds, err = x.grounds(p, p.Misses+p.Open); err != nil {
		return nil, err
	}
	if e.Clean && !p.HeadElsewhere() {
		return e, nil
	}
	found, err := x.why(ctx, p, p.Before, map[*graph.Vertex]bool{})
	if err != nil {
		return nil, err
	}
	e.found(p, found)
	return e, nil
}

// why is causes with the causes of each input's change below it.
func (x *foresight) why(ctx context.Context, p *solve.VertexPreview, before json.RawMessage, seen map[*graph.Vertex]bool) ([]cause, error) {
	seen[p.Vertex] = true
	found, err := causes(p, before)
	if err != nil {
		return nil, err
	}
	if err := x.nameFiles(ctx, p.Vertex, before, found); err != nil {
		return nil, err
	}
	for i := range found {
		c := &found[i]
		if c.input == nil || c.input.From == nil {
			continue
		}
		up := x.by[c.input.From.Vertex]
		if seen[up.Vertex] {
			c.Sentence += ", as above"
			continue
		}
		earlier := up.Before
		if c.What == lineage.ChangedInput {
			c.Sentence = x.changedInput(ctx, *c, up)
			if earlier, err = x.preimageOf(c.input.Variable, c.was); err != nil {
				return nil, err
			}
			if earlier == nil {
				continue
			}
		} else {
			c.Sentence = pendingSentence(up, c.Name)
		}
		if c.Because, err = x.why(ctx, up, earlier, seen); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func pendingSentence(up *solve.VertexPreview, variable string) string {
	n, total := up.Misses+up.Open, up.Vertex.Len()
	again := "anew first"
	if up.Head == nil {
		again = "first"
	}
	switch {
	case up.Idle() && up.Failing > 0:
		return fmt.Sprintf("%s is known to fail", variable)
	case up.Idle():
		return fmt.Sprintf("%s would be put together anew, from tiles that are all known", variable)
	case total == 1:
		return fmt.Sprintf("%s would be made %s", variable, again)
	case up.Open == 0:
		return fmt.Sprintf("%s would be made %s: %d of %s", variable, again, n, tiles(total))
	}
	return fmt.Sprintf("%s would be made %s: up to %d of %s", variable, again, n, tiles(total))
}

// preimageOf is the preimage of the derivation that a version was made by, nil
// where no run tells.
func (x *foresight) preimageOf(variable string, version graph.Digest) (json.RawMessage, error) {
	v, _, err := x.runs.ByVersion(variable, version)
	if errors.Is(err, lineage.ErrNoRecord) {
		return nil, nil
	}
	return v.Preimage, err
}

// changedInput says where an input differs from what was read before, as far
// as both versions are there.
func (x *foresight) changedInput(ctx context.Context, c cause, up *solve.VertexPreview) string {
	for i, o := range up.Vertex.Outputs {
		if o != c.input.From || !up.Known || c.was.IsZero() {
			continue
		}
		d, err := compareVersions(ctx, x.cube, o, c.was, up.Outputs[i])
		if err == nil {
			return c.Name + " " + d.String()
		}
	}
	return c.Sentence
}

func (e *explanation) headline(s ui.Style) string {
	p := e.preview
	name := s.Bold(e.Variable)
	if !e.Held.IsZero() {
		return fmt.Sprintf("%s is held at version %s and used as it is: nothing would run. To have it made again: cube hold --release %s", name, e.Held.Short(), e.Variable)
	}
	if e.Imported {
		return name + " was imported and is pinned in cube.lock: nothing makes it, and nothing would run"
	}
	switch {
	case e.Clean && p.HeadElsewhere():
		return name + ": nothing would run. Its result is known, and the head would show it"
	case e.Clean:
		return name + " is " + s.Good("clean") + ": nothing would run"
	case p.Idle() && p.Failing > 0:
		return fmt.Sprintf("%s is known to fail in %d of %s; cube build --retry-failed tries again", name, p.Failing, tiles(e.Tiles))
	case p.Idle():
		return fmt.Sprintf("%s would be put together anew from %s, which are all known: nothing would run", name, tiles(e.Tiles))
	}
	verb := " would rerun: "
	if p.Head == nil {
		verb = " would run: "
	}
	text := name + verb + actions(e.ToRun, e.MayRun)
	if e.Tiles == 1 {
		text += ", whole domain"
	} else {
		text += " of " + ui.Count(e.Tiles)
	}
	if e.about != "" {
		text += ", " + e.about
	}
	return text
}

func actions(certain, more int64) string {
	noun := func(n int64) string {
		if n == 1 {
			return "1 action"
		}
		return ui.Count(n) + " actions"
	}
	switch {
	case more == 0:
		return noun(certain)
	case certain == 0:
		return "up to " + noun(more)
	}
	return noun(certain) + " and up to " + ui.Count(more) + " more"
}
