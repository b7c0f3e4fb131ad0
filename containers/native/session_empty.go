//go:build linux

package native

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Bounds of what is emptied between two requests: whoever leaves more gets a new
// container instead, which the kernel clears away whole.
const (
	maxLeft  = 1 << 14 // entries
	maxDepth = 64
)

var errTooMuch = errors.New("too much was left")

// room is a directory that a payload may write to, and that is made as it was
// at first. All that is in it is hostile, and the payload may work on.
type room struct {
	at    int    // descriptor
	path  string // from there
	mode  uint32
	dirs  []string // made in it, the payload's own
	owner *user    // of those; nil: the engine's own user is the payload's
}

// empty removes what is in the room. An error says that it is not as it was.
func (r *room) empty() error {
	fd, err := unix.Openat(r.at, r.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: r.path, Err: err}
	}
	dir := os.NewFile(uintptr(fd), r.path)
	defer dir.Close()
	// Attributes could hold what no list of files shows, and decide who may do
	// what here.
	if n, err := unix.Flistxattr(fd, nil); n > 0 || err != nil && err != unix.ENOTSUP {
		return fmt.Errorf("%s has attributes: %w", r.path, errors.Join(err, errTooMuch))
	}
	left := maxLeft
	if err := clearDir(dir, &left, maxDepth); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, r.mode); err != nil {
		return &fs.PathError{Op: "chmod", Path: r.path, Err: err}
	}
	for _, name := range r.dirs {
		if err := r.makeDir(fd, name); err != nil {
			return &fs.PathError{Op: "make", Path: name, Err: err}
		}
	}
	return toEpoch(r.at, r.path)
}

// toEpoch sets the times of what is at the path to 1970.
func toEpoch(at int, path string) error {
	if err := unix.UtimesNanoAt(at, path, make([]unix.Timespec, 2), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "set times", Path: path, Err: err}
	}
	return nil
}

func (r *room) makeDir(at int, name string) error {
	if err := unix.Mkdirat(at, name, 0o755); err != nil {
		return err
	}
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Fchmod(fd, 0o755); err != nil { // whatever this process's umask says
		return err
	}
	if r.owner != nil {
		if err := unix.Fchown(fd, r.owner.uid, r.owner.gid); err != nil {
			return err
		}
	}
	return toEpoch(at, name)
}

// clearDir removes all that is in a directory, at most so many entries, and
// follows no link.
func clearDir(dir *os.File, left *int, depth int) error {
	names, err := dir.Readdirnames(*left + 1)
	if err != nil && err != io.EOF {
		return err
	}
	if len(names) == 0 {
		return nil
	}
	if *left -= len(names); *left < 0 || depth == 0 {
		return fmt.Errorf("empty %s: %w", dir.Name(), errTooMuch)
	}
	fd := int(dir.Fd())
	for _, name := range names {
		err := unix.Unlinkat(fd, name, 0)
		if err == unix.EISDIR || err == unix.EPERM {
			err = clearBelow(fd, name, left, depth)
		}
		if err != nil && err != unix.ENOENT {
			return fmt.Errorf("remove what was left: %w", err)
		}
	}
	return nil
}

// clearBelow removes a directory and what is in it.
func clearBelow(at int, name string, left *int, depth int) error {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(fd), "a directory")
	defer dir.Close()
	if err := clearDir(dir, left, depth-1); err != nil {
		return err
	}
	return unix.Unlinkat(at, name, unix.AT_REMOVEDIR)
}
