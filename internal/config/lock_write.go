package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"time"

	"github.com/cubebuild/cube/internal/wholefile"
)

// Write writes the lock to a file, atomically and durably. A lock that says
// the same already is left as it is.
//
// A lock that was loaded writes what was changed in it since, and leaves the
// rest as the file has it by now: whoever bumped, held or imported something
// meanwhile, or checked out another lock, is not undone. Of an entry that both
// changed this one stays. The lock in memory does not take up what others wrote.
func (l *Lock) Write(path string) error {
	if err := l.write(path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func (l *Lock) write(path string) error {
	own, err := l.Encode()
	if err != nil {
		return err
	}
	if now, err := readAtMost(path, int64(lockLimits.Bytes)); err == nil && bytes.Equal(own, now) {
		return nil
	}
	unlock, err := lockFolder(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	if err := l.update(path, own); err != nil {
		return err
	}
	if l.loaded != nil {
		l.loaded = own
	}
	return nil
}

// update writes the lock, whose own text is given, over what the file says now.
func (l *Lock) update(path string, own []byte) error {
	now, err := readAtMost(path, int64(lockLimits.Bytes))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text := own
	if l.loaded != nil && !bytes.Equal(now, l.loaded) {
		if text, err = l.onto(path, now); err != nil {
			return err
		}
	}
	if bytes.Equal(text, now) {
		return nil
	}
	return wholefile.Write(path, text)
}

// patience is how long a lock of a folder is waited for: far longer than anybody
// needs it who is about to write a cube.lock. Who holds it for longer wants it for
// something else, and perhaps started this program with it ("flock . cube build").
const patience = time.Second

// lockFolder keeps others from writing a lock in a folder until unlock is called,
// as far as that is to be had.
func lockFolder(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR || time.Now().After(end) {
			return func() { f.Close() }, nil
		}
	}
}

// onto is the text of the lock that a file has by now, with what was changed in
// this one since it was loaded.
func (l *Lock) onto(path string, now []byte) ([]byte, error) {
	then, err := parseLoaded(path, l.loaded)
	if err != nil {
		return nil, err
	}
	out, err := parseLoaded(path, now)
	if err != nil {
		return nil, err
	}
	carry(out.Images, then.Images, l.Images)
	carry(out.Sources, then.Sources, l.Sources)
	carry(out.Fetches, then.Fetches, l.Fetches)
	carry(out.Imports, then.Imports, l.Imports)
	carry(out.Holds, then.Holds, l.Holds)
	carry(out.Salts, then.Salts, l.Salts)
	return out.Encode()
}

// parseLoaded is ParseLock of what was loaded: no text is a lock of which there
// was no file.
func parseLoaded(path string, text []byte) (*Lock, error) {
	if len(text) == 0 {
		return NewLock(), nil
	}
	return ParseLock(path, text)
}

// carry makes in a section the changes that lead from one state to another.
func carry[V any](section, from, to map[string]V) {
	maps.DeleteFunc(section, func(name string, _ V) bool {
		_, was := from[name]
		_, is := to[name]
		return was && !is
	})
	for name, v := range to {
		if was, ok := from[name]; !ok || !reflect.DeepEqual(was, v) {
			section[name] = v
		}
	}
}
