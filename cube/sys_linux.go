package cube

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// exchange gives the folder aside the name dir, and what dir was the name aside,
// at once.
func exchange(aside, dir string) error {
	if _, err := os.Lstat(dir); os.IsNotExist(err) {
		return os.Rename(aside, dir)
	}
	err := unix.Renameat2(unix.AT_FDCWD, aside, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
	if err == unix.EINVAL || err == unix.ENOSYS {
		return swapByHand(aside, dir)
	}
	return err
}

// reflink makes to a copy of from that shares its blocks, where the file system
// can.
func reflink(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	err = errors.Join(unix.IoctlFileClone(int(out.Fd()), int(in.Fd())), out.Close())
	if err != nil {
		os.Remove(to)
	}
	return err
}
