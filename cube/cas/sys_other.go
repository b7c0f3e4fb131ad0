//go:build !linux

package cas

import (
	"crypto/rand"
	"os"
	"sync"
)

var bootID = sync.OnceValue(rand.Text)

// BootID names this boot of this machine; where the system does not name its
// boots, this process, so that what a dead one left is always verified.
func BootID() (string, error) { return bootID(), nil }

func writeBack(f *os.File) error { return f.Sync() }

func journalsTogether(string) bool { return false }

func lockByte(*os.File, int64) (ok, supported bool) { return true, false }

func unlockByte(*os.File, int64) {}
