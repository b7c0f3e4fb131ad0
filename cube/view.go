package cube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cubebuild/cube/cube/cas"
	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/graph"
)

const (
	// currentFile holds the first line of the heads that all views show. Where
	// it is missing, any view may be damaged.
	currentFile = ".current"
	document    = "zarr.json"
)

// View brings the plain Zarr groups below .cube/zarr in line with the heads, and
// the files below .cube/files. A view whose array is cut as it was has only its
// changed chunks replaced, each at once; otherwise the new group is made aside
// and exchanged with the old one. Where everything is as it should be View only
// compares two lines. It waits for another process that is doing the same.
func (c *Cube) View(ctx context.Context) error {
	if err := c.view(ctx); err != nil {
		return fmt.Errorf("view heads: %w", err)
	}
	return nil
}

func (c *Cube) view(ctx context.Context) error {
	_, line, err := c.readHeadsLine()
	if err != nil || line == c.currentViews() {
		return err
	}
	for _, dir := range []string{"zarr", "files"} {
		if err := os.MkdirAll(c.Path(dir), 0o777); err != nil {
			return err
		}
	}
	lock, err := c.lockViews(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	heads, line, err := c.readHeadsLine()
	if err != nil {
		return err
	}
	afresh := c.currentViews() == ""
	var errs []error
	for _, n := range slices.Sorted(maps.Keys(heads)) {
		if err := c.viewHead(ctx, heads[n], afresh); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", n, err))
		}
	}
	if err := errors.Join(append(errs, c.dropViews(heads))...); err != nil {
		return err
	}
	return writeFile(c.Path("zarr", currentFile), []byte(line), false)
}

// currentViews is the line of the heads that the views show, "" where any of
// them may be damaged.
func (c *Cube) currentViews() string {
	b, _ := readFile(c.Path("zarr", currentFile), 1<<10)
	return string(b)
}

// doubtViews has the next View make every view afresh.
func (c *Cube) doubtViews() {
	_ = os.Remove(c.Path("zarr", currentFile))
}

// doubtful passes err on, which reading a of objects gave. Where it says that
// one is damaged or missing, so may be the views that link to it, and a version
// that needs it is not whole any more: it can still be read as far as it goes,
// but HasVersion does not count it until it is made again.
func (c *Cube) doubtful(a Array, err error) error {
	if err == nil {
		return nil
	}
	var corrupt *cas.CorruptError
	if !errors.As(err, &corrupt) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c.doubtViews()
	switch a := a.(type) {
	case *Version:
		c.doubtVersion(a.digest)
	case *Builder:
		if a.base != nil { // or the next build begins with it, too
			c.doubtVersion(a.base.digest)
		}
	}
	return err
}

