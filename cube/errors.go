package cube

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

var (
	// ErrNotCube says that a folder holds no cube.
	ErrNotCube = errors.New("no cube here")
	// ErrFormat says that something on disk is damaged, or written by a program
	// that this one does not know.
	ErrFormat = errors.New("damaged or of an unknown format")
	// ErrNotExist says that there is no such version, variable or object. It is
	// io/fs.ErrNotExist.
	ErrNotExist = fs.ErrNotExist
	// ErrOutside says that a box leaves the array's domain, or that a buffer or
	// a tile does not fit.
	ErrOutside = errors.New("does not fit the array")
	// ErrTooLarge says that more was asked for at once than can be.
	ErrTooLarge = errors.New("too large")
	// ErrIncomplete says that a version does not cover its domain, so that it
	// cannot be a head.
	ErrIncomplete = errors.New("version is incomplete")
	// ErrBusy says that a build is using the cube.
	ErrBusy = errors.New("the cube is in use by a build")
)

// UncoveredError says that a read met cells that the array does not have.
type UncoveredError struct {
	Variable string
	Box      grid.Box // the chunk that is not there
}

func (e *UncoveredError) Error() string {
	return fmt.Sprintf("%s: %s is not covered", e.Variable, e.Box)
}

// HeadMovedError says that a head is not the one that was expected: somebody
// else moved it first.
type HeadMovedError struct {
	Variable  string
	Want, Got graph.Digest // zero: no head
}

func (e *HeadMovedError) Error() string {
	return fmt.Sprintf("head of %s: is %s, not %s: another build moved it", e.Variable, name(e.Got), name(e.Want))
}

func name(d graph.Digest) string {
	if d.IsZero() {
		return "none"
	}
	return d.Short()
}
