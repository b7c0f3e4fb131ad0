package deadletter

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/wholefile"
)

const (
	suffix  = ".json"
	maxFile = 64 << 20 // a larger one is no letter
)

// Store is the dead letters of a cube. Its methods may be called at once, and
// by several processes.
type Store struct{ dir string }

// Open returns the store of a folder, .cube/deadletter, which need not exist.
func Open(dir string) *Store { return &Store{filepath.Clean(dir)} }

func (s *Store) path(id graph.ActionID) string {
	return s.dir + string(filepath.Separator) + id.Hex() + suffix
}

// Put keeps a letter, durably, in place of an earlier one of the same action.
func (s *Store) Put(l *Letter) error {
	b, err := l.Encode()
	if err == nil {
		err = os.MkdirAll(s.dir, 0o777)
	}
	if err == nil {
		err = wholefile.Write(s.path(l.Action), b)
	}
	if err != nil {
		return fmt.Errorf("keep dead letter of %s: %w", l.Action.Short(), err)
	}
	return nil
}

// Get returns the letter of an action; it is fs.ErrNotExist where there is
// none, and ErrFormat where it cannot be read.
func (s *Store) Get(id graph.ActionID) (*Letter, error) {
	l, err := read(s.path(id))
	if err == nil && l.Action != id {
		err = fmt.Errorf("%w: it is that of %s", ErrFormat, l.Action.Short())
	}
	if err != nil {
		return nil, fmt.Errorf("dead letter of %s: %w", id.Short(), err)
	}
	return l, nil
}

func read(path string) (*Letter, error) {
	b, err := wholefile.Read(path, maxFile)
	if errors.Is(err, wholefile.ErrTooLarge) {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err != nil {
		return nil, err
	}
	return Decode(b)
}

// Remove drops the letter of an action, if there is one, and says whether
// there was.
func (s *Store) Remove(id graph.ActionID) (bool, error) {
	// Not os.Remove, which tries it as a folder, too: this is asked of every action.
	err := syscall.Unlink(s.path(id))
	for err == syscall.EINTR {
		err = syscall.Unlink(s.path(id))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("remove dead letter %s: %w", id.Short(), err)
	}
	return true, nil
}

// IDs lists the actions that have a letter, in the order of their ids.
func (s *Store) IDs() ([]graph.ActionID, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	var ids []graph.ActionID
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if id, err := graph.ParseDigest(name); ok && err == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// All yields the letters. One that cannot be read is an error, with a Letter
// that names its action alone, after which the next one comes.
func (s *Store) All() iter.Seq2[*Letter, error] {
	return func(yield func(*Letter, error) bool) {
		ids, err := s.IDs()
		if err != nil {
			yield(nil, err)
			return
		}
		for _, id := range ids {
			l, err := s.Get(id)
			if errors.Is(err, fs.ErrNotExist) {
				continue // dropped meanwhile
			}
			if err != nil {
				l = &Letter{Action: id}
			}
			if !yield(l, err) {
				return
			}
		}
	}
}
