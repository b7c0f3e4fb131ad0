package containers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// watchInterval is how often the size of a directory is taken.
const watchInterval = 500 * time.Millisecond

// tooLarge says that a producer outgrew its disk limit.
func tooLarge(used, limit int64) *Failure {
	return &Failure{Kind: FailedDisk, Detail: fmt.Sprintf("wrote %d MiB, its disk limit is %d MiB", used>>20, limit>>20)}
}

// watchDisk returns a context that ends when dir holds more than limit bytes.
// With an empty dir it is ctx itself.
func watchDisk(ctx context.Context, dir string, limit int64, every time.Duration) (context.Context, context.CancelFunc) {
	if dir == "" {
		return ctx, func() {}
	}
	watched, cancel := context.WithCancelCause(ctx)
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-watched.Done():
				return
			case <-tick.C:
				if used := diskUse(dir); used > limit {
					cancel(tooLarge(used, limit))
				}
			}
		}
	}()
	return watched, func() { cancel(nil) }
}

// diskFull returns the failure that ended a watched context, if one did.
func diskFull(ctx context.Context) error {
	var f *Failure
	if errors.As(context.Cause(ctx), &f) {
		return f
	}
	return nil
}

// diskUse is the space that a tree takes on disk. What vanishes meanwhile, or
// has no name, counts nothing.
func diskUse(dir string) (used int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				used += st.Blocks * 512
			}
		}
		return nil
	})
	return used
}

// isFull reports whether nothing more can be written to the file system of a
// directory.
func isFull(dir *os.File) bool {
	var st syscall.Statfs_t
	err := syscall.Fstatfs(int(dir.Fd()), &st)
	return err == nil && (st.Bavail == 0 || st.Ffree == 0)
}

// removeAll removes a tree, directories that deny writing included.
func removeAll(dir string) {
	if err := os.RemoveAll(dir); !errors.Is(err, fs.ErrPermission) {
		return
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700) // before it is read
		}
		return nil
	})
	_ = os.RemoveAll(dir)
}
