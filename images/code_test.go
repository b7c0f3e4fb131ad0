package images

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// fickle has a file whose bytes change after they were first read.
type fickle struct {
	fstest.MapFS
	name, now string
}

func (f fickle) ReadFile(name string) ([]byte, error) {
	b, err := fs.ReadFile(f.MapFS, name)
	if name == f.name {
		f.MapFS[name] = &fstest.MapFile{Data: []byte(f.now)}
	}
	return b, err
}

func TestAFileThatChangesWhileItIsTakenIsNotKept(t *testing.T) {
	t.Parallel()
	for name, now := range map[string]string{"other bytes": "two", "more": "one and more", "fewer": "o"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			recipe := Recipe{Files: []FileRule{{From: "a.txt", To: "/a.txt"}}, Command: []string{"/a.txt"}}
			src := Source{Name: "text", Recipe: recipe, FS: fickle{fstest.MapFS{"a.txt": {Data: []byte("one")}}, "a.txt", now}}
			if img, err := s.Build(t.Context(), src, BuildOptions{}); err == nil || !strings.Contains(err.Error(), "while its image was made") {
				t.Fatalf("made %v: %v", img, err)
			}
			src.FS = fstest.MapFS{"a.txt": {Data: []byte("one")}}
			honest, err := s.Build(t.Context(), src, BuildOptions{})
			if err != nil {
				t.Fatal(err)
			}
			other, err := newStore(t).Build(t.Context(), src, BuildOptions{})
			if err != nil || honest.Config != other.Config {
				t.Errorf("the key was taken by other bytes: %v %v", honest, err)
			}
		})
	}
}
