package survey

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// Bins is the number of bins of a histogram.
const Bins = 24

// Survey is what an array holds.
type Survey struct {
	Cells int64   // values, over all steps and further dimensions
	Set   int64   // of those, what is not nodata
	Area  float64 // ground m² of the cells that are set; 0 where the array has more dimensions than y and x

	// Of numbers:
	Min, Max, Mean, Median float64 // NaN where nothing is set
	Histogram              []int64 // from Min to Max, in bins of one width

	// Of categories, those that occur, by value:
	Classes []Class
}

// Class is the share of one category.
type Class struct {
	graph.Class
	Cells int64
	Area  float64 // as of Survey
}

// maxClasses bounds how many values are told apart: more are no categories.
const maxClasses = 1 << 16

// Measure surveys an array, reading it twice where it holds numbers.
func Measure(ctx context.Context, src Source, a cube.Array) (*Survey, error) {
	l := a.Layout()
	m := measure{area: newAreas(l), classes: map[int64]*Class{}, keys: make([]int64, 1<<16)}
	s := &m.survey
	s.Min, s.Max = math.Inf(1), math.Inf(-1)
	pass := m.numbers
	if l.Spec.Categorical() {
		pass = m.categories
	}
	if err := each(ctx, src, a, l.Domain(), pass); err != nil {
		return nil, err
	}
	if l.Spec.Categorical() {
		s.Min, s.Max, s.Mean, s.Median = math.NaN(), math.NaN(), math.NaN(), math.NaN()
		s.Classes = m.named(l.Spec.Legend)
		return s, nil
	}
	if s.Set == 0 {
		s.Min, s.Max, s.Mean, s.Median = math.NaN(), math.NaN(), math.NaN(), math.NaN()
		return s, nil
	}
	s.Mean = m.sum / float64(s.Set)
	return s, m.second(ctx, src, a)
}

// measure is a survey in the making.
type measure struct {
	area areas

	mu      sync.Mutex
	survey  Survey
	sum     float64
	keys    []int64 // values by the upper 16 bits of their key
	classes map[int64]*Class
}

// key orders float64 as unsigned integers do.
func key(v float64) uint64 {
	b := math.Float64bits(v)
	return b ^ (uint64(int64(b)>>63) | 1<<63)
}

func unkey(k uint64) float64 {
	if k>>63 == 1 {
		return math.Float64frombits(k &^ (1 << 63))
	}
	return math.Float64frombits(^k)
}

