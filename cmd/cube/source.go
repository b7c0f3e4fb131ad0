package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/project"
	"github.com/cubebuild/cube/internal/ui"
)

// sourceLine is a source as JSON: a line of cube source ls.
type sourceLine struct {
	Type      string         `json:"type"` // source
	Source    string         `json:"source"`
	State     string         `json:"state"` // here, away, changed or unpinned
	URI       string         `json:"uri,omitempty"`
	Producer  string         `json:"producer,omitempty"` // that fetches it, in place of a URI
	Hosts     []string       `json:"hosts,omitempty"`    // that this was answered by
	SHA256    graph.Digest   `json:"sha256,omitzero"`
	Size      int64          `json:"size,omitempty"`
	Fetched   *time.Time     `json:"fetched,omitempty"`
	UsedBy    []string       `json:"used_by,omitempty"` // instances
	CRS       string         `json:"crs,omitempty"`
	Transform *[6]float64    `json:"transform,omitempty"` // in GDAL's order
	Width     int64          `json:"width,omitempty"`
	Height    int64          `json:"height,omitempty"`
	Bands     int64          `json:"bands,omitempty"`
	DType     string         `json:"dtype,omitempty"`
	Native    float64        `json:"native_res_m,omitempty"`
	Bounds    *grid.Bounds   `json:"bounds,omitempty"` // in the CRS
	Parts     *partsOfSource `json:"parts,omitempty"`
	License   string         `json:"license,omitempty"`
	Citation  string         `json:"citation,omitempty"`
}

// partsOfSource is what the parts of a source have in common.
type partsOfSource struct {
	Count  int          `json:"count"`
	CRS    string       `json:"crs,omitempty"`
	Bounds *grid.Bounds `json:"bounds,omitempty"` // of all that have some, where they share a CRS
	Start  string       `json:"start,omitempty"`  // of all that have a time
	End    string       `json:"end,omitempty"`
}

// partLine is a part of a source as JSON.
type partLine struct {
	Type   string       `json:"type"` // part
	Source string       `json:"source"`
	SHA256 graph.Digest `json:"sha256"`
	CRS    string       `json:"crs,omitempty"`
	Bounds *grid.Bounds `json:"bounds,omitempty"`
	Start  string       `json:"start,omitempty"`
	End    string       `json:"end,omitempty"`
}

func newSourceLine(k project.KnownSource) sourceLine {
	l := sourceLine{Type: "source", Source: k.Name, State: stateOfSource(k), Producer: k.Producer, Hosts: k.Recording.Hosts,
		URI: k.URI, SHA256: k.Pin.SHA256, Size: k.Pin.Size, UsedBy: k.UsedBy, Parts: sumParts(k.Parts)}
	if !k.At.Fetched.IsZero() {
		l.Fetched = &k.At.Fetched
	}
	if s := k.Source; s != nil {
		l.License, l.Citation, l.Native = s.License, s.Citation, s.Native
	}
	if in := k.Pin.Inspection; in != nil {
		l.CRS, l.Transform, l.Width, l.Height, l.Bands, l.DType, l.Bounds = in.CRS, &in.Transform, in.Width, in.Height, in.Bands, in.DType, boundsOf(in)
		if l.Native == 0 {
			l.Native = in.NativeRes
		}
	}
	return l
}

func stateOfSource(k project.KnownSource) string {
	switch {
	case k.Pin.SHA256.IsZero():
		return "unpinned"
	case k.At.Changed:
		return "changed"
	case k.At.Here:
		return "here"
	}
	return "away"
}

// boundsOf is the rectangle around a raster, also where it is rotated.
func boundsOf(in *graph.Inspection) *grid.Bounds {
	if in.Width <= 0 || in.Height <= 0 {
		return nil
	}
	inf, gt := math.Inf(1), in.Transform
	b := grid.Bounds{West: inf, South: inf, East: -inf, North: -inf}
	for _, corner := range [][2]float64{{0, 0}, {float64(in.Width), 0}, {0, float64(in.Height)}, {float64(in.Width), float64(in.Height)}} {
		x, y := gt[0]+corner[0]*gt[1]+corner[1]*gt[2], gt[3]+corner[0]*gt[4]+corner[1]*gt[5]
		b = union(b, grid.Bounds{West: x, South: y, East: x, North: y})
	}
	return &b
}

