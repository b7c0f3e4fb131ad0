package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/spf13/cobra"
)

func newLsCommand(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:     "ls",
		Short:   "list the variables of the cube",
		GroupID: groupLook,
		Long: `Ls lists the variables that were built: who made each, where it lies, what it
means, and its state. A clean variable is what a build would make of it now; a
dirty one would be made anew ("cube why" says why); of an unknown one an image or
a source is not at hand ("cube plan" makes them ready); an orphan is made by
nothing in the workspace any more. Nothing is built for it.`,
		Example: `  cube ls
  cube ls --all          # those that were not built yet, too
  cube ls --json | jq -r 'select(.state == "dirty").variable'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runLs(c.Context(), a, all) },
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "also what the workspace can make and was not built yet")
	return c
}

func runLs(ctx context.Context, a *app, all bool) error {
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	states, outputs, err := g.states(ctx)
	if err != nil {
		return err
	}
	var cards []card
	for _, name := range slices.Sorted(maps.Keys(states)) {
		if states[name] == stateNone && !all {
			continue
		}
		c, err := g.card(ctx, name, states[name], outputs[name])
		if err != nil {
			return err
		}
		cards = append(cards, c)
	}
	if a.json {
		return a.printLines(anySlice(cards)...)
	}
	if len(cards) == 0 {
		a.notice("nothing is built yet; cube ls --all lists what there is to build")
		return nil
	}
	return lsTable(a, cards).Write(a.stdout, a.style(a.stdout))
}

func lsTable(a *app, cards []card) *ui.Table {
	t := &ui.Table{Header: []string{"variable", "by", "dims", "type", "units", "grid", "native", "versions", "size", "state"},
		Right: []bool{7: true, 8: true, 9: false}}
	for _, c := range cards {
		t.Add(c.Variable, c.by, c.dims, string(c.DType), c.unitText(), c.grid, c.native, c.versionCount(), c.size(), c.State.word(a.style(a.stdout)))
	}
	return t
}

// card is what is known of a variable without reading its values. Its JSON form
// is a line of cube ls and a part of cube show.
type card struct {
	Type       string         `json:"type"` // variable
	Variable   string         `json:"variable"`
	State      state          `json:"state"`
	Head       graph.Digest   `json:"head,omitzero"`
	Derivation graph.Digest   `json:"derivation,omitzero"`
	Instance   string         `json:"instance,omitempty"` // empty: imported
	Role       string         `json:"role,omitempty"`
	LongName   string         `json:"long_name,omitempty"`
	Kind       graph.Kind     `json:"kind,omitempty"`
	DType      graph.DType    `json:"dtype,omitempty"`
	Dims       []string       `json:"dims,omitempty"`
	Shape      []int64        `json:"shape,omitempty"`
	Units      string         `json:"units,omitempty"`
	Legend     []graph.Class  `json:"legend,omitempty"`
	CRS        grid.CRS       `json:"crs,omitempty"`
	Cell       []float64      `json:"cell,omitempty"` // dx, dy in units of the CRS
	Bounds     *grid.Bounds   `json:"bounds,omitempty"`
	Time       *timeRange     `json:"time,omitempty"`
	Native     float64        `json:"native_res_m,omitempty"`
	MediaType  string         `json:"media_type,omitempty"`
	Bytes      int64          `json:"bytes,omitempty"`        // as a reader sees it
	Stored     int64          `json:"stored_bytes,omitempty"` // compressed
	Versions   []versionEntry `json:"versions,omitempty"`     // the oldest first
	Path       string         `json:"path,omitempty"`         // of the Zarr group or the file, below the workspace

	by, dims, grid, native string
}

type timeRange struct {
	Start string `json:"start"`
	End   string `json:"end"`
	Step  int64  `json:"step_s"`
}

type versionEntry struct {
	Version    graph.Digest `json:"version"`
	Derivation graph.Digest `json:"derivation,omitzero"`
	Instance   string       `json:"instance,omitempty"`
	Run        string       `json:"run,omitempty"`
	Time       *time.Time   `json:"time,omitempty"`
	Kept       bool         `json:"kept"` // false: freed by gc
}

// card describes a variable: its head, or what it would be where it was not
// built.
func (g *gallery) card(ctx context.Context, name string, st state, planned *graph.Output) (card, error) {
	c := card{Type: "variable", Variable: name, State: st}
	h, built := g.heads[name]
	if !built {
		c.promise(ctx, g)
		if planned != nil {
			c.spec(planned.Spec)
			c.layout(cube.Layout{Spec: planned.Spec, Grid: planned.Grid})
			c.resolution(planned.Native)
		}
		return c, nil
	}
	v, err := g.cube.LoadVersion(ctx, h.Version)
	if err != nil {
		return c, fmt.Errorf("%s: %w", name, err)
	}
	c.Head, c.Derivation, c.Instance, c.Role, c.by = h.Version, h.Derivation, h.Instance, h.Role, madeBy(h)
	c.spec(h.Spec)
	c.resolution(h.Native)
	if f, ok := v.File(); ok {
		c.Kind, c.Bytes, c.Stored, c.MediaType, c.Path = graph.File, f.Size, f.Size, f.MediaType, ".cube/files/"+name+f.Ext
	} else {
		l := v.Layout()
		c.layout(l)
		c.Bytes, c.Stored, c.Path = l.Bytes(l.Domain()), v.Coverage().Bytes, ".cube/zarr/"+name
	}
	return c, c.history(ctx, g)
}

// promise describes a variable that was not built as the contract of the
// instance that would make it does.
func (c *card) promise(ctx context.Context, g *gallery) {
	ws, err := g.proj.Outline(ctx)
	if err != nil {
		return // then nothing is known of it
	}
	for i := range ws.Instances {
		inst := &ws.Instances[i]
		for _, spec := range inst.Manifest.Produces {
			if inst.Output(spec.Name) == c.Variable {
				c.Instance, c.Role, c.by = inst.Name, spec.Name, madeBy(cube.Head{Variable: c.Variable, Instance: inst.Name, Role: spec.Name})
				c.spec(spec)
				return
			}
		}
	}
}

func (c *card) spec(s graph.VarSpec) {
	c.Kind, c.DType, c.Units, c.Legend, c.LongName, c.MediaType = s.Kind, s.DType, s.Units, s.Legend, s.LongName, s.MediaType
}

func (c *card) layout(l cube.Layout) {
	if l.Spec.Kind == graph.File || l.Grid.Box.Empty() {
		return
	}
	c.Kind, c.DType, c.Dims, c.Shape, c.dims = l.Spec.Kind, l.Spec.DType, l.Dims(), l.Shape(l.Domain()), dimsText(l)
	lat, bounds := l.Grid.Lattice, l.Grid.Bounds()
	c.CRS, c.Cell, c.Bounds, c.grid = lat.CRS, []float64{lat.DX, lat.DY}, &bounds, latticeText(lat)
	if axis := l.Grid.Time; l.Spec.Kind == graph.Time && !axis.IsZero() {
		c.Time = &timeRange{grid.FormatTime(axis.At(l.Grid.Box.T.Lo)), grid.FormatTime(axis.At(l.Grid.Box.T.Hi)), axis.Step}
	}
}

func (c *card) resolution(metres float64) {
	if metres > 0 {
		c.Native, c.native = metres, ui.Metres(metres)
	}
}

func (c *card) history(ctx context.Context, g *gallery) error {
	versions, err := g.versions(ctx, c.Variable)
	for _, h := range versions {
		e := versionEntry{Version: h.Version, Derivation: h.Derivation, Instance: h.Instance, Run: h.Run, Kept: g.cube.HasVersion(h.Version)}
		if h.Time > 0 {
			t := time.Unix(h.Time, 0).UTC()
			e.Time = &t
		}
		c.Versions = append(c.Versions, e)
	}
	return err
}

// unitText is the units, or the number of classes.
func (c *card) unitText() string {
	if len(c.Legend) > 0 {
		return plural(len(c.Legend), "class")
	}
	if c.Kind == graph.File {
		return c.MediaType
	}
	return c.Units
}

func (c *card) versionCount() string {
	if len(c.Versions) == 0 {
		return ""
	}
	return ui.Count(int64(len(c.Versions)))
}

func (c *card) size() string {
	if c.Head.IsZero() {
		return ""
	}
	return ui.Bytes(c.Stored)
}
