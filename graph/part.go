package graph

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cubebuild/cube/cube/grid"
)

// Index is what a driver says of how it split a source: operation "index"
// writes it as JSON, and beside it one file in which the parts lie. It is data
// from outside: see [Index.Check].
type Index struct {
	Parts []IndexedPart `json:"parts"`
}

// IndexedPart is a part as a driver wrote it: a range of the parts' file, and
// where and when the part belongs.
type IndexedPart struct {
	Offset int64 `json:"offset"`
	Size   int64 `json:"size"`
	Extent
}

// Extent is where and when a part belongs. Nil is everywhere, and always.
type Extent struct {
	CRS    string      `json:"crs,omitempty"`    // of the bounds
	Bounds *[4]float64 `json:"bounds,omitempty"` // west, south, east, north: the footprint of all that is in the part
	Time   *[2]int64   `json:"time,omitempty"`   // from the first to past the last, in Unix seconds
}

// Part is a part of a source, pinned: its content, and where it belongs.
type Part struct {
	SHA256 Digest `json:"sha256"`
	Extent
}

// MaxParts bounds an index, and MaxTileParts what one tile may meet of it.
const (
	MaxParts     = 1 << 20
	MaxTileParts = 1024
)

// Check says what is wrong with an index over a file of the given size. Parts
// lie one after the other.
func (x *Index) Check(size int64) error {
	if len(x.Parts) > MaxParts {
		return fmt.Errorf("%d parts: at most %d are read", len(x.Parts), MaxParts)
	}
	end := int64(0)
	for i := range x.Parts {
		p := &x.Parts[i]
		err := p.check(size)
		if err == nil && p.Offset < end {
			err = errors.New("it begins before the one before it ends")
		}
		if err != nil {
			return fmt.Errorf("part %d: %w", i, err)
		}
		end = p.Offset + p.Size
	}
	return nil
}

func (p *IndexedPart) check(size int64) error {
	if p.Offset < 0 || p.Size < 0 || p.Offset > size || p.Size > size-p.Offset {
		return fmt.Errorf("%d bytes from %d on are not all in the file, which has %d", p.Size, p.Offset, size)
	}
	if p.Time != nil && p.Time[1] < p.Time[0] {
		return errors.New("it ends before it begins")
	}
	if p.Bounds == nil {
		return nil
	}
	for _, v := range p.Bounds {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return errors.New("its bounds are no numbers")
		}
	}
	if p.Bounds[2] < p.Bounds[0] || p.Bounds[3] < p.Bounds[1] {
		return errors.New("its bounds are not west, south, east, north")
	}
	_, err := grid.ParseCRS(p.CRS)
	return err
}

// Split is an indexed source as its driver split it. What it says follows from
// the parts and the vertex alone, by [Vertex.Place]; an implementation may know it
// from before. Its methods may be called at once.
type Split interface {
	// Key names the parts that meet the vertex's domain, and their places.
	Key(v *Vertex) (PartsKey, error)
	// Place finds them.
	Place(v *Vertex) (*Placed, error)
}

// PartList is a Split that knows nothing from before.
type PartList []Part

// Key implements Split.
func (l PartList) Key(v *Vertex) (PartsKey, error) {
	p, err := v.Place(l)
	if err != nil {
		return PartsKey{}, err
	}
	return p.Key()
}

// Place implements Split.
func (l PartList) Place(v *Vertex) (*Placed, error) { return v.Place(l) }

// Placing is what decides, beside the parts, where they lie on a vertex's grid,
// and so what [Placed.Key] is: canonical JSON.
func (v *Vertex) Placing() ([]byte, error) {
	return Canonical(struct {
		Grid grid.Grid `json:"grid"`
		Box  grid.Box  `json:"box"`
	}{v.Grid, v.Box})
}

// PlacedPart is a part on the grid of a vertex: the cells and steps that it may
// say something of.
type PlacedPart struct {
	SHA256 Digest   `json:"sha256"`
	Box    grid.Box `json:"box"`
}

// Placed is what a vertex has of an indexed source: the parts that meet its
// domain, in an order that they alone decide.
type Placed struct {
	parts []PlacedPart
	tiles map[grid.Range][]int // by place in the span: the parts that meet a tile
	wide  []int                // that meet too many tiles to be listed at each
	span  grid.Span
	v     *Vertex
}

// maxListed is how many tiles a part is listed at one by one.
const maxListed = 4096

// Place finds which parts meet the vertex's domain. A part that the vertex's
// CRS has no image of meets it nowhere.
func (v *Vertex) Place(parts []Part) (*Placed, error) {
	p := &Placed{v: v, span: v.Tiling.Span(v.Box), tiles: map[grid.Range][]int{}}
	for _, part := range parts {
		box, ok, err := v.partBox(part.Extent)
		if err != nil {
			return nil, fmt.Errorf("part %s: %w", part.SHA256.Short(), err)
		}
		if ok {
			p.parts = append(p.parts, PlacedPart{part.SHA256, box})
		}
	}
	slices.SortFunc(p.parts, comparePlaced)
	for i := range p.parts {
		p.list(i)
	}
	return p, nil
}

