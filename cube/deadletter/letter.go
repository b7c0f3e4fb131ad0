package deadletter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

const (
	formatName    = "cube-deadletter"
	formatVersion = 1
)

// ErrFormat is in the chain of errors of what is no letter, is damaged, or is
// of a newer version.
var ErrFormat = errors.New("not a dead letter that this program reads")

// Letter is an action that spent its attempts.
type Letter struct {
	Action  graph.ActionID `json:"action"`
	Run     string         `json:"run,omitempty"` // of the build
	Written time.Time      `json:"written"`
	Targets []string       `json:"targets,omitempty"` // of the build

	Instance  string   `json:"instance"` // the vertex: an instance and its grid
	Grid      string   `json:"grid"`
	Tile      grid.Box `json:"tile"`
	Variables []string `json:"variables"` // that it was to make

	Failure  Failure   `json:"failure"` // the last
	Attempts []Attempt `json:"attempts"`
	Losses   int       `json:"losses,omitempty"` // how often whatever ran it ended before it did
	Log      []byte    `json:"log,omitempty"`    // the end of what the last attempt printed

	Request []byte          `json:"request"` // the bytes of /cube/request.json
	Windows []Window        `json:"windows,omitempty"`
	Sources []Source        `json:"sources,omitempty"`
	Image   Image           `json:"image"`
	Command []string        `json:"command"` // of the container
	Params  json.RawMessage `json:"params,omitempty"`
	Limits  graph.Resources `json:"limits"`
	Repeat  []string        `json:"repeat"` // the command that does it again
}

// The kinds of failure that are not a container's.
const (
	Lost  = "lost"  // nobody saw its end: whatever ran it ended first
	Merge = "merge" // contributions that the variable's merge policy cannot merge
)

// Failure says how an attempt ended.
type Failure struct {
	Kind   string `json:"kind"` // as package containers names it, or one of those above
	Code   int    `json:"code,omitempty"`
	Detail string `json:"detail"`
}

// Attempt is one of those that failed.
type Attempt struct {
	Started time.Time     `json:"started"`
	Wall    time.Duration `json:"wall_ns"`
	User    time.Duration `json:"user_ns"`
	System  time.Duration `json:"system_ns"`
	MaxRSS  int64         `json:"max_rss"` // bytes
	Memory  int64         `json:"memory"`  // the limit, in bytes
	Failure
}

// Window is what the action read of one variable.
type Window struct {
	Role     string       `json:"role"`
	Variable string       `json:"variable"`
	Box      grid.Box     `json:"box,omitzero"` // none of kind file
	Digest   graph.Digest `json:"digest"`
	Version  graph.Digest `json:"version,omitzero"` // that it was read from; none while that was being made
}

// Source is outside data that the action read.
type Source struct {
	Role   string       `json:"role"`
	Name   string       `json:"name"`
	SHA256 graph.Digest `json:"sha256"`
}

// Image is what the container is made of.
type Image struct {
	Ref      string   `json:"ref"` // as cube.yaml has it
	Config   string   `json:"config,omitempty"`
	Manifest string   `json:"manifest,omitempty"`
	Platform string   `json:"platform,omitempty"`
	DiffIDs  []string `json:"diff_ids"`
}

// envelope is the file.
type envelope struct {
	Format  string          `json:"format"`
	Version int             `json:"version"`
	Digest  graph.Digest    `json:"digest"`
	Letter  json.RawMessage `json:"letter"`
}

// Encode returns the bytes of the letter's file.
func (l *Letter) Encode() ([]byte, error) {
	value, err := marshal(l)
	if err != nil {
		return nil, err
	}
	b, err := marshal(envelope{formatName, formatVersion, graph.Sum(value), value})
	return append(b, '\n'), err
}

// marshal is json.Marshal without HTML escapes, which would change a value that
// is JSON already.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}

// Decode reads the bytes of a letter's file.
func Decode(b []byte) (*Letter, error) {
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if e.Format != formatName || e.Version < 1 || e.Version > formatVersion {
		return nil, fmt.Errorf("%w: %q version %d", ErrFormat, e.Format, e.Version)
	}
	if graph.Sum(e.Letter) != e.Digest {
		return nil, fmt.Errorf("%w: its digest does not match", ErrFormat)
	}
	var l Letter
	if err := json.Unmarshal(e.Letter, &l); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if l.Action.IsZero() || l.Instance == "" {
		return nil, fmt.Errorf("%w: it names no action", ErrFormat)
	}
	return &l, nil
}
