package main

import (
	"testing"
	"time"
)

func TestPercentilesAreThoseOfActionsThatRan(t *testing.T) {
	t.Parallel()
	var ten []time.Duration
	for i := 10; i > 0; i-- {
		ten = append(ten, time.Duration(i)*time.Second)
	}
	for _, test := range []struct {
		d     []time.Duration
		share float64
		want  time.Duration
	}{
		{nil, 0.5, 0},
		{[]time.Duration{7}, 0.9, 7},
		{ten, 0.5, 5 * time.Second},
		{ten, 0.9, 9 * time.Second},
		{[]time.Duration{3, 1}, 0.5, 1},
	} {
		if got := percentile(test.d, test.share); got != test.want {
			t.Errorf("%v of %v: %v, want %v", test.share, test.d, got, test.want)
		}
	}
}

func TestAForecastSaysHowItKnows(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		f    forecast
		want string
	}{
		{forecast{}, ""},
		{forecast{Made: 2000, Unknown: []string{"slope"}, FromWindows: []string{"slope"}},
			"no history of slope; up to about 0 B read and 2.0 kB made (from the tiles' windows, before compression)"},
		{forecast{P50: 60, P90: 120, Samples: 3, Read: 1, Unknown: []string{"a", "b"}, FromHistory: true, FromWindows: []string{"a", "b"}},
			"1 min 00 s if actions are like the median of 3 earlier ones, 2 min 00 s if like the slowest tenth; no history of a, b, not counted; up to about 1 B read and 0 B made (from history; of a, b from the tiles' windows, before compression)"},
		{forecast{P50: 1, P90: 1, Samples: 3, Read: 1, FromHistory: true},
			"1.0 s if actions are like the median of 3 earlier ones, 1.0 s if like the slowest tenth; up to about 1 B read and 0 B made (from history)"},
	} {
		if got := test.f.String(); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

func TestLimitsOfACostAreRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]maxCost{
		"2h":            {time: 2 * time.Hour},
		"100":           {actions: 100},
		"1.5GB":         {bytes: 1_500_000_000},
		"2h,10GiB, 100": {actions: 100, time: 2 * time.Hour, bytes: 10 << 30},
	} {
		if got, err := parseMaxCost(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "2h,3h", "5 parsecs", "1,2", "1e30GB", "-2h", "2h,"} {
		if _, err := parseMaxCost(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}
