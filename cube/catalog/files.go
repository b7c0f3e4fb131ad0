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
// is being written, spillWord before that of a folder that a query spills to.
const (
	tempWord  = ".tmp-"
	spillWord = ".spill-"
)

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

// Ages from which on files are taken for left behind: temporary ones where locks
// do not tell whether their writer lives, and folders of queries that may run
// for long.
const (
	tempAge  = time.Hour
	spillAge = 48 * time.Hour
)

// sweep removes what killed processes left. What cannot be removed now is
// removed another time.
func (c *Catalog) sweep(alone bool) {
	dir, base := filepath.Split(c.path)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return
	}
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil {
			continue
		}
		age := time.Since(fi.ModTime())
		switch {
		case strings.HasPrefix(e.Name(), base+tempWord) && (alone || age > tempAge),
			strings.HasPrefix(e.Name(), base+spillWord) && age > spillAge:
			os.RemoveAll(filepath.Join(dir, e.Name()))
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
