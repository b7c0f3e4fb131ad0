package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/compare"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/cubebuild/cube/internal/ui/plot"
	"github.com/spf13/cobra"
)

// compareFlags are what cube diff and cube verify have in common.
type compareFlags struct {
	tolerance []string
	out       string
	width     int
}

func (f *compareFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.tolerance, "tolerance", nil, "by how much numbers may differ: any of `abs=..,rel=..,ulp=..`, after VARIABLE: for that one alone (repeatable; default: not at all)")
	c.Flags().StringVarP(&f.out, "output", "o", "", "where they differ, draw a map of it into this `file` (.png or .svg)")
	c.Flags().IntVar(&f.width, "width", 1200, "width of the map in pixels")
}

// tolerances are those of the variables that are compared, which exist.
func (f *compareFlags) tolerances(variables ...string) (compare.Tolerances, error) {
	t, err := compare.ParseTolerances(f.tolerance)
	if err != nil {
		return t, &usageError{fmt.Errorf("--%w", err)}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Of)) {
		if !slices.Contains(variables, name) {
			return t, &usageError{fmt.Errorf("--tolerance %s:%s: %s is none of what is compared: %s", name, t.Of[name], name, strings.Join(variables, ", "))}
		}
	}
	return t, nil
}

// options are what else is asked of a comparison.
func (f *compareFlags) options() (compare.Options, error) {
	var o compare.Options
	if f.out == "" {
		return o, nil
	}
	if kind := strings.ToLower(filepath.Ext(f.out)); kind != ".png" && kind != ".svg" {
		return o, &usageError{fmt.Errorf("-o %s: a picture is .png or .svg", f.out)}
	}
	if f.width < 100 || f.width > 8000 {
		return o, &usageError{fmt.Errorf("--width %d: from 100 to 8000", f.width)}
	}
	o.Columns, o.Rows = f.width, 2*f.width
	return o, nil
}

// differs is a comparison as a part of a line of JSON.
type differs struct {
	Comparable bool               `json:"comparable"`
	Cells      int64              `json:"cells"` // compared; of files: bytes
	Differ     int64              `json:"differ"`
	Within     int64              `json:"within_tolerance"`
	OneSided   int64              `json:"one_sided"` // of differ: one has no data
	Largest    *float64           `json:"largest,omitempty"`
	First      *firstCell         `json:"first,omitempty"`
	Offset     *int64             `json:"offset,omitempty"` // of files: of the first byte that differs
	Meaning    []string           `json:"meaning,omitempty"`
	Tolerance  *compare.Tolerance `json:"tolerance,omitempty"`
}

// firstCell is the first cell that differs.
type firstCell struct {
	Tile  *tileIndex    `json:"tile,omitempty"`
	Index []int64       `json:"index"`
	X     float64       `json:"x"`
	Y     float64       `json:"y"`
	Time  string        `json:"time,omitempty"`
	Old   compare.Value `json:"old"`
	New   compare.Value `json:"new"`

	timeless bool
}

type tileIndex struct {
	T int64 `json:"t"`
	Y int64 `json:"y"`
	X int64 `json:"x"`
}

// newDiffers describes a comparison with a version of a layout. The tile is nil
// where it is not known.
func newDiffers(r *compare.Result, l cube.Layout, tile *grid.Tile, tol compare.Tolerance) differs {
	d := differs{Comparable: r.Comparable, Cells: r.Cells, Differ: r.Differ, Within: r.Within, OneSided: r.OneSided, Meaning: r.Meaning}
	if !tol.IsZero() {
		d.Tolerance = &tol
	}
	if r.Largest > 0 && !math.IsInf(r.Largest, 0) {
		d.Largest = &r.Largest
	}
	if l.Spec.Kind == graph.File && r.Differ > 0 {
		d.Offset = &r.Offset
	}
	if c := r.First; c != nil {
		d.First = &firstCell{Index: c.Index, X: l.Grid.Lattice.X(c.Box.X.Lo), Y: l.Grid.Lattice.Y(c.Box.Y.Lo), Old: c.Old, New: c.New}
		if c.Box.T.Len() > 0 {
			d.First.Time = grid.FormatTime(l.Grid.Time.At(c.Box.T.Lo))
		}
		d.First.timeless = l.Spec.Kind != graph.Time
		if tile != nil {
			d.First.Tile = &tileIndex{tile.T, tile.Y, tile.X}
		}
	}
	return d
}

