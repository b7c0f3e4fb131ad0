package cube

import (
	"context"
	"errors"
	"fmt"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// ReadOnto reads a box of another grid from an array, resampled: in the shape
// that the array's layout has for the box. Times are not resampled: the box's
// are steps of the array's own axis. A cell has a value where at least the share
// minValid of what it is made from does. What lies outside the array's domain is
// nodata; what it needs of the domain must be covered.
func (c *Cube) ReadOnto(ctx context.Context, a Array, dst grid.Grid, box grid.Box, method grid.Resampling, minValid float64) ([]byte, error) {
	l := a.Layout()
	values, err := c.readOnto(ctx, a, dst, box, method, minValid)
	if err != nil {
		return nil, fmt.Errorf("read %s onto %s: %w", l.Spec.Name, box, err)
	}
	return values, nil
}

// Nodata is what ReadOnto reads of a box that lies wholly outside of an array.
func Nodata(spec graph.VarSpec, box grid.Box) ([]byte, error) {
	l := Layout{Spec: spec}
	fill, err := l.Fill()
	if err != nil {
		return nil, err
	}
	n := l.Bytes(box)
	if n > maxWindow || n == 0 {
		return nil, fmt.Errorf("%s: %d bytes: %w", box, n, ErrTooLarge)
	}
	out := make([]byte, n)
	fillBytes(out, fill)
	return out, nil
}

func (c *Cube) readOnto(ctx context.Context, a Array, dst grid.Grid, box grid.Box, method grid.Resampling, minValid float64) ([]byte, error) {
	l := a.Layout()
	if l.Spec.Kind == graph.Time && dst.Time != l.Grid.Time {
		return nil, fmt.Errorf("time axis %+v is not the array's %+v: %w", dst.Time, l.Grid.Time, ErrOutside)
	}
	n := l.Bytes(box)
	if box.Empty() || n > maxWindow || n == 0 {
		return nil, fmt.Errorf("%d bytes: %w", n, ErrTooLarge)
	}
	fill, err := l.Fill()
	if err != nil {
		return nil, err
	}
	out := make([]byte, n)
	read, err := method.Cover(dst.Lattice, box, l.Grid)
	if errors.Is(err, grid.ErrDisjoint) || err == nil && read.Empty() {
		fillBytes(out, fill)
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	if l.Spec.Kind == graph.Time {
		read.T = box.T
	}
	values, err := c.ReadWindow(ctx, a, read, nil)
	if err != nil {
		return nil, err
	}
	from := grid.Raster{Lattice: l.Grid.Lattice, Box: read, DType: string(l.Spec.DType), Data: values}
	if l.Spec.Fill != nil && !l.Spec.DType.IsFloat() {
		from.Nodata = fill
	}
	to := from
	to.Lattice, to.Box, to.Data = dst.Lattice, box, out
	if err := grid.Resample(to, from, method, grid.ResampleOptions{MinValid: minValid, Domain: l.Grid.Box}); err != nil {
		return nil, err
	}
	CanonicalNaN(l.Spec.DType, out)
	return out, nil
}
