package main

import (
	"fmt"
	"math"
)

// window is the elevation of a tile and its halo. Rows go south, columns east.
type window struct {
	cells   []float32
	box     box // what cells covers
	tile    box
	clipped sides
	dx, dy  float64
}

// nine is a cell and its neighbours:
//
//	0 1 2
//	3 4 5
//	6 7 8
type nine [9]float64

// at returns the cell of an absolute row and column, NaN outside the window.
func (w *window) at(r, c int) float64 {
	y, x := r-w.box.Y.Lo, c-w.box.X.Lo
	if y < 0 || y >= w.box.Y.len() || x < 0 || x >= w.box.X.len() {
		return math.NaN()
	}
	return float64(w.cells[y*w.box.X.len()+x])
}

// check says whether the grid is one whose slopes mean something, and whether
// every tile cell has its neighbours, but for those beyond the domain.
func (w *window) check(g lattice) error {
	if g.Unit != "metre" {
		return fmt.Errorf("%w: the grid's CRS %s is in units of %s: slopes need a grid in metres", errInput, g.CRS, g.Unit)
	}
	halo := sides{w.tile.Y.Lo - w.box.Y.Lo, w.box.Y.Hi - w.tile.Y.Hi, w.tile.X.Lo - w.box.X.Lo, w.box.X.Hi - w.tile.X.Hi}
	if min(halo.North+w.clipped.North, halo.South+w.clipped.South, halo.West+w.clipped.West, halo.East+w.clipped.East) < 1 {
		return fmt.Errorf("the window %v of tile %v has no halo", w.box, w.tile)
	}
	return nil
}

// each calls f for every cell of the tile, in order. ok is false where the
// cell or one of its neighbours has no value.
//
// With edges, as in gdaldem -compute_edges, a neighbour without a value counts
// as high as the cell itself, and one beyond the domain as high as the line
// through the cell and the one opposite.
func (w *window) each(edges bool, f func(n nine, ok bool)) {
	for r := w.tile.Y.Lo; r < w.tile.Y.Hi; r++ {
		for c := w.tile.X.Lo; c < w.tile.X.Hi; c++ {
			n := w.around(r, c)
			if edges {
				n = w.complete(n, r, c)
			}
			f(n, n.known())
		}
	}
}

func (w *window) around(r, c int) (n nine) {
	for i := range n {
		n[i] = w.at(r+i/3-1, c+i%3-1)
	}
	return n
}

func (n *nine) known() bool {
	for _, v := range n {
		if math.IsNaN(v) {
			return false
		}
	}
	return true
}

// complete fills in the neighbours that a cell lacks.
func (w *window) complete(n nine, r, c int) nine {
	if math.IsNaN(n[4]) {
		return n
	}
	north, south := r == w.box.Y.Lo, r == w.box.Y.Hi-1
	west, east := c == w.box.X.Lo, c == w.box.X.Hi-1
	switch {
	case north || south:
		n = w.beyondRow(r, c, west, east, north)
	case west:
		n[0], n[3], n[6] = 2*n[1]-n[2], 2*n[4]-n[5], 2*n[7]-n[8]
	case east:
		n[2], n[5], n[8] = 2*n[1]-n[0], 2*n[4]-n[3], 2*n[7]-n[6]
	}
	for i, v := range n {
		if math.IsNaN(v) {
			n[i] = n[4]
		}
	}
	return n
}

// beyondRow is around for a cell of the domain's first (north) or last row. In
// a corner, the missing column repeats the cell's own.
func (w *window) beyondRow(r, c int, west, east, north bool) (n nine) {
	inner := r + 1
	if !north {
		inner = r - 1
	}
	for i, col := range [3]int{c - 1, c, c + 1} {
		if i == 0 && west || i == 2 && east {
			col = c
		}
		here, next := w.at(r, col), w.at(inner, col)
		beyond := 2*here - next
		n[i], n[3+i], n[6+i] = beyond, here, next
		if !north {
			n[i], n[6+i] = next, beyond
		}
	}
	return n
}

// gradient returns how the ground rises to the east and to the north, by
// Horn's method, or by Zevenbergen and Thorne's.
func (n *nine) gradient(method string, dx, dy float64) (east, north float64) {
	if method == "zevenbergen" {
		return (n[5] - n[3]) / (2 * dx), (n[1] - n[7]) / (2 * dy)
	}
	east = ((n[2] + 2*n[5] + n[8]) - (n[0] + 2*n[3] + n[6])) / (8 * dx)
	north = ((n[0] + 2*n[1] + n[2]) - (n[6] + 2*n[7] + n[8])) / (8 * dy)
	return east, north
}
