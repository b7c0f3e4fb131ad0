// Package layer writes folders as reproducible tar layers, and unpacks tar
// layers, packages and wheels into folders without letting them out.
package layer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrUnsafe is in the chain of every refusal: an entry that leaves its root,
// a device, too many bytes or entries.
var ErrUnsafe = errors.New("unsafe archive")

// Limits bound what is unpacked into one tree.
type Limits struct {
	Bytes   int64 // of all files together
	Entries int
	// Ratio is the most bytes that a byte of a compressed stream may become,
	// once more than RatioAfter have.
	Ratio      int64
	RatioAfter int64
}

// DefaultLimits are generous for software, and finite.
func DefaultLimits() Limits {
	return Limits{Bytes: 64 << 30, Entries: 2_000_000, Ratio: 400, RatioAfter: 256 << 20}
}

// Tree writes files below one folder and nowhere else, whatever symlinks it
// has been told to make. All it makes is readable by everyone, has no set-id
// bits and, in the end, the modification times it was told. Not for concurrent
// use.
type Tree struct {
	root    *os.Root
	limits  Limits
	bytes   int64
	entries int
	buf     []byte

	top    *place
	parent *place          // the folder last written to, kept open
	made   map[string]bool // folders that no entry asked for
}

// place is an open folder of the tree.
type place struct {
	name string
	root *os.Root
	file *os.File
}

func openPlace(name string, root *os.Root) (*place, error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	return &place{name: name, root: root, file: f}, nil
}

func (p *place) close() {
	p.file.Close()
	p.root.Close()
}

// setTime sets the modification time of a file, folder or link in the place.
func (p *place) setTime(base string, mtime time.Time) error {
	return setTimeAt(int(p.file.Fd()), base, mtime)
}

// OpenTree opens a tree at an existing folder.
func OpenTree(dir string, limits Limits) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	top, err := openPlace(".", root)
	if err != nil {
		root.Close()
		return nil, err
	}
	return &Tree{root: root, limits: limits, top: top, made: make(map[string]bool), buf: make([]byte, 256<<10)}, nil
}

// Close releases the folder. The files stay.
func (t *Tree) Close() error {
	t.leave()
	t.top.close()
	return nil
}

func (t *Tree) leave() {
	if t.parent != nil {
		t.parent.close()
		t.parent = nil
	}
}

// Clean checks the name of an archive's entry and returns it as a path without
// a leading "./" or a trailing slash; "." is the root itself.
func Clean(name string) (string, error) {
	if name == "" || len(name) > 4096 || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("entry %.80q: %w: not a path", name, ErrUnsafe)
	}
	if strings.HasPrefix(name, "/") {
		return "", fmt.Errorf("entry %.80q: %w: absolute path", name, ErrUnsafe)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("entry %.80q: %w: leaves its root", name, ErrUnsafe)
		}
		if len(part) > 255 {
			return "", fmt.Errorf("entry %.80q: %w: name too long", name, ErrUnsafe)
		}
	}
	return path.Clean(name), nil
}

// count accounts for one entry more.
func (t *Tree) count(name string) error {
	if t.entries++; t.entries > t.limits.Entries {
		return fmt.Errorf("entry %.80q: %w: more than %d entries", name, ErrUnsafe, t.limits.Entries)
	}
	return nil
}

// enter makes the folder that holds name, opens it, and returns it with the
// last part of name.
func (t *Tree) enter(name string) (*place, string, error) {
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	if dir == "" {
		return t.top, base, nil
	}
	if t.parent != nil && dir == t.parent.name {
		return t.parent, base, nil
	}
	t.leave()
	if err := t.mkdirAll(dir); err != nil {
		return nil, "", err
	}
	root, err := t.root.OpenRoot(dir)
	if err != nil {
		return nil, "", unsafePath(dir, err)
	}
	if t.parent, err = openPlace(dir, root); err != nil {
		root.Close()
		return nil, "", err
	}
	return t.parent, base, nil
}

// mkdirAll makes a folder and those above it, with mode 0755 whatever the
// umask.
func (t *Tree) mkdirAll(dir string) error {
	st, err := t.root.Stat(dir)
	if err == nil && !st.IsDir() {
		return fmt.Errorf("entry %.80q: %w: it is a file, and a folder too", dir, ErrUnsafe)
	}
	if err == nil {
		return nil
	}
	if up := path.Dir(dir); up != "." {
		if err := t.mkdirAll(up); err != nil {
			return err
		}
	}
	if err := t.root.Mkdir(dir, 0o755); err != nil {
		return unsafePath(dir, err)
	}
	t.made[dir] = true
	return t.root.Chmod(dir, 0o755)
}

