package grid

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// timeLayouts are the forms of an instant, all UTC; a date alone is its
// midnight.
var timeLayouts = []string{
	"2006-01-02T15:04:05Z", "2006-01-02T15:04Z", "2006-01-02",
	"2006-01-02T15:04:05+00:00", "2006-01-02T15:04+00:00",
	"2006-01-02 15:04:05Z", "2006-01-02 15:04Z",
}

// ParseTime reads an instant such as 2020-09-27T11:00Z, 2020-09-27T11:00:30Z
// or 2020-09-27 and returns whole Unix seconds. Times are UTC: one without
// its Z, or with another offset, is an error.
func ParseTime(s string) (int64, error) {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil && t.Nanosecond() == 0 {
			return t.Unix(), nil
		}
	}
	return 0, fmt.Errorf("time %q: %s", clip(s), timeTrouble(s))
}

// timeTrouble says what keeps s from being a time.
func timeTrouble(s string) string {
	if _, err := time.Parse("2006-01-02T15:04:05", s); err == nil {
		return "has no time zone: times are UTC, write " + s + "Z"
	}
	if _, err := time.Parse("2006-01-02T15:04", s); err == nil {
		return "has no time zone: times are UTC, write " + s + "Z"
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		if t.Nanosecond() != 0 {
			return "has a fraction of a second: times are whole seconds"
		}
		return "is not UTC: write " + FormatTime(t.Unix())
	}
	return "is no time: write it like 2020-09-27T11:00Z"
}

// FormatTime writes Unix seconds in the shortest form that ParseTime reads
// back, such as 2020-09-27T11:00Z.
func FormatTime(sec int64) string {
	t := time.Unix(sec, 0).UTC()
	if t.Second() == 0 {
		return t.Format("2006-01-02T15:04Z")
	}
	return t.Format("2006-01-02T15:04:05Z")
}

// stepUnits are the units of a step, the largest first.
var stepUnits = []struct {
	name    string
	seconds int64
}{{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}}

// maxStep bounds a step to a thousand years.
const maxStep = 1000 * 366 * 86400

// ParseStep reads a length of time such as 1h, 15m, 90s, 1d or 1h30m and
// returns seconds, more than zero. Months and years have no fixed length and
// are refused.
func ParseStep(s string) (int64, error) {
	total, rest := int64(0), s
	for rest != "" {
		n, unit, more := cutStep(rest)
		size, ok := stepSize(unit)
		v, err := strconv.ParseInt(n, 10, 64)
		if !ok || err != nil || v < 0 || v > maxStep/size {
			return 0, fmt.Errorf("step %q: must be whole days, hours, minutes and seconds, like 1h, 15m or 1d", clip(s))
		}
		total, rest = total+v*size, more
	}
	if total <= 0 || total > maxStep {
		return 0, fmt.Errorf("step %q: must be more than zero and at most a thousand years", clip(s))
	}
	return total, nil
}

// cutStep splits "1h30m" into "1", "h" and "30m".
func cutStep(s string) (n, unit, rest string) {
	i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if i < 0 {
		return s, "", ""
	}
	j := strings.IndexFunc(s[i:], func(r rune) bool { return r >= '0' && r <= '9' })
	if j < 0 {
		return s[:i], s[i:], ""
	}
	return s[:i], s[i : i+j], s[i+j:]
}

func stepSize(unit string) (int64, bool) {
	for _, u := range stepUnits {
		if u.name == unit {
			return u.seconds, true
		}
	}
	return 1, false
}

// FormatStep writes seconds in the form that ParseStep reads, such as 1h30m.
func FormatStep(sec int64) string {
	if sec <= 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range stepUnits {
		if n := sec / u.seconds; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			sec -= n * u.seconds
		}
	}
	return b.String()
}

// clip shortens text from outside for an error message.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
