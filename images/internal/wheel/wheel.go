// Package wheel unpacks Python wheels, and resolves and fetches them with pip.
package wheel

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/cubebuild/cube/images/internal/layer"
)

// ErrFormat is in the chain when a file is not a wheel.
var ErrFormat = errors.New("not a wheel")

// Layout says where the parts of wheels go, as paths from the image's root
// without a leading slash.
type Layout struct {
	Site        string // "usr/local/lib/python3.11/dist-packages"
	Prefix      string // "usr/local"
	Interpreter string // what scripts begin with, "/usr/bin/python3.11"
}

// Unpack installs the wheel r, of size bytes, into a tree. It compiles nothing.
// A file that another wheel brought is replaced, as pip does.
func Unpack(r io.ReaderAt, size int64, tree *layer.Tree, to Layout) error {
	zr, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	wheel, seen := false, make(map[string]bool, len(zr.File))
	for _, f := range zr.File {
		name, err := layer.Clean(f.Name)
		if err != nil {
			return err
		}
		if strings.Contains(name, `\`) {
			return fmt.Errorf("entry %.80q: %w: a backslash in its name", name, layer.ErrUnsafe)
		}
		if f.Mode().IsDir() {
			continue
		}
		if !f.Mode().IsRegular() {
			return fmt.Errorf("entry %.80q: %w: neither file nor folder", name, layer.ErrUnsafe)
		}
		if seen[name] {
			return fmt.Errorf("entry %.80q: %w: given twice", name, layer.ErrUnsafe)
		}
		seen[name] = true
		wheel = wheel || strings.HasSuffix(name, ".dist-info/WHEEL")
		if err := install(f, name, tree, to); err != nil {
			return err
		}
	}
	if !wheel {
		return fmt.Errorf("%w: it has no .dist-info/WHEEL", ErrFormat)
	}
	return nil
}

func install(f *zip.File, name string, tree *layer.Tree, to Layout) error {
	if f.UncompressedSize64 > 1<<40 {
		return fmt.Errorf("entry %.80q: %w: too large", name, layer.ErrUnsafe)
	}
	dst, script := to.place(name)
	rc, err := f.Open()
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, name, err)
	}
	defer rc.Close()
	size := int64(f.UncompressedSize64)
	if script {
		return installScript(rc, size, dst, tree, to)
	}
	if err := tree.File(dst, rc, size, f.Mode()&0o111 != 0, true); err != nil {
		return err
	}
	// The checksum is checked where the file's end is read.
	if _, err := rc.Read(make([]byte, 1)); err != io.EOF {
		return fmt.Errorf("%w: %s: longer than it says, or broken: %v", ErrFormat, name, err)
	}
	return nil
}

// place says where an entry goes, and whether it is a script.
func (to Layout) place(name string) (dst string, script bool) {
	first, rest, ok := strings.Cut(name, "/")
	if !ok || !strings.HasSuffix(first, ".data") {
		return path.Join(to.Site, name), false
	}
	key, rest, _ := strings.Cut(rest, "/")
	switch key {
	case "scripts":
		return path.Join(to.Prefix, "bin", rest), true
	case "data":
		return path.Join(to.Prefix, rest), false
	case "headers":
		return path.Join(to.Prefix, "include", rest), false
	}
	return path.Join(to.Site, rest), false // purelib, platlib
}

// installScript writes a script with its first line, "#!python", made good.
func installScript(r io.Reader, size int64, dst string, tree *layer.Tree, to Layout) error {
	const maxScript = 64 << 20
	if size > maxScript {
		return fmt.Errorf("entry %.80q: %w: script too large", dst, layer.ErrUnsafe)
	}
	br := bufio.NewReader(io.LimitReader(r, size+1))
	body, err := io.ReadAll(br)
	if err != nil || int64(len(body)) != size {
		return fmt.Errorf("%w: %s: broken: %v", ErrFormat, dst, err)
	}
	text := string(body)
	if rest, ok := strings.CutPrefix(text, "#!python"); ok {
		_, rest, _ = strings.Cut(rest, "\n")
		text = "#!" + to.Interpreter + "\n" + rest
	}
	return tree.File(dst, strings.NewReader(text), int64(len(text)), true, true)
}
