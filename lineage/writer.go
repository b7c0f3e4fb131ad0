package lineage

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/credential"
	"github.com/cubebuild/cube/internal/wholefile"
	"golang.org/x/sync/errgroup"
)

// The files of a run.
const (
	runFile      = "run.json"
	verticesFile = "vertices.ndjson"
	basesFile    = "bases.ndjson"
	actionsFile  = "actions.ndjson"
	logFile      = "log"
)

// formatName and formatVersion stand in run.json.
const (
	formatName    = "cube-run"
	formatVersion = 1
)

// envelope is run.json.
type envelope struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Run     Run    `json:"run"`
}

// Options of a Writer; the zero value is the default.
type Options struct {
	// LogLimit is how many bytes of what one action prints are kept: the first
	// half and the last half. Zero is 1 MiB.
	LogLimit int
}

// Writer records one run. Its methods may be called at once.
type Writer struct {
	dir      string
	logLimit int

	mu       sync.Mutex
	run      Run
	began    bool
	ended    bool
	err      error // why the run cannot be recorded
	vertices appendFile
	bases    appendFile
	actions  appendFile
	log      appendFile
}

// Create returns a Writer for a run. It gives the run an id, where it has none,
// and a start, and touches no disk: the folder appears with the first record,
// so that a run that does nothing leaves nothing.
func Create(runsDir string, run Run, opts Options) *Writer {
	if run.Started.IsZero() {
		run.Started = time.Now()
	}
	run.Started = run.Started.UTC()
	if run.ID == "" {
		run.ID = NewID(run.Started)
	}
	run.Status, run.Vertices, run.Files = Running, nil, nil
	run.Command = credential.RedactAll(run.Command)
	if opts.LogLimit <= 0 {
		opts.LogLimit = 1 << 20
	}
	return &Writer{dir: filepath.Join(runsDir, run.ID), run: run, logLimit: opts.LogLimit}
}

// ID returns the run's id.
func (w *Writer) ID() string { return w.run.ID }

// Begin makes the run's folder and writes run.json, unless that is done.
func (w *Writer) Begin() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.begin()
}

func (w *Writer) begin() error {
	if w.ended {
		return fmt.Errorf("record run %s: it has ended", w.run.ID)
	}
	if !w.began {
		w.began = true
		if err := w.open(); err != nil {
			w.err = fmt.Errorf("record run %s: %w", w.run.ID, err)
		}
	}
	return w.err
}

func (w *Writer) open() error {
	if err := CheckID(w.run.ID); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(w.dir), 0o777); err != nil {
		return err
	}
	if err := os.Mkdir(w.dir, 0o777); err != nil {
		return err
	}
	if err := w.actions.open(filepath.Join(w.dir, actionsFile)); err != nil {
		return err
	}
	if err := lockForLife(w.actions.f); err != nil {
		return err
	}
	if err := w.writeRun(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(w.dir))
}

func (w *Writer) writeRun() error {
	b, err := marshal(envelope{formatName, formatVersion, w.run})
	if err != nil {
		return err
	}
	return wholefile.Write(filepath.Join(w.dir, runFile), append(b, '\n'))
}

