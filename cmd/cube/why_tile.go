package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/cas"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/compare"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/cubebuild/cube/lineage"
)

// What a look at one tile finds beside what a preview does.
const (
	causeNewTile lineage.What = "new tile"
	causeWindow  lineage.What = "window" // another extent of an input is read
	causeNearby  lineage.What = "nearby" // chunks that a window meets changed, and not within it
)

// tileExplanation is what cube why says of one tile.
type tileExplanation struct {
	Type     string         `json:"type"` // why_tile
	Variable string         `json:"variable"`
	Vertex   string         `json:"vertex"`
	Tile     tileIndex      `json:"tile"`
	Box      grid.Box       `json:"box"`
	Forecast string         `json:"forecast"` // known, miss, open or failing
	Action   graph.ActionID `json:"action,omitzero"`
	Error    string         `json:"error,omitempty"` // why it is known to fail
	grounds

	look *solve.TilePreview
}

// windowChange is where what a tile reads of an input differs.
type windowChange struct {
	Cells  int64       `json:"cells"` // that both windows have
	Differ int64       `json:"differ"`
	Tiles  []tileIndex `json:"tiles,omitempty"`  // of the input's producer, whose chunks differ or that are still to be made
	Chunks int         `json:"chunks,omitempty"` // that differ by their digests
	First  *firstCell  `json:"first,omitempty"`
}

