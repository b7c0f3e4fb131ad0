package images

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/cubebuild/cube/images/internal/deb"
	"github.com/cubebuild/cube/images/internal/layer"
)

// notNeeded are packages that only maintainer scripts, a package manager or a
// terminal need. They are left out with what only they depend on, unless the
// recipe names them.
func notNeeded(recipe []string) map[string]bool {
	without := map[string]bool{
		"dpkg": true, "tar": true, "apt": true, "debconf": true, "cdebconf": true, "perl-base": true,
		"readline-common": true, "libreadline8": true, "libreadline8t64": true, "install-info": true,
		"init-system-helpers": true, "sensible-utils": true, "ucf": true, "adduser": true, "passwd": true,
		"gcc-12-base": true, "gcc-14-base": true,
	}
	for _, name := range recipe {
		delete(without, name)
	}
	return without
}

func (b *builder) apt() *deb.Apt {
	return &deb.Apt{
		Dir:  b.store.path("apt", b.platform.Arch),
		Arch: b.platform.machine().deb, Sources: b.store.cfg.AptSources, Env: b.store.cfg.Env,
	}
}

// resolveDebs finds the packages of the recipe as the mirrors have them now.
func (b *builder) resolveDebs(ctx context.Context, force bool) ([]pin, error) {
	apt := b.apt()
	var pins []pin
	err := b.step(func() error {
		if err := apt.Update(ctx, force); err != nil {
			return aptError(err)
		}
		found, err := apt.Resolve(ctx, b.src.Recipe.wanted().Debs, notNeeded(b.src.Recipe.Debs))
		pins = debPins(found)
		return aptError(err)
	}, "resolve %s", counted(len(b.src.Recipe.Debs), "Debian package"))
	return pins, err
}

// aptError marks a missing apt as a missing tool.
func aptError(err error) error {
	if errors.Is(err, deb.ErrNoApt) {
		return fmt.Errorf("%w: %w", ErrTool, err)
	}
	return err
}

// addDebs makes the lowest layer. It returns the pins that it is made of,
// which are others than given where some are gone and the build is not locked.
func (b *builder) addDebs(ctx context.Context, pins []pin) ([]pin, error) {
	l, err := b.debsLayerOf(ctx, pins)
	var gone *DriftError
	if errors.As(err, &gone) && !b.opt.Locked {
		now, rerr := b.resolveDebs(ctx, true)
		if rerr != nil {
			return nil, rerr
		}
		b.drift(drifts("deb", pins, now))
		pins = now
		l, err = b.debsLayerOf(ctx, pins)
	}
	if err != nil {
		return nil, err
	}
	b.debsLayer = l
	b.python, err = pythonOf(pins, b.platform)
	return pins, err
}

func (b *builder) debsLayerOf(ctx context.Context, pins []pin) (Layer, error) {
	key := makeKey("debs", []any{b.platform.String(), contents(pins)})
	return b.store.makeLayer(ctx, key, func(ctx context.Context, dir string) error {
		if err := b.fetchDebs(ctx, pins); err != nil {
			return err
		}
		err := b.step(func() error { return b.unpackDebs(ctx, dir, pins) }, "unpack %s", counted(len(pins), "Debian package"))
		if err != nil {
			return err
		}
		py, err := pythonOf(pins, b.platform)
		if err != nil || py.version == "" {
			return err
		}
		return b.step(func() error { return py.compile(ctx, dir, dir, []string{"usr/lib"}) }, "compile Python's library")
	})
}

