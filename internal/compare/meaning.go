package compare

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// means notes what differs between two layouts beside values, and reports
// whether their cells can be compared.
func (r *Result) means(a, b cube.Layout) bool {
	comparable := true
	note := func(cells bool, what, old, now string) {
		if old != now {
			r.Meaning = append(r.Meaning, fmt.Sprintf("%s: %s → %s", what, or(old, "unknown"), or(now, "unknown")))
			comparable = comparable && !cells
		}
	}
	note(true, "kind", string(a.Spec.Kind), string(b.Spec.Kind))
	note(true, "dtype", string(a.Spec.DType), string(b.Spec.DType))
	note(true, "dimensions", dims(a), dims(b))
	note(true, "reference system", string(a.Grid.Lattice.CRS), string(b.Grid.Lattice.CRS))
	note(true, "cells", cells(a.Grid.Lattice), cells(b.Grid.Lattice))
	note(true, "time steps", times(a.Grid.Time), times(b.Grid.Time))
	note(false, "domain", a.Domain().String(), b.Domain().String())
	note(false, "units", a.Spec.Units, b.Spec.Units)
	note(false, "cell method", string(a.Spec.CellMethod), string(b.Spec.CellMethod))
	note(false, "schema", fmt.Sprint(a.Spec.Schema), fmt.Sprint(b.Spec.Schema))
	note(false, "fill value", fill(a.Spec), fill(b.Spec))
	if s := legends(a.Spec.Legend, b.Spec.Legend); s != "" {
		r.Meaning = append(r.Meaning, s)
	}
	return comparable
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// dims lists the dimensions with the sizes that a domain does not set.
func dims(l cube.Layout) string {
	out := l.Dims()
	for _, d := range l.Spec.Dims {
		i := slices.Index(out, d.Name)
		out[i] = fmt.Sprintf("%s %d", d.Name, d.Size)
	}
	return strings.Join(out, ", ")
}

func cells(l grid.Lattice) string {
	return fmt.Sprintf("%s × %s from %s, %s", plain(l.DX), plain(l.DY), plain(l.X0), plain(l.Y0))
}

// plain writes a number without an exponent.
func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func times(a grid.TimeAxis) string {
	if a.IsZero() {
		return "none"
	}
	return fmt.Sprintf("%s from %s", grid.FormatStep(a.Step), grid.FormatTime(a.Origin))
}

func fill(s graph.VarSpec) string {
	if s.Fill == nil {
		return "none"
	}
	return string(*s.Fill)
}

// legends says which classes differ; "" where none does.
func legends(a, b []graph.Class) string {
	old, now := names(a), names(b)
	var changed []string
	both := maps.Clone(old)
	maps.Copy(both, now)
	for _, v := range slices.Sorted(maps.Keys(both)) {
		if old[v] != now[v] {
			changed = append(changed, fmt.Sprintf("%d: %s → %s", v, or(old[v], "none"), or(now[v], "none")))
		}
	}
	switch n := len(changed); {
	case n == 0:
		return ""
	case n > 3:
		changed = append(changed[:3], fmt.Sprintf("and %d more", n-3))
	}
	return "legend: " + strings.Join(changed, ", ")
}

func names(legend []graph.Class) map[int64]string {
	out := map[int64]string{}
	for _, c := range legend {
		out[c.Value] = c.Name
	}
	return out
}
