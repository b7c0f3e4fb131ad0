package catalog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tempWord stands between the catalog's name and the random end of a file that
// is being written.
const tempWord = ".tmp-"

// lock waits until this process is the only writer and removes what killed
// ones left. A file system without locks is no error: see the package doc.
func (c *Catalog) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(c.path), 0o777); err != nil {
		return nil, fmt.Errorf("update catalog: %w", err)
	}
	f, err := os.OpenFile(c.path+".lock", os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, fmt.Errorf("update catalog: %w", err)
	}
	alone, err := waitForLock(ctx, f, c.cfg.Wait)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("update catalog: %w", err)
	}
	c.sweep(alone)
	return func() { f.Close() }, nil
}

// waitForLock polls for the lock with a growing, jittered pause. It reports
// whether it holds the lock, which it does not where there are none.
func waitForLock(ctx context.Context, f *os.File, wait time.Duration) (bool, error) {
	deadline := time.Now().Add(wait)
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOLCK):
			return false, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return false, fmt.Errorf("lock %s: %w", f.Name(), err)
		case time.Now().After(deadline):
			return false, ErrBusy
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

// sweepAge is how old a temporary file must be to be removed where locks do not
// tell whether its writer lives.
const sweepAge = time.Hour

// sweep removes temporary files that killed writers left. What cannot be
// removed now is removed another time.
func (c *Catalog) sweep(alone bool) {
	entries, err := os.ReadDir(filepath.Dir(c.path))
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), filepath.Base(c.path)+tempWord) {
			continue
		}
		if fi, err := e.Info(); alone || err == nil && time.Since(fi.ModTime()) > sweepAge {
			os.Remove(filepath.Join(filepath.Dir(c.path), e.Name()))
		}
	}
}

// removeTemp removes a temporary file and its write-ahead log.
func removeTemp(tmp string) error {
	for _, p := range []string{tmp, tmp + ".wal"} {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// reflink makes to share the blocks of from, where the file system can.
func reflink(to, from *os.File) error {
	return unix.IoctlFileClone(int(to.Fd()), int(from.Fd()))
}