// Action records an action. The record survives the end of the process from
// then on.
func (w *Writer) Action(a Action) error {
	a.Run = w.run.ID
	line, err := encodeLine("action", a)
	if err != nil {
		return fmt.Errorf("record action %s: %w", a.ID.Short(), err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.begin(); err != nil {
		return err
	}
	return w.actions.append(line)
}

// Vertex records a vertex, durably, and with it what was recorded of actions: it is
// to be called before a head shows what the vertex made.
func (w *Writer) Vertex(v Vertex) error {
	v.Run = w.run.ID
	v.Sources = slices.Clone(v.Sources)
	for i := range v.Sources {
		v.Sources[i].URI = credential.Redact(v.Sources[i].URI)
		v.Sources[i].Recording = v.Sources[i].Recording.redacted()
	}
	line, err := encodeLine("vertex", v)
	if err != nil {
		return fmt.Errorf("record vertex %s: %w", v.Instance, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.begin(); err != nil {
		return err
	}
	if err := w.lazily(&w.vertices, verticesFile); err != nil {
		return err
	}
	if err := w.vertices.append(line); err != nil {
		return err
	}
	if err := syncAll(&w.vertices, &w.bases, &w.actions); err != nil {
		return fmt.Errorf("record run %s: %w", w.run.ID, err)
	}
	return nil
}

// syncAll makes what was appended to files durable; the disk does them together.
func syncAll(files ...*appendFile) error {
	var g errgroup.Group
	for _, a := range files {
		if a.dirty {
			g.Go(a.sync)
		}
	}
	return g.Wait()
}

// Basis records what the actions of a vertex have in common. It is to be called
// before the first of them is recorded.
func (w *Writer) Basis(b Basis) error {
	line, err := encodeLine("basis", b)
	if err != nil {
		return fmt.Errorf("record the basis of %s: %w", b.Instance, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.begin(); err != nil {
		return err
	}
	if err := w.lazily(&w.bases, basesFile); err != nil {
		return err
	}
	return w.bases.append(line)
}

// lazily opens a file of the run that need not be there.
func (w *Writer) lazily(a *appendFile, name string) error {
	if a.f != nil {
		return nil
	}
	if err := a.open(filepath.Join(w.dir, name)); err != nil {
		return fmt.Errorf("record run %s: %w", w.run.ID, err)
	}
	return syncDir(w.dir)
}

// End closes the record of the run, unless nothing was recorded. The Writer is
// of no use afterwards; a second End does nothing. Logs must be closed before.
func (w *Writer) End(status Status, counts Counts, cause error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended || !w.began {
		w.ended = true
		return nil
	}
	w.ended = true
	w.run.Status, w.run.Counts, w.run.Finished = status, counts, time.Now().UTC()
	if cause != nil {
		w.run.Error = credential.Redact(firstLine(cause.Error()))
	}
	err := w.err
	if err == nil {
		err = w.seal()
	}
	return errors.Join(err, w.vertices.close(), w.bases.close(), w.log.close(), w.actions.close())
}

// seal makes what was written durable and says so in run.json.
func (w *Writer) seal() error {
	w.run.Files = map[string]FileSum{}
	for name, a := range map[string]*appendFile{verticesFile: &w.vertices, basesFile: &w.bases, actionsFile: &w.actions, logFile: &w.log} {
		if a.f != nil {
			w.run.Files[name] = FileSum{a.size, graph.Digest(a.sum.Sum(nil))}
		}
	}
	if err := syncAll(&w.vertices, &w.bases, &w.actions, &w.log); err != nil {
		return fmt.Errorf("record run %s: %w", w.run.ID, err)
	}
	if err := w.writeRun(); err != nil {
		return fmt.Errorf("record run %s: %w", w.run.ID, err)
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// encodeLine returns the line of a record.
func encodeLine(kind string, record any) ([]byte, error) {
	b, err := marshal(record)
	if err != nil {
		return nil, err
	}
	line := make([]byte, 0, len(b)+len(kind)+100)
	line = fmt.Appendf(line, `{"digest":%q,%q:`, graph.Sum(b), kind)
	line = append(line, b...)
	return append(line, "}\n"...), nil
}

// marshal is json.Marshal without HTML escapes, so that the canonical JSON
// within a record stays as it is.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// appendFile is a file that only grows, by whole records, with its digest.
type appendFile struct {
	f     *os.File
	size  int64
	sum   hash.Hash
	dirty bool // since it was synced
}

func (a *appendFile) open(path string) (err error) {
	a.f, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND, 0o666)
	a.sum, a.dirty = sha256.New(), err == nil
	return err
}

// append writes b whole or not at all.
func (a *appendFile) append(b []byte) error {
	if _, err := a.f.Write(b); err != nil {
		return errors.Join(fmt.Errorf("record: %w", err), a.f.Truncate(a.size))
	}
	a.size += int64(len(b))
	a.sum.Write(b)
	a.dirty = true
	return nil
}

func (a *appendFile) sync() error {
	if err := a.f.Sync(); err != nil {
		return err
	}
	a.dirty = false
	return nil
}

func (a *appendFile) close() error {
	if a.f == nil {
		return nil
	}
	return a.f.Close()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
