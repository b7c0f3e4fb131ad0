package lineage

import "testing"

func TestASampleIsFromEveryPartOfARun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := Create(dir, aRun(noon), Options{})
	const n = 4000
	for i := range n {
		a := anAction(i)
		a.Attempts = i
		must(t, w.Action(a))
	}
	must(t, w.End(Succeeded, Counts{}, nil))
	for _, test := range []struct{ most, least int }{{n, n}, {2 * n, n}, {320, 300}, {32, 30}, {1, 1}} {
		var got []int
		last := -1
		for a, err := range Open(dir).Sample(w.ID(), test.most) {
			must(t, err)
			if a.Attempts <= last {
				t.Fatalf("%d after %d", a.Attempts, last)
			}
			last = a.Attempts
			got = append(got, last)
		}
		if len(got) < test.least || len(got) > max(test.most, sampleParts) {
			t.Errorf("at most %d: %d", test.most, len(got))
		}
		if test.most >= sampleParts && last < n*9/10 {
			t.Errorf("at most %d: the last is %d", test.most, last)
		}
	}
	for range Open(dir).Sample("20200927T110000Z-5f3a9c1e20", 5) {
		t.Error("a run that is not there has actions")
	}
}
