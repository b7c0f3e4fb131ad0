//go:build linux

package containers_test

import (
	"os"
	"path"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// apply takes the steps that make a tree in a directory of this machine, as the
// payload would in /cube/out. No step leads out of it; what cannot be done is
// left undone.
func apply(t testing.TB, dir string, steps []step) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, s := range steps {
		if do, ok := applied[s.Do]; ok {
			_ = do(root, s)
		}
	}
}

var applied = map[string]func(root *os.Root, s step) error{
	"write":   func(root *os.Root, s step) error { return root.WriteFile(s.Path, s.Data, 0o644) },
	"mkdir":   func(root *os.Root, s step) error { return root.MkdirAll(s.Path, 0o755) },
	"remove":  func(root *os.Root, s step) error { return root.RemoveAll(s.Path) },
	"symlink": func(root *os.Root, s step) error { return root.Symlink(s.To, s.Path) },
	"link":    func(root *os.Root, s step) error { return root.Link(strings.TrimPrefix(s.To, "/cube/out/"), s.Path) },
	"rename":  func(root *os.Root, s step) error { return root.Rename(s.Path, strings.TrimPrefix(s.To, "/cube/out/")) },
	"chmod":   func(root *os.Root, s step) error { return root.Chmod(s.Path, os.FileMode(s.N)&0o777) },
	"fifo":    applyFifo,
	"sparse":  applySparse,
	"many":    applyMany,
	"deep":    applyDeep,
}

func applyFifo(root *os.Root, s step) error {
	d, err := root.Open(path.Dir(s.Path))
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Mknodat(int(d.Fd()), path.Base(s.Path), unix.S_IFIFO|0o644, 0)
}

func applySparse(root *os.Root, s step) error {
	f, err := root.OpenFile(s.Path, os.O_WRONLY|os.O_CREATE|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(s.Data); err != nil {
		return err
	}
	return f.Truncate(s.N)
}

func applyMany(root *os.Root, s step) error {
	for i := range min(s.N, 100) {
		if err := root.WriteFile(path.Join(s.Path, strconv.FormatInt(i, 10)), nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func applyDeep(root *os.Root, s step) error {
	return root.MkdirAll(path.Join(s.Path, strings.Repeat("d/", int(min(max(s.N, 0), 40)))), 0o755)
}
