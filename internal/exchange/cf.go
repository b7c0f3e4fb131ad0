package exchange

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cubebuild/cube/graph"
)

// UnitSeconds is the length in seconds of a unit of time that UDUNITS has in
// common use, 0 where it is none.
func UnitSeconds(unit string) float64 {
	switch unit {
	case "s", "sec", "second", "seconds":
		return 1
	case "min", "minute", "minutes":
		return 60
	case "h", "hr", "hour", "hours":
		return 3600
	case "d", "day", "days":
		return 86400
	}
	return 0
}

var hexColor = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

// Flags is the legend that CF's flag_values and flag_meanings give, as text,
// with colours (#rrggbb) by value; nil where they give none.
func Flags(values, meanings string, colors map[string]string) []graph.Class {
	numbers := strings.FieldsFunc(values, func(r rune) bool { return strings.ContainsRune(" ,{}[]", r) })
	names := strings.Fields(meanings)
	if len(numbers) == 0 || len(numbers) != len(names) {
		return nil
	}
	var out []graph.Class
	for i, word := range numbers {
		n, err := strconv.ParseInt(strings.TrimRight(word, "bsuBSUL"), 10, 64)
		twice := slices.ContainsFunc(out, func(c graph.Class) bool { return c.Value == n || c.Name == names[i] })
		if err != nil || twice {
			return nil
		}
		c := graph.Class{Value: n, Name: names[i]}
		if color := colors[strconv.FormatInt(n, 10)]; hexColor.MatchString(color) {
			c.Color = color
		}
		out = append(out, c)
	}
	return out
}
