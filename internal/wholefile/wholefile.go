// Package wholefile replaces files in one step, in folders that nobody sweeps.
//
// A temporary file beside the one to be replaced would stay where its writer is
// killed. So it has no name while it is written and made durable, where the
// file system can do that, and a temporary one only between two system calls.
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
	err := write(temp, b)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, removeLeft(temp))
	}
	return syncDir(dir)
}

func write(temp string, b []byte) error {
	f, err := createUnnamed(filepath.Dir(temp))
	unnamed := err == nil
	if !unnamed {
		f, err = os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	}
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	if err == nil && unnamed {
		err = giveName(f, temp)
	}
	return errors.Join(err, f.Close())
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
