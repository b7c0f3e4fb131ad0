package cas

import (
	"fmt"
	"os"
	"strings"
	"sync"

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

// writeBack writes a file's data to the disk, though not yet its size or name.
func writeBack(f *os.File) error {
	return unix.SyncFileRange(int(f.Fd()), 0, 0,
		unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
}

// journalsTogether reports whether an fsync commits all metadata of the file
// system that is older, of data that has been written back.
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
