package plot

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Ticks returns round numbers from lo to hi, about as many as wanted, and how
// many decimals they need.
func Ticks(lo, hi float64, wanted int) (ticks []float64, decimals int) {
	if !(hi > lo) || wanted < 1 || math.IsInf(hi-lo, 0) {
		return []float64{lo}, 6
	}
	step := niceStep((hi - lo) / float64(wanted))
	for i := math.Ceil(lo/step - 1e-9); i*step <= hi+step*1e-9; i++ {
		ticks = append(ticks, i*step)
	}
	return ticks, decimalsOf(step)
}

// niceStep is the nearest of 1, 2 and 5 times a power of ten.
func niceStep(raw float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	best := power
	for _, f := range []float64{1, 2, 5, 10} {
		if math.Abs(math.Log(f*power/raw)) < math.Abs(math.Log(best/raw)) {
			best = f * power
		}
	}
	return best
}

func decimalsOf(step float64) int {
	for d := range 12 {
		if v := step * math.Pow(10, float64(d)); math.Abs(v-math.Round(v)) < 1e-6*v {
			return d
		}
	}
	return 12
}

// number writes a tick's value, thousands apart.
func number(v float64, decimals int) string {
	if v == 0 {
		v = 0 // not −0
	}
	if a := math.Abs(v); a >= 1e9 || a > 0 && decimals > 5 {
		return strings.Replace(strconv.FormatFloat(v, 'g', 3, 64), "-", "−", 1)
	}
	s := strconv.FormatFloat(math.Abs(v), 'f', decimals, 64)
	whole, rest, _ := strings.Cut(s, ".")
	if len(whole) > 4 {
		for i := len(whole) - 3; i > 0; i -= 3 {
			whole = whole[:i] + string(thinSpace) + whole[i:]
		}
	}
	if rest != "" {
		whole += "." + rest
	}
	if v < 0 {
		whole = "−" + whole
	}
	return whole
}

// Range returns the lowest and highest value, without the few that lie far
// out: they would leave the rest in one colour.
func Range(values []float64) (lo, hi float64) {
	set := slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return v != v || math.IsInf(v, 0) })
	if len(set) == 0 {
		return 0, 0
	}
	slices.Sort(set)
	lo, hi = set[0], set[len(set)-1]
	q := func(share float64) float64 { return set[int(share*float64(len(set)-1))] }
	low, high := q(0.005), q(0.995)
	if inner := high - low; inner > 0 {
		if low-lo > inner/4 {
			lo = low
		}
		if hi-high > inner/4 {
			hi = high
		}
	}
	return lo, hi
}
