package cube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/cubebuild/cube/graph"
)

// Head is the version that a variable shows, and how it came to be.
type Head struct {
	Variable   string        `json:"variable"`
	Version    graph.Digest  `json:"version"`
	Derivation graph.Digest  `json:"derivation,omitzero"` // zero: imported
	Native     float64       `json:"native_res_m,omitempty"`
	Run        string        `json:"run,omitempty"`
	Time       int64         `json:"time,omitempty"` // Unix seconds; for people
	Instance   string        `json:"instance,omitempty"`
	Role       string        `json:"role,omitempty"`
	Spec       graph.VarSpec `json:"spec,omitzero"` // with today's long name and colours, which no digest covers
}

const (
	headsFormat = "cube-heads/1"
	maxHeads    = 256 << 20
)

type headsFile struct {
	Heads []Head `json:"heads"` // by name
}

// headCache is the heads as they were last read.
type headCache struct {
	mu    sync.Mutex
	info  fs.FileInfo
	line  string // the first of the file
	heads map[string]Head
}

// Heads returns the heads by variable. The map is the caller's.
func (c *Cube) Heads(context.Context) (map[string]Head, error) {
	heads, err := c.readHeads()
	if err != nil {
		return nil, fmt.Errorf("heads: %w", err)
	}
	return maps.Clone(heads), nil
}

// Head returns the head of one variable, and whether there is one.
func (c *Cube) Head(_ context.Context, variable string) (Head, bool, error) {
	heads, err := c.readHeads()
	if err != nil {
		return Head{}, false, fmt.Errorf("heads: %w", err)
	}
	h, ok := heads[variable]
	return h, ok, nil
}

// readHeads returns the heads, which must not be changed. A file that is the
// same as last time is not read again: heads are replaced, never rewritten.
func (c *Cube) readHeads() (map[string]Head, error) {
	heads, _, err := c.readHeadsLine()
	return heads, err
}

// readHeadsLine also returns the file's first line, which names its content: ""
// where there is no file.
func (c *Cube) readHeadsLine() (heads map[string]Head, line string, err error) {
	c.heads.mu.Lock()
	defer c.heads.mu.Unlock()
	info, err := os.Stat(c.Path("heads"))
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]Head{}, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	if old := c.heads.info; old != nil && sameFile(old, info) {
		return c.heads.heads, c.heads.line, nil
	}
	b, err := readFile(c.Path("heads"), maxHeads)
	if err != nil {
		return nil, "", err
	}
	if heads, err = parseHeads(b); err != nil {
		return nil, "", err
	}
	first, _, _ := bytes.Cut(b, []byte("\n"))
	c.heads.info, c.heads.heads, c.heads.line = info, heads, string(first)
	return heads, c.heads.line, nil
}

func (c *Cube) forgetHeads() {
	c.heads.mu.Lock()
	defer c.heads.mu.Unlock()
	c.heads.info = nil
}

func parseHeads(b []byte) (map[string]Head, error) {
	first, rest, _ := bytes.Cut(b, []byte("\n"))
	if string(first) != headsFormat+" "+graph.Sum(rest).String() {
		return nil, fmt.Errorf("first line %.120q does not fit the rest: %w", first, ErrFormat)
	}
	var f headsFile
	dec := json.NewDecoder(bytes.NewReader(rest))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one JSON value: %w", ErrFormat)
	}
	heads := make(map[string]Head, len(f.Heads))
	for _, h := range f.Heads {
		if err := validHead(h); err != nil {
			return nil, err
		}
		if _, twice := heads[h.Variable]; twice {
			return nil, fmt.Errorf("%q stands there twice: %w", h.Variable, ErrFormat)
		}
		heads[h.Variable] = h
	}
	return heads, nil
}

// validHead says what keeps a head from being one. A variable's name becomes the
// name of a folder.
func validHead(h Head) error {
	n := h.Variable
	if n == "" || len(n) > 200 || n[0] == '.' || strings.ContainsAny(n, "/\\\x00\n") {
		return fmt.Errorf("%.200q is no name of a variable: %w", n, ErrFormat)
	}
	if h.Version.IsZero() {
		return fmt.Errorf("%s has no version: %w", n, ErrFormat)
	}
	return nil
}

func formatHeads(heads map[string]Head) ([]byte, error) {
	var f headsFile
	for _, n := range slices.Sorted(maps.Keys(heads)) {
		f.Heads = append(f.Heads, heads[n])
	}
	rest, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	rest = append(rest, '\n')
	return append([]byte(headsFormat+" "+graph.Sum(rest).String()+"\n"), rest...), nil
}

