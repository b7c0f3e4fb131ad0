package zarr_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/cube/zarr"
)

// stores makes an empty store of every kind.
func stores(t *testing.T) map[string]zarr.Store {
	t.Helper()
	synced, err := zarr.OpenDir(t.TempDir(), zarr.DirConfig{Sync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { synced.Close() })
	return map[string]zarr.Store{"memory": new(zarr.MemStore), "directory": openDir(t, t.TempDir()), "synced": synced}
}

func list(t *testing.T, s zarr.Lister, prefix string) []string {
	t.Helper()
	var names []string
	for name, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("list %q: %v", prefix, err)
		}
		names = append(names, name)
	}
	return names
}

func set(t *testing.T, s zarr.Writer, key, value string) {
	t.Helper()
	if err := s.Set(t.Context(), key, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func TestStoresKeepValuesUnderTheirKeys(t *testing.T) {
	t.Parallel()
	for name, s := range stores(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			for _, kv := range [][2]string{{"zarr.json", "{}"}, {"a/zarr.json", "one"}, {"a/c/0/0", "chunk"}, {"a/c/0/1", ""}, {"b.c", "dot"}, {"a/zarr.json", "two"}} {
				set(t, s, kv[0], kv[1])
			}
			got, err := s.Get(ctx, "a/zarr.json", []byte("before "))
			if err != nil || string(got) != "before two" {
				t.Errorf("get: %q, %v", got, err)
			}
			if got, err := s.Get(ctx, "a/c/0/1", nil); err != nil || len(got) != 0 {
				t.Errorf("get of an empty value: %q, %v", got, err)
			}
			for _, key := range []string{"a/c/9/9", "a/c", "nothing", "zarr.json/below"} {
				if got, err := s.Get(ctx, key, []byte("x")); !errors.Is(err, zarr.ErrNotExist) || !errors.Is(err, fs.ErrNotExist) || string(got) != "x" {
					t.Errorf("get %s: %q, %v; want ErrNotExist", key, got, err)
				}
			}
			for prefix, want := range map[string][]string{
				"": {"a/", "b.c", "zarr.json"}, "a": {"c/", "zarr.json"}, "a/c": {"0/"}, "a/c/0": {"0", "1"}, "none": nil, "b.c": nil, "b.c/x": nil,
			} {
				if diff := cmp.Diff(want, list(t, s, prefix)); diff != "" {
					t.Errorf("list %q: %s", prefix, diff)
				}
			}
			for _, key := range []string{"a/c/0/1", "a/c/0/1", "never/there", "b.c/below"} {
				if err := s.Delete(ctx, key); err != nil {
					t.Errorf("delete %s: %v", key, err)
				}
			}
			if diff := cmp.Diff([]string{"0"}, list(t, s, "a/c/0")); diff != "" {
				t.Errorf("list after delete: %s", diff)
			}
		})
	}
}

func TestStoresRefuseKeysThatLeadElsewhere(t *testing.T) {
	t.Parallel()
	for name, s := range stores(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, key := range []string{"", "/etc/passwd", "..", "../x", "a/../x", "a//b", "a/", "./a", "a/.", "a\x00b", `a\b`, ".zarr-tmp-x", "a/.zarr-tmp-x", strings.Repeat("x", 5000)} {
				if err := s.Set(t.Context(), key, nil); !errors.Is(err, zarr.ErrKey) {
					t.Errorf("set %.20q: %v, want ErrKey", key, err)
				}
				if _, err := s.Get(t.Context(), key, nil); err == nil {
					t.Errorf("get %.20q succeeds", key)
				}
			}
		})
	}
}

func TestStoresStopWhenTheContextIsDone(t *testing.T) {
	t.Parallel()
	for name, s := range stores(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set(t, s, "a", "b")
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, getErr := s.Get(ctx, "a", nil)
			var listErr error
			for _, err := range s.List(ctx, "") {
				listErr = err
			}
			for _, err := range []error{getErr, listErr, s.Set(ctx, "a", nil), s.Delete(ctx, "a")} {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("error %v, want context.Canceled", err)
				}
			}
		})
	}
}

func TestDirectoryStoresFollowNoLinkOutside(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	writeFile(t, filepath.Join(outside, "secret"), []byte("secret"))
	dir := t.TempDir()
	for link, target := range map[string]string{"dir": outside, "file": filepath.Join(outside, "secret"), "up": "../../.."} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	s := openDir(t, dir)
	for _, key := range []string{"dir/secret", "file", "up/etc/passwd"} {
		if got, err := s.Get(t.Context(), key, nil); err == nil {
			t.Errorf("get %s: %q", key, got)
		}
		if err := s.Set(t.Context(), key+"/new", []byte("x")); err == nil {
			t.Errorf("set %s/new succeeds", key)
		}
	}
	if err := s.Set(t.Context(), "dir/new", []byte("x")); err == nil {
		t.Error("set through a link succeeds")
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("outside holds %v, %v", entries, err)
	}
}

func TestDirectoryStoresReadOnlyRegularFilesOfBoundedSize(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := zarr.OpenDir(dir, zarr.DirConfig{MaxValue: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "large"), make([]byte, 1001))
	for _, key := range []string{"pipe", "large"} {
		if _, err := s.Get(t.Context(), key, nil); !errors.Is(err, zarr.ErrCorrupt) {
			t.Errorf("get %s: %v, want ErrCorrupt", key, err)
		}
	}
}

func TestReadersSeeOldOrNewValuesAndNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openDir(t, dir)
	values := [][]byte{bytes.Repeat([]byte("a"), 100_000), bytes.Repeat([]byte("b"), 50_000)}
	set(t, s, "k/v", string(values[0]))
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for range 50 {
				if err := s.Set(t.Context(), "k/v", values[w]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 200 {
		got, err := s.Get(t.Context(), "k/v", nil)
		if err != nil || !bytes.Equal(got, values[0]) && !bytes.Equal(got, values[1]) {
			t.Fatalf("get: %d bytes, %v: neither value", len(got), err)
		}
	}
	wg.Wait()
	entries, err := os.ReadDir(filepath.Join(dir, "k"))
	if err != nil || len(entries) != 1 {
		t.Errorf("folder holds %v, %v", entries, err)
	}
}

func TestTemporaryFilesOfAKilledWriterAreNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, ".zarr-tmp-XYZ"), []byte("half"))
	if names := list(t, openDir(t, dir), ""); len(names) != 0 {
		t.Errorf("listed: %q", names)
	}
}
