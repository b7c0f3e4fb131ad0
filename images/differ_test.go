package images

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestTheFilesThatDifferInTwoLayersAreNamed(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	layer := func(files map[string]string) string {
		fsys := fstest.MapFS{}
		for name, text := range files {
			fsys["app/"+name] = &fstest.MapFile{Data: []byte(text)}
		}
		recipe := Recipe{Files: []FileRule{{From: "app", To: "/app"}}, Command: []string{"/app/a"}}
		img, err := s.Build(t.Context(), Source{Name: "files", Recipe: recipe, FS: fsys}, BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return img.DiffIDs[len(img.DiffIDs)-1]
	}
	before := layer(map[string]string{"a": "one\ntwo\nthree\n", "b": "same", "c": "gone", "d": "\x00one", "e": "one"})
	after := layer(map[string]string{"a": "one\nTwo\nthree\n", "b": "same", "d": "\x00two", "e": "one and more", "f/g": "new"})
	for _, c := range []struct {
		name          string
		before, after string
		want          []Difference
	}{
		{"two layers", before, after, []Difference{{"/app/a", 2}, {"/app/c", 0}, {"/app/d", 0}, {"/app/e", 1}, {"/app/f/g", 0}}},
		{"one layer", before, before, nil},
		{"a layer that is elsewhere", "sha256:" + strings.Repeat("0", 64), after, nil},
		{"no layer", "../..", after, nil},
	} {
		got, err := s.Differ(t.Context(), c.before, c.after)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	if err := os.RemoveAll(s.layerPath(before)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Differ(t.Context(), before, after); err != nil || got != nil {
		t.Errorf("of a layer that is gone: %v, %v", got, err)
	}
}
