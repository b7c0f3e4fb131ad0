package lineage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
)

// sampleParts is at how many places of a long file a sample is taken, and
// sampleLine how long a line is taken to be when it is asked which file is long.
const (
	sampleParts = 32
	sampleLine  = 1 << 10
)

// Sample yields at most so many actions of a run, in the order in which they
// ended: all of a short one, and of a long one some from every part. It reads
// no more of a file than that. Damaged lines are passed over.
func (s *Store) Sample(id string, most int) iter.Seq2[Action, error] {
	return func(yield func(Action, error) bool) {
		path, err := s.path(id, actionsFile)
		if err != nil {
			yield(Action{}, err)
			return
		}
		info, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			return
		}
		if err != nil {
			yield(Action{}, fmt.Errorf("sample run %s: %w", id, err))
			return
		}
		parts := int64(sampleParts)
		if info.Size() <= int64(most)*sampleLine {
			parts = 1
		}
		for k := range parts {
			end := info.Size() * (k + 1) / parts
			if !s.samplePart(id, path, info.Size()*k/parts, end, (most+int(parts)-1)/int(parts), yield) {
				return
			}
		}
	}
}

// samplePart yields the first actions whose lines begin within a part of the
// file; false where no more are wanted.
func (s *Store) samplePart(id, path string, from, end int64, most int, yield func(Action, error) bool) bool {
	from, err := lineStart(path, from)
	if err != nil {
		return yield(Action{}, fmt.Errorf("sample run %s: %w", id, err))
	}
	if from >= end {
		return true
	}
	for p, err := range s.ActionsFrom(id, from) {
		var damage *DamageError
		if err != nil && !errors.As(err, &damage) {
			return yield(Action{}, err)
		}
		if err == nil && !yield(p.Record, nil) {
			return false
		}
		if most--; most <= 0 || p.End >= end {
			return true
		}
	}
	return true
}

// lineStart is where the first line begins that begins at an offset or behind it.
func lineStart(path string, offset int64) (int64, error) {
	if offset == 0 {
		return 0, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, 64<<10)
	for at := offset - 1; ; {
		n, err := f.ReadAt(buf, at)
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			return at + int64(i) + 1, nil
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return at, nil
		}
		if err != nil {
			return 0, err
		}
	}
}
