package lineage

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockForLife takes a lock on f that the kernel lets go of with the process.
// A file system that knows no locks is no error.
func lockForLife(f *os.File) error {
	if err := flock(f, syscall.LOCK_EX); err != nil && !unlockable(err) {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return nil
}

// held reports whether another process holds the lock on the file, or may: a
// file system without locks cannot tell.
func held(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() // and with it the lock
	return flock(f, syscall.LOCK_SH|syscall.LOCK_NB) != nil
}

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); err != syscall.EINTR {
			return err
		}
	}
}

func unlockable(err error) bool {
	return errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOLCK)
}