// numbers is the first pass over numbers.
func (m *measure) numbers(box grid.Box, values []float64) error {
	own := Survey{Cells: int64(len(values)), Min: math.Inf(1), Max: math.Inf(-1)}
	keys := make([]uint32, 1<<16)
	sum := 0.0
	m.area.rows(box, values, func(row []float64, area float64) {
		n := 0
		for _, v := range row {
			if v != v {
				continue
			}
			n++
			sum += v
			if v < own.Min {
				own.Min = v
			}
			if v > own.Max {
				own.Max = v
			}
			keys[key(v)>>48]++
		}
		own.Set += int64(n)
		own.Area += float64(n) * area
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.survey
	s.Cells, s.Set, s.Area = s.Cells+own.Cells, s.Set+own.Set, s.Area+own.Area
	s.Min, s.Max = min(s.Min, own.Min), max(s.Max, own.Max)
	m.sum += sum
	for i, n := range keys {
		m.keys[i] += int64(n)
	}
	return nil
}

// second is the second pass over numbers: the histogram, and the median within
// the values whose keys begin as its own does.
func (m *measure) second(ctx context.Context, src Source, a cube.Array) error {
	s := &m.survey
	s.Histogram = make([]int64, Bins)
	rest := (s.Set - 1) / 2
	var prefix uint64
	for ; rest >= m.keys[prefix]; prefix++ {
		rest -= m.keys[prefix]
	}
	fine := make([]int64, 1<<16)
	perBin := Bins / (s.Max - s.Min)
	err := each(ctx, src, a, a.Layout().Domain(), func(_ grid.Box, values []float64) error {
		bins, own := make([]int64, Bins), make([]uint32, 1<<16)
		for _, v := range values {
			if v != v {
				continue
			}
			if k := key(v); k>>48 == prefix {
				own[k>>32&0xffff]++
			}
			bins[binOf(v-s.Min, perBin)]++
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for i, n := range bins {
			s.Histogram[i] += n
		}
		for i, n := range own {
			fine[i] += int64(n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var low uint64
	for ; rest >= fine[low]; low++ {
		rest -= fine[low]
	}
	s.Median = min(s.Max, max(s.Min, unkey(prefix<<48|low<<32)))
	return nil
}

// binOf is the bin of a value that lies so far above the lowest. Of values that
// are all alike, or reach to infinity, it is the first.
func binOf(above, perBin float64) int {
	if at := above * perBin; at > 0 && at < Bins {
		return int(at)
	} else if at >= Bins && !math.IsInf(at, 1) {
		return Bins - 1
	}
	return 0
}

// categories is the one pass over categories.
func (m *measure) categories(box grid.Box, values []float64) error {
	own := map[int64]*Class{}
	var set int64
	var area float64
	var last *Class // cells beside each other are often of one class
	m.area.rows(box, values, func(row []float64, a float64) {
		for _, v := range row {
			if v != v {
				continue
			}
			set++
			area += a
			if last == nil || last.Value != int64(v) {
				if last = classOf(own, int64(v)); last == nil {
					continue
				}
			}
			last.Cells++
			last.Area += a
		}
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.survey
	s.Cells, s.Set, s.Area = s.Cells+int64(len(values)), s.Set+set, s.Area+area
	for v, c := range own {
		if all := m.classes[v]; all != nil {
			all.Cells, all.Area = all.Cells+c.Cells, all.Area+c.Area
		} else if len(m.classes) < maxClasses {
			m.classes[v] = c
		}
	}
	return nil
}

// classOf is the class of a value, which it makes; nil where there are too many.
func classOf(classes map[int64]*Class, v int64) *Class {
	c := classes[v]
	if c == nil && len(classes) < maxClasses {
		c = &Class{Class: graph.Class{Value: v}}
		classes[v] = c
	}
	return c
}

// named returns the classes that occur, with what the legend calls them.
func (m *measure) named(legend []graph.Class) []Class {
	var out []Class
	for v, c := range m.classes {
		if i := slices.IndexFunc(legend, func(l graph.Class) bool { return l.Value == v }); i >= 0 {
			c.Class = legend[i]
		}
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b Class) int { return cmp.Compare(a.Value, b.Value) })
	return out
}

// areas knows the ground area of the cells of each row.
type areas struct {
	lattice grid.Lattice
	flat    bool // the array has no dimensions but y and x
	degrees bool
	extra   int64 // planes of further dimensions
}

func newAreas(l cube.Layout) areas {
	a := areas{lattice: l.Grid.Lattice, degrees: l.Grid.Lattice.CRS.IsGeographic(), extra: 1}
	for _, d := range l.Spec.Dims {
		a.extra *= d.Size
	}
	a.flat = l.Spec.Kind == graph.Static && len(l.Spec.Dims) == 0 && l.Grid.Lattice.CRS != ""
	return a
}

// authalic is the radius of the sphere that has the Earth's surface, in metres.
const authalic = 6371007.2

// of is the area of a cell of row r.
func (a areas) of(r int64) float64 {
	switch {
	case !a.flat:
		return 0
	case !a.degrees:
		return a.lattice.DX * a.lattice.DY
	}
	_, south, _, north := a.lattice.Edge(grid.Box{Y: grid.Range{Lo: r, Hi: r + 1}, X: grid.Range{Lo: 0, Hi: 1}})
	const rad = math.Pi / 180
	return authalic * authalic * a.lattice.DX * rad * math.Abs(math.Sin(north*rad)-math.Sin(south*rad))
}

// rows calls f with each row of a box, and the area of one of its cells.
func (a areas) rows(box grid.Box, values []float64, f func(row []float64, area float64)) {
	nx, ny := int(box.X.Len()), box.Y.Len()
	for i := 0; len(values) >= nx && nx > 0; i++ {
		f(values[:nx], a.of(box.Y.Lo+int64(i)%ny))
		values = values[nx:]
	}
}
