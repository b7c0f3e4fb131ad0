package zarr

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// tempPrefix begins the names of files that are not yet complete. No key has a
// segment that begins so.
const tempPrefix = ".zarr-tmp-"

// defaultMaxValue bounds the value that a DirStore reads.
const defaultMaxValue = 2 << 30

// DirConfig says how a DirStore works. The zero value is the usual one.
type DirConfig struct {
	// Sync makes Set return only when the value and its name are on stable
	// storage.
	Sync bool
	// MaxValue is the size in bytes above which Get refuses to read a file;
	// 0 means 2 GiB.
	MaxValue int64
}

// A DirStore is a Store that keeps each value in a file below a directory.
//
// No key and no symbolic link leads out of the directory, and only regular
// files are read. Set writes a temporary file beside the value's and renames
// it, so that a reader sees the old value or the new one. A process that is
// killed may leave temporary files; they are never listed or read.
type DirStore struct {
	root *os.Root
	conf DirConfig
}

var _ Store = (*DirStore)(nil)

// OpenDir opens the existing directory dir as a store. Close it after use.
func OpenDir(dir string, conf DirConfig) (*DirStore, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if conf.MaxValue == 0 {
		conf.MaxValue = defaultMaxValue
	}
	return &DirStore{root: root, conf: conf}, nil
}

// Close gives up the directory. The store cannot be used afterwards.
func (s *DirStore) Close() error { return s.root.Close() }

// Get implements Reader.
func (s *DirStore) Get(ctx context.Context, key string, dst []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return dst, err
	}
	if err := checkKey(key); err != nil {
		return dst, fmt.Errorf("get: %w", err)
	}
	// A named pipe would block here if it were opened otherwise.
	f, err := s.root.OpenFile(key, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return dst, fmt.Errorf("get %s: %w", key, notExist(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return dst, fmt.Errorf("get %s: %w", key, err)
	}
	switch {
	case info.IsDir():
		return dst, fmt.Errorf("get %s: is a directory: %w", key, ErrNotExist)
	case !info.Mode().IsRegular():
		return dst, fmt.Errorf("get %s: not a regular file: %w", key, ErrCorrupt)
	case info.Size() > s.conf.MaxValue:
		return dst, fmt.Errorf("get %s: %d bytes, more than the %d allowed: %w", key, info.Size(), s.conf.MaxValue, ErrCorrupt)
	}
	n := len(dst)
	dst = slices.Grow(dst, int(info.Size()))[:n+int(info.Size())]
	if _, err := io.ReadFull(f, dst[n:]); err != nil {
		return dst[:n], fmt.Errorf("get %s: %w", key, err)
	}
	return dst, nil
}

// notExist makes "a parent of key is a file" an absence like any other.
func notExist(err error) error {
	if errors.Is(err, syscall.ENOTDIR) {
		return ErrNotExist
	}
	return err
}

// Set implements Writer.
func (s *DirStore) Set(ctx context.Context, key string, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkKey(key); err != nil {
		return fmt.Errorf("set: %w", err)
	}
	if err := s.replace(key, value); err != nil {
		return fmt.Errorf("set %s: %w", key, err)
	}
	return nil
}

// replace writes value under a temporary name beside key and renames it.
func (s *DirStore) replace(key string, value []byte) error {
	dir := path.Dir(key)
	temp := path.Join(dir, tempPrefix+rand.Text())
	f, err := s.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.root.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		f, err = s.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	}
	if err != nil {
		return err
	}
	err = s.fill(f, value)
	if err == nil {
		err = s.root.Rename(temp, key)
	}
	if err != nil {
		_ = s.root.Remove(temp)
		return err
	}
	return s.syncDir(dir)
}

// fill writes value to f and closes it.
func (s *DirStore) fill(f *os.File, value []byte) error {
	_, err := f.Write(value)
	if err == nil && s.conf.Sync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes the names in dir, and dir's own in its parents, durable.
func (s *DirStore) syncDir(dir string) error {
	if !s.conf.Sync {
		return nil
	}
	for {
		d, err := s.root.Open(dir)
		if err != nil {
			return err
		}
		err = errors.Join(d.Sync(), d.Close())
		if err != nil || dir == "." {
			return err
		}
		dir = path.Dir(dir)
	}
}

// Delete implements Deleter. Directories that become empty stay.
func (s *DirStore) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkKey(key); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if err := s.root.Remove(key); err != nil && !errors.Is(notExist(err), ErrNotExist) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// List implements Lister.
func (s *DirStore) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		entries, err := s.entries(ctx, prefix)
		if err != nil {
			yield("", fmt.Errorf("list %q: %w", prefix, err))
			return
		}
		for _, name := range entries {
			if !yield(name, nil) {
				return
			}
		}
	}
}

func (s *DirStore) entries(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if prefix == "" {
		prefix = "."
	} else if err := checkKey(prefix); err != nil {
		return nil, err
	}
	dir, err := s.root.OpenFile(prefix, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		switch {
		case strings.HasPrefix(e.Name(), tempPrefix):
		case e.IsDir():
			names = append(names, e.Name()+"/")
		default:
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}