// MoveHeads makes the moves heads, all or none, if the variables that expect
// names still have the versions that it says (zero: no head); otherwise it
// returns a *HeadMovedError. The versions must be there and complete, and Sync
// must have been called. The move is durable when it returns.
func (c *Cube) MoveHeads(ctx context.Context, expect map[string]graph.Digest, moves []Head) error {
	if err := c.checkMoves(ctx, moves); err != nil {
		return fmt.Errorf("move heads: %w", err)
	}
	return c.changeHeads(ctx, expect, moves, func(heads map[string]Head) {
		for _, h := range moves {
			heads[h.Variable] = h
		}
	})
}

func (c *Cube) checkMoves(ctx context.Context, moves []Head) error {
	for _, h := range moves {
		if err := validHead(h); err != nil {
			return err
		}
		v, err := c.LoadVersion(ctx, h.Version)
		if err != nil {
			return fmt.Errorf("%s: %w", h.Variable, err)
		}
		if cov := v.Coverage(); !cov.Complete() {
			return fmt.Errorf("%s: covers %d of %d chunks: %w", h.Variable, cov.Covered, cov.Chunks, ErrIncomplete)
		}
	}
	return nil
}

// RemoveVariable drops a variable's head and its view. What it held is freed by
// the next GC. A variable without a head is ErrNotExist.
func (c *Cube) RemoveVariable(ctx context.Context, variable string) error {
	h, ok, err := c.Head(ctx, variable)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("remove %s: %w", variable, ErrNotExist)
	}
	err = c.changeHeads(ctx, map[string]graph.Digest{variable: h.Version}, nil, func(heads map[string]Head) {
		delete(heads, variable)
	})
	if err != nil {
		return err
	}
	return c.View(ctx)
}

// changeHeads edits the heads under their lock, if they are as expected.
func (c *Cube) changeHeads(ctx context.Context, expect map[string]graph.Digest, moves []Head, edit func(map[string]Head)) error {
	lock, err := c.lockHeads(ctx)
	if err != nil {
		return fmt.Errorf("move heads: %w", err)
	}
	defer lock.Close()
	c.forgetHeads() // what decides is what the file says now, not how old it looks
	defer c.forgetHeads()
	old, err := c.readHeads()
	if err != nil {
		return fmt.Errorf("move heads: %w", err)
	}
	for _, n := range slices.Sorted(maps.Keys(expect)) {
		if got := old[n].Version; got != expect[n] {
			return &HeadMovedError{n, expect[n], got}
		}
	}
	heads := maps.Clone(old)
	edit(heads)
	b, err := formatHeads(heads)
	if err == nil {
		err = c.appendHistory(moves)
	}
	if err == nil {
		err = writeFile(c.Path("heads"), b, !c.conf.NoSync)
	}
	if err != nil {
		return fmt.Errorf("move heads: %w", err)
	}
	return nil
}

// lockHeads has this process alone change the heads until the file is closed.
func (c *Cube) lockHeads(ctx context.Context) (*os.File, error) {
	lock, err := os.OpenFile(c.Path("heads.lock"), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if err := flockWait(ctx, lock, syscall.LOCK_EX); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// appendHistory adds a line for each move. The heads' lock is held.
func (c *Cube) appendHistory(moves []Head) error {
	if len(moves) == 0 {
		return nil
	}
	f, err := os.OpenFile(c.Path("history"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if cutOff(f) {
		b.WriteByte('\n')
	}
	for _, h := range moves {
		h.Spec = graph.VarSpec{}
		line, err := json.Marshal(h)
		if err != nil {
			return errors.Join(err, f.Close())
		}
		b.Write(append(line, '\n'))
	}
	_, err = f.Write(b.Bytes())
	return errors.Join(err, f.Close())
}

// cutOff reports whether the last line of f lacks its end.
func cutOff(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], info.Size()-1)
	return err == nil && last[0] != '\n'
}

// maxHistory bounds the history that is read.
const maxHistory = 1 << 30

// History returns the heads that a variable has had, the latest last: one for
// each version that it moved to. Versions that gc freed are among them.
func (c *Cube) History(_ context.Context, variable string) ([]Head, error) {
	b, err := readFile(c.Path("history"), maxHistory)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("history of %s: %w", variable, err)
	}
	want, err := json.Marshal(variable)
	if err != nil {
		return nil, err
	}
	var out []Head
	for line := range bytes.Lines(b) {
		var h Head
		if !bytes.Contains(line, want) || json.Unmarshal(line, &h) != nil || validHead(h) != nil || h.Variable != variable {
			continue // of another variable, or cut off by a crash
		}
		if len(out) > 0 && out[len(out)-1].Version == h.Version {
			out = out[:len(out)-1]
		}
		out = append(out, h)
	}
	return out, nil
}
