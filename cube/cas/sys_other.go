//go:build !linux

package cas

import (
	"context"
	"crypto/rand"
	"os"
	"sync"
)

var bootID = sync.OnceValue(rand.Text)

// BootID names this boot of this machine; where the system does not name its
// boots, this process, so that what a dead one left is always verified.
func BootID() (string, error) { return bootID(), nil }

func syncFiles(ctx context.Context, _ string, paths []string) error {
	for _, p := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := syncFile(p); err != nil {
			return err
		}
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func lockByte(*os.File, int64) (ok, supported bool) { return true, false }

func unlockByte(*os.File, int64) {}
