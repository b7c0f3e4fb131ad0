package cube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/cube/zarr/codec"
	"github.com/cubebuild/cube/graph"
)

// WriteWindow writes a box of values as a Zarr group at a path of a store, with
// the coordinates and the reference system that a view has. Nothing is
// compressed: it is read once. values are little-endian, in C order, in the
// shape that the variable has for the box.
func WriteWindow(ctx context.Context, w zarr.Writer, at, name string, spec graph.VarSpec, g grid.Grid, box grid.Box, values []byte) error {
	g.Box = box
	l := Layout{Spec: spec, Grid: g}.normal()
	d, err := windowDocs(l, name, box)
	if err != nil {
		return fmt.Errorf("window of %s: %w", name, err)
	}
	if err := w.Set(ctx, path.Join(at, document), d.group); err != nil {
		return err
	}
	arrays := d.arrays()
	for _, member := range slices.Sorted(maps.Keys(arrays)) { // a listing of the group shows the order
		doc, err := arrays[member].Encode()
		if err != nil {
			return fmt.Errorf("window of %s: %s: %w", name, member, err)
		}
		if err := w.Set(ctx, path.Join(at, member, document), doc); err != nil {
			return err
		}
	}
	for _, member := range slices.Sorted(maps.Keys(d.coords)) {
		c := d.coords[member]
		if len(c.values) == 0 {
			continue // the scalar has no chunk: it is its attributes
		}
		if err := w.Set(ctx, path.Join(at, member, c.meta.ChunkKey(0)), c.values); err != nil {
			return err
		}
	}
	return w.Set(ctx, path.Join(at, name, d.data.ChunkKey(make([]int, len(d.data.Shape))...)), values)
}

func windowDocs(l Layout, name string, box grid.Box) (*viewDocs, error) {
	fill, err := l.Fill()
	if err != nil {
		return nil, err
	}
	shape := ints(l.Shape(box))
	d := &viewDocs{name: name, coords: map[string]viewArray{}, data: &zarr.ArrayMeta{
		Shape: shape, ChunkShape: shape, DataType: zarr.DType(l.Spec.DType), Fill: fill,
		Codecs: []codec.Spec{codec.Little()}, Attributes: dataAttributes(l), DimensionNames: l.Dims(),
	}}
	if err := d.addCoords(l, box); err != nil {
		return nil, err
	}
	if _, taken := d.coords[name]; taken {
		return nil, errors.New("it cannot have a coordinate's name")
	}
	attrs := groupAttributes(l, box, graph.Digest{})
	delete(attrs, versionAttribute)
	d.group, err = d.consolidate(attrs)
	return d, err
}
