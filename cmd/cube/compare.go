package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/ui"
)

// difference is where two versions of a variable differ.
type difference struct {
	tiles, of  int64
	cells      int64 // 0: not counted, there are too many chunks
	row, col   int64 // of the first, counted from the domain's corner
	step       int64 // −1: not in time
	old, now   string
	outside    bool // the domain is another
	comparable bool
}

// String says it after the variable's name.
func (d difference) String() string {
	switch {
	case !d.comparable:
		return "is laid out otherwise than before"
	case d.tiles == 0 && d.outside:
		return "is the same where it was, on another domain"
	case d.tiles == 0:
		return "has the same values, and another meaning"
	}
	s := fmt.Sprintf("changed in %s of %s", ui.Count(d.tiles), tiles(d.of))
	if d.cells > 0 {
		cells := "cells"
		if d.cells == 1 {
			cells = "cell"
		}
		at := fmt.Sprintf("(%d, %d)", d.row, d.col)
		if d.step >= 0 {
			at = fmt.Sprintf("(%d, %d, %d)", d.step, d.row, d.col)
		}
		s += fmt.Sprintf(", %s %s; first %s: %s → %s", ui.Count(d.cells), cells, at, d.old, d.now)
	}
	return s
}

// comparedChunks is how many chunks are compared cell by cell.
const comparedChunks = 256

var errNoArray = errors.New("not an array")

// compareVersions says where two versions of an output differ: by the digests
// of their chunks and, where few differ, by their values.
func compareVersions(ctx context.Context, c *cube.Cube, o *graph.Output, before, after graph.Digest) (difference, error) {
	old, err := c.LoadVersion(ctx, before)
	if err != nil {
		return difference{}, err
	}
	now, err := c.LoadVersion(ctx, after)
	if err != nil {
		return difference{}, err
	}
	a, b := old.Layout(), now.Layout()
	if a.Spec.Kind == graph.File || b.Spec.Kind == graph.File {
		return difference{}, errNoArray
	}
	d := difference{step: -1, of: o.Vertex.Len(), outside: a.Domain() != b.Domain()}
	if a.Grid.Lattice != b.Grid.Lattice || a.Chunk != b.Chunk || a.Spec.DType != b.Spec.DType || len(a.Spec.Dims)+len(b.Spec.Dims) > 0 {
		return d, nil
	}
	d.comparable = true
	var chunks []grid.Box
	seen := map[[3]int64]bool{}
	err = changedChunks(ctx, old, now, func(box grid.Box, both bool) {
		markTiles(o, box, seen)
		if box = box.Intersect(a.Domain()); both && !box.Empty() {
			chunks = append(chunks, box)
		}
	})
	d.tiles = int64(len(seen))
	if err != nil || len(chunks) > comparedChunks {
		return d, err
	}
	for _, box := range chunks {
		if err := d.compare(ctx, c, old, now, box); err != nil {
			return d, err
		}
	}
	return d, nil
}

// changedChunks calls f with the box of each chunk of now that old has
// otherwise, and whether it has it at all. Where both are laid out alike it reads
// only the pages of their manifests that differ.
func changedChunks(ctx context.Context, old, now *cube.Version, f func(box grid.Box, both bool)) error {
	if now.Layout().Alike(old.Layout()) {
		return now.Changed(ctx, old, func(box grid.Box) error {
			f(box, true)
			return nil
		})
	}
	return now.Refs(ctx, func(ti, yi, xi int64, r cube.ChunkRef) error {
		was, ok, err := old.Ref(ctx, ti, yi, xi)
		if err == nil && (!ok || was.Value != r.Value) {
			f(now.Layout().ChunkBox(ti, yi, xi), ok)
		}
		return err
	})
}

// markTiles marks the tiles of the producer that made a chunk.
func markTiles(o *graph.Output, chunk grid.Box, seen map[[3]int64]bool) {
	n := max(1, o.Spec.Refine)
	chunk.Y = grid.Range{Lo: chunk.Y.Lo / n, Hi: (chunk.Y.Hi-1)/n + 1}
	chunk.X = grid.Range{Lo: chunk.X.Lo / n, Hi: (chunk.X.Hi-1)/n + 1}
	s := o.Vertex.Tiling.Span(chunk)
	for t := s.T.Lo; t < s.T.Hi; t++ {
		for y := s.Y.Lo; y < s.Y.Hi; y++ {
			for x := s.X.Lo; x < s.X.Hi; x++ {
				seen[[3]int64{t, y, x}] = true
			}
		}
	}
}

// compare counts the cells that differ within a box of both versions.
func (d *difference) compare(ctx context.Context, c *cube.Cube, old, now *cube.Version, box grid.Box) error {
	a, err := c.ReadWindow(ctx, old, box, nil)
	if err != nil {
		return err
	}
	b, err := c.ReadWindow(ctx, now, box, nil)
	if err != nil {
		return err
	}
	spec, domain := now.Layout().Spec, now.Layout().Domain()
	size := spec.DType.Size()
	for i := 0; i < len(a); i += size {
		if bytes.Equal(a[i:i+size], b[i:i+size]) {
			continue
		}
		if d.cells++; d.cells > 1 {
			continue
		}
		cell := int64(i / size)
		nx, ny := box.X.Len(), box.Y.Len()
		d.row, d.col = box.Y.Lo+cell/nx%ny-domain.Y.Lo, box.X.Lo+cell%nx-domain.X.Lo
		if spec.Kind == graph.Time {
			d.step = box.T.Lo + cell/nx/ny - domain.T.Lo
		}
		d.old, d.now = cellText(spec, a[i:i+size]), cellText(spec, b[i:i+size])
	}
	return nil
}

// cellText is one value as people read it: a class by its name.
func cellText(spec graph.VarSpec, b []byte) string {
	var bits uint64
	for i, v := range b {
		bits |= uint64(v) << (8 * i)
	}
	switch spec.DType {
	case graph.Float32:
		return floatText(float64(math.Float32frombits(uint32(bits))))
	case graph.Float64:
		return floatText(math.Float64frombits(bits))
	case graph.Bool:
		return strconv.FormatBool(bits != 0)
	case graph.Uint64:
		return strconv.FormatUint(bits, 10)
	}
	n := int64(bits)
	if shift := 64 - 8*len(b); spec.DType[0] == 'i' && shift > 0 {
		n = int64(bits<<shift) >> shift
	}
	for _, class := range spec.Legend {
		if class.Value == n {
			return class.Name
		}
	}
	if s := strconv.FormatInt(n, 10); spec.Fill == nil || string(*spec.Fill) != s {
		return s
	}
	return "nodata"
}

func floatText(v float64) string {
	if math.IsNaN(v) {
		return "nodata"
	}
	return strconv.FormatFloat(v, 'g', 7, 64)
}
