package cas

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cubebuild/cube/graph"
)

func newStore(t testing.TB) *Store {
	t.Helper()
	s := Open(filepath.Join(t.TempDir(), "objects"), Config{})
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t testing.TB, s *Store, b []byte) graph.Digest {
	t.Helper()
	d, err := s.Put(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAnObjectIsNamedByItsBytes(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	d := put(t, s, []byte("elevation"))
	if d != graph.Sum([]byte("elevation")) {
		t.Fatalf("named %s", d)
	}
	got, err := s.Get(t.Context(), d, []byte("dst:"))
	if err != nil || string(got) != "dst:elevation" {
		t.Fatalf("got %q, %v", got, err)
	}
	info, err := os.Stat(s.Path(d))
	if err != nil || info.Mode().Perm()&0o222 != 0 {
		t.Fatalf("mode %v, %v: want read-only", info.Mode(), err)
	}
	if _, err := s.Get(t.Context(), graph.Sum(nil), nil); !errors.Is(err, ErrNotExist) {
		t.Fatalf("a missing object gives %v", err)
	}
	if put(t, s, nil) != graph.Sum(nil) || !s.Has(graph.Sum(nil)) {
		t.Fatal("the empty object is not there")
	}
	d2, n, err := s.PutFrom(t.Context(), strings.NewReader("wind"), 10)
	if err != nil || n != 4 || d2 != graph.Sum([]byte("wind")) {
		t.Fatalf("PutFrom: %s, %d, %v", d2, n, err)
	}
	if _, _, err := s.PutFrom(t.Context(), strings.NewReader("too much wind"), 10); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("PutFrom beyond its limit: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(s.dir, tempDir)); len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestADamagedObjectIsCaughtAndCanBePutAgain(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(path string) error{
		"a flipped bit": func(p string) error { return os.WriteFile(p, []byte("elevatioN"), 0o444) },
		"cut short":     func(p string) error { return os.Truncate(p, 3) },
		"emptied":       func(p string) error { return os.Truncate(p, 0) },
		"grown":         func(p string) error { return os.WriteFile(p, []byte("elevation and more"), 0o444) },
	} {
		s := newStore(t)
		d := put(t, s, []byte("elevation"))
		if err := os.Chmod(s.Path(d), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := damage(s.Path(d)); err != nil {
			t.Fatal(err)
		}
		_, err := s.Get(t.Context(), d, nil)
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || corrupt.Digest != d {
			t.Fatalf("%s: Get gives %v", name, err)
		}
		if bad, err := s.Damaged(); err != nil || len(bad) != 1 || bad[0] != d || s.Has(d) {
			t.Fatalf("%s: moved away: %v, %v", name, bad, err)
		}
		put(t, s, []byte("elevation"))
		if got, err := s.Get(t.Context(), d, nil); err != nil || string(got) != "elevation" {
			t.Fatalf("%s: put again: %q, %v", name, got, err)
		}
	}
}

func TestManyPutTheSameAtOnce(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 50 {
				if _, err := s.Put(t.Context(), bytes.Repeat([]byte{byte(i)}, 1000+i)); err != nil {
					t.Error(err)
				}
				if i%10 == 0 {
					if err := s.Sync(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	n := 0
	err := s.Walk(t.Context(), func(d graph.Digest, _ fs.FileInfo) error {
		n++
		return s.Verify(t.Context(), d)
	})
	if err != nil || n != 50 {
		t.Fatalf("%d objects, %v", n, err)
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Join(s.dir, marksDir)); len(left) > 0 {
		t.Fatalf("synced, and still marked: %v", left)
	}
}

func TestAfterAPowerCutObjectsSinceTheMarkAreVerified(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	old := put(t, s, []byte("before"))
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(s.Path(old), past, past); err != nil {
		t.Fatal(err)
	}
	whole, lost := put(t, s, []byte("whole")), put(t, s, []byte("lost"))
	if err := os.Truncate(s.Path(lost), 0); err != nil {
		t.Fatal(err)
	}
	temp, err := s.create()
	if err != nil {
		t.Fatal(err)
	}
	temp.Close()
	name := filepath.Base(s.mark.Name())
	s.Close() // as if killed
	parts := strings.Split(name, ".")
	reboot := parts[0] + ".00000000-0000-0000-0000-000000000000." + parts[2]
	if err := os.Rename(filepath.Join(s.dir, marksDir, name), filepath.Join(s.dir, marksDir, reboot)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp.Name(), strings.Replace(temp.Name(), name, reboot, 1)); err != nil {
		t.Fatal(err)
	}
	next := Open(s.dir, Config{})
	r, err := next.Recover(t.Context())
	// A process that another test is just starting may hold the closed store's
	// lock on its mark for a moment, from its fork to its exec.
	for end := time.Now().Add(10 * time.Second); err == nil && !r.Unclean && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		r, err = next.Recover(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if !r.Unclean || len(r.Damaged) != 1 || r.Damaged[0] != lost {
		t.Fatalf("recovered %+v", r)
	}
	if !next.Has(old) || !next.Has(whole) || next.Has(lost) {
		t.Fatal("wrong objects were moved away")
	}
	for _, dir := range []string{tempDir, marksDir} {
		if left, _ := os.ReadDir(filepath.Join(s.dir, dir)); len(left) > 0 {
			t.Fatalf("left behind in %s: %v", dir, left)
		}
	}
	if r, err := next.Recover(t.Context()); err != nil || r.Unclean {
		t.Fatalf("a second time: %+v, %v", r, err)
	}
}

func TestALivingProcessIsNotSwept(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	temp, err := s.create()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s.dir, Config{}).Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := temp.WriteString("still writing"); err != nil {
		t.Fatal(err)
	}
	d := graph.Sum([]byte("still writing"))
	if err := s.commit(temp, d); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func TestAFullDiskIsAnErrorAndLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("cannot mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	s := Open(filepath.Join(dir, "objects"), Config{})
	l := OpenLog(filepath.Join(dir, "log"), LogConfig{})
	defer s.Close()
	defer l.Close()
	var full error
	key := func(i int) graph.Digest { return graph.Sum(fmt.Append(nil, i)) }
	objects := 0
	for i := 0; full == nil; i++ {
		b := make([]byte, 10000)
		rand.NewChaCha8(key(i)).Read(b)
		if _, full = s.Put(t.Context(), b); full == nil {
			objects++
			_, full = l.Put(t.Context(), key(i), b[:100])
		}
	}
	if !errors.Is(full, syscall.ENOSPC) {
		t.Fatalf("a full disk gives %v", full)
	}
	for full = nil; full == nil; objects++ { // fill what is left
		_, full = l.Put(t.Context(), key(1000000+objects), make([]byte, 50))
	}
	if !errors.Is(full, syscall.ENOSPC) {
		t.Fatalf("a full disk gives %v", full)
	}
	if left, _ := os.ReadDir(filepath.Join(s.dir, tempDir)); len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
	n := 0
	if err := s.Walk(t.Context(), func(d graph.Digest, _ fs.FileInfo) error { n++; return s.Remove(d) }); err != nil || n == 0 {
		t.Fatalf("%d objects, %v", n, err)
	}
	before, err := l.Len()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Put(t.Context(), graph.Sum([]byte("room again")), []byte("v")); err != nil {
		t.Fatal(err)
	}
	again := OpenLog(l.path, LogConfig{})
	defer again.Close()
	if n, err := again.Len(); err != nil || n != before+1 {
		t.Fatalf("%d records, want %d: %v", n, before+1, err)
	}
}

func BenchmarkPut(b *testing.B) {
	s := Open(filepath.Join(b.TempDir(), "objects"), Config{NoSync: true})
	defer s.Close()
	buf := make([]byte, 100<<10)
	rand.NewChaCha8([32]byte{}).Read(buf)
	b.SetBytes(int64(len(buf)))
	i := 0
	for b.Loop() {
		i++
		copy(buf, fmt.Append(nil, i, "      "))
		if _, err := s.Put(b.Context(), buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s := Open(filepath.Join(b.TempDir(), "objects"), Config{NoSync: true})
	defer s.Close()
	buf := make([]byte, 100<<10)
	rand.NewChaCha8([32]byte{}).Read(buf)
	d := put(b, s, buf)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if _, err := s.Get(b.Context(), d, buf[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

func TestWhatAnotherProcessHasNotSyncedIsSyncedByWhoeverMayNameIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := Open(dir, Config{}), Open(dir, Config{})
	defer a.Close()
	defer b.Close()
	d := put(t, a, []byte("theirs"))
	own := put(t, b, []byte("ours"))
	put(t, b, []byte("theirs")) // found there
	for _, s := range []*Store{a, b} {
		got, err := s.unsettled(t.Context())
		if err != nil || !slices.Contains(got, d) || !slices.Contains(got, own) {
			t.Errorf("%v %v", got, err)
		}
	}
	if err := a.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := b.unsettled(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("once the other has synced: %v %v", got, err)
	}
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
}
