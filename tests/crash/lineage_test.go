package crash

import "testing"

// Also where an edit takes a variable back to what it was, and where another
// instance is told just the same.
func TestAfterEachEditEveryVersionHasARecord(t *testing.T) {
	t.Parallel()
	m := mixture{size: size{3, 4, 16}}
	l := &life{mixed: newMixed(t, m, nil, func(string) {}), trouble: troubles{}}
	for _, e := range []edit{edits[0], {"high", 5, 1, 60}, edits[0], {seed: 1, rows: 64}} {
		l.set(e, "1GiB")
		b := l.start("build", "-k")
		if code := b.wait(); code != 3 {
			t.Fatalf("%v: exit %d, want 3\n%s", e, code, b.output())
		}
		l.quiet()
		l.traced()
		if t.Failed() {
			t.Fatal(e)
		}
	}
}
