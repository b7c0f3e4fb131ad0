package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/survey"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/cubebuild/cube/internal/ui/plot"
	"github.com/spf13/cobra"
)

type plotOptions struct {
	out    string
	width  int
	time   string
	at     []string
	colors string
	limits string
}

func newPlotCommand(a *app) *cobra.Command {
	var o plotOptions
	c := &cobra.Command{
		Use:     "plot VARIABLE",
		Short:   "draw a variable",
		GroupID: groupLook,
		Long: `Plot draws a map of a variable: as a picture with axes, colours and scale where
-o names a file, and in the terminal otherwise. Classes are drawn in their own
colours and named, directions in colours that end as they begin, and cells
without data are hatched. A large variable is thinned as it is read.`,
		Example: `  cube plot slope
  cube plot slope -o slope.png
  cube plot slope -o slope.svg --width 1600
  cube plot fuel_moisture --time 2020-09-27T11:00Z     # or --time 3, or --time -1: the last step
  cube plot wind --at member=4 --colors cividis --range 0,20`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeHead,
		RunE:              func(c *cobra.Command, args []string) error { return runPlot(c.Context(), a, o, args[0]) },
	}
	f := c.Flags()
	f.StringVarP(&o.out, "output", "o", "", "write a picture to this `file` (.png or .svg)")
	f.IntVar(&o.width, "width", 0, "width of the picture in pixels (1200), or of the map in characters (the terminal's)")
	f.StringVar(&o.time, "time", "0", "which time: its number from 0, from the end if negative, or an instant")
	f.StringArrayVar(&o.at, "at", nil, "where along another dimension, as `dim=number` from 0 or dim=label (repeatable)")
	f.StringVar(&o.colors, "colors", "", "colours of numbers: viridis, cividis, batlow, grey, vik or twilight (default: what suits)")
	f.StringVar(&o.limits, "range", "", "values that the first and the last colour stand for, as `low,high` (default: of what is drawn)")
	_ = c.RegisterFlagCompletionFunc("colors", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, m := range plot.Colormaps() {
			names = append(names, m.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	return c
}

func runPlot(ctx context.Context, a *app, o plotOptions, name string) error {
	kind := strings.ToLower(filepath.Ext(o.out))
	if o.out != "" && kind != ".png" && kind != ".svg" {
		return &usageError{fmt.Errorf("-o %s: a picture is .png or .svg", o.out)}
	}
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	h, v, err := g.head(ctx, name)
	if err != nil {
		return err
	}
	if f, ok := v.File(); ok {
		return &usageError{fmt.Errorf("%s is a file (%s), which has no map", name, f.MediaType)}
	}
	p := plotting{plotOptions: o, cube: g.cube, head: h, version: v, layout: v.Layout()}
	if o.out == "" {
		return p.terminal(ctx, a)
	}
	if p.width == 0 {
		p.width = 1200
	}
	m, err := p.picture(ctx)
	if err != nil {
		return err
	}
	draw := m.PNG
	if kind == ".svg" {
		draw = m.SVG
	}
	if err := writeWhole(o.out, func(w io.Writer) error { return draw(w, p.width) }); err != nil {
		return err
	}
	if a.json {
		return a.printLines(headLine{Type: "plot", Variable: name, Head: h.Version, File: o.out})
	}
	if !a.quiet {
		fmt.Fprintln(a.stderr, o.out)
	}
	return nil
}

// writeWhole writes a file whole or not at all.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".cube-*")
	if err != nil {
		return notWritten(path, err)
	}
	defer os.Remove(f.Name())
	w := bufio.NewWriterSize(f, 1<<20)
	err = errors.Join(write(w), w.Flush(), f.Chmod(0o644), f.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

// notWritten says of a file that could not be begun beside a path that it is the
// path that cannot be written: a mistake, where its folder is not there or not
// to be written to.
func notWritten(path string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	mistake := errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
	if err = fmt.Errorf("write %s: %w", path, err); mistake {
		return &usageError{err}
	}
	return err
}

// plotting is one plot in the making.
type plotting struct {
	plotOptions
	cube    *cube.Cube
	head    cube.Head
	version *cube.Version
	layout  cube.Layout
}

// picture reads what a picture of the configured width shows.
func (p *plotting) picture(ctx context.Context) (*plot.Map, error) {
	return p.thin(ctx, p.width, 2*p.width)
}

// terminal draws in the terminal.
func (p *plotting) terminal(ctx context.Context, a *app) error {
	columns, lines := ui.Size(a.stdout)
	if p.width > 0 {
		columns, lines = p.width, p.width
	}
	depth := plot.NoColor
	if a.style(a.stdout).Color {
		depth = plot.Colors256
		if c := a.env("COLORTERM"); c == "truecolor" || c == "24bit" {
			depth = plot.TrueColor
		}
	}
	// The shape is known without a value being read.
	b, box := p.layout.Grid.Bounds(), p.layout.Grid.Box
	shape := plot.Map{Columns: int(box.X.Len()), Rows: int(box.Y.Len()), West: b.West, South: b.South, East: b.East, North: b.North,
		Degrees: p.layout.Grid.Lattice.CRS.IsGeographic()}
	w, h := depth.Fit(&shape, min(columns, 500), max(10, min(lines, 250)-4))
	m, err := p.thin(ctx, w, h)
	if err != nil {
		return err
	}
	if a.json {
		return p.printCells(a, m)
	}
	s := a.style(a.stdout)
	fmt.Fprintf(a.stdout, "%s  %s\n", s.Bold(m.Title), s.Dim(m.Notes[0]))
	for _, line := range m.Text(depth, w, h) {
		fmt.Fprintln(a.stdout, line)
	}
	return nil
}

// printCells prints the thinned values.
func (p *plotting) printCells(a *app, m *plot.Map) error {
	rows := make([][]*float64, m.Rows)
	for i, v := range m.Values {
		var cell *float64
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			cell = &v
		}
		rows[i/m.Columns] = append(rows[i/m.Columns], cell)
	}
	return a.printLines(struct {
		headLine
		Units  string       `json:"units"`
		Bounds grid.Bounds  `json:"bounds"`
		Rows   [][]*float64 `json:"rows"` // north first; null is no data
	}{headLine{Type: "plot", Variable: p.head.Variable, Head: p.head.Version}, m.Units, p.layout.Grid.Bounds(), rows})
}

// thin reads the plane that is asked for, at most so large, as a map.
func (p *plotting) thin(ctx context.Context, columns, rows int) (*plot.Map, error) {
	step, err := p.step()
	if err != nil {
		return nil, &usageError{err}
	}
	plane, where, err := p.plane()
	if err != nil {
		return nil, &usageError{err}
	}
	spec := p.layout.Spec
	middle := spec.Categorical() || p.cyclic()
	r, err := survey.Thin(ctx, p.cube, p.version, survey.View{Columns: columns, Rows: rows, Step: step, Plane: plane, Middle: middle})
	if err != nil {
		return nil, err
	}
	lat := p.layout.Grid.Lattice
	m := &plot.Map{Columns: r.Columns, Rows: r.Rows, Values: r.Values, Units: units(spec.Units),
		Degrees: lat.CRS.IsGeographic(), Metres: lat.CRS.Unit() == "metre"}
	m.West, m.South, m.East, m.North = lat.Edge(r.Box)
	p.describe(m, step, where)
	if spec.Categorical() {
		m.Classes = classes(p.head.Spec.Legend, r.Values)
		return m, nil
	}
	return m, p.scale(m)
}

// units are a variable's units as a colour bar shows them.
func units(u string) string {
	if u == "1" {
		return ""
	}
	return u
}

// step is the index of the time that is asked for.
func (p *plotting) step() (int64, error) {
	if p.layout.Spec.Kind != graph.Time {
		if p.time != "0" {
			return 0, fmt.Errorf("--time: %s has no time", p.head.Variable)
		}
		return 0, nil
	}
	axis, r := p.layout.Grid.Time, p.layout.Grid.Box.T
	n, err := strconv.ParseInt(p.time, 10, 64)
	if err == nil && n < 0 {
		n += r.Len()
	}
	if err != nil {
		t, err := grid.ParseTime(p.time)
		if err != nil {
			return 0, fmt.Errorf("--time %s: neither a number nor an instant such as 2020-09-27T11:00Z", p.time)
		}
		n = grid.FloorDiv(t-axis.Origin, axis.Step) - r.Lo
	}
	if n < 0 || n >= r.Len() {
		return 0, fmt.Errorf("--time %s: %s has %s from %s to %s", p.time, p.head.Variable, plural(int(r.Len()), "step"),
			grid.FormatTime(axis.At(r.Lo)), grid.FormatTime(axis.At(r.Hi)))
	}
	return n, nil
}

// plane is the index of the plane along the further dimensions, and what it is.
func (p *plotting) plane() (plane int64, where []string, err error) {
	chosen := map[string]string{}
	for _, at := range p.at {
		name, value, ok := strings.Cut(at, "=")
		if !ok {
			return 0, nil, fmt.Errorf("--at %s: want dim=number or dim=label", at)
		}
		chosen[name] = value
	}
	for _, d := range p.layout.Spec.Dims {
		i := int64(0)
		if text, ok := chosen[d.Name]; ok {
			if i, err = along(d, text); err != nil {
				return 0, nil, err
			}
			delete(chosen, d.Name)
		}
		plane = plane*d.Size + i
		label := strconv.FormatInt(i, 10)
		if i < int64(len(d.Labels)) {
			label = d.Labels[i]
		}
		where = append(where, d.Name+" "+label)
	}
	for name := range chosen {
		return 0, nil, fmt.Errorf("--at %s: %s has the dimensions %s", name, p.head.Variable, strings.Join(p.layout.Dims(), ", "))
	}
	return plane, where, nil
}

func along(d graph.Dim, text string) (int64, error) {
	if i := slices.Index(d.Labels, text); i >= 0 {
		return int64(i), nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n >= d.Size {
		return 0, fmt.Errorf("--at %s=%s: from 0 to %d, or one of its labels", d.Name, text, d.Size-1)
	}
	return n, nil
}

// describe writes the title and the notes below it.
func (p *plotting) describe(m *plot.Map, step int64, where []string) {
	spec, lat := p.head.Spec, p.layout.Grid.Lattice
	m.Title = p.head.Variable
	first := []string{}
	if named(spec.LongName, m.Title) {
		first = append(first, ui.Printable([]byte(spec.LongName)))
	}
	if p.layout.Spec.Kind == graph.Time {
		first = append(first, grid.FormatTime(p.layout.Grid.Time.At(p.layout.Grid.Box.T.Lo+step)))
	}
	first = append(first, where...)
	if spec.Units != "" && spec.Units != "1" && len(spec.Legend) == 0 {
		first = append(first, spec.Units)
	}
	first = append(first, cellSize(lat))
	if lat.CRS != "" {
		first = append(first, lat.CRS.Name()+" ("+string(lat.CRS)+")")
	}
	second := []string{"by " + madeBy(p.head), "version " + p.head.Version.Short()}
	if madeBy(p.head) == importInstance {
		second[0] = "imported"
	}
	if p.head.Native > 0 {
		second = append(second, "from data of "+ui.Metres(p.head.Native))
	}
	m.Notes = []string{strings.Join(first, " · "), strings.Join(second, " · ")}
}

// cyclic reports whether values are directions, which end where they begin.
func (p *plotting) cyclic() bool {
	if p.colors != "" {
		return p.colors == "twilight"
	}
	spec := p.head.Spec
	if spec.Units != "degree" && spec.Units != "degrees" {
		return false
	}
	text := strings.ToLower(spec.Standard + " " + spec.LongName + " " + spec.Name + " " + p.head.Variable)
	for _, word := range []string{"aspect", "direction", "azimuth", "bearing", "heading", "orientation"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// scale chooses colours and what they stand for.
func (p *plotting) scale(m *plot.Map) (err error) {
	m.Lo, m.Hi = plot.Range(m.Values)
	name := p.colors
	text := strings.ToLower(p.head.Spec.Standard + " " + p.head.Spec.LongName + " " + p.head.Variable)
	switch {
	case name != "":
	case p.cyclic():
		name = "twilight"
	case strings.Contains(text, "hillshade") || strings.Contains(text, "relief"):
		name = "grey"
	case strings.Contains(text, "altitude") || strings.Contains(text, "elevation") || strings.Contains(text, "height"):
		name = "batlow"
	case m.Lo < 0 && m.Hi > 0 && math.Min(-m.Lo, m.Hi) > 0.25*math.Max(-m.Lo, m.Hi):
		name = "vik"
	default:
		name = "viridis"
	}
	if m.Colors, err = plot.ColormapByName(name); err != nil {
		return &usageError{fmt.Errorf("--colors: %w", err)}
	}
	switch {
	case m.Colors.Cyclic && m.Lo >= 0 && m.Hi <= 360:
		m.Lo, m.Hi = 0, 360
	case m.Colors.Cyclic && m.Lo >= -180 && m.Hi <= 180:
		m.Lo, m.Hi = -180, 180
	case name == "vik" && m.Lo < 0 && m.Hi > 0:
		m.Hi = math.Max(-m.Lo, m.Hi)
		m.Lo = -m.Hi
	}
	if p.limits == "" {
		return nil
	}
	low, high, ok := strings.Cut(p.limits, ",")
	lo, errLo := strconv.ParseFloat(strings.TrimSpace(low), 64)
	hi, errHi := strconv.ParseFloat(strings.TrimSpace(high), 64)
	if !ok || errLo != nil || errHi != nil || !(hi > lo) || math.IsInf(hi-lo, 0) {
		return &usageError{fmt.Errorf("--range %s: want two numbers, the lower first, as 0,45", p.limits)}
	}
	m.Lo, m.Hi = lo, hi
	return nil
}

// classes are the classes of a legend that occur, in its order, and those that
// occur and are not in it.
func classes(legend []graph.Class, values []float64) []plot.Class {
	occurs := map[float64]bool{}
	for _, v := range values {
		if v == v {
			occurs[v] = true
		}
	}
	out := []plot.Class{}
	for i, c := range legend {
		if occurs[float64(c.Value)] {
			out = append(out, plot.Class{Value: float64(c.Value), Name: ui.Printable([]byte(c.Name)), Color: plot.ClassColor(c.Color, i)})
			delete(occurs, float64(c.Value))
		}
	}
	var rest []float64
	for v := range occurs {
		rest = append(rest, v)
	}
	slices.Sort(rest)
	for i, v := range rest {
		out = append(out, plot.Class{Value: v, Name: strconv.FormatFloat(v, 'g', -1, 64), Color: plot.ClassColor("", len(legend)+i)})
	}
	return out
}
