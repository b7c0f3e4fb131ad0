package compare

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Tolerance is by how much two numbers may differ and count as the same. They
// do where any one of the bounds allows it. The zero value allows nothing, not
// even −0 for 0. Data and nodata never count as the same, nor do two classes.
type Tolerance struct {
	Abs float64 `json:"abs,omitempty"` // in units of the variable
	Rel float64 `json:"rel,omitempty"` // as a share of the larger of both
	ULP uint64  `json:"ulp,omitempty"` // in steps from one value of the dtype to the next
}

// IsZero reports whether only the same bits are the same.
func (t Tolerance) IsZero() bool { return t == Tolerance{} }

// String is the tolerance as [ParseTolerance] reads it.
func (t Tolerance) String() string {
	var parts []string
	if t.Abs > 0 {
		parts = append(parts, "abs="+strconv.FormatFloat(t.Abs, 'g', -1, 64))
	}
	if t.Rel > 0 {
		parts = append(parts, "rel="+strconv.FormatFloat(t.Rel, 'g', -1, 64))
	}
	if t.ULP > 0 {
		parts = append(parts, "ulp="+strconv.FormatUint(t.ULP, 10))
	}
	return strings.Join(parts, ",")
}

// ParseTolerance reads a tolerance: abs=1e-6, rel=0.001, ulp=4, or several of
// them with commas between. An empty text is the zero tolerance.
func ParseTolerance(s string) (Tolerance, error) {
	var t Tolerance
	if s == "" {
		return t, nil
	}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(s, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || seen[name] {
			return t, fmt.Errorf("tolerance %q: want abs=, rel= or ulp=, each once, as abs=1e-6,ulp=4", s)
		}
		seen[name] = true
		var err error
		switch name {
		case "abs":
			t.Abs, err = bound(value)
		case "rel":
			t.Rel, err = bound(value)
		case "ulp":
			t.ULP, err = strconv.ParseUint(value, 10, 63)
		default:
			return t, fmt.Errorf("tolerance %q: %q is none of abs, rel and ulp", s, name)
		}
		if err != nil {
			return t, fmt.Errorf("tolerance %q: %q is no bound", s, value)
		}
	}
	return t, nil
}

// Tolerances are those of several variables.
type Tolerances struct {
	All Tolerance            // of variables that are not in Of
	Of  map[string]Tolerance // by variable
}

// ParseTolerances reads tolerances as [ParseTolerance] does, each for one
// variable where its name and a colon stand before it, as slope:abs=1e-6, or
// else for all others.
func ParseTolerances(texts []string) (Tolerances, error) {
	t := Tolerances{Of: map[string]Tolerance{}}
	all := false
	for _, s := range texts {
		name, text, one := strings.Cut(s, ":")
		if !one {
			name, text = "", s
		}
		_, twice := t.Of[name]
		switch {
		case twice || !one && all:
			return t, fmt.Errorf("tolerance %q: there is another one before it; write both in one, as abs=1e-6,ulp=4", s)
		case one && name == "":
			return t, fmt.Errorf("tolerance %q: want a variable's name before the colon", s)
		}
		parsed, err := ParseTolerance(text)
		if err != nil {
			return t, err
		}
		if one {
			t.Of[name] = parsed
		} else {
			t.All, all = parsed, true
		}
	}
	return t, nil
}

// For is the tolerance of a variable.
func (t Tolerances) For(variable string) Tolerance {
	if own, ok := t.Of[variable]; ok {
		return own
	}
	return t.All
}

func bound(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err == nil && (!(v >= 0) || math.IsInf(v, 0)) {
		err = strconv.ErrRange
	}
	return v, err
}

// allows reports whether two numbers that differ count as the same.
func (t Tolerance) allows(x, y Value, difference float64) bool {
	if t.IsZero() || math.IsInf(difference, 0) && !finite(x, y) {
		return false
	}
	return t.Abs > 0 && difference <= t.Abs ||
		t.Rel > 0 && difference <= t.Rel*math.Max(math.Abs(x.float()), math.Abs(y.float())) ||
		steps(x, y) <= t.ULP
}

// finite reports whether neither of two numbers is infinite.
func finite(x, y Value) bool { return !math.IsInf(x.float(), 0) && !math.IsInf(y.float(), 0) }
