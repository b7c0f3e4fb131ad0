package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/cubebuild/cube/graph"
)

// fromFolders looks for a pinned source, by its digest, among the files of the
// folders that stand in for the network.
func (c *Cache) fromFolders(ctx context.Context, uri string, want graph.Digest) (Pin, bool, error) {
	if want.IsZero() {
		return Pin{}, false, nil
	}
	for _, folder := range c.cfg.Folders {
		files, err := candidates(folder, uri)
		if err != nil {
			return Pin{}, false, fmt.Errorf("folder of sources %s: %w", folder, err)
		}
		for _, path := range files {
			p, err := c.hashFile(ctx, path)
			if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
				continue // somebody else's
			}
			if err != nil {
				return Pin{}, false, err
			}
			if p.SHA256 != want {
				continue
			}
			p, err = c.pinFile(ctx, path)
			return p, true, err
		}
	}
	return Pin{}, false, nil
}

// candidates lists the files below a folder, those that are called as the URI's
// last part first. Links to files count; folders that may not be read, and
// links to folders, are passed over.
func candidates(folder, uri string) ([]string, error) {
	folder, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return nil, err
	}
	base := lastPart(uri)
	var first, rest []string
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && path != folder && errors.Is(err, fs.ErrPermission):
			return nil
		case err != nil:
			return err
		case !isFile(path, d):
		case d.Name() == base:
			first = append(first, path)
		default:
			rest = append(rest, path)
		}
		return nil
	})
	return slices.Concat(first, rest), err
}

// lastPart is what a download of the URI would be called.
func lastPart(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return path.Base(u.Path)
}

func isFile(path string, d fs.DirEntry) bool {
	if d.Type()&fs.ModeSymlink == 0 {
		return d.Type().IsRegular()
	}
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// hashFile hashes a file without keeping it.
func (c *Cache) hashFile(ctx context.Context, path string) (Pin, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Pin{}, err
	}
	if p, ok := c.stats.get(path, info); ok {
		return p, nil
	}
	f, err := openRegular(path)
	if err != nil {
		return Pin{}, err
	}
	defer f.Close()
	before, h := time.Now(), sha256.New()
	n, err := io.Copy(h, &contextReader{ctx, f})
	p := Pin{graph.Digest(h.Sum(nil)), n}
	if err == nil {
		c.stats.put(path, info, before, p)
	}
	return p, err
}
