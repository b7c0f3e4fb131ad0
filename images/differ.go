package images

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Difference is a file that is not the same in two layers.
type Difference struct {
	Path string // in the image
	Line int    // the first that differs; 0 where only one has the file, or it is no text
}

// Bounds on what Differ looks at: a producer's own files, and no whole system.
const (
	differFiles = 1000
	differBytes = 16 << 20 // of a file; beyond, only its size is looked at
)

// Differ names the files that are not the same in two layers, by the DiffIDs, in
// the order of their paths. Byte code is left out. There are none where one of
// the layers is not unpacked on this machine, or holds more than a producer's own
// files.
func (s *Store) Differ(ctx context.Context, before, after string) ([]Difference, error) {
	if !validDigest(before) || !validDigest(after) {
		return nil, nil
	}
	unlock, err := s.using(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	old, oldErr := layerFiles(s.layerPath(before))
	now, nowErr := layerFiles(s.layerPath(after))
	if oldErr != nil || nowErr != nil {
		return nil, missing(errors.Join(oldErr, nowErr))
	}
	all := maps.Clone(old)
	maps.Copy(all, now)
	var out []Difference
	for _, name := range slices.Sorted(maps.Keys(all)) {
		d, differs, err := difference(s.layerPath(before), s.layerPath(after), name, old, now)
		if err != nil {
			return nil, err
		}
		if differs {
			out = append(out, d)
		}
	}
	return out, nil
}

// errMany says that a layer holds more than is looked at.
var errMany = errors.New("many files")

// missing drops an error that says that a layer cannot be looked at.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errMany) {
		return nil
	}
	return err
}

// layerFiles are the sizes of a layer's regular files, by path.
func layerFiles(dir string) (map[string]int64, error) {
	sizes := map[string]int64{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Name() == "__pycache__" {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if len(sizes) == differFiles {
			return errMany
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		sizes[strings.TrimPrefix(path, dir)] = st.Size()
		return nil
	})
	return sizes, err
}

// difference compares one file of two layers.
func difference(before, after, name string, old, now map[string]int64) (Difference, bool, error) {
	d := Difference{Path: name}
	was, inOld := old[name]
	is, inNow := now[name]
	if !inOld || !inNow || max(was, is) > differBytes {
		return d, inOld != inNow || was != is, nil
	}
	a, err := os.ReadFile(before + name)
	if err != nil {
		return d, false, err
	}
	b, err := os.ReadFile(after + name)
	if err != nil || bytes.Equal(a, b) {
		return d, false, err
	}
	if isText(a) && isText(b) {
		d.Line = firstLine(a, b)
	}
	return d, true, nil
}

func isText(b []byte) bool { return utf8.Valid(b) && !bytes.ContainsRune(b, 0) }

// firstLine is the first line that differs in two texts that do.
func firstLine(a, b []byte) int {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	return 1 + bytes.Count(a[:i], []byte("\n"))
}
