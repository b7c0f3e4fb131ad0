//go:build !linux

package cube

import (
	"errors"
	"os"
)

func exchange(aside, dir string) error {
	if _, err := os.Lstat(dir); os.IsNotExist(err) {
		return os.Rename(aside, dir)
	}
	return swapByHand(aside, dir)
}

func reflink(string, string) error { return errors.ErrUnsupported }
