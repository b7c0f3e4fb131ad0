package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// GCOptions say what GC keeps. Images with a name always stay.
type GCOptions struct {
	// Age is how long an image without a name, a download and a record of a
	// build stay after they were last used; zero is 30 days.
	Age time.Duration
	// Keep names images, by the digest of their config or manifest, that stay
	// whatever their age: those that a cube's records name, say.
	Keep []string
}

// Freed is what GC removed.
type Freed struct {
	Images, Blobs, Layers, Downloads int
	Bytes                            int64
}

// GC removes what no image needs any more, and what an interrupted build left.
// It waits for builds that are going on, and they for it. What somebody uses stays;
// see [Store.Use].
func (s *Store) GC(ctx context.Context, opt GCOptions) (Freed, error) {
	if opt.Age == 0 {
		opt.Age = 30 * 24 * time.Hour
	}
	if _, err := os.Stat(s.dir); errors.Is(err, fs.ErrNotExist) {
		return Freed{}, nil
	}
	if err := s.init(); err != nil {
		return Freed{}, err
	}
	unlock, err := s.lock(ctx, "gc")
	if err != nil {
		return Freed{}, err
	}
	defer unlock()
	g := &collector{store: s, opt: opt, old: time.Now().Add(-opt.Age), used: make(map[string]bool)}
	if err := g.run(ctx); err != nil {
		return g.freed, fmt.Errorf("clean image store: %w", err)
	}
	return g.freed, nil
}

// Sweep removes what killed builds left half made. While a build is going on it
// does nothing. It costs a look into a folder where there is nothing.
func (s *Store) Sweep(ctx context.Context) error {
	if entries, err := os.ReadDir(s.path("tmp")); err != nil || len(entries) == 0 {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	f, err := os.OpenFile(s.path("locks", "gc"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil // in use
	}
	all := func(string, fs.FileInfo) bool { return true }
	return (&collector{store: s}).sweep(ctx, "tmp", all, nil)
}

type collector struct {
	store *Store
	opt   GCOptions
	old   time.Time
	used  map[string]bool // hex of digests and DiffIDs
	freed Freed
}

func (g *collector) run(ctx context.Context) error {
	if err := g.dropImages(ctx); err != nil {
		return err
	}
	if err := g.mark(ctx); err != nil {
		return err
	}
	always := func(string, fs.FileInfo) bool { return true }
	unused := func(name string, _ fs.FileInfo) bool { return !g.used[name] }
	aged := func(_ string, st fs.FileInfo) bool { return st.ModTime().Before(g.old) }
	for _, sweep := range []struct {
		folder string
		goes   func(string, fs.FileInfo) bool
		count  *int
	}{
		{"tmp", always, nil},
		{"blobs/sha256", unused, &g.freed.Blobs},
		{"layers", unused, &g.freed.Layers},
		{"downloads", aged, &g.freed.Downloads},
		{"stat", aged, nil},
		{"made", g.pointsNowhere, nil},
		{"locks", func(name string, _ fs.FileInfo) bool { return name != "gc" && name != "index" && !g.held(name) }, nil},
	} {
		if err := g.sweep(ctx, sweep.folder, sweep.goes, sweep.count); err != nil {
			return err
		}
	}
	return nil
}

// dropImages takes old images without a name out of the index.
func (g *collector) dropImages(ctx context.Context) error {
	return g.store.updateIndex(ctx, func(ix *ociIndex) bool {
		n := len(ix.Manifests)
		ix.Manifests = slices.DeleteFunc(ix.Manifests, func(d descriptor) bool {
			st, err := os.Stat(g.store.blobPath(d.Digest))
			if err != nil {
				return true
			}
			return d.Annotations[refName] == "" && st.ModTime().Before(g.old) && !g.kept(d.Digest)
		})
		g.freed.Images = n - len(ix.Manifests)
		return g.freed.Images > 0
	})
}

func (g *collector) kept(manifest string) bool {
	if slices.Contains(g.opt.Keep, manifest) {
		return true
	}
	img, err := g.store.load(manifest)
	return err == nil && slices.Contains(g.opt.Keep, img.Config)
}

// mark notes what the images of the index are made of, and those that are used.
func (g *collector) mark(ctx context.Context) error {
	all, err := g.store.List(ctx)
	if err != nil {
		return err
	}
	used, err := g.inUse()
	if err != nil {
		return err
	}
	for _, manifest := range used {
		img, err := g.store.load(manifest)
		if err != nil {
			return fmt.Errorf("image %s, which is in use: %w", manifest, err)
		}
		all = append(all, img)
	}
	use := func(digest string) { g.used[strings.TrimPrefix(digest, "sha256:")] = true }
	for _, img := range all {
		use(img.Config)
		use(img.Manifest)
		for _, l := range img.Layers {
			use(l.Digest)
			use(l.DiffID)
		}
	}
	return nil
}

// pointsNowhere reports whether a record of made/ is of something gone.
func (g *collector) pointsNowhere(name string, _ fs.FileInfo) bool {
	if config, ok := strings.CutPrefix(name, "packages-"); ok {
		return !g.used[config]
	}
	_, ok := g.store.made(name)
	return !ok
}

func (g *collector) sweep(ctx context.Context, folder string, goes func(string, fs.FileInfo) bool, count *int) error {
	entries, err := os.ReadDir(g.store.path(folder))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		st, err := e.Info()
		if err != nil {
			continue
		}
		if !goes(e.Name(), st) {
			continue
		}
		path := g.store.path(folder, e.Name())
		g.freed.Bytes += diskUse(path)
		if err := removeAll(path); err != nil {
			return err
		}
		if count != nil {
			*count++
		}
	}
	return nil
}

// diskUse adds up the sizes of the files below a path.
func diskUse(path string) int64 {
	var total int64
	filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if st, err := d.Info(); err == nil && st.Mode().IsRegular() {
			total += st.Size()
		}
		return nil
	})
	return total
}
