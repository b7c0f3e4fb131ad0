package crash

import (
	"os"
	"testing"
)

func TestASourceThatChangesDuringABuildIsReadAsItWasPinned(t *testing.T) {
	t.Parallel()
	old := small.calm(t)
	renewed := small.calmWith(t, func(w *workspace) { w.must(os.WriteFile(w.path("data", "seed.bin"), source(2), 0o644)) })
	if old.Values["total"] == renewed.Values["total"] {
		t.Fatal("both sources come to the same")
	}
	for _, change := range []struct {
		name string
		do   func(*workspace) error
	}{
		{"rewritten in place", func(w *workspace) error { return os.WriteFile(w.path("data", "seed.bin"), source(2), 0o644) }},
		{"cut short", func(w *workspace) error { return os.Truncate(w.path("data", "seed.bin"), 10) }},
		{"removed", func(w *workspace) error { return os.Remove(w.path("data", "seed.bin")) }},
	} {
		t.Run(change.name, func(t *testing.T) {
			t.Parallel()
			w := newWorkspace(t, small)
			// One after the other: most tiles are begun after the change.
			e := w.start("build", "-j", "1")
			c := &counter{w: w}
			e.until(t, "a tile was done", func() bool { return c.count() > 0 })
			if c.count() > 3 {
				t.Fatal("too late to change anything")
			}
			w.must(change.do(w))
			if code := e.wait(); code != 0 {
				t.Fatalf("exit %d\n%s", code, e.output())
			}
			w.wants(old)

			w.must(os.WriteFile(w.path("data", "seed.bin"), source(2), 0o644))
			logContains(t, w.build(), "source seed changed")
			w.wants(renewed)
			w.must(os.WriteFile(w.path("data", "seed.bin"), source(1), 0o644))
			w.build()
			w.wants(old)
			w.wantsOnce(2 * small.actions())
		})
	}
}
