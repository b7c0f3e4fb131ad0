package layer

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// epoch is the modification time of all that a layer holds.
var epoch = time.Unix(0, 0).UTC()

// Write writes the folder dir as a tar stream that depends on nothing but the
// names, contents, executable bits and link targets below it: sorted, owned by
// uid 0, at the epoch. On the way it gives the files themselves the same times
// and modes, so that the folder is just what unpacking the stream would give.
func Write(ctx context.Context, w io.Writer, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	tw := &treeWriter{ctx: ctx, tw: tar.NewWriter(w), buf: make([]byte, 256<<10)}
	if err := tw.folder(root, ""); err != nil {
		return err
	}
	return tw.tw.Close()
}

type treeWriter struct {
	ctx context.Context
	tw  *tar.Writer
	buf []byte
}

// folder writes what is in a folder, and then sets its own time, which the
// writing of files below it would have changed.
func (t *treeWriter) folder(root *os.Root, name string) error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		if err := t.entry(root, int(d.Fd()), path.Join(name, e.Name()), e); err != nil {
			return err
		}
	}
	return setTimeAt(int(d.Fd()), ".", epoch)
}

func (t *treeWriter) entry(root *os.Root, dirfd int, name string, e fs.DirEntry) error {
	base := e.Name()
	switch {
	case e.IsDir():
		return t.subfolder(root, base, name)
	case e.Type()&fs.ModeSymlink != 0:
		target, err := root.Readlink(base)
		if err != nil {
			return err
		}
		if err := t.header(tar.TypeSymlink, name, target, 0o777, 0); err != nil {
			return err
		}
		return setTimeAt(dirfd, base, epoch)
	case e.Type().IsRegular():
		if err := t.file(root, base, name); err != nil {
			return err
		}
		return setTimeAt(dirfd, base, epoch)
	}
	return fmt.Errorf("%s: neither file, folder nor link", name)
}

func (t *treeWriter) subfolder(root *os.Root, base, name string) error {
	mode := folderMode(name)
	if err := root.Chmod(base, mode); err != nil {
		return err
	}
	if err := t.header(tar.TypeDir, name+"/", "", int64(mode.Perm())|stickyBit(mode), 0); err != nil {
		return err
	}
	sub, err := root.OpenRoot(base)
	if err != nil {
		return err
	}
	defer sub.Close()
	return t.folder(sub, name)
}

// folderMode is 0755, but for the folders that everyone writes to.
func folderMode(name string) fs.FileMode {
	if name == "tmp" || name == "var/tmp" {
		return 0o777 | fs.ModeSticky
	}
	return 0o755
}

func stickyBit(mode fs.FileMode) int64 {
	if mode&fs.ModeSticky != 0 {
		return 0o1000
	}
	return 0
}

func (t *treeWriter) file(root *os.Root, base, name string) error {
	f, err := root.Open(base)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	mode := fileMode(st.Mode()&0o111 != 0)
	if st.Mode() != mode {
		if err := f.Chmod(mode); err != nil {
			return err
		}
	}
	if err := t.header(tar.TypeReg, name, "", int64(mode), st.Size()); err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{t.tw}, struct{ io.Reader }{f}, t.buf)
	return err
}

func (t *treeWriter) header(typ byte, name, link string, mode, size int64) error {
	return t.tw.WriteHeader(&tar.Header{
		Typeflag: typ, Name: name, Linkname: link, Mode: mode, Size: size,
		ModTime: epoch, Format: tar.FormatPAX,
	})
}
