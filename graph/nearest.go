package graph

import (
	"slices"
	"strings"
)

// Nearest returns the choice that name was most likely meant to be, or "" if
// none is near: at most a third of the letters differ, or one is the other
// with more at its end.
func Nearest(name string, choices []string) string {
	if name == "" || len(name) > 100 {
		return ""
	}
	sorted := slices.Sorted(slices.Values(choices))
	best, at := "", -1
	for _, c := range sorted {
		d := editDistance(strings.ToLower(name), strings.ToLower(c))
		if d > max(1, max(len(name), len(c))/3) {
			continue
		}
		if at < 0 || d < at {
			best, at = c, d
		}
	}
	if best != "" {
		return best
	}
	for _, c := range sorted {
		if len(name) >= 3 && (strings.HasPrefix(c, name) || strings.HasPrefix(name, c) && len(c) >= 3) {
			return c
		}
	}
	return ""
}

// editDistance is the number of letters to insert, delete, replace or swap with
// their neighbour that turn a into b.
func editDistance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, prev, cur := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(x); i++ {
		cur[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(y)]
}
