package images

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// usePrefix begins the names of the locks that those hold who run an image; the
// hexadecimal digits of its manifest's digest follow.
const usePrefix = "use-"

// Use is [Store.Unpack], and keeps GC from the image, also one that has lost its
// name or its place in the index, until release is called or the process ends: what
// runs must not see half of it. It waits for a GC that is under way. In a store
// that may only be read nothing is kept from anybody.
func (s *Store) Use(ctx context.Context, img *Image) (dirs []string, release func(), err error) {
	unlock, err := s.using(ctx)
	if err == nil {
		defer unlock()
		release, err = s.flock(ctx, usePrefix+strings.TrimPrefix(img.Manifest, "sha256:"), unix.LOCK_SH)
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		release, err = func() {}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if dirs, err = s.Unpack(ctx, img); err != nil {
		release()
		return nil, nil, err
	}
	return dirs, release, nil
}

// inUse lists the manifests of the images that somebody uses. Nobody begins to
// meanwhile: GC has the store to itself.
func (g *collector) inUse() ([]string, error) {
	entries, err := os.ReadDir(g.store.path("locks"))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if hex, ok := strings.CutPrefix(e.Name(), usePrefix); ok && g.held(e.Name()) {
			out = append(out, "sha256:"+hex)
		}
	}
	return out, nil
}

// held reports whether somebody holds a lock of the store.
func (g *collector) held(name string) bool {
	f, err := os.Open(g.store.path("locks", name))
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
}
