//go:build linux

package native

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// memory is a new directory of a tmpfs.
func memory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "cube-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestARoomIsEmptiedWhateverItsTimesSay(t *testing.T) {
	dir := memory(t)
	r, err := openRoom(unix.AT_FDCWD, dir, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	defer r.dir.Close()
	for name, change := range map[string]func() error{
		"nothing":      func() error { return nil },
		"a file":       func() error { return os.WriteFile(filepath.Join(dir, "x"), nil, 0o600) },
		"a directory":  func() error { return os.Mkdir(filepath.Join(dir, "x"), 0o700) },
		"other rights": func() error { return os.Chmod(dir, 0o777) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, time.Unix(0, 0), time.Unix(0, 0)); err != nil {
			t.Fatal(err)
		}
		if err := r.empty(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
			t.Errorf("after %s: %v, %v", name, left, err)
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("after %s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestARoomThatNobodyTouchedIsLeftAlone(t *testing.T) {
	r, err := openRoom(unix.AT_FDCWD, memory(t), 0o755)
	if err != nil {
		t.Fatal(err)
	}
	defer r.dir.Close()
	if err := r.empty(); err != nil {
		t.Fatal(err)
	}
	if same, err := r.asItWas(int(r.dir.Fd())); !same || err != nil {
		t.Error(same, err)
	}
}
