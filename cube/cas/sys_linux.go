package cas

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// bootID reads the kernel's name for this boot.
var bootID = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	id := strings.TrimSpace(string(b))
	if len(id) != 36 || strings.ContainsAny(id, "./") {
		return "", fmt.Errorf("boot id: %q is none", id)
	}
	return id, nil
})

// BootID names this boot of this machine.
func BootID() (string, error) { return bootID() }

// syncFiles makes the contents of files of one file system durable. Where the
// file system's journal allows it, the data is written back first and one
// fsync, of the folders, which follows, commits all of it; elsewhere each file
// has its own.
func syncFiles(ctx context.Context, dir string, paths []string) error {
	batch := len(paths) > 4 && journalsTogether(dir)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, p := range paths {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return syncFile(p, batch)
		})
	}
	if err := g.Wait(); err != nil || !batch {
		return err
	}
	return syncFile(paths[len(paths)-1], false)
}

func syncFile(path string, batch bool) error {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil // collected or found damaged meanwhile
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if batch {
		return unix.SyncFileRange(int(f.Fd()), 0, 0,
			unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	}
	return f.Sync()
}

// journalsTogether reports whether an fsync commits the metadata of every file
// of the file system whose data has been written back.
func journalsTogether(dir string) bool {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return false
	}
	return st.Type == unix.EXT4_SUPER_MAGIC || st.Type == unix.XFS_SUPER_MAGIC
}

// lockByte takes the lock of one byte of f; ok is false where another open file
// has it. supported is false where the system or file system has no such locks.
func lockByte(f *os.File, off int64) (ok, supported bool) {
	lk := unix.Flock_t{Type: unix.F_WRLCK, Start: off, Len: 1}
	switch err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lk); err {
	case nil:
		return true, true
	case unix.EAGAIN, unix.EACCES:
		return false, true
	default:
		return true, false
	}
}

func unlockByte(f *os.File, off int64) {
	lk := unix.Flock_t{Type: unix.F_UNLCK, Start: off, Len: 1}
	_ = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lk)
}
