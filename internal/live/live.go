// Package live tells what the builds on a cube are doing now, to other
// terminals.
//
// A build that has something to do keeps two files in .cube/live:
//
//	<run>.lock   empty; its process holds a lock (flock) on it
//	<run>.json   a [Build] as JSON, replaced in one step four times a second
//
// Both go when the build ends. A file whose lock nobody holds is left of a
// process that was killed: it is passed over, and swept by the next build.
// Nothing rests on any of this; what cannot be written is not told.
package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/graph/solve/resource"
	"github.com/cubebuild/cube/internal/progress"
)

// Version is the version of [Build] as JSON; readers pass others over.
const Version = 1

// Build is what a build is doing.
type Build struct {
	Version  int       `json:"version"`
	Run      string    `json:"run"` // as cube log has it
	PID      int       `json:"pid"`
	Host     string    `json:"host"`
	Started  time.Time `json:"started"`
	Updated  time.Time `json:"updated"`
	Targets  []string  `json:"targets"`
	Tiles    int64     `json:"tiles"` // that are to be looked at
	Done     int64     `json:"done"`
	Ran      int64     `json:"ran"`
	Known    int64     `json:"known"`
	Failed   int64     `json:"failed"`
	Lost     int64     `json:"lost,omitempty"`
	Left     float64   `json:"left_s,omitempty"` // 0: not known
	Vertices []Vertex  `json:"vertices"`         // that are under way
	Running  int       `json:"running"`          // actions
	Retrying int       `json:"retrying"`         // actions that are in the pause before another attempt
	Waits    []Wait    `json:"waits,omitempty"`  // what other actions wait for
	Actions  []Action  `json:"actions"`          // that run and then that wait, at most MaxActions
	More     int       `json:"more,omitempty"`   // actions beyond these
}

// MaxActions is how many actions are told of.
const MaxActions = 64

// Vertex is how far a vertex is.
type Vertex struct {
	Name  string `json:"vertex"`
	Tiles int64  `json:"tiles"`
	Done  int64  `json:"done"`
}

// Wait is what actions of a vertex wait for.
type Wait struct {
	Vertex  string `json:"vertex"`
	Actions int    `json:"actions"`
	// Resource is cpu, memory, gpu, token and its name, or worker: one of the build's
	// own. It is "" where another build runs them.
	Resource resource.Name `json:"resource,omitempty"`
	For      string        `json:"for,omitempty"` // the same in words: how much there is, and who has it
	Since    time.Time     `json:"since"`         // when the first of them began to
}

// Action is one that runs or waits.
type Action struct {
	ID      graph.ActionID `json:"action"`
	Vertex  string         `json:"vertex"`
	Tile    grid.Box       `json:"tile"`
	Single  bool           `json:"single,omitempty"` // the vertex has no other tile
	Since   time.Time      `json:"since"`
	State   progress.State `json:"state"`
	Attempt int            `json:"attempt,omitempty"`
	Lost    bool           `json:"lost,omitempty"` // of one that is retried: nobody saw the attempt's end
	For     string         `json:"for,omitempty"`  // what is waited for, but for another build
}

const (
	lockSuffix = ".lock"
	dataSuffix = ".json"
	every      = 250 * time.Millisecond
	maxData    = 1 << 20
)

// Publisher tells of one build. Its methods may be called at once.
type Publisher struct {
	dir  string
	quit chan struct{}
	done chan struct{}

	mu       sync.Mutex
	about    Build
	progress progress.Build
	lock     *os.File // nil until there is something to do, and where it cannot be had
}

// Publish prepares to tell of a build. Close ends it.
func Publish(dir string, about Build) *Publisher {
	about.Version, about.PID = Version, os.Getpid()
	about.Host, _ = os.Hostname()
	return &Publisher{dir: dir, about: about}
}

// Event takes in what the build did. From the first event on that says that
// there is something to do, others are told.
func (p *Publisher) Event(e solve.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.progress.Event(e)
	if planned, ok := e.(solve.Planned); ok && planned.Tiles > 0 && p.quit == nil {
		p.quit, p.done = make(chan struct{}), make(chan struct{})
		go p.run(p.begin())
	}
}

func (p *Publisher) path(suffix string) string { return filepath.Join(p.dir, p.about.Run+suffix) }

