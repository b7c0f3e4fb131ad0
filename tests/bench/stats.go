//go:build linux

package main

import (
	"math"
	"slices"
)

// sample is what the rounds of one measurement gave.
type sample []float64

// spread is the middle of a sample and its ends.
type spread struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

func (s sample) spread() spread {
	if len(s) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return spread{sorted[0], (sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[n-1]}
}

// comparison is the same work done by us and by another. Round i of one stood
// beside round i of the other where there are as many of both.
type comparison struct {
	ours, theirs string
	unit         string
	a, b         sample
	limit        float64 // of the ratio ours/theirs; 0: none, a figure for reference
	atLeast      bool    // the ratio is to be no less than the limit, rather than no more
	note         string
}

// ratios are those of the rounds, or the one of the medians where the rounds
// are not paired.
func (c comparison) ratios() sample {
	if len(c.a) != len(c.b) {
		return sample{c.a.spread().Median / c.b.spread().Median}
	}
	out := make(sample, len(c.a))
	for i := range c.a {
		out[i] = c.a[i] / c.b[i]
	}
	return out
}

// row is a comparison as it is reported.
type row struct {
	Bench   string  `json:"bench"`
	Ours    string  `json:"ours"`
	Against string  `json:"against"`
	Unit    string  `json:"unit"`
	A       spread  `json:"ours_measured"`
	B       spread  `json:"theirs_measured"`
	Ratio   spread  `json:"ratio"`
	Rounds  int     `json:"rounds"`
	Limit   float64 `json:"limit,omitempty"`
	AtLeast bool    `json:"at_least,omitempty"`
	Reached bool    `json:"reached"`
	Note    string  `json:"note,omitempty"`
}

func (c comparison) row(bench string) row {
	r := row{Bench: bench, Ours: c.ours, Against: c.theirs, Unit: c.unit, A: c.a.spread(), B: c.b.spread(),
		Ratio: c.ratios().spread(), Rounds: len(c.a), Limit: c.limit, AtLeast: c.atLeast, Note: c.note}
	r.Reached = c.limit == 0 || r.Ratio.Median <= c.limit
	if c.atLeast {
		r.Reached = r.Ratio.Median >= c.limit
	}
	return r
}
