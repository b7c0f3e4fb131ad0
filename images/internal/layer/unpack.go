package layer

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Unpack writes a tar layer into the empty folder dir, in the format of
// overlayfs: a whiteout becomes a character device 0/0, an opaque folder an
// extended attribute. Everything gets the owner who unpacks, is readable by
// all and loses its set-id bits; modification times are the archive's.
//
// It refuses, with [ErrUnsafe]: absolute names and names with "..", writing
// through a link that leaves dir, hard links out of it, devices, entries given
// twice, and more than the limits allow. What it has written by then stays for
// the caller to remove.
func Unpack(ctx context.Context, r io.Reader, dir string, limits Limits) error {
	t, err := OpenTree(dir, limits)
	if err != nil {
		return err
	}
	defer t.Close()
	u := &unpacker{tree: t, seen: make(map[string]byte)}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return u.finish()
		}
		if err != nil {
			return fmt.Errorf("read layer: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := u.entry(h, tr); err != nil {
			return err
		}
	}
}

type unpacker struct {
	tree *Tree
	seen map[string]byte // name → type
	late []late
}

// late is a folder's mode and time, set when all below it is written.
type late struct {
	name  string
	mode  os.FileMode
	mtime time.Time
}

const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

func (u *unpacker) entry(h *tar.Header, r io.Reader) error {
	name, err := Clean(h.Name)
	if err != nil {
		return err
	}
	if name == "." {
		return u.tree.count(name)
	}
	if was, ok := u.seen[name]; ok && !(was == tar.TypeDir && h.Typeflag == tar.TypeDir) {
		return fmt.Errorf("entry %.80q: %w: given twice", name, ErrUnsafe)
	}
	u.seen[name] = h.Typeflag
	if strings.HasPrefix(path.Base(name), whiteout) {
		return u.whiteout(name, h)
	}
	if err := u.content(name, h, r); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeLink {
		return nil
	}
	in, base, err := u.tree.enter(name)
	if err != nil {
		return err
	}
	return in.setTime(base, mtime(h))
}

func (u *unpacker) content(name string, h *tar.Header, r io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		mode := os.FileMode(h.Mode)&0o777 | 0o755
		if h.Mode&0o1000 != 0 {
			mode |= os.ModeSticky
		}
		u.late = append(u.late, late{name, mode, mtime(h)})
		return u.tree.Dir(name)
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.tree.File(name, r, h.Size, h.Mode&0o111 != 0, false)
	case tar.TypeSymlink:
		return u.tree.Symlink(name, h.Linkname, false)
	case tar.TypeLink:
		target, err := Clean(h.Linkname)
		if err != nil {
			return fmt.Errorf("hard link %.80q: %w", name, err)
		}
		return u.tree.Link(name, target, false)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return fmt.Errorf("entry %.80q: %w: a device", name, ErrUnsafe)
	}
	return fmt.Errorf("entry %.80q: %w: unknown type %q", name, ErrUnsafe, h.Typeflag)
}

// whiteout marks what a lower layer has as removed.
func (u *unpacker) whiteout(name string, h *tar.Header) error {
	if err := u.tree.count(name); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg || h.Size != 0 {
		return fmt.Errorf("entry %.80q: %w: a whiteout is an empty file", name, ErrUnsafe)
	}
	in, base, err := u.tree.enter(name)
	if err != nil {
		return err
	}
	if base == opaque {
		return setOpaque(in.file)
	}
	hidden := strings.TrimPrefix(base, whiteout)
	if hidden == "" || hidden == "." || hidden == ".." || strings.HasPrefix(hidden, whiteout) {
		return fmt.Errorf("entry %.80q: %w: not a whiteout", name, ErrUnsafe)
	}
	if err := unix.Mknodat(int(in.file.Fd()), hidden, unix.S_IFCHR, 0); err != nil {
		return fmt.Errorf("whiteout %s: %w", name, err)
	}
	return nil
}

// setOpaque marks a folder so that overlayfs shows nothing of the layers
// below: by a trusted attribute where one is root, and by a user attribute,
// which a mount with userxattr reads.
func setOpaque(d *os.File) error {
	fd := int(d.Fd())
	trusted := unix.Fsetxattr(fd, "trusted.overlay.opaque", []byte("y"), 0)
	user := unix.Fsetxattr(fd, "user.overlay.opaque", []byte("y"), 0)
	if trusted != nil && user != nil {
		return fmt.Errorf("mark %s opaque: %w", d.Name(), errors.Join(trusted, user))
	}
	return nil
}

// finish sets the modes and times of folders, deepest first.
func (u *unpacker) finish() error {
	u.tree.leave()
	for _, l := range u.late {
		delete(u.tree.made, l.name)
	}
	for name := range u.tree.made {
		u.late = append(u.late, late{name, 0o755, epoch})
	}
	slices.SortStableFunc(u.late, func(a, b late) int {
		return cmp.Or(cmp.Compare(strings.Count(b.name, "/"), strings.Count(a.name, "/")), strings.Compare(a.name, b.name))
	})
	for _, l := range u.late {
		if err := u.settle(l); err != nil {
			return err
		}
	}
	return setTimeAt(int(u.tree.top.file.Fd()), ".", epoch)
}

func (u *unpacker) settle(l late) error {
	if st, err := u.tree.root.Lstat(l.name); err != nil || !st.IsDir() {
		return nil // reached through a link: it is another entry's folder
	}
	if err := u.tree.root.Chmod(l.name, l.mode); err != nil {
		return unsafePath(l.name, err)
	}
	in, base, err := u.tree.enter(l.name)
	if err != nil {
		return err
	}
	return in.setTime(base, l.mtime)
}

// mtime is a header's time, held within what every file system stores.
func mtime(h *tar.Header) time.Time {
	if s := h.ModTime.Unix(); s < 0 || s >= 1<<31 {
		return epoch
	}
	return h.ModTime
}