// begin makes the lock file and holds its lock; false where that cannot be done.
func (p *Publisher) begin() bool {
	if err := os.MkdirAll(p.dir, 0o777); err != nil {
		return false
	}
	for range 10 { // a sweep may be faster
		f, err := os.OpenFile(p.path(lockSuffix), os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil || flock(f, syscall.LOCK_EX) != nil {
			return false
		}
		is, errIs := f.Stat()
		named, errNamed := os.Lstat(f.Name())
		if errIs == nil && errNamed == nil && os.SameFile(is, named) {
			p.lock = f
			return true
		}
		f.Close()
	}
	return false
}

func (p *Publisher) run(tells bool) {
	defer close(p.done)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for tells {
		p.write()
		select {
		case <-p.quit:
			return
		case <-tick.C:
		}
	}
}

// write replaces the file. It is not made durable: after a power cut nobody
// builds.
func (p *Publisher) write() {
	b, err := json.Marshal(p.now(time.Now()))
	if err != nil {
		return
	}
	temp := p.path(".new")
	if os.WriteFile(temp, append(b, '\n'), 0o666) != nil || os.Rename(temp, p.path(dataSuffix)) != nil {
		os.Remove(temp)
	}
}

// now is what the build is doing.
func (p *Publisher) now(now time.Time) Build {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, c := p.about, p.progress.Count
	b.Updated, b.Tiles, b.Done, b.Ran, b.Known, b.Failed, b.Lost = now.UTC(), p.progress.Total, p.progress.Over, c.Ran, c.Hit, c.Failed, c.Lost
	if left, ok := p.progress.Left(now); ok {
		b.Left = left.Seconds()
	}
	b.Vertices, b.Actions = []Vertex{}, []Action{}
	for _, v := range p.progress.Vertices {
		b.Vertices = append(b.Vertices, Vertex{v.Name, v.Total, v.Count.Sum()})
	}
	for _, w := range p.progress.Waits() {
		b.Waits = append(b.Waits, Wait{w.Vertex.Name, w.Actions, w.Resource, w.For, w.Since.UTC()})
	}
	for i, a := range p.progress.Running() {
		switch a.State {
		case progress.Running:
			b.Running++
		case progress.Retrying:
			b.Retrying++
		}
		if i >= MaxActions {
			b.More++
			continue
		}
		b.Actions = append(b.Actions, Action{a.ID, a.Vertex.Name, a.Tile.Box, a.Vertex.Len() == 1, a.Since.UTC(), a.State, a.Attempt, a.Lost, a.For})
	}
	return b
}

// Close stops telling and removes the files.
func (p *Publisher) Close() {
	if p.quit == nil {
		return
	}
	close(p.quit)
	<-p.done
	if p.lock == nil {
		return
	}
	os.Remove(p.path(dataSuffix))
	os.Remove(p.path(lockSuffix)) // last: whoever sees the data sees the lock
	p.lock.Close()
}

// Builds are the builds that go on now, in the order of their start. What
// cannot be read is passed over.
func Builds(dir string) ([]Build, error) {
	var out []Build
	err := each(dir, func(run string, held bool) {
		if !held {
			return
		}
		b, err := read(filepath.Join(dir, run+dataSuffix))
		if err == nil && b.Version == Version && b.Run == run {
			out = append(out, b)
		}
	})
	slices.SortFunc(out, func(a, b Build) int { return a.Started.Compare(b.Started) })
	return out, err
}

// Sweep removes what killed builds left. Before, it tells of each, unless gone is
// nil.
func Sweep(dir string, gone func(run string)) error {
	return each(dir, func(run string, held bool) {
		if held {
			return
		}
		if gone != nil {
			gone(run)
		}
		for _, suffix := range []string{".new", dataSuffix, lockSuffix} {
			os.Remove(filepath.Join(dir, run+suffix))
		}
	})
}

// each calls f with every lock file, and whether somebody holds it.
func each(dir string, f func(run string, held bool)) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list builds: %w", err)
	}
	for _, e := range entries {
		run, ok := strings.CutSuffix(e.Name(), lockSuffix)
		if !ok {
			continue
		}
		lock, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			continue
		}
		f(run, flock(lock, syscall.LOCK_SH|syscall.LOCK_NB) == syscall.EWOULDBLOCK)
		lock.Close()
	}
	return nil
}

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); err != syscall.EINTR {
			return err
		}
	}
}

// read reads a build's file.
func read(path string) (b Build, err error) {
	f, err := os.Open(path)
	if err != nil {
		return b, err
	}
	defer f.Close()
	data := make([]byte, maxData)
	n, err := f.Read(data)
	if err != nil {
		return b, err
	}
	return b, json.Unmarshal(data[:n], &b)
}
