package source

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

func (c *Cache) temp() string { return filepath.Join(c.cfg.Dir, "temp") }

// createTemp makes a file in the folder, which it makes too. While it is open
// it is locked, and so no Sweep takes it for a dead one's.
func createTemp(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for {
		f, err := os.CreateTemp(dir, "new-")
		if err != nil {
			return nil, err
		}
		if tryLock(f) && named(f) {
			return f, nil
		}
		f.Close() // a sweep was faster
	}
}

func tryLock(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// named reports whether f still has the name it was opened by.
func named(f *os.File) bool {
	a, errA := f.Stat()
	b, errB := os.Lstat(f.Name())
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// stale is how long a fetch that broke off waits for somebody to go on with it.
const stale = 7 * 24 * time.Hour

// Sweep removes what killed processes were about to write, and the beginnings
// of fetches that nobody came back to. It costs a look into two folders where
// there is nothing.
func (c *Cache) Sweep() error {
	return errors.Join(removeDead(c.temp(), 0), removeDead(filepath.Join(c.cfg.Dir, "partial"), stale))
}

// removeDead removes the files of a folder that nobody holds, and that are so
// old.
func removeDead(dir string, age time.Duration) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || age > 0 && time.Since(info.ModTime()) < age {
			continue
		}
		if err := removeUnlocked(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func removeUnlocked(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return ignoreNotExist(err)
	}
	defer f.Close()
	if !tryLock(f) {
		return nil
	}
	return ignoreNotExist(os.Remove(path))
}
