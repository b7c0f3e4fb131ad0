package lineage

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/wholefile"
)

// Bounds on what is read from a record file.
const (
	maxRunFile = 16 << 20
	maxLine    = 64 << 20
)

// Store reads the runs of a cube. Its methods may be called at once, and
// beside writers.
type Store struct {
	dir   string
	index index
}

// Open returns the store of a folder of runs, .cube/runs. The folder need not
// exist.
func Open(runsDir string) *Store { return &Store{dir: runsDir} }

// IDs lists the runs, oldest first.
func (s *Store) IDs() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && CheckID(e.Name()) == nil {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil // ReadDir sorts
}

// Runs yields the runs, oldest first, without their vertices. A run that
// cannot be read is an error, after which the next one comes. A folder without
// run.json, which a process that died early leaves, is no run.
func (s *Store) Runs() iter.Seq2[Run, error] {
	return func(yield func(Run, error) bool) {
		ids, err := s.IDs()
		if err != nil {
			yield(Run{}, err)
			return
		}
		for _, id := range ids {
			run, err := s.Summary(id)
			if errors.Is(err, ErrNoRun) {
				continue
			}
			if !yield(run, err) {
				return
			}
		}
	}
}

// Run returns a run with its vertices. Vertices that cannot be read are left
// out, and the error says so beside what could be read.
func (s *Store) Run(id string) (Run, error) {
	run, err := s.Summary(id)
	if err != nil {
		return run, err
	}
	var errs []error
	for v, err := range s.Vertices(id) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		run.Vertices = append(run.Vertices, v)
	}
	return run, errors.Join(errs...)
}

// Vertices yields the vertices of a run in the order in which they ended. A
// damaged line is a [*DamageError], after which the next one comes.
func (s *Store) Vertices(id string) iter.Seq2[Vertex, error] {
	return onlyRecords(s.VerticesFrom(id, 0))
}

// Placed is a record and the offset behind its line.
type Placed[T any] struct {
	Record T
	End    int64
}

// VerticesFrom is Vertices from the offset behind a line that was read before.
// A damaged line has its End beside the error.
func (s *Store) VerticesFrom(id string, offset int64) iter.Seq2[Placed[Vertex], error] {
	return records[Vertex](s, id, verticesFile, "vertex", offset)
}

// ActionsFrom is Actions from the offset behind a line that was read before. A
// damaged line has its End beside the error.
func (s *Store) ActionsFrom(id string, offset int64) iter.Seq2[Placed[Action], error] {
	return records[Action](s, id, actionsFile, "action", offset)
}

func onlyRecords[T any](placed iter.Seq2[Placed[T], error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for p, err := range placed {
			if !yield(p.Record, err) {
				return
			}
		}
	}
}

// Actions yields the actions of a run in the order in which they ended. A
// damaged line is a [*DamageError], after which the next one comes.
func (s *Store) Actions(id string) iter.Seq2[Action, error] {
	return onlyRecords(s.ActionsFrom(id, 0))
}

// Remove deletes the records of a run, unless it goes on.
func (s *Store) Remove(id string) error {
	run, err := s.Summary(id)
	if err != nil {
		return err
	}
	if run.Status == Running {
		return fmt.Errorf("remove run %s: %w", id, ErrRunning)
	}
	if err := os.RemoveAll(filepath.Join(s.dir, id)); err != nil {
		return fmt.Errorf("remove run %s: %w", id, err)
	}
	s.index.forget()
	return nil
}

// Tidy removes what the writer of a run left half-made when it was killed, which
// nothing reads. It is for runs whose process is known to be gone.
func (s *Store) Tidy(id string) {
	entries, err := os.ReadDir(filepath.Join(s.dir, id))
	if CheckID(id) != nil || err != nil {
		return
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "."+runFile+"-") { // see package wholefile
			_ = os.Remove(filepath.Join(s.dir, id, e.Name()))
		}
	}
}

