package grid

import (
	"fmt"
	"math"
)

// Resampling is a way to make the cells of one lattice from those of another.
type Resampling string

const (
	// Nearest takes the source cell that holds the cell's centre.
	Nearest Resampling = "nearest"
	// Bilinear weighs the source cells about the centre by distance.
	Bilinear Resampling = "bilinear"
	// Cubic fits a cubic convolution (a = −1/2), and bilinear beside nodata.
	Cubic Resampling = "cubic"
	// Average is the mean over the cell, weighed by overlap.
	Average Resampling = "average"
	// Mode is the value with the greatest overlap, the smallest of several.
	Mode Resampling = "mode"
	// Min and Max are the extremes of the source cells that the cell meets.
	Min Resampling = "min"
	Max Resampling = "max"
	// Sum shares each source cell's value out by overlap: totals are kept.
	Sum Resampling = "sum"
	// Conservative is the mean over the cell weighed by area on the ground,
	// for fluxes and other densities. Both lattices must share a CRS, which
	// is degrees (areas of the ellipsoid) or projected (of the plane).
	Conservative Resampling = "conservative"
)

var resamplings = []Resampling{Nearest, Bilinear, Cubic, Average, Mode, Min, Max, Sum, Conservative}

// Resamplings lists every method.
func Resamplings() []Resampling { return append([]Resampling(nil), resamplings...) }

// Valid says that a method is none, and which there are.
func (m Resampling) Valid() error {
	for _, k := range resamplings {
		if m == k {
			return nil
		}
	}
	return fmt.Errorf("resampling %q: must be one of %v", clip(string(m)), resamplings)
}

// Default is the method for a variable that asks for none: categories are
// never mixed (mode to coarser cells, nearest to finer ones), and numbers are
// averaged to coarser cells and interpolated to finer ones.
func Default(categorical, downscale bool) Resampling {
	switch {
	case categorical && downscale:
		return Mode
	case categorical:
		return Nearest
	case downscale:
		return Average
	}
	return Bilinear
}

// Downscale reports whether a destination's cells are coarser than a source's
// over a window: what Default wants to know.
func Downscale(dst Lattice, box Box, src Lattice) (bool, error) {
	m, err := newMapping(dst, src, Box{})
	if err != nil {
		return false, err
	}
	rows, cols := m.scaleOver(box)
	return rows > 1 || cols > 1, nil
}

// Radius is how far in source cells a method reads about a cell's centre when
// the destination is no coarser than the source; it grows with the ratio of
// their cells. Methods that work on the cell's own area have none.
func (m Resampling) Radius() int64 {
	switch m {
	case Bilinear:
		return 1
	case Cubic:
		return 2
	}
	return 0
}

// Margin is how many source cells beyond those that a window touches a method
// may read: its radius times the ratio of the cells, and one for rounding.
func (m Resampling) Margin(dst Lattice, box Box, src Lattice) (int64, error) {
	if err := m.Valid(); err != nil {
		return 0, err
	}
	mp, err := newMapping(dst, src, Box{})
	if err != nil || m.Radius() == 0 {
		return 1, err
	}
	rows, cols := mp.scaleOver(box)
	scale := max(rows, cols)
	if scale == 1 {
		return 1 + m.Radius(), nil
	}
	// The scale is a sample of a smooth function: a tenth covers the rest.
	return 1 + int64(math.Ceil(min(MaxIndex, float64(m.Radius())*scale*1.1))), nil
}

// scaleOver returns the greatest scale over a window.
func (m *mapping) scaleOver(box Box) (rows, cols float64) {
	rows, cols = 1, 1
	if m.same {
		return m.scale(0, 0)
	}
	for _, r := range samples(box.Y, scaleSamples) {
		for _, c := range samples(box.X, scaleSamples) {
			y, x := m.scale(r, c)
			rows, cols = max(rows, y), max(cols, x)
		}
	}
	return rows, cols
}

const scaleSamples = 9

// kernel returns a method's weight at a distance from the centre in source
// cells, for a kernel stretched by scale.
func (m Resampling) kernel(d, scale float64) float64 {
	d = math.Abs(d) / scale
	if m == Cubic {
		return cubic(d)
	}
	return max(0, 1-d)
}

// cubic is Keys' cubic convolution with a = −1/2.
func cubic(d float64) float64 {
	switch {
	case d < 1:
		return 1 + float64(float64(d*d)*(float64(1.5*d)-2.5))
	case d < 2:
		return 2 - float64(d*(4-float64(d*(2.5-float64(0.5*d)))))
	}
	return 0
}
