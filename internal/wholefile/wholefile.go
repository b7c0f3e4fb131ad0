// Package wholefile replaces small files in one step, in folders that nobody sweeps,
// and reads them, so far as they are small.
//
// A temporary file beside the one to be replaced would stay where its writer is
// killed. So it has no name while it is written and made durable, where the
// file system can do that. It is given its own name at once, where nothing has
// that, and otherwise a temporary one, between two system calls.
package wholefile

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Write makes b the content of the file at path, wholly or not at all, and
// durably. Others may read it. A full disk is in the error's chain as
// syscall.ENOSPC.
func Write(path string, b []byte) error {
	dir := filepath.Dir(path)
	temp := filepath.Join(dir, "."+filepath.Base(path)+"-"+rand.Text())
	named, err := write(path, temp, b)
	if err == nil && named == temp {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, removeLeft(temp))
	}
	return syncDir(dir)
}

// write makes a durable file, at path where nothing is there and this can be
// done in one step, and at temp otherwise. It returns which.
func write(path, temp string, b []byte) (named string, err error) {
	f, err := createUnnamed(filepath.Dir(temp))
	unnamed := err == nil
	if !unnamed {
		f, err = os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	}
	if err != nil {
		return temp, err
	}
	if _, err = f.Write(b); err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	named = temp
	if err == nil && unnamed {
		if err = giveName(f, path); err == nil {
			named = path
		} else if errors.Is(err, fs.ErrExist) {
			err = giveName(f, temp)
		}
	}
	return named, errors.Join(err, f.Close())
}

func removeLeft(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