// Dir makes a folder, or leaves the one that is there.
func (t *Tree) Dir(name string) error {
	if err := t.count(name); err != nil || name == "." {
		return err
	}
	return t.mkdirAll(name)
}

// File writes a file of at most size bytes from r; executable says whether it
// is. A file that is there already is replaced when replace is set, and is an
// error otherwise.
func (t *Tree) File(name string, r io.Reader, size int64, executable, replace bool) error {
	if err := t.room(name, size); err != nil {
		return err
	}
	in, base, err := t.enter(name)
	if err != nil {
		return err
	}
	if replace {
		if err := removeFile(in.root, base); err != nil {
			return unsafePath(name, err)
		}
	}
	f, err := in.root.OpenFile(base, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return unsafePath(name, err)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, io.LimitReader(r, size), t.buf)
	t.bytes += n
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = f.Chmod(fileMode(executable)) // whatever the umask
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func (t *Tree) room(name string, size int64) error {
	if err := t.count(name); err != nil {
		return err
	}
	if size < 0 || size > t.limits.Bytes-t.bytes {
		return fmt.Errorf("entry %.80q: %w: more than %d bytes in all", name, ErrUnsafe, t.limits.Bytes)
	}
	return nil
}

func fileMode(executable bool) fs.FileMode {
	if executable {
		return 0o755
	}
	return 0o644
}

// Symlink makes a symbolic link. Its target may be anything: nothing is ever
// written through a link that leaves the tree.
func (t *Tree) Symlink(name, target string, replace bool) error {
	if err := t.count(name); err != nil {
		return err
	}
	if target == "" || len(target) > 4095 || strings.ContainsRune(target, 0) {
		return fmt.Errorf("entry %.80q: %w: bad link target", name, ErrUnsafe)
	}
	in, base, err := t.enter(name)
	if err != nil {
		return err
	}
	if replace {
		if err := removeFile(in.root, base); err != nil {
			return unsafePath(name, err)
		}
	}
	if err := in.root.Symlink(target, base); err != nil {
		return unsafePath(name, err)
	}
	return nil
}

// Link makes a hard link to a file that the tree has already.
func (t *Tree) Link(name, target string, replace bool) error {
	if err := t.count(name); err != nil {
		return err
	}
	st, err := t.root.Lstat(target)
	if err != nil {
		return unsafePath(name, fmt.Errorf("hard link to %.80q: %w", target, err))
	}
	if st.IsDir() {
		return fmt.Errorf("entry %.80q: %w: hard link to a folder", name, ErrUnsafe)
	}
	in, base, err := t.enter(name)
	if err != nil {
		return err
	}
	if replace {
		if err := removeFile(in.root, base); err != nil {
			return unsafePath(name, err)
		}
	}
	if err := t.root.Link(target, name); err != nil {
		return unsafePath(name, err)
	}
	return nil
}

// removeFile removes what is not a folder.
func removeFile(in *os.Root, base string) error {
	st, err := in.Lstat(base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.IsDir() {
		return fmt.Errorf("%s is a folder already", base)
	}
	return in.Remove(base)
}

// Exists reports whether the tree has something of that name, links not
// followed.
func (t *Tree) Exists(name string) bool {
	_, err := t.root.Lstat(name)
	return err == nil
}

// Open opens a file of the tree for reading.
func (t *Tree) Open(name string) (*os.File, error) { return t.root.Open(name) }

// Root is the tree as a Root, valid until Close.
func (t *Tree) Root() *os.Root { return t.root }

// unsafePath marks an error of the tree's own making as ErrUnsafe, unless it
// is of the disk (full, read-only, broken).
func unsafePath(name string, err error) error {
	for _, disk := range []error{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EIO, unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		if errors.Is(err, disk) {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return fmt.Errorf("entry %.80q: %w: %w", name, ErrUnsafe, err)
}

func setTimeAt(dirfd int, name string, mtime time.Time) error {
	ts := unix.NsecToTimespec(mtime.UnixNano())
	err := unix.UtimesNanoAt(dirfd, name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return &fs.PathError{Op: "utimensat", Path: name, Err: err}
	}
	return nil
}