func (c *Cube) lockViews(ctx context.Context) (*os.File, error) {
	lock, err := os.OpenFile(c.Path("zarr.lock"), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if err := flockWait(ctx, lock, syscall.LOCK_EX); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// viewHead makes the view of one head.
func (c *Cube) viewHead(ctx context.Context, h Head, afresh bool) error {
	v, err := c.LoadVersion(ctx, h.Version)
	if err != nil {
		return err
	}
	if f, ok := v.File(); ok {
		return c.doubtful(v, c.viewFile(h.Variable, f))
	}
	docs, err := c.docsOf(h, v)
	if err != nil {
		return err
	}
	dir := c.Path("zarr", h.Variable)
	have, err := readFile(filepath.Join(dir, document), maxManifest)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return err
	}
	if !afresh && bytes.Equal(have, docs.group) {
		return nil
	}
	if old := c.patchable(ctx, have, docs); old != nil && !afresh {
		return c.patchView(ctx, dir, docs, old, v)
	}
	return c.replaceView(ctx, dir, docs, v)
}

// patchable returns the version that a view shows if it differs from the new
// view in its chunks only.
func (c *Cube) patchable(ctx context.Context, have []byte, docs *viewDocs) *Version {
	g, err := zarr.ParseGroup(have)
	if err != nil {
		return nil
	}
	text, _ := g.Attributes[versionAttribute].(string)
	d, err := graph.ParseDigest(text)
	if err != nil {
		return nil
	}
	want, err := zarr.ParseGroup(docs.group)
	if err != nil {
		return nil
	}
	g.Attributes[versionAttribute] = want.Attributes[versionAttribute]
	if doc, err := g.Encode(); err != nil || !bytes.Equal(doc, docs.group) {
		return nil
	}
	old, err := c.LoadVersion(ctx, d)
	if err != nil || old.file != nil || len(old.pages) == 0 {
		return nil
	}
	return old
}

// patchView replaces the chunks that differ. If it is cut short, the next View
// makes every view afresh.
func (c *Cube) patchView(ctx context.Context, dir string, docs *viewDocs, old, v *Version) error {
	c.doubtViews()
	w := newLinker(c, dir, docs, v.layout)
	for n := range v.pages {
		if old.pages[n] == v.pages[n] {
			continue
		}
		a, err := old.page(ctx, n)
		if err != nil {
			return c.replaceView(ctx, dir, docs, v)
		}
		b, err := v.page(ctx, n)
		if err != nil {
			return err
		}
		for i, ref := range b.refs {
			if ref.Object == a.refs[i].Object {
				continue
			}
			if err := w.swap(int64(n*pageSize+i), ref.Object); err != nil {
				return c.doubtful(v, err)
			}
		}
	}
	return replaceFile(c.Path("zarr"), filepath.Join(dir, document), docs.group, false)
}

// replaceView makes a view aside and exchanges it with what is there.
func (c *Cube) replaceView(ctx context.Context, dir string, docs *viewDocs, v *Version) error {
	aside, err := os.MkdirTemp(c.Path("zarr"), tempPrefix+"*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(aside)
	if err := os.Chmod(aside, 0o777&^umask()); err != nil {
		return err
	}
	if err := docs.write(ctx, aside); err != nil {
		return err
	}
	w := newLinker(c, aside, docs, v.layout)
	err = v.Refs(ctx, func(ti, yi, xi int64, r ChunkRef) error {
		if r.Object.IsZero() {
			return nil
		}
		return c.doubtful(v, w.link(v.layout.Index(ti, yi, xi), r.Object))
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(aside, document), docs.group, 0o666); err != nil {
		return err
	}
	return exchange(aside, dir)
}

// swapByHand is exchange where the file system cannot: for an instant there is
// nothing at dir.
func swapByHand(aside, dir string) error {
	old := aside + ".old"
	if err := os.Rename(dir, old); err != nil {
		return err
	}
	return errors.Join(os.Rename(aside, dir), os.Rename(old, aside))
}

// umask is the process's, without changing it.
func umask() fs.FileMode {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("Umask:")); ok {
			if n, err := strconv.ParseUint(string(bytes.TrimSpace(rest)), 8, 32); err == nil {
				return fs.FileMode(n)
			}
		}
	}
	return 0o022
}

// write writes all arrays' documents and the coordinates' chunks.
func (d *viewDocs) write(ctx context.Context, dir string) error {
	store, err := zarr.OpenDir(dir, zarr.DirConfig{})
	if err != nil {
		return err
	}
	defer store.Close()
	for name, meta := range d.arrays() {
		a, err := zarr.CreateArray(ctx, store, name, meta)
		if err != nil {
			return err
		}
		if c, ok := d.coords[name]; ok && c.values != nil {
			if err := a.WriteChunk(ctx, []int{0}, c.values); err != nil {
				return err
			}
		}
	}
	return nil
}

// linker puts objects where a Zarr reader looks for chunks.
type linker struct {
	c      *Cube
	dir    string // of the data array
	layout Layout
	meta   *zarr.ArrayMeta
	index  []int
	folder string // that exists
	put    func(from, to string) error
}

func newLinker(c *Cube, dir string, docs *viewDocs, l Layout) *linker {
	return &linker{c: c, dir: filepath.Join(dir, docs.name), layout: l, meta: docs.data, index: make([]int, len(docs.data.Shape))}
}

// path is where chunk i lies.
func (w *linker) path(i int64) string {
	s := w.layout.Span()
	ti, yi, xi := w.layout.At(i)
	n := len(w.index)
	if w.layout.Spec.Kind == graph.Time {
		w.index[0] = int(ti - s.T.Lo)
	}
	w.index[n-2], w.index[n-1] = int(yi-s.Y.Lo), int(xi-s.X.Lo)
	return filepath.Join(w.dir, filepath.FromSlash(w.meta.ChunkKey(w.index...)))
}

func (w *linker) link(i int64, object graph.Digest) error {
	path := w.path(i)
	if folder := filepath.Dir(path); folder != w.folder {
		if err := os.MkdirAll(folder, 0o777); err != nil {
			return err
		}
		w.folder = folder
	}
	return w.place(object, path)
}

// place links an object to path, or copies it where it cannot be linked.
func (w *linker) place(object graph.Digest, path string) error {
	from := w.c.objects.Path(object)
	if w.put == nil {
		w.put = os.Link
		if err := reflink(from, path); err == nil {
			w.put = reflink
			return nil
		}
	}
	err := w.put(from, path)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return copyFile(from, path)
}

// swap gives chunk i another object, or none.
func (w *linker) swap(i int64, object graph.Digest) error {
	path := w.path(i)
	if object.IsZero() {
		return removeLeft(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	temp := w.c.Path("zarr", tempPrefix+"chunk")
	if err := removeLeft(temp); err != nil {
		return err
	}
	if err := w.place(object, temp); err != nil {
		return err
	}
	// Where both are names of one file already, rename leaves the first.
	return errors.Join(os.Rename(temp, path), removeLeft(temp))
}

func removeLeft(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	_ = os.Remove(to)
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		os.Remove(to)
	}
	return err
}

// viewFile shows the content of a variable of kind file.
func (c *Cube) viewFile(variable string, f File) error {
	ext := f.Ext
	if strings.ContainsAny(ext, "/\x00") || len(ext) > 32 {
		ext = ""
	}
	path, from := c.Path("files", variable+ext), c.objects.Path(f.Object)
	if a, err := os.Stat(path); err == nil {
		if b, err := os.Stat(from); err == nil && os.SameFile(a, b) {
			return nil
		}
	}
	temp := c.Path("zarr", tempPrefix+"file")
	if err := removeLeft(temp); err != nil {
		return err
	}
	w := &linker{c: c}
	if err := w.place(f.Object, temp); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// dropViews removes the views of variables that have no head any more.
func (c *Cube) dropViews(heads map[string]Head) error {
	entries, err := readDir(c.Path("zarr"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, ok := heads[e.Name()]; ok || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := os.RemoveAll(c.Path("zarr", e.Name())); err != nil {
			return err
		}
	}
	files, err := readDir(c.Path("files"))
	for _, e := range files {
		name := strings.TrimSuffix(e.Name(), filepath.Ext(e.Name()))
		_, whole := heads[e.Name()]
		if _, ok := heads[name]; ok || whole {
			continue
		}
		if err := os.Remove(c.Path("files", e.Name())); err != nil {
			return err
		}
	}
	return err
}

// sweepViews removes views that were never completed, unless one is being made.
func (c *Cube) sweepViews() error {
	entries, err := readDir(c.Path("zarr"))
	if err != nil || !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), tempPrefix) }) {
		return err
	}
	lock, err := os.OpenFile(c.Path("zarr.lock"), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer lock.Close()
	if !tryLock(lock) {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			if err := os.RemoveAll(c.Path("zarr", e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
