package deadletter

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

func letter(name string) *Letter {
	at := time.Date(2020, 9, 27, 12, 0, 0, 0, time.UTC)
	failure := Failure{Kind: "exit", Code: 3, Detail: "exited with code 3"}
	return &Letter{
		Action: graph.Sum([]byte(name)), Run: "20200927T120000Z-00000000", Written: at, Targets: []string{"slope"},
		Instance: "slope", Grid: "default", Tile: grid.Box{Y: grid.Range{Hi: 8}, X: grid.Range{Lo: 8, Hi: 16}}, Variables: []string{"slope"},
		Failure:  failure,
		Attempts: []Attempt{{Started: at, Wall: time.Second, User: time.Millisecond, MaxRSS: 1 << 20, Memory: 2 << 30, Failure: failure}},
		Log:      []byte("no \xff <luck>\n"), Request: []byte(`{"seed":1}`),
		Windows: []Window{{Role: "elevation", Variable: "dem", Box: grid.Box{Y: grid.Range{Hi: 9}}, Digest: graph.Sum(nil), Version: graph.Sum([]byte("v"))}},
		Sources: []Source{{Role: "raster", Name: "rmnp", SHA256: graph.Sum([]byte("s"))}},
		Image:   Image{Ref: "./slope", Config: "sha256:c", DiffIDs: []string{"sha256:d"}}, Command: []string{"/producer"},
		Params: []byte(`{"method":"<horn>"}`), Limits: graph.Resources{Memory: 2 << 30}, Repeat: []string{"cube", "repeat", "abc"},
	}
}

func TestALetterIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	s := Open(filepath.Join(t.TempDir(), "deadletter"))
	a, b := letter("a"), letter("b")
	for _, l := range []*Letter{a, b, a} {
		if err := s.Put(l); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Get(a.Action)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a, got); d != "" {
		t.Error(d)
	}
	n := 0
	for _, err := range s.All() {
		if n++; err != nil {
			t.Error(err)
		}
	}
	if there, err := s.Remove(a.Action); !there || err != nil || n != 2 {
		t.Errorf("%d letters; removed %v, %v", n, there, err)
	}
	if there, err := s.Remove(a.Action); there || err != nil {
		t.Errorf("removed twice: %v, %v", there, err)
	}
	if _, err := s.Get(a.Action); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed, and still there: %v", err)
	}
}

func TestWhatIsNoLetterIsRefusedAndHidesNoOther(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := Open(dir)
	good := letter("good")
	if err := s.Put(good); err != nil {
		t.Fatal(err)
	}
	whole, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"cut":     whole[:len(whole)/2],
		"edited":  bytes.Replace(whole, []byte(`"code":3`), []byte(`"code":0`), 1),
		"newer":   bytes.Replace(whole, []byte(`"version":1`), []byte(`"version":2`), 1),
		"another": whole, // that of an action of another name
		"empty":   nil,
	} {
		id := graph.Sum([]byte(name))
		if err := os.WriteFile(s.path(id), b, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(id); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, ".temporary"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	read, refused := 0, 0
	for l, err := range s.All() {
		if err != nil && !l.Action.IsZero() {
			refused++
		} else if l.Action == good.Action {
			read++
		}
	}
	if read != 1 || refused != 5 {
		t.Errorf("%d read, %d refused", read, refused)
	}
}

func FuzzDecode(f *testing.F) {
	b, err := letter("a").Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":"cube-deadletter","version":1,"letter":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("got %v", err)
			}
			return
		}
		again, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(again)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := back.Encode(); err != nil {
			t.Error(err)
		}
	})
}
