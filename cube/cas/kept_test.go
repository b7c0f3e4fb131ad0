package cas

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/graph"
)

// long is how many entries of fillLog make a log whose index is kept.
const long = 3000

// keptLog is the path of a closed log with long entries and a kept index.
func keptLog(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	l := OpenLog(path, LogConfig{NoSync: true})
	fillLog(t, l, long)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + ".index"); err != nil {
		t.Fatal(err)
	}
	return path
}

// scanned is what a log has without its index file.
func scanned(t testing.TB, path string) map[graph.Digest]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	alone := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(alone, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return content(t, alone)
}

func change(t testing.TB, path string, f func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, f(b), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestALogIsReadOnFromWhereItsIndexEnds(t *testing.T) {
	t.Parallel()
	path := keptLog(t)
	l := newLog(t, path)
	for i := range long + 10 {
		v, ok, err := l.Get(keyOf(i))
		if err != nil || ok != (i < long) || ok && !bytes.Equal(v, valueOf(i)) {
			t.Fatalf("key %d: %d bytes, %v, %v", i, len(v), ok, err)
		}
	}
	if l.kept == 0 || l.kept != l.end {
		t.Errorf("read on from %d, want from the end at %d", l.kept, l.end)
	}
	if err := l.Delete(t.Context(), keyOf(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Put(t.Context(), keyOf(long), []byte("behind")); err != nil {
		t.Fatal(err)
	}
	other := newLog(t, path)
	if n, err := other.Len(); err != nil || n != long || other.kept != l.kept {
		t.Errorf("%d keys, %v, read on from %d; want %d, from %d", n, err, other.kept, long, l.kept)
	}
	if diff := cmp.Diff(scanned(t, path), content(t, path)); diff != "" {
		t.Errorf("without and with its index:\n%s", diff)
	}
}

func TestAnIndexChangesNothingThatALogHas(t *testing.T) {
	t.Parallel()
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 0x10; return b }
	}
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:len(b)-n] } }
	nothing := func(b []byte) []byte { return b }
	for name, to := range map[string]struct{ log, index func([]byte) []byte }{
		"a damaged record":            {flip(100_000), nothing},
		"a damaged last record":       {flip(-1), nothing},
		"a log that has lost its end": {cut(1), nothing},
		"a log that has lost much":    {cut(200_000), nothing},
		"an index of another version": {nothing, flip(8)},
		"a damaged header":            {nothing, flip(20)},
		"damaged entries":             {nothing, flip(10_000)},
		"an index that is cut short":  {nothing, cut(100)},
		"an empty index":              {nothing, func([]byte) []byte { return nil }},
		"another log that is as long": {func(b []byte) []byte { return anotherLog(len(b)) }, nothing},
		"damage in both":              {flip(100_000), flip(10_000)},
		"a damaged first record":      {flip(headerSize + 20), nothing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := keptLog(t)
			change(t, path, to.log)
			change(t, path+".index", to.index)
			want := scanned(t, path)
			if diff := cmp.Diff(want, content(t, path)); diff != "" {
				t.Fatalf("without and with its index:\n%s", diff)
			}
			l := newLog(t, path)
			for i := range long {
				if _, err := l.Put(t.Context(), keyOf(i), valueOf(i)); err != nil {
					t.Fatal(err)
				}
				if _, ok := want[keyOf(i)]; !ok {
					want[keyOf(i)] = string(valueOf(i))
				}
			}
			l.Close()
			if diff := cmp.Diff(want, content(t, path)); diff != "" {
				t.Fatalf("after all was put again:\n%s", diff)
			}
		})
	}
}

// anotherLog is a log of other entries, at least n bytes long.
func anotherLog(n int) []byte {
	b := header()
	for i := 0; len(b) < n; i++ {
		b = appendRecord(b, kindPut, keyOf(-i-1), valueOf(i+7))
	}
	return b
}

func TestACompactedLogHasNoIndexOfWhatItWas(t *testing.T) {
	t.Parallel()
	path := keptLog(t)
	l := newLog(t, path)
	open := newLog(t, path) // by somebody else, meanwhile
	if _, err := open.Len(); err != nil {
		t.Fatal(err)
	}
	even := func(k graph.Digest, v []byte) bool { return len(v)%2 == 0 }
	if _, err := l.Compact(t.Context(), even); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + ".index"); err == nil {
		t.Error("the index is still there")
	}
	for i := range long {
		if _, err := open.Put(t.Context(), keyOf(long+i), valueOf(i)); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	open.Close()
	if diff := cmp.Diff(scanned(t, path), content(t, path)); diff != "" {
		t.Errorf("without and with its index:\n%s", diff)
	}
}

func TestAnIndexIsKeptAgainWhenMuchIsNew(t *testing.T) {
	t.Parallel()
	path := keptLog(t)
	before, err := os.ReadFile(path + ".index")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		more int
		kept bool
	}{{1, false}, {long, true}} {
		l := OpenLog(path, LogConfig{NoSync: true})
		for i := range tt.more {
			if _, err := l.Put(t.Context(), keyOf(10*long+i), valueOf(i)); err != nil {
				t.Fatal(err)
			}
		}
		l.Close()
		after, err := os.ReadFile(path + ".index")
		if err != nil || bytes.Equal(before, after) == tt.kept {
			t.Errorf("after %d more entries: kept again: %v, %v, want %v", tt.more, !bytes.Equal(before, after), err, tt.kept)
		}
	}
}

func FuzzIndex(f *testing.F) {
	path := keptLog(f)
	log, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(path + ".index")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole[:indexHeader+4])
	f.Add(whole)
	f.Add([]byte(indexMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, log, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".index", b, 0o666); err != nil {
			t.Fatal(err)
		}
		l := newLog(t, path)
		for i := range 10 {
			if v, ok, err := l.Get(keyOf(i)); err != nil || ok && !bytes.Equal(v, valueOf(i)) {
				t.Fatalf("key %d: %q, %v", i, v, err)
			}
		}
	})
}

func BenchmarkLogOpenWithIndex(b *testing.B) {
	path := filepath.Join(b.TempDir(), "log")
	l := OpenLog(path, LogConfig{NoSync: true})
	const n = 1_000_000
	for i := 0; i < n; i += 1000 {
		var entries []Entry
		for k := range 1000 {
			entries = append(entries, Entry{keyOf(i + k), make([]byte, 120)})
		}
		if _, err := l.PutAll(context.Background(), entries...); err != nil {
			b.Fatal(err)
		}
	}
	l.Close()
	b.ResetTimer()
	for b.Loop() {
		l := OpenLog(path, LogConfig{})
		if got, err := l.Len(); err != nil || got != n {
			b.Fatal(fmt.Sprint(got, err))
		}
		l.Close()
	}
}