func comparePlaced(a, b PlacedPart) int {
	return cmp.Or(cmp.Compare(a.Box.T.Lo, b.Box.T.Lo), cmp.Compare(a.Box.T.Hi, b.Box.T.Hi),
		cmp.Compare(a.Box.Y.Lo, b.Box.Y.Lo), cmp.Compare(a.Box.X.Lo, b.Box.X.Lo),
		cmp.Compare(a.Box.Y.Hi, b.Box.Y.Hi), cmp.Compare(a.Box.X.Hi, b.Box.X.Hi), slices.Compare(a.SHA256[:], b.SHA256[:]))
}

// list notes a part at the tiles that it meets.
func (p *Placed) list(i int) {
	s := p.v.Tiling.Span(p.parts[i].Box)
	if s.Len() > maxListed {
		p.wide = append(p.wide, i)
		return
	}
	for t := s.T.Lo; t < s.T.Hi; t++ {
		for y := s.Y.Lo; y < s.Y.Hi; y++ {
			for x := s.X.Lo; x < s.X.Hi; x++ {
				k := p.place(t, y, x)
				p.tiles[k] = append(p.tiles[k], i)
			}
		}
	}
}

// place names a tile by its time and by its row and column within the span.
func (p *Placed) place(t, y, x int64) grid.Range {
	return grid.Range{Lo: t, Hi: (y-p.span.Y.Lo)*p.span.X.Len() + x - p.span.X.Lo}
}

// partBox is where a part lies on the vertex's grid, within its domain, with a
// cell around it, so that what lies on an edge is seen from both sides; false
// where it does not meet the domain.
func (v *Vertex) partBox(e Extent) (grid.Box, bool, error) {
	box := v.Box
	if e.Time != nil && !v.Grid.Time.IsZero() {
		steps := stepsOf(v.Grid.Time, e.Time[0], e.Time[1]).Intersect(v.Grid.Box.T)
		if steps.Len() == 0 {
			return box, false, nil
		}
		if box.T.Len() > 0 {
			box.T = steps
		}
	}
	if e.Bounds == nil {
		return box, true, nil
	}
	crs, err := grid.ParseCRS(e.CRS)
	if err != nil {
		return box, false, err
	}
	cells, err := grid.Cover(footprint(crs, *e.Bounds), grid.Box{Y: grid.Range{Hi: 1}, X: grid.Range{Hi: 1}}, v.Grid, 1)
	if errors.Is(err, grid.ErrDisjoint) {
		return box, false, nil
	}
	if err != nil {
		return box, false, err
	}
	cells = cells.Intersect(v.Box.Static())
	box.Y, box.X = cells.Y, cells.X
	return box, !box.Empty(), nil
}

// footprint is a lattice whose first cell is the bounds. A point or a line is
// given some width, so that the cell that it lies in is met.
func footprint(crs grid.CRS, b [4]float64) grid.Lattice {
	const least = 1e-6
	dx, dy := b[2]-b[0], b[3]-b[1]
	return grid.Lattice{CRS: crs, DX: max(dx, least), DY: max(dy, least), X0: b[0], Y0: max(b[3], b[1]+least)}
}

// stepsOf are the steps of an axis that a time meets; an instant meets one.
func stepsOf(a grid.TimeAxis, from, to int64) grid.Range {
	return grid.Range{Lo: from - a.Origin, Hi: max(to, from+1) - a.Origin}.Coarsen(a.Step)
}

// At returns the parts that a tile meets, in order.
func (p *Placed) At(tile grid.Tile) []Digest {
	listed, wide := p.tiles[p.of(tile)], p.wide
	out := make([]Digest, 0, len(listed)+len(wide))
	for len(listed) > 0 || len(wide) > 0 {
		from := &wide
		if len(wide) == 0 || len(listed) > 0 && listed[0] < wide[0] {
			from = &listed
		}
		part := &p.parts[(*from)[0]]
		*from = (*from)[1:]
		if meetsTile(part.Box, tile.Box) {
			out = append(out, part.SHA256)
		}
	}
	return out
}

// meetsTile reports whether two boxes share cells and, where both have time,
// steps.
func meetsTile(a, b grid.Box) bool {
	return !a.Intersect(b).Empty() && (a.T.Len() == 0 || b.T.Len() == 0 || a.T.Intersect(b.T).Len() > 0)
}

func (p *Placed) of(tile grid.Tile) grid.Range {
	return p.place(tile.T, tile.Y, tile.X)
}

// Key names the parts and their places: what a derivation holds of them.
func (p *Placed) Key() (PartsKey, error) {
	d, _, err := hashCanonical("cube.parts", p.parts)
	return PartsKey{Count: len(p.parts), Digest: d}, err
}

// PartsKey is what a derivation holds of an indexed source.
type PartsKey struct {
	Count  int    `json:"count"`
	Digest Digest `json:"digest"` // of the parts that meet the domain, with their places
}
