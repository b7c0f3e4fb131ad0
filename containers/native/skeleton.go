//go:build linux

package native

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// skeletonDirs are what a root directory needs to be mounted over, and
// skeletonFiles what programs look for; an image's own come before them.
var (
	skeletonDirs  = []string{"cube", "dev", "etc", "proc", "tmp"}
	skeletonFiles = map[string]string{
		"etc/passwd":        "root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n",
		"etc/group":         "root:x:0:\nnogroup:x:65534:\n",
		"etc/hostname":      "cube\n",
		"etc/hosts":         "127.0.0.1 localhost cube\n::1 localhost\n",
		"etc/resolv.conf":   "",
		"etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
	}
)

// makeSkeleton makes the lowest layer of every image at dir, whole or not at
// all, unless it is there.
func makeSkeleton(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), "skeleton-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := fillSkeleton(temp); err != nil {
		return err
	}
	// Another process may have been faster: what it made is the same.
	if err := os.Rename(temp, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func fillSkeleton(dir string) error {
	for _, d := range skeletonDirs {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for name, content := range skeletonFiles {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if d.IsDir() {
			mode = 0o755
		}
		return errors.Join(os.Chmod(path, mode), os.Chtimes(path, time.Unix(0, 0), time.Unix(0, 0)))
	})
}
