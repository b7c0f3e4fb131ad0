package survey

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// MaxPixels bounds what Thin makes.
const MaxPixels = 1 << 26

// View says what to show of an array.
type View struct {
	Columns, Rows int // at most; where the array has fewer, it is shown as it is
	Step          int64
	Plane         int64 // of the further dimensions, in C order
	// Middle takes the value of a pixel's middle cell and not the mean of its
	// cells: for categories and directions, which have no mean.
	Middle bool
}

// Raster is a thinned plane of an array.
type Raster struct {
	Columns, Rows int
	Values        []float64 // in C order, north first; NaN is nodata
	Box           grid.Box  // the cells that it shows
}

// Thin reads one plane of an array and makes it as small as is asked.
func Thin(ctx context.Context, src Source, a cube.Array, v View) (*Raster, error) {
	l := a.Layout()
	box, planes, err := v.plane(l)
	if err != nil {
		return nil, err
	}
	t := thinning{view: v, box: box, planes: planes}
	t.Columns, t.Rows = int(min(int64(v.Columns), box.X.Len())), int(min(int64(v.Rows), box.Y.Len()))
	if t.Columns < 1 || t.Rows < 1 || t.Columns > MaxPixels/t.Rows {
		return nil, fmt.Errorf("a picture of %d × %d pixels: too small or too large", v.Columns, v.Rows)
	}
	t.sums, t.counts = make([]float64, t.Columns*t.Rows), make([]int32, t.Columns*t.Rows)
	if err := each(ctx, src, a, box, t.add); err != nil {
		return nil, err
	}
	for i, n := range t.counts {
		if n == 0 {
			t.sums[i] = math.NaN()
		} else {
			t.sums[i] /= float64(n)
		}
	}
	return &Raster{t.Columns, t.Rows, t.sums, box}, nil
}

// plane is the box that is shown, and the number of planes in it.
func (v View) plane(l cube.Layout) (grid.Box, int64, error) {
	if l.Spec.Kind == graph.File {
		return grid.Box{}, 0, errors.New("a file has no cells")
	}
	box, planes := l.Domain(), int64(1)
	for _, d := range l.Spec.Dims {
		planes *= d.Size
	}
	if v.Plane < 0 || v.Plane >= planes {
		return box, planes, fmt.Errorf("plane %d: there are %d", v.Plane, planes)
	}
	steps := int64(1)
	if l.Spec.Kind == graph.Time {
		steps = box.T.Len()
		box.T = grid.Range{Lo: box.T.Lo + v.Step, Hi: box.T.Lo + v.Step + 1}
	}
	if v.Step < 0 || v.Step >= steps {
		return box, planes, fmt.Errorf("time step %d: there are %d, counted from 0", v.Step, steps)
	}
	return box, planes, nil
}

// thinning is a Raster in the making.
type thinning struct {
	view          View
	box           grid.Box
	planes        int64
	Columns, Rows int

	mu     sync.Mutex
	sums   []float64
	counts []int32
}

// pixel is the pixel of cell i of n, and whether i is the middle cell of it.
func pixel(i, n int64, pixels int) (int, bool) {
	p := i * int64(pixels) / n
	first := (p*n + int64(pixels) - 1) / int64(pixels)
	last := ((p+1)*n+int64(pixels)-1)/int64(pixels) - 1
	return int(p), i == (first+last)/2
}

// add adds the cells of one chunk.
func (t *thinning) add(box grid.Box, values []float64) error {
	nx, ny := int(box.X.Len()), int(box.Y.Len())
	values = values[int(t.view.Plane)*nx*ny:][:nx*ny]
	columns, middle := make([]int, nx), make([]bool, nx)
	for x := range columns {
		columns[x], middle[x] = pixel(box.X.Lo-t.box.X.Lo+int64(x), t.box.X.Len(), t.Columns)
	}
	left, width := columns[0], columns[nx-1]-columns[0]+1
	sums, counts := make([]float64, width), make([]int32, width)
	top := -1
	flush := func() {
		if top < 0 {
			return
		}
		t.mu.Lock()
		at := top*t.Columns + left
		for i := range sums {
			t.sums[at+i] += sums[i]
			t.counts[at+i] += counts[i]
		}
		t.mu.Unlock()
		clear(sums)
		clear(counts)
	}
	for y := range ny {
		row, inMiddle := pixel(box.Y.Lo-t.box.Y.Lo+int64(y), t.box.Y.Len(), t.Rows)
		if row != top {
			flush()
			top = row
		}
		if t.view.Middle && !inMiddle {
			continue
		}
		for x, v := range values[y*nx:][:nx] {
			if v == v && (middle[x] || !t.view.Middle) {
				sums[columns[x]-left] += v
				counts[columns[x]-left]++
			}
		}
	}
	flush()
	return nil
}
