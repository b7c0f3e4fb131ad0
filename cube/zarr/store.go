package zarr

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"github.com/cubebuild/cube/cube/zarr/codec"
)

// Errors that callers may test for with errors.Is.
var (
	// ErrNotExist says that a key, array or group is not there.
	ErrNotExist = fs.ErrNotExist
	// ErrExist says that an array or group is already there.
	ErrExist = fs.ErrExist
	// ErrCorrupt says that metadata or a chunk breaks the format.
	ErrCorrupt = codec.ErrCorrupt
	// ErrUnsupported says that metadata asks for what this package does not do.
	ErrUnsupported = codec.ErrUnsupported
	// ErrRange says that a region or a chunk index lies outside the array, or
	// that a buffer does not fit it.
	ErrRange = errors.New("out of range")
	// ErrKey says that a key is not a legal one; see [ValidKey].
	ErrKey = errors.New("invalid key")
)

// A Reader gives the values of keys.
type Reader interface {
	// Get appends the value of key to dst and returns the result, which may
	// share dst's memory. It fails with ErrNotExist where there is none.
	Get(ctx context.Context, key string, dst []byte) ([]byte, error)
}

// A Writer sets the values of keys.
type Writer interface {
	// Set makes value the value of key: wholly or, on an error, not at all. It
	// does not keep value.
	Set(ctx context.Context, key string, value []byte) error
}

// A Deleter removes keys.
type Deleter interface {
	// Delete removes key. That it is not there is no error.
	Delete(ctx context.Context, key string) error
}

// A Lister tells what keys there are.
type Lister interface {
	// List yields, in lexical order, the names directly below prefix, which is
	// "" for all or a path without a trailing slash. A name that further keys
	// lie below ends with a slash. Nothing there is no error.
	List(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// A Store can be read and written.
type Store interface {
	Reader
	Writer
	Deleter
	Lister
}

// maxKey bounds a key's length.
const maxKey = 4096

// ValidKey reports whether key is one that every store takes: segments divided
// by single slashes, none of them empty, "." or "..", without NUL, backslash or
// a name reserved for temporary files.
func ValidKey(key string) bool {
	if len(key) == 0 || len(key) > maxKey || strings.ContainsAny(key, "\x00\\") {
		return false
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.HasPrefix(segment, tempPrefix) {
			return false
		}
	}
	return true
}

func checkKey(key string) error {
	if !ValidKey(key) {
		return fmt.Errorf("%w %.200q", ErrKey, key)
	}
	return nil
}

// join puts a name below a node's path; the root's path is "".
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}
