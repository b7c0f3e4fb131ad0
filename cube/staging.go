package cube

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cubebuild/cube/cube/cas"
	"github.com/cubebuild/cube/graph"
)

// lockSuffix ends the name of the file that a staging folder's owner holds.
const lockSuffix = ".lock"

// Staging is a folder of this process's own for what it puts together. When the
// process dies, the next Sweep removes it.
type Staging struct {
	Dir  string
	lock *os.File
}

// Stage makes a staging folder. Close removes it.
func (c *Cube) Stage() (*Staging, error) {
	if err := os.MkdirAll(c.Path("staging"), 0o777); err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	for {
		dir := c.Path("staging", rand.Text())
		lock, err := os.OpenFile(dir+lockSuffix, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, fmt.Errorf("stage: %w", err)
		}
		if tryLock(lock) && stillThere(lock) {
			if err := os.Mkdir(dir, 0o700); err != nil {
				lock.Close()
				return nil, fmt.Errorf("stage: %w", err)
			}
			return &Staging{dir, lock}, nil
		}
		lock.Close() // a sweep was faster
	}
}

// Close removes the folder with all that is in it.
func (s *Staging) Close() error {
	return errors.Join(removeAll(s.Dir), os.Remove(s.Dir+lockSuffix), s.lock.Close())
}

func tryLock(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// stillThere reports whether f has the name it was opened by.
func stillThere(f *os.File) bool {
	a, errA := f.Stat()
	b, errB := os.Lstat(f.Name())
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// removeAll removes a tree, folders that deny writing included.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// Sweep does what the start of a build has to: it removes what dead processes
// left behind, and verifies what they had not made durable when the machine
// went down. It may run beside other processes, and costs a few system calls
// where there is nothing to do.
func (c *Cube) Sweep(ctx context.Context) (cas.Recovered, error) {
	if err := c.Use(ctx); err != nil {
		return cas.Recovered{}, fmt.Errorf("sweep: %w", err)
	}
	for _, sweep := range []func() error{c.sweepStaging, c.sweepTemps, c.sweepViews, c.sweepCheckpoints, c.results.Sweep, c.derived.Sweep} {
		if err := sweep(); err != nil {
			return cas.Recovered{}, fmt.Errorf("sweep: %w", err)
		}
	}
	r, err := c.objects.Recover(ctx)
	if err != nil {
		return r, fmt.Errorf("sweep: %w", err)
	}
	if r.Unclean {
		c.doubtViews()
		if err := c.doubtVersions(ctx); err != nil {
			return r, fmt.Errorf("sweep: %w", err)
		}
	}
	return r, nil
}

// doubtVersions looks for all objects that versions name, after some were lost:
// a version that lacks one is not whole any more.
func (c *Cube) doubtVersions(ctx context.Context) error {
	entries, err := readDir(c.Path("versions"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		d, err := graph.ParseDigest(e.Name())
		if err != nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		_ = c.verifyVersion(ctx, d) // which renames a manifest that does not hold
	}
	return nil
}

// sweepStaging removes the staging folders whose lock nobody holds.
func (c *Cube) sweepStaging() error {
	entries, err := readDir(c.Path("staging"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := c.Path("staging", e.Name())
		dir, isLock := strings.CutSuffix(path, lockSuffix)
		if !isLock {
			if _, err := os.Lstat(path + lockSuffix); !errors.Is(err, fs.ErrNotExist) {
				continue // goes with its lock
			}
			if err := removeAll(path); err != nil {
				return err
			}
			continue
		}
		if err := removeDead(path, func() error { return removeAll(dir) }); err != nil {
			return err
		}
	}
	return nil
}

// removeDead removes a file that nobody holds locked, after what belongs to it.
func removeDead(path string, first func() error) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if !tryLock(f) {
		return nil
	}
	if err := first(); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sweepTemps removes files that were never completed. No gc runs now.
func (c *Cube) sweepTemps() error {
	for _, dir := range []string{c.dir, c.Path("versions")} {
		entries, err := readDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), tempPrefix) {
				continue
			}
			if err := removeDead(filepath.Join(dir, e.Name()), func() error { return nil }); err != nil {
				return err
			}
		}
	}
	return nil
}

// readDir lists a folder; one that is not there is empty.
func readDir(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}