// path names a file of a run whose id may come from outside.
func (s *Store) path(id, file string) (string, error) {
	if err := CheckID(id); err != nil {
		return "", err
	}
	return filepath.Join(s.dir, id, file), nil
}

// Summary returns a run without its vertices. It is [ErrNoRun] where run.json
// is not there.
func (s *Store) Summary(id string) (Run, error) {
	path, err := s.path(id, runFile)
	if err != nil {
		return Run{}, err
	}
	b, err := wholefile.Read(path, maxRunFile)
	if errors.Is(err, os.ErrNotExist) {
		return Run{}, fmt.Errorf("run %s: %w", id, ErrNoRun)
	}
	if err != nil {
		return Run{}, fmt.Errorf("run %s: %w", id, err)
	}
	run, err := decodeRun(b)
	if err != nil {
		return Run{}, fmt.Errorf("run %s: %s: %w", id, path, err)
	}
	run.ID = id
	if run.Status == Running && !held(filepath.Join(s.dir, id, actionsFile)) {
		run.Status = Interrupted
	}
	return run, nil
}

// decodeRun reads the bytes of a run.json.
func decodeRun(b []byte) (Run, error) {
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return Run{}, err
	}
	if head.Format != formatName || head.Version < 1 || head.Version > formatVersion {
		return Run{}, fmt.Errorf("%q version %d: %w", head.Format, head.Version, ErrFormat)
	}
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return Run{}, err
	}
	return e.Run, nil
}

// records yields the records of one file, from an offset at a line's start. A
// file that is not there has none.
func records[T any](s *Store, id, file, kind string, from int64) iter.Seq2[Placed[T], error] {
	return func(yield func(Placed[T], error) bool) {
		path, err := s.path(id, file)
		if err != nil {
			yield(Placed[T]{}, err)
			return
		}
		for line, err := range fileLines(path, from) {
			if err != nil {
				yield(Placed[T]{}, err)
				return
			}
			v, why := decodeLine[T](kind, line.text)
			if why != "" {
				err = &DamageError{path, line.offset, why}
			}
			if !yield(Placed[T]{v, line.end()}, err) {
				return
			}
		}
	}
}

// decodeLine returns the record of a line, or what is wrong with it.
func decodeLine[T any](kind string, line []byte) (v T, why string) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return v, "not JSON"
	}
	var digest graph.Digest
	if err := json.Unmarshal(fields["digest"], &digest); err != nil {
		return v, "no digest"
	}
	raw, ok := fields[kind]
	if !ok || graph.Sum(raw) != digest {
		return v, "digest does not match"
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		var zero T
		return zero, err.Error()
	}
	return v, ""
}

// line is a whole line of a record file, without its line feed.
type line struct {
	offset int64
	text   []byte // valid until the next one
}

// end is the offset behind the line.
func (l line) end() int64 { return l.offset + int64(len(l.text)) + 1 }

// fileLines yields the lines of a file from an offset on. What follows the last
// line feed is what a killed writer left, or a writer has not finished.
func fileLines(path string, from int64) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return
		}
		if err != nil {
			yield(line{}, err)
			return
		}
		defer f.Close()
		if _, err := f.Seek(from, io.SeekStart); err != nil {
			yield(line{}, err)
			return
		}
		lines(f, path, from, yield)
	}
}

func lines(r io.Reader, name string, offset int64, yield func(line, error) bool) {
	br := bufio.NewReaderSize(r, 32<<10)
	var long []byte
	for {
		part, err := br.ReadSlice('\n')
		text := part
		if errors.Is(err, bufio.ErrBufferFull) || len(long) > 0 {
			long = append(long, part...)
			text = long
		}
		switch {
		case len(text) > maxLine:
			yield(line{}, &DamageError{name, offset, "line too long"})
			return
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			yield(line{}, fmt.Errorf("read %s: %w", name, err))
			return
		}
		l := line{offset, text[:len(text)-1]}
		if !yield(l, nil) {
			return
		}
		offset, long = l.end(), long[:0]
	}
}
