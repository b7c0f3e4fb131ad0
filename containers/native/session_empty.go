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
// at first. All that is in it is hostile, and the payload may work on. It is the
// root of what the payload has mounted there, so that nobody can put another in
// its place.
type room struct {
	dir   *os.File
	mode  uint32
	dirs  []string // made in it, the payload's own
	owner *user    // of those; nil: the engine's own user is the payload's
}

// openRoom opens a room.
func openRoom(at int, path string, mode uint32) (room, error) {
	fd, err := unix.Openat(at, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return room{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return room{dir: os.NewFile(uintptr(fd), path), mode: mode}, nil
}

// empty removes what is in the room. An error says that it is not as it was.
func (r *room) empty() error {
	fd := int(r.dir.Fd())
	// Attributes could hold what no list of files shows, and decide who may do
	// what here.
	if n, err := unix.Flistxattr(fd, nil); n > 0 || err != nil && err != unix.ENOTSUP {
		return fmt.Errorf("%s has attributes: %w", r.dir.Name(), errors.Join(err, errTooMuch))
	}
	if same, err := r.asItWas(fd); same || err != nil {
		return err
	}
	if _, err := r.dir.Seek(0, io.SeekStart); err != nil {
		return err
	}
	left := maxLeft
	if err := clearDir(r.dir, &left, maxDepth); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, r.mode); err != nil {
		return &fs.PathError{Op: "chmod", Path: r.dir.Name(), Err: err}
	}
	for _, name := range r.dirs {
		if err := r.makeDir(fd, name); err != nil {
			return &fs.PathError{Op: "make", Path: name, Err: err}
		}
	}
	return toEpoch(fd, ".")
}

// emptySize is the size of a directory of a tmpfs with nothing in it: a tmpfs
// counts the entries there, which nobody can change but by making and removing
// some.
const emptySize = 40

// asItWas reports whether there is nothing to do.
func (r *room) asItWas(fd int) (bool, error) {
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return false, &fs.PathError{Op: "stat", Path: r.dir.Name(), Err: err}
	}
	epoch := unix.Timespec{}
	return len(r.dirs) == 0 && now.Size == emptySize && now.Mode == unix.S_IFDIR|r.mode && now.Atim == epoch && now.Mtim == epoch, nil
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