// contents is what of pins decides what is unpacked.
func contents(pins []pin) [][2]string {
	out := make([][2]string, len(pins))
	for i, p := range pins {
		out[i] = [2]string{p.Name, p.SHA256}
	}
	return out
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// fetchDebs brings those pins into the downloads that are not there yet. Pins
// that the mirrors do not have are a *DriftError.
func (b *builder) fetchDebs(ctx context.Context, pins []pin) error {
	missing := b.store.notDownloaded(pins)
	if len(missing) == 0 {
		return nil
	}
	return b.step(func() error {
		apt := b.apt()
		if err := b.available(ctx, apt, missing); err != nil {
			return err
		}
		return b.store.download(missing, func(dir string) error { return apt.Download(ctx, dir, aptPins(missing)) })
	}, "fetch %s", counted(len(missing), "Debian package"))
}

// available asks the mirrors for pins. Those they do not have are a
// *DriftError; before it is said, the package lists are brought up to date.
func (b *builder) available(ctx context.Context, apt *deb.Apt, pins []pin) error {
	var gone []deb.Pin
	for _, force := range []bool{false, true} {
		if err := apt.Update(ctx, force); err != nil {
			return aptError(err)
		}
		var err error
		if gone, err = apt.Gone(ctx, aptPins(pins)); err != nil || len(gone) == 0 {
			return aptError(err)
		}
	}
	e := &DriftError{Where: b.src.where()}
	for _, p := range gone {
		e.Gone = append(e.Gone, Drift{Kind: "deb", Name: p.Name, Pinned: p.Version})
	}
	return e
}

// unpackDebs puts a root directory together, as dpkg would leave it but for
// what only maintainer scripts do.
func (b *builder) unpackDebs(ctx context.Context, dir string, pins []pin) error {
	t, err := layer.OpenTree(dir, b.store.cfg.Limits.layer())
	if err != nil {
		return err
	}
	defer t.Close()
	if err := writeSkeleton(t, true); err != nil {
		return err
	}
	// Decompressing takes the time, and writing must be in order: one package
	// is written while the next are decompressed.
	var alternatives []deb.Alternative
	g, ctx := errgroup.WithContext(ctx)
	queue := make(chan chan unpacked, 2)
	g.Go(func() error {
		defer close(queue)
		for _, p := range pins {
			one := make(chan unpacked, 1)
			select {
			case queue <- one:
			case <-ctx.Done():
				return ctx.Err()
			}
			g.Go(func() error { one <- b.decompress(p); return nil })
		}
		return nil
	})
	g.Go(func() error {
		for one := range queue {
			u := <-one
			if u.err == nil {
				u.err = u.write(t)
			}
			if u.err != nil {
				return fmt.Errorf("unpack %s: %w", u.file, u.err)
			}
			alternatives = append(alternatives, u.pkg.Alternatives()...)
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return link(t, alternatives)
}

// maxDeb is the most that one package may unpack to: it is held in memory.
const maxDeb = 4 << 30

// unpacked is a package whose files are in memory.
type unpacked struct {
	file    string
	pkg     *deb.Package
	entries []debEntry
	err     error
}

type debEntry struct {
	name string
	h    tar.Header
	body []byte
}

func (b *builder) decompress(p pin) (u unpacked) {
	u.file = p.File
	f, err := os.Open(b.store.path("downloads", p.SHA256))
	if err != nil {
		u.err = err
		return u
	}
	defer f.Close()
	limits := b.store.cfg.Limits.layer()
	left := min(limits.Bytes, maxDeb)
	u.pkg, u.err = deb.Read(f, limits, func(h *tar.Header, r io.Reader) error {
		name, err := layer.Clean(h.Name)
		if err != nil || !wantedFile(name) {
			return err
		}
		if left -= h.Size; left < 0 {
			return fmt.Errorf("entry %.80q: %w: more than %d bytes in all", name, ErrUnsafe, min(limits.Bytes, maxDeb))
		}
		body, err := io.ReadAll(r)
		u.entries = append(u.entries, debEntry{name: name, h: *h, body: body})
		return err
	})
	if u.err == nil && u.pkg.Control["Package"] != p.Name {
		u.err = fmt.Errorf("it is the package %q, not %q", u.pkg.Control["Package"], p.Name)
	}
	return u
}

// wantedFile leaves out what a program does not read: manuals and
// translations. Licences stay.
func wantedFile(name string) bool {
	rest, ok := strings.CutPrefix(name, "usr/share/")
	if !ok {
		return true
	}
	top, below, _ := strings.Cut(rest, "/")
	switch top {
	case "doc":
		return path.Base(below) == "copyright"
	case "man", "locale", "lintian", "info", "bug", "doc-base", "linda", "gdb", "menu", "reportbug":
		return false
	}
	return true
}

func (u *unpacked) write(t *layer.Tree) error {
	for _, e := range u.entries {
		if err := e.write(t); err != nil {
			return err
		}
	}
	// The form that scanners of images know: one file a package.
	status := u.pkg.Raw
	return t.File("var/lib/dpkg/status.d/"+u.pkg.Control["Package"], strings.NewReader(status), int64(len(status)), false, false)
}

func (e *debEntry) write(t *layer.Tree) error {
	switch e.h.Typeflag {
	case tar.TypeDir:
		return t.Dir(e.name)
	case tar.TypeReg:
		return t.File(e.name, bytes.NewReader(e.body), int64(len(e.body)), e.h.Mode&0o111 != 0, true)
	case tar.TypeSymlink:
		return t.Symlink(e.name, e.h.Linkname, true)
	case tar.TypeLink:
		target, err := layer.Clean(e.h.Linkname)
		if err != nil {
			return err
		}
		return t.Link(e.name, target, true)
	}
	return fmt.Errorf("entry %.80q: %w: neither file, folder nor link", e.name, ErrUnsafe)
}

// writeSkeleton makes the folders that a sandbox mounts on, the users, and for
// Debian the links of the merged /usr, which must be there before anything is
// unpacked through them.
func writeSkeleton(t *layer.Tree, debian bool) error {
	for _, d := range []string{"cube", "dev", "etc", "proc", "run", "sys", "tmp", "usr", "var/tmp"} {
		if err := t.Dir(d); err != nil {
			return err
		}
	}
	if debian {
		for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
			if err := t.Dir("usr/" + d); err != nil {
				return err
			}
			if err := t.Symlink(d, "usr/"+d, false); err != nil {
				return err
			}
		}
	}
	for name, text := range map[string]string{
		"etc/passwd":        "root:x:0:0:root:/:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
		"etc/group":         "root:x:0:\nnogroup:x:65534:\n",
		"etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
	} {
		if err := t.File(name, strings.NewReader(text), int64(len(text)), false, false); err != nil {
			return err
		}
	}
	return nil
}

// link makes the links that maintainer scripts would have made with
// update-alternatives (of several, that of the highest priority), and a plain
// python3.
func link(t *layer.Tree, alts []deb.Alternative) error {
	slices.SortStableFunc(alts, func(a, b deb.Alternative) int {
		return cmp.Or(strings.Compare(a.Link, b.Link), b.Priority-a.Priority, strings.Compare(a.Target, b.Target))
	})
	for _, a := range alts {
		name, target := strings.TrimPrefix(a.Link, "/"), strings.TrimPrefix(a.Target, "/")
		if t.Exists(name) || !t.Exists(target) {
			continue
		}
		rel, err := filepath.Rel(path.Dir(name), target)
		if err != nil {
			return err
		}
		if err := t.Symlink(name, rel, false); err != nil {
			return err
		}
	}
	if t.Exists("usr/bin/python3") {
		return nil
	}
	for minor := 40; minor > 0; minor-- {
		if py := fmt.Sprintf("python3.%d", minor); t.Exists("usr/bin/" + py) {
			return t.Symlink("usr/bin/python3", py, false)
		}
	}
	return nil
}
