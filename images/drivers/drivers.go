// Package drivers holds the sources of the drivers that are shipped in the
// program, each a producer directory: producer.yaml, image.lock and code. A
// workspace names one as builtin:<name>; it is built like any other producer.
package drivers

import (
	"embed"
	"io/fs"
)

// files names what belongs to a driver, so that byte code and the like that
// lie about in a working tree stay out of the program.
//
//go:embed dem/producer.yaml dem/image.lock dem/*.py
var files embed.FS

// FS returns the producer directory of a shipped driver, and whether there is
// one of that name.
func FS(name string) (fs.FS, bool) {
	if !fs.ValidPath(name) || name == "." {
		return nil, false
	}
	dir, err := fs.Sub(files, name)
	if err != nil {
		return nil, false
	}
	if _, err := fs.Stat(dir, "producer.yaml"); err != nil {
		return nil, false
	}
	return dir, true
}

// Names returns the names of the shipped drivers in order.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil // the root of an embedded tree is always readable
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}