// lines say in words where two versions differ.
func (d differs) lines(spec graph.VarSpec) []string {
	cells := "cells"
	if spec.Kind == graph.File {
		cells = "bytes"
	}
	s := fmt.Sprintf("%s of %s %s differ", ui.Count(d.Differ), ui.Count(d.Cells), cells)
	if d.Differ == 1 {
		s = fmt.Sprintf("1 of %s %s differs", ui.Count(d.Cells), cells)
	}
	if d.OneSided > 0 {
		s += fmt.Sprintf(", %s of them between data and nodata", ui.Count(d.OneSided))
	}
	if d.Largest != nil {
		s += "; largest difference " + ui.Value(*d.Largest)
		if spec.Units != "" && spec.Units != "1" {
			s += " " + spec.Units
		}
	}
	if d.Within > 0 {
		s += fmt.Sprintf("; %s more within %s", ui.Count(d.Within), d.Tolerance)
	}
	out := []string{s}
	if d.Offset != nil {
		out = append(out, "first at byte "+ui.Count(*d.Offset))
	}
	if d.First != nil {
		out = append(out, "first: "+d.First.String())
	}
	return out
}

// String names the cell and both its values.
func (c *firstCell) String() string {
	s := ""
	if c.Tile != nil {
		s = "tile " + c.Tile.text(c.timeless) + ", "
	}
	s += fmt.Sprintf("cell %s at %s, %s", commas(c.Index), coordinate(c.X), coordinate(c.Y))
	if c.Time != "" {
		s += ", " + c.Time
	}
	return fmt.Sprintf("%s: %s → %s", s, c.Old, c.New)
}

// text is the tile as --tile of cube invalidate takes it.
func (t tileIndex) text(timeless bool) string {
	if timeless {
		return fmt.Sprintf("%d,%d", t.Y, t.X)
	}
	return fmt.Sprintf("%d,%d,%d", t.T, t.Y, t.X)
}

func commas(index []int64) string {
	return "(" + strings.Join(strings.Fields(strings.Trim(fmt.Sprint(index), "[]")), ", ") + ")"
}

// drawDifference draws the map of a comparison, where there is one, into the
// file that is asked for.
func (a *app) drawDifference(f compareFlags, r *compare.Result, l cube.Layout, title, note string) error {
	if r.Map == nil || r.Differ+r.Within == 0 {
		return nil
	}
	m := differenceMap(r, l, title, note)
	draw := m.PNG
	if strings.ToLower(filepath.Ext(f.out)) == ".svg" {
		draw = m.SVG
	}
	if err := writeWhole(f.out, func(w io.Writer) error { return draw(w, f.width) }); err != nil {
		return err
	}
	if !a.quiet && !a.json {
		fmt.Fprintln(a.stderr, f.out)
	}
	return nil
}

// differenceMap is the map of a comparison as a picture: differences about 0,
// or the cells whose class differs.
func differenceMap(r *compare.Result, l cube.Layout, title, note string) *plot.Map {
	lat, spec := l.Grid.Lattice, l.Spec
	m := &plot.Map{Title: title, Columns: r.Map.Columns, Rows: r.Map.Rows, Values: r.Map.Values, Units: units(spec.Units),
		Degrees: lat.CRS.IsGeographic(), Metres: lat.CRS.Unit() == "metre", Notes: []string{note}}
	m.West, m.South, m.East, m.North = lat.Edge(r.Map.Box)
	counted := fmt.Sprintf("%s of %s cells differ", ui.Count(r.Differ+r.Within), ui.Count(r.Cells))
	if n := max(1, l.Domain().T.Len()); n > 1 || len(spec.Dims) > 0 {
		counted += " · the largest of all times and planes"
	}
	m.Notes = append(m.Notes, counted)
	if spec.Categorical() {
		for i, v := range m.Values {
			m.Values[i] = math.Min(1, math.Abs(v))
		}
		m.Classes = []plot.Class{{Value: 0, Name: "same", Color: plot.ClassColor("#f0f0ee", 0)}, {Value: 1, Name: "differs", Color: plot.ClassColor("#b2182b", 0)}}
		return m
	}
	for _, v := range m.Values {
		if v = math.Abs(v); !math.IsInf(v, 0) {
			m.Hi = math.Max(m.Hi, v)
		}
	}
	if m.Hi == 0 {
		m.Hi = 1
	}
	m.Lo = -m.Hi
	if r.OneSided > 0 {
		m.Notes = append(m.Notes, "beyond the ends of the colours: data on one side only")
	}
	vik, err := plot.ColormapByName("vik")
	if err != nil {
		vik = plot.Colormaps()[0]
	}
	m.Colors = vik
	return m
}

// tileIn is the tile of a cell, as the derivation cut it that a head came of;
// nil where that is not known.
func (g *gallery) tileIn(h cube.Head, l cube.Layout, c *compare.Cell) *grid.Tile {
	if c == nil || h.Derivation.IsZero() {
		return nil
	}
	o, err := g.outline(h.Derivation)
	if err != nil || o == nil || !(o.Lattice.DX > 0) {
		return nil
	}
	tile := c.Tile(o.Tiling, o.Box, int64(math.Round(o.Lattice.DX/l.Grid.Lattice.DX)))
	return &tile
}

// side loads a version of a variable.
func (g *gallery) side(ctx context.Context, version graph.Digest) (compare.Side, error) {
	v, err := g.cube.LoadVersion(ctx, version)
	return compare.Side{Cube: g.cube, Version: v}, err
}
