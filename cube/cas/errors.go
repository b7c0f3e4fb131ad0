package cas

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cubebuild/cube/graph"
)

var (
	// ErrNotExist says that there is no such object. It is io/fs.ErrNotExist.
	ErrNotExist = fs.ErrNotExist
	// ErrFormat says that a file is not one that this package wrote, or is of
	// another version.
	ErrFormat = errors.New("not a format that this program reads")
	// ErrTooLarge says that a value is larger than a log takes.
	ErrTooLarge = errors.New("value too large")
)

// CorruptError says that an object's bytes do not have its digest. The object
// has been moved away, so that it is as good as missing: whoever makes it again
// puts it back.
type CorruptError struct {
	Digest graph.Digest
	Path   string // where it should be
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("object %s: damaged: %s does not have its digest", e.Digest.Short(), e.Path)
}
