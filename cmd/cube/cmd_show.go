package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/exchange"
	"github.com/cubebuild/cube/internal/survey"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/spf13/cobra"
)

func newShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "show VARIABLE...",
		Short:   "say what a variable is and holds",
		GroupID: groupLook,
		Long: `Show says who made a variable and whether it is what a build would make of it
now, where it lies, how fine the data are that it was made from, and what its
values are like. All values are read, a few chunks at a time.`,
		Example: `  cube show slope
  cube show slope --json | jq .statistics.median`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeHeads,
		RunE:              func(c *cobra.Command, args []string) error { return runShow(c.Context(), a, args) },
	}
}

// shown is a line of cube show --json.
type shown struct {
	card
	NativeFrom string      `json:"native_from,omitempty"`
	Source     string      `json:"source,omitempty"` // of an import: its file
	Statistics *statistics `json:"statistics,omitempty"`
}

type statistics struct {
	Cells     int64        `json:"cells"`
	Set       int64        `json:"set"`
	Area      float64      `json:"set_area_m2,omitempty"`
	Min       *float64     `json:"min,omitempty"`
	Max       *float64     `json:"max,omitempty"`
	Mean      *float64     `json:"mean,omitempty"`
	Median    *float64     `json:"median,omitempty"`
	Histogram []int64      `json:"histogram,omitempty"` // from min to max, in bins of one width
	Classes   []classShare `json:"classes,omitempty"`
}

type classShare struct {
	Value int64   `json:"value"`
	Name  string  `json:"name,omitempty"`
	Cells int64   `json:"cells"`
	Area  float64 `json:"area_m2,omitempty"`
}

