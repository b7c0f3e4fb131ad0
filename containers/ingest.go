package containers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/npy"
)

// bad says that an output is not what was declared. What it says is printable,
// whatever names the producer chose.
func bad(role, format string, args ...any) *Failure {
	return &Failure{Kind: FailedOutput, Detail: Printable(fmt.Sprintf("output %s: ", word(role)) + fmt.Sprintf(format, args...))}
}

// left is what a producer wrote: /cube/out after its end. Everything in it is
// hostile, but no process can change it any more.
type left struct {
	root *os.Root
	dir  string // root's own path
	disk int64  // what it may hold
}

// Close gives the directory up.
func (l *left) Close() error { return l.root.Close() }

// ingest takes in what a producer left. An entry that is not declared, is no
// regular file, or is not of the declared dtype and shape is a *Failure.
// Values are read only once their dtype and shape are those asked for, so that
// no more memory is used than the request accounts for.
func (l *left) ingest(ctx context.Context, want map[string]graph.RequestOutput) (map[string]Output, error) {
	if err := l.undeclared(want); err != nil {
		return nil, err
	}
	outputs := map[string]Output{}
	for _, role := range slices.Sorted(maps.Keys(want)) {
		o, err := l.ingestOne(ctx, role, want[role])
		if err != nil {
			r := Result{Outputs: outputs}
			return nil, errors.Join(err, r.Close())
		}
		outputs[role] = o
	}
	return outputs, nil
}

// undeclared refuses what lies beside the declared outputs.
func (l *left) undeclared(want map[string]graph.RequestOutput) error {
	return eachEntry(l.root, ".", func(name string) error {
		if _, ok := want[name]; !ok {
			declared := slices.Sorted(maps.Keys(want))
			return bad(name, "the producer declares no such output; it declares %s", strings.Join(declared, ", "))
		}
		return nil
	})
}

func (l *left) ingestOne(ctx context.Context, role string, want graph.RequestOutput) (Output, error) {
	info, err := l.root.Lstat(role)
	if errors.Is(err, fs.ErrNotExist) {
		return Output{}, bad(role, "the producer removed its directory")
	}
	if err != nil {
		return Output{}, err
	}
	if !info.IsDir() {
		return Output{}, bad(role, "is %s, and should be a directory", kindOf(info.Mode()))
	}
	s := survey{root: l.root, role: role, limit: l.disk}
	if err := s.visit(role, 0); err != nil {
		return Output{}, err
	}
	if s.entries == 1 {
		return Output{}, bad(role, "the producer wrote nothing to %s", cmp.Or(want.File, want.Path, "its directory"))
	}
	if want.Kind == graph.File {
		return l.ingestFile(role)
	}
	switch {
	case !s.array:
		return l.ingestZarr(ctx, role, want)
	case s.stray != "": // an array file must be alone
		return Output{}, bad(role, "%s lies beside %s: the producer declares no such file", word(s.stray), graph.ArrayFile)
	}
	return l.ingestNPY(role, want)
}

func (l *left) ingestNPY(role string, want graph.RequestOutput) (Output, error) {
	f, err := l.open(role, role+"/"+graph.ArrayFile)
	if err != nil {
		return Output{}, err
	}
	defer f.Close()
	h, err := npy.ReadHeader(f)
	if err != nil {
		return Output{}, bad(role, "%s: %v", graph.ArrayFile, err)
	}
	if err := sameArray(role, want, h.DType, h.Shape); err != nil {
		return Output{}, err
	}
	n, err := h.Size()
	if err != nil {
		return Output{}, bad(role, "%s: %v", graph.ArrayFile, err)
	}
	if err := sameLength(f, n); err != nil {
		return Output{}, bad(role, "%s: %v", graph.ArrayFile, err)
	}
	values := make([]byte, n)
	if _, err := io.ReadFull(f, values); err != nil {
		return Output{}, fmt.Errorf("read output %s: %w", role, err)
	}
	return Output{Values: values}, nil
}

// sameLength says that a file does not hold n more bytes, and those alone.
func sameLength(f *os.File, n int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if have := info.Size() - at; have != n {
		return fmt.Errorf("%d bytes of values, its header says %d", have, n)
	}
	return nil
}

// sameArray says how an array differs from the declared one, or nil.
func sameArray(role string, want graph.RequestOutput, dtype string, shape []int64) error {
	if dtype != string(want.DType) {
		return bad(role, "its dtype is %s, the producer declares %s", dtype, want.DType)
	}
	if !slices.Equal(shape, want.Shape) {
		return bad(role, "its shape is %v, the tile asks for %v (%v)", shape, want.Shape, want.Dims)
	}
	return nil
}

// ingestFile takes the one file in an output's directory, whatever its name.
func (l *left) ingestFile(role string) (Output, error) {
	names := []string{}
	err := eachEntry(l.root, role, func(name string) error {
		names = append(names, name)
		if len(names) > 1 {
			slices.Sort(names)
			return bad(role, "want one file in its directory, found %s and %s", word(names[0]), word(names[1]))
		}
		return nil
	})
	if err != nil {
		return Output{}, err
	}
	if plain := strconv.Quote(names[0]); plain != `"`+names[0]+`"` {
		return Output{}, bad(role, "its file has the name %s; use letters, digits and dots", plain)
	}
	f, err := l.open(role, path.Join(role, names[0]))
	if err != nil {
		return Output{}, err
	}
	return Output{File: f, Name: names[0]}, nil
}

// open opens a regular file and refuses everything else. It waits for nobody: a
// pipe may have come to be there since all was looked at.
func (l *left) open(role, name string) (*os.File, error) {
	f, err := l.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = bad(role, "%s is %s, and should be a file", word(path.Base(name)), kindOf(info.Mode()))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
