package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// tileFlags name tiles of a variable.
type tileFlags struct {
	tiles []string // [t,]y,x
	at    []string // x,y
}

func (o *tileFlags) empty() bool { return len(o.tiles)+len(o.at) == 0 }

// single are the tiles of a vertex that the flags name, each alone.
func (o *tileFlags) single(v *graph.Vertex) ([]grid.Tile, error) {
	boxes, err := o.boxes(v)
	if err != nil {
		return nil, err
	}
	var out []grid.Tile
	for _, b := range boxes {
		s := v.Tiling.Span(b)
		if n := s.Len(); n != 1 {
			return nil, fmt.Errorf("that is %d tiles: name one, as t,y,x", n)
		}
		out = append(out, v.Tiling.Tile(s.T.Lo, s.Y.Lo, s.X.Lo, v.Box))
	}
	return out, nil
}

// boxes are the cells of a vertex's grid that the flags name; nil is all.
func (o *tileFlags) boxes(v *graph.Vertex) ([]grid.Box, error) {
	var out []grid.Box
	for _, text := range o.tiles {
		b, err := tileBox(v, text)
		if err != nil {
			return nil, fmt.Errorf("--tile %s: %w", text, err)
		}
		out = append(out, b)
	}
	for _, text := range o.at {
		b, err := pointBox(v, text)
		if err != nil {
			return nil, fmt.Errorf("--at %s: %w", text, err)
		}
		out = append(out, b)
	}
	return out, nil
}

// tileCells is a tile that is named by its cells, as failures and logs name it.
var tileCells = regexp.MustCompile(`^(?:t\[(-?\d+),(-?\d+)\) )?y\[(-?\d+),(-?\d+)\) x\[(-?\d+),(-?\d+)\)$`)

// cellsBox is the box of a tile that is named by its cells.
func cellsBox(v *graph.Vertex, text string) (b grid.Box, named bool, err error) {
	m := tileCells.FindStringSubmatch(text)
	if m == nil {
		return b, false, nil
	}
	for i, n := range []*int64{&b.T.Lo, &b.T.Hi, &b.Y.Lo, &b.Y.Hi, &b.X.Lo, &b.X.Hi} {
		*n, _ = strconv.ParseInt(m[i+1], 10, 64) // what is no time is 0, and what overflows no tile
	}
	if !v.Box.Contains(b) || b.Empty() {
		return b, true, errors.New("there is no such tile")
	}
	s := v.Tiling.Span(b)
	if s.Len() != 1 || v.Tiling.Tile(s.T.Lo, s.Y.Lo, s.X.Lo, v.Box).Box != b {
		return b, true, errors.New("these cells are no tile")
	}
	return b, true, nil
}

// tileBox is the box of tiles that are named as [t,]y,x, or of one by its cells.
func tileBox(v *graph.Vertex, text string) (grid.Box, error) {
	if b, named, err := cellsBox(v, text); named {
		return b, err
	}
	parts := strings.Split(text, ",")
	if len(parts) == 2 {
		parts = append([]string{"*"}, parts...)
	}
	if len(parts) != 3 {
		return grid.Box{}, errors.New("want two or three numbers, as 0,1 or 3,0,1")
	}
	s := v.Tiling.Span(v.Box)
	for i, r := range []*grid.Range{&s.T, &s.Y, &s.X} {
		text := strings.TrimSpace(parts[i])
		if text == "*" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return grid.Box{}, fmt.Errorf("%q is no number", text)
		}
		if n < r.Lo || n >= r.Hi {
			return grid.Box{}, errors.New("there is no such tile")
		}
		*r = grid.Range{Lo: n, Hi: n + 1}
	}
	first, last := v.Tiling.Tile(s.T.Lo, s.Y.Lo, s.X.Lo, v.Box).Box, v.Tiling.Tile(s.T.Hi-1, s.Y.Hi-1, s.X.Hi-1, v.Box).Box
	first.T.Hi, first.Y.Hi, first.X.Hi = last.T.Hi, last.Y.Hi, last.X.Hi
	return first, nil
}

// pointBox is the cell at coordinates x,y, at all times.
func pointBox(v *graph.Vertex, text string) (grid.Box, error) {
	first, second, ok := strings.Cut(text, ",")
	x, errX := strconv.ParseFloat(strings.TrimSpace(first), 64)
	y, errY := strconv.ParseFloat(strings.TrimSpace(second), 64)
	if !ok || errX != nil || errY != nil {
		return grid.Box{}, errors.New("want two coordinates, as 446175,4464025")
	}
	lat := v.Grid.Lattice
	west, south, east, north := lat.Edge(v.Box)
	if !(x >= west && x < east && y > south && y <= north) {
		return grid.Box{}, fmt.Errorf("outside: x is from %s to %s and y from %s to %s in %s",
			coordinate(west), coordinate(east), coordinate(south), coordinate(north), lat.CRS)
	}
	row, col := lat.Cell(x, y)
	return grid.Box{T: v.Box.T, Y: grid.Range{Lo: row, Hi: row + 1}, X: grid.Range{Lo: col, Hi: col + 1}}, nil
}

// coordinate writes a coordinate to the millimetre or better.
func coordinate(v float64) string { return strconv.FormatFloat(v, 'g', 10, 64) }

// tilesText says which tiles a vertex has.
func tilesText(v *graph.Vertex) string {
	s := v.Tiling.Span(v.Box)
	text := fmt.Sprintf("y %s, x %s", indices(s.Y), indices(s.X))
	if v.Box.T.Len() > 0 {
		text = fmt.Sprintf("t %s, %s", indices(s.T), text)
	}
	return text
}

func indices(r grid.Range) string {
	if r.Len() == 1 {
		return strconv.FormatInt(r.Lo, 10)
	}
	return fmt.Sprintf("%d to %d", r.Lo, r.Hi-1)
}
