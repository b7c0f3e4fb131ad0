//go:build linux

package containers_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph"
)

// onPrint does something when the payload prints first.
type onPrint struct {
	once sync.Once
	do   func()
}

func (l *onPrint) Write(p []byte) (int, error) { l.once.Do(l.do); return len(p), nil }

// TestASourceThatIsWrittenToWhileItIsReadIsCaught holds it whether or not the action
// takes notice, and that a file that takes its name, or a link to it, harms nobody.
func TestASourceThatIsWrittenToWhileItIsReadIsCaught(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do     func(path string) error
		caught bool
	}{
		"written to": {func(path string) error { return os.WriteFile(path, []byte("other rows"), 0o644) }, true},
		"added to": {func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("!")
			return errors.Join(err, f.Close())
		}, true},
		"replaced": {func(path string) error {
			return errors.Join(os.WriteFile(path+".new", nil, 0o644), os.Rename(path+".new", path))
		}, false},
		"removed": {os.Remove, false},
		"linked":  {func(path string) error { return os.Link(path, path+".link") }, false},
	} {
		for _, served := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := newBatch(t)
				dir := t.TempDir()
				path, done := filepath.Join(dir, "rows"), filepath.Join(dir, "done")
				for _, f := range []string{path, done} {
					if err := os.WriteFile(f, []byte("rows"), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				steps := []step{{Do: "print", Data: []byte("reading\n")}, {Do: "until", Path: "/cube/sources/done/done", Data: []byte("done")}}
				a := action(t, steps...)
				if served {
					a = tile(t, steps...)
				}
				a.Sources = append(a.Sources, containers.SourceFile{Path: path, Target: graph.SourceDir + "/rows/data"})
				// What tells the payload to go on is a directory, which nobody holds.
				a.Sources = append(a.Sources, containers.SourceFile{Path: dir, Target: graph.SourceDir + "/done"})
				a.Log = &onPrint{do: func() {
					if err := c.do(path); err != nil {
						t.Error(err)
					}
					if err := os.WriteFile(done, []byte("done"), 0o644); err != nil {
						t.Error(err)
					}
				}}
				r, err := b.Run(t.Context(), a)
				if err == nil {
					r.Close()
				}
				if errors.Is(err, containers.ErrInputChanged) != c.caught || !c.caught && err != nil {
					t.Errorf("served %v: got %v", served, err)
				}
			})
		}
	}
}
