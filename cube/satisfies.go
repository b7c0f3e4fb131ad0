package cube

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// Want is what a variable is asked to be. What is zero is not asked.
type Want struct {
	Variable   string
	Kind       graph.Kind
	Grid       grid.Grid    // bounds, time range and, at most, time step
	MaxStep    int64        // seconds; 0: the grid's
	MaxRes     float64      // ground metres
	Schema     int          // of the spec
	Derivation graph.Digest // that it has to come from
}

// Cause is why a variable does not satisfy a want.
type Cause string

// The causes.
const (
	NoHead     Cause = "no version" // there is none
	WrongKind  Cause = "kind"       // static, in time, or a file
	OutOfSpace Cause = "bounds"     // it does not cover the bounds
	OutOfTime  Cause = "time range"
	SlowSteps  Cause = "time step"  // its steps are longer
	TooCoarse  Cause = "resolution" // what it was made from is coarser
	OldSchema  Cause = "schema"
	Dirty      Cause = "dirty" // it came of something else than it would now
)

// Reason is one cause, and a sentence for people.
type Reason struct {
	Cause  Cause
	Detail string
}

// String is the sentence.
func (r Reason) String() string { return r.Detail }

// Satisfies reports whether the head of a variable is as wanted: it covers the
// bounds and the time range with steps no longer than asked, was made from data
// no coarser in ground metres, has the schema and is not dirty. Where it is not,
// it says each thing that is missing.
func (c *Cube) Satisfies(ctx context.Context, w Want) (bool, []Reason, error) {
	h, ok, err := c.Head(ctx, w.Variable)
	if err != nil {
		return false, nil, err
	}
	if !ok {
		return false, []Reason{{NoHead, fmt.Sprintf("%s has no version yet.", w.Variable)}}, nil
	}
	v, err := c.LoadVersion(ctx, h.Version)
	if errors.Is(err, ErrNotExist) {
		return false, []Reason{{NoHead, fmt.Sprintf("The version %s of %s is gone.", h.Version.Short(), w.Variable)}}, nil
	}
	if err != nil {
		return false, nil, err
	}
	reasons, err := w.check(h, v)
	return len(reasons) == 0 && err == nil, reasons, err
}

// check lists what a head and its version lack.
func (w Want) check(h Head, v *Version) (out []Reason, err error) {
	miss := func(c Cause, format string, args ...any) {
		out = append(out, Reason{c, w.Variable + " " + fmt.Sprintf(format, args...) + "."})
	}
	spec, have := v.layout.Spec, v.layout.Grid
	if w.Kind != "" && spec.Kind != w.Kind {
		miss(WrongKind, "is %s, not %s", spec.Kind, w.Kind)
	}
	if w.Grid.Lattice != (grid.Lattice{}) && v.file == nil {
		inside, err := covers(have, w.Grid)
		if err != nil {
			return nil, fmt.Errorf("bounds of %s: %w", w.Variable, err)
		}
		if !inside {
			miss(OutOfSpace, "covers %s of its grid and not all that is asked for", have.Box.Static())
		}
		w.checkTime(have, spec, miss)
	}
	if w.MaxRes > 0 && h.Native <= 0 {
		miss(TooCoarse, "has an unknown native resolution, and %g m are asked for", w.MaxRes)
	} else if w.MaxRes > 0 && !grid.FinerOrEqual(h.Native, w.MaxRes) {
		miss(TooCoarse, "was made from data of %.4g m, and %g m are asked for", h.Native, w.MaxRes)
	}
	if w.Schema != 0 && spec.Schema != w.Schema {
		miss(OldSchema, "has schema %d, and %d is asked for", spec.Schema, w.Schema)
	}
	if !w.Derivation.IsZero() && h.Derivation != w.Derivation {
		miss(Dirty, "is dirty: what it is made from has changed since")
	}
	return out, nil
}

// checkTime misses the time range and the step.
func (w Want) checkTime(have grid.Grid, spec graph.VarSpec, miss func(Cause, string, ...any)) {
	if spec.Kind != graph.Time || w.Grid.Box.T.Len() == 0 {
		return
	}
	lo, hi := have.Time.At(have.Box.T.Lo), have.Time.At(have.Box.T.Hi)
	from, to := w.Grid.Time.At(w.Grid.Box.T.Lo), w.Grid.Time.At(w.Grid.Box.T.Hi)
	if from < lo || to > hi {
		miss(OutOfTime, "covers %s to %s, and %s to %s is asked for",
			grid.FormatTime(lo), grid.FormatTime(hi), grid.FormatTime(from), grid.FormatTime(to))
	}
	most := w.MaxStep
	if most == 0 {
		most = w.Grid.Time.Step
	}
	if have.Time.Step > most {
		miss(SlowSteps, "has steps of %s, and %s is asked for", grid.FormatStep(have.Time.Step), grid.FormatStep(most))
	}
}

// borderPoints is how many points along each side of a grid are looked at.
const borderPoints = 33

// covers reports whether the bounds of want lie within those of have, give or
// take a millionth of a cell; across CRSs, half a cell.
func covers(have, want grid.Grid) (bool, error) {
	if have.Lattice == want.Lattice {
		return have.Box.Static().Contains(want.Box.Static()), nil
	}
	slack := 1e-6
	if have.Lattice.CRS != want.Lattice.CRS {
		slack = 0.5
	}
	to, err := grid.Transformer(want.Lattice.CRS, have.Lattice.CRS)
	if err != nil {
		return false, err
	}
	h, b := have.Bounds(), want.Bounds()
	dx, dy := slack*have.Lattice.DX, slack*have.Lattice.DY
	for i := range borderPoints {
		f := float64(i) / (borderPoints - 1)
		px, py := b.West+f*(b.East-b.West), b.South+f*(b.North-b.South)
		for _, p := range [][2]float64{{px, b.South}, {px, b.North}, {b.West, py}, {b.East, py}} {
			x, y, err := to(p[0], p[1])
			if err != nil || math.IsNaN(x+y) || x < h.West-dx || x > h.East+dx || y < h.South-dy || y > h.North+dy {
				return false, nil
			}
		}
	}
	return true, nil
}
