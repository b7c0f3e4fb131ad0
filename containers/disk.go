package containers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"
)

// watchInterval is how often the size of a directory is taken.
const watchInterval = 500 * time.Millisecond

// watchDisk returns a context that ends when dir holds more than limit bytes.
// With an empty dir it is ctx itself.
func watchDisk(ctx context.Context, dir string, limit int64) (context.Context, context.CancelFunc) {
	if dir == "" || limit <= 0 {
		return ctx, func() {}
	}
	watched, cancel := context.WithCancelCause(ctx)
	go func() {
		tick := time.NewTicker(watchInterval)
		defer tick.Stop()
		for {
			select {
			case <-watched.Done():
				return
			case <-tick.C:
				if used := diskUse(dir); used > limit {
					cancel(&Failure{Kind: FailedDisk, Detail: fmt.Sprintf("wrote %d MiB, its disk limit is %d MiB", used>>20, limit>>20)})
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

// diskUse is the space that a tree takes on disk. What vanishes meanwhile
// counts nothing.
func diskUse(dir string) (used int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
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