func runShow(ctx context.Context, a *app, names []string) error {
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, _, err := g.head(ctx, name); err != nil {
			return err
		}
	}
	states, outputs, err := g.states(ctx)
	if err != nil {
		return err
	}
	for i, name := range names {
		if i > 0 && !a.json {
			fmt.Fprintln(a.stdout)
		}
		if err := g.show(ctx, name, states[name], outputs[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (g *gallery) show(ctx context.Context, name string, st state, planned *graph.Output) error {
	h, v, err := g.head(ctx, name)
	if err != nil {
		return err
	}
	c, err := g.card(ctx, name, st, planned)
	if err != nil {
		return err
	}
	s := shown{card: c, Source: g.proj.Lock.Imports[name].Source.URI}
	if st == stateClean {
		s.NativeFrom = nativeFrom(planned)
	}
	var found *survey.Survey
	if _, isFile := v.File(); !isFile {
		if found, err = survey.Measure(ctx, g.cube, v); err != nil {
			return err
		}
		s.Statistics = statisticsOf(found)
	}
	if g.app.json {
		return g.app.printLines(s)
	}
	return s.write(g.app.stdout, g.app.style(g.app.stdout), h, v, found)
}

// nativeFrom says what an output's native resolution comes from: the inputs
// that its manifest names, and the coarsest of all.
func nativeFrom(o *graph.Output) string {
	if o == nil || o.Native <= 0 {
		return ""
	}
	named, coarsest, name := []string{}, 0.0, ""
	for _, in := range o.Vertex.Inputs {
		if slices.Contains(o.Spec.NativeFrom, in.Role) {
			named = append(named, in.Variable)
		}
		if in.Native() > coarsest {
			coarsest, name = in.Native(), in.Variable
		}
	}
	switch {
	case len(named) > 0 && coarsest > o.Native:
		return fmt.Sprintf("from %s; coarsest input %s, %s", strings.Join(named, ", "), name, ui.Metres(coarsest))
	case len(named) > 0:
		return "from " + strings.Join(named, ", ")
	case name != "":
		return "from " + name
	case o.Vertex.Instance != nil && len(o.Vertex.Instance.Sources) > 0:
		var sources []string
		for _, src := range o.Vertex.Instance.Sources {
			sources = append(sources, src)
		}
		slices.Sort(sources)
		return "from source " + strings.Join(slices.Compact(sources), ", ")
	}
	return ""
}

func statisticsOf(s *survey.Survey) *statistics {
	out := &statistics{Cells: s.Cells, Set: s.Set, Area: s.Area, Histogram: s.Histogram}
	for to, v := range map[**float64]float64{&out.Min: s.Min, &out.Max: s.Max, &out.Mean: s.Mean, &out.Median: s.Median} {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			*to = &v
		}
	}
	for _, c := range s.Classes {
		out.Classes = append(out.Classes, classShare{c.Value, c.Name, c.Cells, c.Area})
	}
	return out
}

// named reports whether a long name says more than the variable's own.
func named(long, variable string) bool {
	return long != "" && !strings.EqualFold(long, strings.ReplaceAll(variable, "_", " "))
}

// write is cube show for people.
func (s *shown) write(w io.Writer, style ui.Style, h cube.Head, v *cube.Version, found *survey.Survey) error {
	var b strings.Builder
	by := "by " + s.by
	if madeBy(h) == importInstance {
		by = "imported from " + ui.Printable([]byte(s.Source))
	}
	fmt.Fprintf(&b, "%s   %s   head %s, %s, %s\n", style.Bold(s.Variable), by, h.Version.Short(), s.State.word(style), plural(len(s.Versions), "version"))
	if named(s.LongName, s.Variable) {
		fmt.Fprintf(&b, "  %s\n", style.Dim(ui.Printable([]byte(s.LongName))))
	}
	if f, ok := v.File(); ok {
		fmt.Fprintf(&b, "  %s, %s\n  %s\n", cmp.Or(f.MediaType, "a file"), ui.Bytes(f.Size), s.Path)
		_, err := io.WriteString(w, b.String())
		return err
	}
	s.writeShape(&b, v.Layout())
	if s.Native > 0 {
		fmt.Fprintf(&b, "  native %s", ui.Metres(s.Native))
		if s.NativeFrom != "" {
			fmt.Fprintf(&b, " (%s)", s.NativeFrom)
		}
		b.WriteByte('\n')
	}
	s.writeValues(&b, style, v.Layout(), found)
	fmt.Fprintf(&b, "  %s\n", style.Dim(fmt.Sprintf("xr.open_zarr(%q)", s.Path)))
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *shown) writeShape(b *strings.Builder, l cube.Layout) {
	units := s.unitText()
	if units == "" {
		units = "units unknown"
	}
	fmt.Fprintf(b, "  %s [%s]  %s   %s\n", s.DType, s.dims, units, s.grid)
	if s.Time != nil {
		fmt.Fprintf(b, "  %s to %s, every %s\n", s.Time.Start, s.Time.End, grid.FormatStep(s.Time.Step))
	}
	for _, d := range l.Spec.Dims {
		if len(d.Labels) > 0 {
			fmt.Fprintf(b, "  %s: %s\n", d.Name, ui.Fit(strings.Join(d.Labels, ", "), 70))
		}
	}
}

// writeValues writes the statistics.
func (s *shown) writeValues(b *strings.Builder, style ui.Style, l cube.Layout, found *survey.Survey) {
	part := ui.Percent(float64(found.Set) / math.Max(1, float64(found.Cells)))
	switch {
	case found.Set == 0:
		b.WriteString("  nothing set, all nodata\n")
		return
	case found.Area > 0:
		fmt.Fprintf(b, "  %s (%s) set", ui.Area(found.Area), part)
	default:
		fmt.Fprintf(b, "  %s cells (%s) set", ui.Count(found.Set), part)
	}
	if found.Set < found.Cells {
		b.WriteString(", the rest nodata")
	}
	if l.Spec.Categorical() {
		b.WriteByte('\n')
		writeClasses(b, style, found)
		return
	}
	fmt.Fprintf(b, "   min %s   median %s   max %s   %s\n", quantity(found.Min, s.Units), quantity(found.Median, s.Units),
		quantity(found.Max, s.Units), ui.Spark(found.Histogram))
}

// quantity writes a value with its units where they are short.
func quantity(v float64, units string) string {
	if unit, _, ok := strings.Cut(units, " since "); ok {
		return spanOf(v, unit)
	}
	switch units {
	case "", "1":
		return ui.Value(v)
	case "degree", "degrees":
		return ui.Value(v) + "°"
	}
	return ui.Value(v) + " " + units
}

// spanOf writes a length of time in hours, or in days where it is long.
func spanOf(v float64, unit string) string {
	per := exchange.UnitSeconds(unit)
	if per == 0 {
		return ui.Value(v) + " " + unit
	}
	switch v *= per; {
	case math.Abs(v) >= 10*86400:
		return fmt.Sprintf("%.1f d", v/86400)
	case math.Abs(v) >= 3600:
		return fmt.Sprintf("%.1f h", v/3600)
	case math.Abs(v) >= 60:
		return fmt.Sprintf("%.1f min", v/60)
	}
	return ui.Value(v) + " s"
}

// shownClasses is how many classes are listed.
const shownClasses = 12

func writeClasses(b *strings.Builder, style ui.Style, found *survey.Survey) {
	classes := slices.Clone(found.Classes)
	slices.SortStableFunc(classes, func(x, y survey.Class) int { return cmp.Compare(y.Cells, x.Cells) })
	t := ui.Table{Right: []bool{true, false, true, true, false}}
	for i, c := range classes {
		if i == shownClasses {
			break
		}
		share := float64(c.Cells) / float64(found.Set)
		area := ui.Count(c.Cells) + " cells"
		if c.Area > 0 {
			area = ui.Area(c.Area)
		}
		t.Add("   "+fmt.Sprint(c.Value), ui.Printable([]byte(c.Name)), ui.Percent(share), area, style.Dim(strings.TrimRight(ui.BarOf(share, 20), " ")))
	}
	_ = t.Write(b, style) // a strings.Builder takes all
	if more := len(classes) - shownClasses; more > 0 {
		fmt.Fprintf(b, "    and %d more\n", more)
	}
}