func union(a, b grid.Bounds) grid.Bounds {
	return grid.Bounds{West: min(a.West, b.West), South: min(a.South, b.South), East: max(a.East, b.East), North: max(a.North, b.North)}
}

// sumParts says what parts have in common; nil where there are none.
func sumParts(parts []graph.Part) *partsOfSource {
	if parts == nil {
		return nil
	}
	out := &partsOfSource{Count: len(parts)}
	times := [2]int64{math.MaxInt64, math.MinInt64}
	mixed := false
	for _, p := range parts {
		if p.Time != nil {
			times = [2]int64{min(times[0], p.Time[0]), max(times[1], p.Time[1])}
		}
		b := partBounds(p)
		switch {
		case b == nil:
		case out.Bounds == nil:
			out.CRS, out.Bounds = p.CRS, b
		case out.CRS != p.CRS:
			mixed = true
		default:
			both := union(*out.Bounds, *b)
			out.Bounds = &both
		}
	}
	if mixed {
		out.CRS, out.Bounds = "", nil
	}
	if times[0] <= times[1] {
		out.Start, out.End = grid.FormatTime(times[0]), grid.FormatTime(times[1])
	}
	return out
}

func partBounds(p graph.Part) *grid.Bounds {
	if b := p.Bounds; b != nil {
		return &grid.Bounds{West: b[0], South: b[1], East: b[2], North: b[3]}
	}
	return nil
}

func (l *sourceLine) stateWord(s ui.Style) string {
	switch l.State {
	case "here":
		return s.Good(l.State)
	case "changed":
		return s.Bad(l.State)
	}
	return l.State
}

func (l *sourceLine) pin() string {
	if l.SHA256.IsZero() {
		return ""
	}
	return l.SHA256.Short()
}

func (l *sourceLine) size() string {
	if l.Size == 0 {
		return ""
	}
	return ui.Bytes(l.Size)
}

// crs is short: what is no code stands in show alone.
func (l *sourceLine) crs() string {
	if len(l.CRS) > 16 {
		return "its own"
	}
	return l.CRS
}

func (l *sourceLine) native() string {
	if l.Native == 0 {
		return ""
	}
	return ui.Metres(l.Native)
}

func (l *sourceLine) partCount() string {
	if l.Parts == nil {
		return ""
	}
	return ui.Count(int64(l.Parts.Count))
}

func (l *sourceLine) fetched(layout string) string {
	if l.Fetched == nil {
		return ""
	}
	return l.Fetched.Format(layout)
}

func (l *sourceLine) from() string {
	if l.Producer != "" {
		return "producer " + l.Producer
	}
	return l.URI
}

func newPartLine(source string, p graph.Part) partLine {
	l := partLine{Type: "part", Source: source, SHA256: p.SHA256, CRS: p.CRS, Bounds: partBounds(p)}
	if p.Time != nil {
		l.Start, l.End = grid.FormatTime(p.Time[0]), grid.FormatTime(p.Time[1])
	}
	return l
}

// table is all that is known of a source, a line each.
func (l *sourceLine) table(s ui.Style) *ui.Table {
	t := &ui.Table{}
	add := func(name, value string) {
		if value != "" {
			t.Add(name, value)
		}
	}
	add("source", s.Bold(l.Source))
	add("from", l.from())
	add("hosts", strings.Join(l.Hosts, ", "))
	add("state", l.stateWord(s))
	if !l.SHA256.IsZero() {
		add("sha256", l.SHA256.Hex())
	}
	add("size", l.size())
	add("fetched", l.fetched(time.DateTime))
	add("used by", strings.Join(l.UsedBy, ", "))
	if l.Width > 0 {
		add("cells", strings.TrimSpace(fmt.Sprintf("%d × %d of %s", l.Height, l.Width, l.DType)))
	}
	add("bounds", extentText(l.Bounds, l.CRS))
	add("native", l.native())
	if p := l.Parts; p != nil {
		add("parts", l.partCount())
		add("  bounds", extentText(p.Bounds, p.CRS))
		if p.Start != "" {
			add("  time", p.Start+" to "+p.End)
		}
	}
	add("license", l.License)
	add("citation", l.Citation)
	return t
}

func extentText(b *grid.Bounds, crs string) string {
	if b == nil {
		return ""
	}
	return fmt.Sprintf("%.9g, %.9g to %.9g, %.9g in %s", b.West, b.South, b.East, b.North, crs)
}
