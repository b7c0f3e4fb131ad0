package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOverridesAreTypedAgainAsAShellReadsThem(t *testing.T) {
	t.Parallel()
	command := []string{"cube", "build", "slope", "--set", "tiles=32", "-k", "--set=producers.slope.params.note=it's new", "--set", "name=a\x1b[2J", "--set"}
	got := typed(overrides(command))
	want := ` --set tiles=32 --set 'producers.slope.params.note=it'\''s new' --set 'name=a\u001b[2J'`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