func runWhyTile(ctx context.Context, a *app, o whyOptions, variables []string) error {
	x, err := a.foreseeBy(ctx, o.projectFlags, 0, variables, solve.Settled)
	if err != nil {
		return err
	}
	for _, name := range variables {
		output := x.prep.Plan.Output(name)
		if output == nil {
			return &usageError{fmt.Errorf("%s was imported: nothing makes its tiles", name)}
		}
		tiles, err := o.where.single(output.Vertex)
		if err != nil {
			return &usageError{fmt.Errorf("%w\n  tiles of %s: %s", err, name, tilesText(output.Vertex))}
		}
		for _, tile := range tiles {
			e, err := x.explainTile(ctx, output, tile)
			if err != nil {
				return err
			}
			if err := a.tell(e, &e.grounds); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *foresight) explainTile(ctx context.Context, o *graph.Output, tile grid.Tile) (*tileExplanation, error) {
	look, err := solve.Look(ctx, &x.prep.Workspace, x.prep.Plan, x.config(), o.Vertex, tile)
	if err != nil {
		return nil, err
	}
	e := &tileExplanation{Type: "why_tile", Variable: o.Variable, Vertex: o.Vertex.Name, Tile: tileIndex{tile.T, tile.Y, tile.X}, Box: tile.Box,
		Forecast: look.Forecast.String(), Action: look.Action, look: look}
	if look.Err != nil {
		e.Error = look.Err.Error()
	}
	runs := int64(0)
	if look.Forecast == solve.Miss || look.Forecast == solve.Open {
		runs = 1
	}
	if e.grounds, err = x.grounds(&look.Vertex, runs); err != nil {
		return nil, err
	}
	found, err := x.whyTile(ctx, look)
	if err != nil {
		return nil, err
	}
	e.found(&look.Vertex, found)
	return e, nil
}

// whyTile are the causes of a vertex, as far as they are those of a tile.
func (x *foresight) whyTile(ctx context.Context, look *solve.TilePreview) ([]cause, error) {
	p := &look.Vertex
	whole, err := causes(p, p.Before)
	if err != nil || p.Before == nil {
		return whole, err
	}
	if err := x.nameFiles(ctx, p.Vertex, p.Before, whole); err != nil {
		return nil, err
	}
	was, err := graph.ReadOutline(p.Before)
	if err != nil {
		return nil, err
	}
	fresh := !was.Box.Contains(look.Tile.Box)
	var out []cause
	for _, c := range whole {
		switch {
		case c.input != nil, c.What == causeForgot, c.What == causeVoid:
			continue // the windows, and the end, tell
		case c.What == lineage.ChangedGrid && c.Name == "domain" && fresh:
			c.Sentence = "the tile is new: " + c.Sentence
			c.What = causeNewTile
		case c.What == lineage.ChangedGrid && c.Name == "domain":
			continue
		}
		out = append(out, c)
	}
	if !fresh {
		for i := range look.Windows {
			c, ok, err := x.windowCause(ctx, look, &look.Windows[i])
			if err != nil {
				return nil, err
			}
			if ok {
				out = append(out, c)
			}
		}
	}
	if !slices.ContainsFunc(out, func(c cause) bool { return c.What != causeNearby }) && look.Forecast == solve.Miss {
		c := cause{What: causeForgot, Sentence: "its result is not in the cube any more"}
		if p.Void {
			c = cause{What: causeVoid, Sentence: "its result was invalidated"}
		}
		out = append(out, c)
	}
	return out, nil
}

// windowCause says how what a tile reads of one input differs from what was
// read before; false where it does not.
func (x *foresight) windowCause(ctx context.Context, look *solve.TilePreview, w *solve.WindowPreview) (cause, bool, error) {
	b := w.Binding
	c := cause{What: lineage.ChangedInput, Name: b.Variable, input: b, was: w.Older}
	switch {
	case w.Missing > 0:
		c.What, c.Window = causePending, &windowChange{Tiles: indexes(w.Pending)}
		c.Sentence = pendingTiles(b, w)
		return c, true, x.because(ctx, &c)
	case w.Older.IsZero():
		c.Sentence = b.Variable + " was not read before"
		return c, true, nil
	case w.Version == w.Older:
		return c, false, nil
	}
	c.Old, c.New = w.Older.Short(), w.Version.Short()
	if err := x.compareWindow(ctx, &c, w); err != nil {
		return c, false, err
	}
	if c.Sentence == "" {
		return c, false, nil
	}
	return c, true, x.because(ctx, &c)
}

// pendingTiles names the tiles that are to be made before a window is there.
func pendingTiles(b *graph.Binding, w *solve.WindowPreview) string {
	if b.From.Vertex.Len() == 1 {
		return b.Variable + " is to be made first"
	}
	var names []string
	for _, t := range w.Pending {
		names = append(names, tileIndex{t.T, t.Y, t.X}.text(b.From.Vertex.Box.T.Len() == 0))
	}
	s := fmt.Sprintf("%s is to be made first: tile %s", b.Variable, names[0])
	if len(names) > 1 {
		s = fmt.Sprintf("%s is to be made first: tiles %s", b.Variable, strings.Join(names, " "))
	}
	if more := w.Missing - int64(len(names)); more > 0 {
		s += fmt.Sprintf(" and %s more", ui.Count(more))
	}
	return s
}

func indexes(tiles []grid.Tile) []tileIndex {
	var out []tileIndex
	for _, t := range tiles {
		out = append(out, tileIndex{t.T, t.Y, t.X})
	}
	return out
}

// compareWindow says where two windows differ, and leaves the sentence empty
// where they do not.
func (x *foresight) compareWindow(ctx context.Context, c *cause, w *solve.WindowPreview) error {
	b := w.Binding
	switch {
	case b.Spec().Kind == graph.File, w.Was == nil, w.Now == nil:
		c.Sentence = changed(c.Name, lineage.Change{Old: c.Old, New: c.New})
		if w.Was == nil {
			c.Sentence += "; what it was is not in the cube any more"
		}
		return nil
	case w.Read.Empty():
		return nil
	}
	if w.Was.Layout().Domain().Intersect(w.Read) != w.Now.Layout().Domain().Intersect(w.Read) {
		c.What = causeWindow
		c.Sentence = fmt.Sprintf("%s reaches farther than before, or less far: the tile reads %s of it", c.Name, w.Read)
	}
	r, err := compare.Window(ctx, w.WasIn, w.Was, w.NowIn, w.Now, w.Read)
	if unseen(err) {
		c.Sentence = fmt.Sprintf("%s changed: %s → %s, of which chunks are gone or damaged", c.Name, c.Old, c.New)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	x.tellWindow(c, w, r)
	return nil
}

// tellWindow puts a comparison in words.
func (x *foresight) tellWindow(c *cause, w *solve.WindowPreview, r *compare.WindowResult) {
	l := w.Now.Layout()
	meaning := slices.DeleteFunc(r.Meaning, func(s string) bool { return strings.HasPrefix(s, "domain: ") })
	c.Window = &windowChange{Cells: r.Cells, Differ: r.Differ, Chunks: len(r.Chunks)}
	if from := w.Binding.From; from != nil {
		c.Window.Tiles = tilesOf(from, r.Chunks)
	}
	switch {
	case len(meaning) > 0:
		c.Sentence = fmt.Sprintf("%s means something else: %s", c.Name, strings.Join(meaning, "; "))
	case r.Differ > 0:
		c.Sentence = fmt.Sprintf("%s changed within its window in %s of %s", c.Name, ui.Count(r.Differ), cellsText(r.Cells))
	case len(r.Chunks) > 0 && c.Sentence == "":
		c.What = causeNearby
		c.Sentence = fmt.Sprintf("%s changed near its window, and not within it", c.Name)
		return
	}
	if r.First == nil {
		return
	}
	d := newDiffers(&r.Result, l, nil, compare.Tolerance{})
	c.Window.First = d.First
	if n := len(c.Window.Tiles); n == 1 {
		c.Window.First.Tile = &c.Window.Tiles[0]
	}
	at := fmt.Sprintf("%s, %s", coordinate(d.First.X), coordinate(d.First.Y))
	if d.First.Time != "" {
		at += ", " + d.First.Time
	}
	if t := c.Window.First.Tile; t != nil && w.Binding.From.Vertex.Len() > 1 {
		c.Sentence += ", of tile " + t.text(w.Binding.From.Vertex.Box.T.Len() == 0)
	}
	c.Sentence += fmt.Sprintf("; first %s at %s: %s → %s", commas(r.First.Index), at, r.First.Old.Name(), r.First.New.Name())
}

func cellsText(n int64) string {
	if n == 1 {
		return "1 cell"
	}
	return ui.Count(n) + " cells"
}

// tilesOf are the tiles of an output's vertex that made chunks, in order.
func tilesOf(o *graph.Output, chunks []grid.Box) []tileIndex {
	seen := map[[3]int64]bool{}
	for _, box := range chunks {
		if o.Spec.Kind != graph.Time {
			box.T = o.Vertex.Box.T
		}
		markTiles(o, box, seen)
	}
	var out []tileIndex
	for k := range seen {
		out = append(out, tileIndex{k[0], k[1], k[2]})
	}
	slices.SortFunc(out, func(a, b tileIndex) int {
		return slices.Compare([]int64{a.T, a.Y, a.X}, []int64{b.T, b.Y, b.X})
	})
	return out
}

// because adds the causes of an input's own change.
func (x *foresight) because(ctx context.Context, c *cause) error {
	from := c.input.From
	if from == nil {
		return nil
	}
	up := x.by[from.Vertex]
	earlier := up.Before
	if c.What != causePending {
		var err error
		if earlier, err = x.preimageOf(c.input.Variable, c.was); err != nil || earlier == nil {
			return err
		}
	}
	var err error
	c.Because, err = x.why(ctx, up, earlier, map[*graph.Vertex]bool{})
	return err
}

// unseen reports whether an error says that values are gone or damaged.
func unseen(err error) bool {
	var uncovered *cube.UncoveredError
	var corrupt *cas.CorruptError
	return errors.As(err, &uncovered) || errors.As(err, &corrupt) || errors.Is(err, cube.ErrNotExist)
}

func (e *tileExplanation) headline(s ui.Style) string {
	name := s.Bold(e.Variable)
	if v := e.look.Vertex.Vertex; v.Len() > 1 {
		name += " tile " + e.Tile.text(v.Box.T.Len() == 0)
	}
	would := " would rerun"
	if e.look.Vertex.Head == nil {
		would = " would run"
	}
	switch e.look.Forecast {
	case solve.Known:
		return name + " is " + s.Good("known") + ": it would not run"
	case solve.Failing:
		return fmt.Sprintf("%s is known to fail: %s\n  cube build --retry-failed tries again", name, ui.Printable([]byte(e.Error)))
	case solve.Open:
		if e.look.Vertex.Head != nil {
			would += ", unless what it reads comes out as it was"
		}
	}
	if e.about != "" {
		return name + would + ": " + e.about
	}
	return name + would
}
