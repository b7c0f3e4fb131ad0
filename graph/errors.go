package graph

import (
	"errors"
	"fmt"
	"strings"
)

// ErrPreimage is a preimage that is not that of the key that it is said to be.
var ErrPreimage = errors.New("the preimage is another action's")

// MissingError says that nothing makes a variable.
type MissingError struct {
	Variable string
	Nearest  string   // the nearest name that there is, or ""
	Makes    []string // what an instance of that name makes
	Path     []string
}

func (e *MissingError) Error() string {
	meant := didYouMean(e.Nearest)
	if len(e.Makes) > 0 {
		meant = "; it is a producer, and makes " + strings.Join(e.Makes, ", ")
	}
	return fmt.Sprintf("%s: no producer or import makes it%s%s", e.Variable, meant, via(e.Path))
}

// AmbiguousError says that several producers make one variable whose merge
// policy allows one.
type AmbiguousError struct {
	Variable  string
	Instances []string
	Path      []string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%s: made by %s, and its merge policy is %s, which allows one; rename one with out:, or drop it%s",
		e.Variable, strings.Join(e.Instances, " and "), Replace, via(e.Path))
}

// CycleError says that a variable needs itself; the path ends where it began.
type CycleError struct{ Path []string }

func (e *CycleError) Error() string {
	last := e.Path[len(e.Path)-1]
	return fmt.Sprintf("%s: needs itself: %s", last, strings.Join(e.Path, " → "))
}

// MismatchError says that a variable is not what its consumer needs: What is
// its kind, units, legend, time axis or time step. Where contributions do not
// fit each other, Want is how Maker makes it and Have how Consumer does.
type MismatchError struct {
	What     string
	Variable string
	Consumer string
	Maker    string // of a merge's first contribution; "" for a need
	Want     string // "" for none
	Have     string // "" for none
	Path     []string
}

func (e *MismatchError) Error() string {
	if e.Maker != "" {
		return fmt.Sprintf("%s: %s makes it with %s, and %s with %s; what is merged must agree%s",
			e.Variable, e.Maker, having(e.What, e.Want), e.Consumer, having(e.What, e.Have), via(e.Path))
	}
	is := fmt.Sprintf("its %s is %s", e.What, e.Have)
	switch {
	case e.Have == "":
		is = "it has no " + e.What
	case strings.HasSuffix(e.What, "s"):
		is = fmt.Sprintf("its %s are %s", e.What, e.Have)
	}
	return fmt.Sprintf("%s: %s, %s needs %s%s", e.Variable, is, e.Consumer, orDefault(e.Want, "none"), via(e.Path))
}

func having(what, value string) string {
	if value == "" {
		return "no " + what
	}
	return what + " " + value
}

// ResolutionError says that a need is finer than what the pinned sources give.
type ResolutionError struct {
	Variable string
	Consumer string
	Want     float64 // ground metres
	Have     float64 // ground metres; 0: unknown
	Path     []string
}

func (e *ResolutionError) Error() string {
	if e.Have == 0 {
		return fmt.Sprintf("%s: %s needs a native resolution of %g m or finer, and that of its source is unknown; state native_res_m for the source%s",
			e.Variable, e.Consumer, e.Want, via(e.Path))
	}
	return fmt.Sprintf("%s: %s needs a native resolution of %g m or finer, and its coarsest source gives %.4g m%s",
		e.Variable, e.Consumer, e.Want, e.Have, via(e.Path))
}

// GridError says that an instance cannot stand on its grid.
type GridError struct {
	Instance string
	Grid     string
	Problem  string
	Nearest  string
	Path     []string
}

func (e *GridError) Error() string {
	return fmt.Sprintf("%s: grid %s: %s%s%s", e.Instance, e.Grid, e.Problem, didYouMean(e.Nearest), via(e.Path))
}

// via names the path from the target, where there is one worth naming.
func via(path []string) string {
	if len(path) < 2 {
		return ""
	}
	return " (" + strings.Join(path, " → ") + ")"
}

func didYouMean(name string) string {
	if name == "" {
		return ""
	}
	return "; did you mean " + name + "?"
}
