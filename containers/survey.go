package containers

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"github.com/cubebuild/cube/graph"
)

// Bounds of what a producer may leave in an output.
const (
	maxEntries  = 1 << 20 // files and directories
	maxDepth    = 16      // directories in each other
	maxMetadata = 4 << 20 // bytes of one document of a Zarr node
)

// metadata are the names of the documents of Zarr nodes, of both versions.
var metadata = []string{"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"}

// survey looks at all that lies in one output before any of it is read, and
// refuses what is not made of directories and regular files that their owner
// can read, each known by one name, together no larger than the disk limit. A
// larger file can only be a sparse one.
type survey struct {
	root    *os.Root
	role    string
	limit   int64 // bytes of all files
	entries int
	bytes   int64
	array   bool   // graph.ArrayFile is there
	stray   string // a name that stands beside it, or ""
}

// visit looks at a file or directory and at all below it. What is wrong with
// the tree is a *Failure; any other error is the machine's.
func (s *survey) visit(name string, depth int) error {
	info, err := s.root.Lstat(name)
	if err != nil {
		return err
	}
	if s.entries++; s.entries > maxEntries {
		return bad(s.role, "it holds more than %d files", maxEntries)
	}
	if info.IsDir() {
		return s.dir(name, info, depth)
	}
	return s.file(name, info)
}

func (s *survey) dir(name string, info fs.FileInfo, depth int) error {
	if info.Mode().Perm()&0o500 != 0o500 {
		return bad(s.role, "%s cannot be read: its permissions are %v", word(name), info.Mode())
	}
	if depth == maxDepth {
		return bad(s.role, "%s lies more than %d directories deep", word(name), maxDepth)
	}
	return eachEntry(s.root, name, func(entry string) error {
		if depth == 0 {
			s.note(entry)
		}
		return s.visit(path.Join(name, entry), depth+1)
	})
}

// note notes what lies in the output's own directory.
func (s *survey) note(entry string) {
	if entry == graph.ArrayFile {
		s.array = true
	} else {
		s.stray = entry
	}
}

func (s *survey) file(name string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	s.bytes += info.Size()
	switch {
	case !info.Mode().IsRegular():
		return bad(s.role, "%s is %s; an output is made of regular files", word(name), kindOf(info.Mode()))
	case ok && st.Nlink > 1:
		return bad(s.role, "%s is a hard link; write a file of its own", word(name))
	case info.Mode().Perm()&0o400 == 0:
		return bad(s.role, "%s cannot be read: its permissions are %v", word(name), info.Mode())
	case slices.Contains(metadata, path.Base(name)) && info.Size() > maxMetadata:
		return bad(s.role, "%s holds %d bytes, metadata may have %d", word(name), info.Size(), maxMetadata)
	case s.bytes > s.limit || s.bytes < 0:
		return bad(s.role, "%s is %d bytes long, with which it is larger than the disk limit of %d MiB", word(name), info.Size(), s.limit>>20)
	}
	return nil
}

// kindOf says in words what something is.
func kindOf(m fs.FileMode) string {
	switch m.Type() {
	case 0:
		return "a file"
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeNamedPipe:
		return "a pipe"
	case fs.ModeSocket:
		return "a socket"
	}
	return "a device"
}

// eachEntry calls do for the name of each entry of a directory, a few at a time:
// there may be millions.
func eachEntry(root *os.Root, name string, do func(name string) error) error {
	d, err := root.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(256)
		for _, n := range names {
			if err := do(n); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// word is a name as an error may show it: quoted where it holds anything that
// a terminal would not show as it is.
func word(name string) string {
	if q := strconv.Quote(name); q != `"`+name+`"` || strings.ContainsRune(name, ' ') || name == "" {
		name = q
	}
	return clip(name, 300)
}

// Printable makes text that a producer may have had a hand in fit for a log or
// a terminal: what is not printable is escaped, and it has an end.
func Printable(s string) string {
	var b strings.Builder
	for _, r := range clip(s, 2000) {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		q := strconv.QuoteRune(r)
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}

// clip shortens text to about n bytes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
