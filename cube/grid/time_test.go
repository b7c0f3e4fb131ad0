package grid

import (
	"strings"
	"testing"
)

func TestTimesAreReadInUTCAndWrittenBack(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]struct {
		sec  int64
		back string
	}{
		"2020-09-27T11:00Z":         {1601204400, "2020-09-27T11:00Z"},
		"2020-09-27T11:00:00Z":      {1601204400, "2020-09-27T11:00Z"},
		"2020-09-27 11:00Z":         {1601204400, "2020-09-27T11:00Z"},
		"2020-09-27T11:00:30+00:00": {1601204430, "2020-09-27T11:00:30Z"},
		"2020-09-27":                {1601164800, "2020-09-27T00:00Z"},
		"1969-12-31T23:59:59Z":      {-1, "1969-12-31T23:59:59Z"},
		"2020-02-29T00:00Z":         {1582934400, "2020-02-29T00:00Z"},
	} {
		got, err := ParseTime(s)
		if err != nil || got != want.sec || FormatTime(got) != want.back {
			t.Errorf("%s is %d (%s), %v", s, got, FormatTime(got), err)
		}
	}
}

func TestTimesThatAreNotUTCSayWhatToWrite(t *testing.T) {
	t.Parallel()
	for s, says := range map[string]string{
		"2020-09-27T11:00":            "write 2020-09-27T11:00Z",
		"2020-09-27T11:00:00":         "write 2020-09-27T11:00:00Z",
		"2020-09-27T11:00:00-07:00":   "write 2020-09-27T18:00Z",
		"2020-09-27T11:00:00.5Z":      "whole seconds",
		"2021-02-29":                  "is no time",
		"":                            "is no time",
		"yesterday":                   "is no time",
		strings.Repeat("2020-", 1000): "is no time",
	} {
		if got, err := ParseTime(s); err == nil || !strings.Contains(err.Error(), says) || len(err.Error()) > 200 {
			t.Errorf("%.30q: got %d, %v; want something about %q", s, got, err, says)
		}
	}
}

func TestStepsAreReadInSecondsAndWrittenBack(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]struct {
		sec  int64
		back string
	}{
		"1h": {3600, "1h"}, "15m": {900, "15m"}, "90s": {90, "1m30s"}, "1d": {86400, "1d"}, "24h": {86400, "1d"},
		"1h30m": {5400, "1h30m"}, "365d": {31536000, "365d"},
	} {
		got, err := ParseStep(s)
		if err != nil || got != want.sec || FormatStep(got) != want.back {
			t.Errorf("%s is %d (%s), %v", s, got, FormatStep(got), err)
		}
	}
	for _, s := range []string{"", "0h", "h", "1", "-1h", "1.5h", "1 h", "1month", "1y", "1H", "9999999999999999999s", "999999999d", "1h1", "+1h"} {
		if got, err := ParseStep(s); err == nil {
			t.Errorf("%q is taken for %d s", s, got)
		}
	}
}

func FuzzTimes(f *testing.F) {
	for _, s := range []string{"2020-09-27T11:00Z", "1h30m", "2020-09-27", "1d1d1d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if sec, err := ParseTime(s); err == nil {
			if again, err := ParseTime(FormatTime(sec)); err != nil || again != sec {
				t.Errorf("%q is %d, which is written %s", s, sec, FormatTime(sec))
			}
		}
		if sec, err := ParseStep(s); err == nil {
			if again, err := ParseStep(FormatStep(sec)); err != nil || again != sec {
				t.Errorf("%q is %d, which is written %s", s, sec, FormatStep(sec))
			}
		}
	})
}
