package ui

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes writes a size as people read it: 812 B, 4.2 kB, 1.3 GB.
func Bytes(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, units := float64(n), "kMGTPE"
	for i := range units {
		v /= 1000
		if v < 999.5 || i == len(units)-1 {
			return fmt.Sprintf("%s %cB", digits(max(1, v), 2), units[i])
		}
	}
	return ""
}

// Count writes a whole number in groups of three: 26 113.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	if len(s) < 5 {
		return sign + s
	}
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(c)
	}
	return sign + b.String()
}

// digits writes v with so many significant digits, and all of its whole part.
func digits(v float64, significant int) string {
	decimals := significant
	if a := math.Abs(v); a >= 1 {
		decimals = significant - 1 - int(math.Floor(math.Log10(a)))
	}
	return strconv.FormatFloat(v, 'f', max(0, decimals), 64)
}

// Value writes a number of a variable with four significant digits.
func Value(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return strconv.FormatFloat(v, 'g', -1, 64)
	case v != 0 && (math.Abs(v) >= 1e7 || math.Abs(v) < 1e-4):
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	s := strconv.FormatFloat(v, 'f', max(0, 3-int(math.Floor(math.Log10(max(math.Abs(v), 1e-4))))), 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

// Percent writes a share as people read it: 45 %, 0.3 %, < 0.1 %.
func Percent(share float64) string {
	p := 100 * share
	switch {
	case p == 0 || p == 100:
		return fmt.Sprintf("%.0f %%", p)
	case p < 0.1:
		return "< 0.1 %"
	case p > 99.9:
		return "> 99.9 %"
	case p < 9.95 || p > 99:
		return fmt.Sprintf("%.1f %%", p)
	}
	return fmt.Sprintf("%.0f %%", p)
}

// Area writes square metres as hectares, or as square kilometres where there
// are many.
func Area(m2 float64) string {
	switch {
	case m2 < 1e4:
		return Count(int64(math.Round(m2))) + " m²"
	case m2 < 1e5:
		return digits(m2/1e4, 2) + " ha"
	case m2 < 1e10:
		return Count(int64(math.Round(m2/1e4))) + " ha"
	}
	return Count(int64(math.Round(m2/1e6))) + " km²"
}

// Metres writes a length on the ground: 30 m, 9.3 m, 25 km.
func Metres(m float64) string {
	switch {
	case m <= 0 || math.IsInf(m, 0) || math.IsNaN(m):
		return "unknown"
	case m >= 10000:
		return Value(math.Round(m/100)/10) + " km"
	case m >= 10:
		return Value(math.Round(m)) + " m"
	}
	return digits(m, 2) + " m"
}

// Took writes how long something took: 130 ms, 2.4 s, 3 min 20 s, 2 h 05 min.
func Took(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %02d s", d/time.Minute, d%time.Minute/time.Second)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d h %02d min", d/time.Hour, d%time.Hour/time.Minute)
}

// sparks are the heights of a small histogram.
var sparks = []rune("▁▂▃▄▅▆▇█")

// Spark draws counts as a small histogram; a bin without any is a space.
func Spark(counts []int64) string {
	var most int64
	for _, n := range counts {
		most = max(most, n)
	}
	var b strings.Builder
	for _, n := range counts {
		if n == 0 {
			b.WriteByte(' ')
			continue
		}
		b.WriteRune(sparks[min(len(sparks)-1, int(float64(n)/float64(most)*float64(len(sparks))))])
	}
	return strings.TrimRight(b.String(), " ")
}

// BarOf draws a share as a bar of so many columns.
func BarOf(share float64, columns int) string {
	eighths := int(math.Round(min(1, max(0, share)) * float64(columns) * 8))
	var b strings.Builder
	b.WriteString(strings.Repeat("█", eighths/8))
	if rest := eighths % 8; rest > 0 {
		b.WriteRune([]rune(" ▏▎▍▌▋▊▉")[rest])
	}
	return Pad(b.String(), columns)
}
