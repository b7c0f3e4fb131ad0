package ui

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
)

// JSON prints a line of JSON for each event; the package's doc lists them.
type JSON struct {
	Out io.Writer

	mu sync.Mutex
}

// line writes one line.
func (j *JSON) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err = j.Out.Write(append(b, '\n'))
	return err
}

// Step implements Display.
func (j *JSON) Step(text string) {
	// The next event meets the same broken pipe and says so.
	_ = j.line(struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}{"step", text})
}

type jsonTile struct {
	Type    string                  `json:"type"`
	Vertex  string                  `json:"vertex"`
	Grid    string                  `json:"grid"`
	Tile    grid.Box                `json:"tile"`
	Action  graph.Digest            `json:"action,omitzero"`
	Outcome string                  `json:"outcome,omitempty"`
	Attempt int                     `json:"attempt,omitempty"`
	Time    *time.Time              `json:"time,omitempty"`
	Wall    float64                 `json:"wall_s,omitempty"`
	Pause   float64                 `json:"pause_s,omitempty"`
	Outputs map[string]graph.Digest `json:"outputs,omitempty"`
	Error   string                  `json:"error,omitempty"`
	Log     string                  `json:"log,omitempty"`
	Known   bool                    `json:"known,omitempty"`
	Lost    bool                    `json:"lost,omitempty"` // nobody saw the attempt's end
	For     string                  `json:"for,omitempty"`  // what is waited for, but for the same action
	Differs bool                    `json:"not_deterministic,omitempty"`
}

func newTile(kind string, v *graph.Vertex, t grid.Tile, a graph.ActionID) jsonTile {
	return jsonTile{Type: kind, Vertex: v.Name, Grid: v.GridName, Tile: t.Box, Action: a}
}

// Event implements Display.
func (j *JSON) Event(e solve.Event) error {
	switch e := e.(type) {
	case solve.Planned:
		return j.line(planned(e))
	case solve.Started:
		l := newTile("started", e.Vertex, e.Tile, e.Action)
		l.Attempt, l.Time = e.Attempt, utc(e.Time)
		return j.line(l)
	case solve.Waiting:
		if !e.News {
			return nil
		}
		l := newTile("waiting", e.Vertex, e.Tile, e.Action)
		if e.For != nil {
			l.For = e.For.String()
		}
		return j.line(l)
	case solve.Retried:
		l := newTile("retried", e.Vertex, e.Tile, e.Action)
		l.Attempt, l.Error, l.Pause, l.Lost = e.Attempt, e.Err.Error(), e.Pause.Seconds(), e.Lost
		return j.line(l)
	case solve.TileDone:
		return j.line(tileDone(e))
	case solve.VertexDone:
		return j.line(vertexDone(e))
	}
	return nil
}

func utc(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func tileDone(e solve.TileDone) jsonTile {
	l := newTile("tile", e.Vertex, e.Tile, e.Action)
	l.Outcome, l.Attempt, l.Wall, l.Outputs = e.Outcome.String(), e.Attempts, e.Wall.Seconds(), e.Outputs
	l.Time, l.Known, l.Differs = utc(e.Started), e.Repeated, e.Disagrees
	if e.Err != nil {
		l.Error, l.Log = e.Err.Error(), string(e.Log)
	}
	return l
}

type jsonPlan struct {
	Type     string       `json:"type"`
	Targets  []string     `json:"targets"`
	Tiles    int64        `json:"tiles"`
	Vertices []jsonVertex `json:"vertices"`
}

type jsonVertex struct {
	Vertex  string   `json:"vertex"`
	Grid    string   `json:"grid"`
	Tiles   int64    `json:"tiles"`
	Inputs  []string `json:"inputs"`
	Outputs []string `json:"outputs"`
}

func planned(e solve.Planned) jsonPlan {
	p := jsonPlan{Type: "planned", Targets: e.Plan.Targets, Tiles: e.Tiles, Vertices: []jsonVertex{}}
	for _, v := range e.Plan.Vertices {
		l := jsonVertex{Vertex: v.Name, Grid: v.GridName, Tiles: v.Len(), Inputs: []string{}, Outputs: []string{}}
		for _, in := range v.Inputs {
			l.Inputs = append(l.Inputs, in.Variable)
		}
		for _, out := range v.Outputs {
			l.Outputs = append(l.Outputs, out.Variable)
		}
		p.Vertices = append(p.Vertices, l)
	}
	return p
}

type jsonCount struct {
	Ran     int64 `json:"ran"`
	Hit     int64 `json:"hit"`
	Failed  int64 `json:"failed"`
	Blocked int64 `json:"blocked"`
	Lost    int64 `json:"lost,omitempty"`
}

func newCount(c solve.Count) jsonCount { return jsonCount{c.Ran, c.Hit, c.Failed, c.Blocked, c.Lost} }

type jsonVertexDone struct {
	Type       string                  `json:"type"`
	Vertex     string                  `json:"vertex"`
	Grid       string                  `json:"grid"`
	Known      bool                    `json:"known"`
	Complete   bool                    `json:"complete"`
	Derivation graph.Digest            `json:"derivation,omitzero"`
	Versions   map[string]graph.Digest `json:"versions,omitempty"`
	Count      jsonCount               `json:"count"`
	Wall       float64                 `json:"wall_s"`
}

func vertexDone(e solve.VertexDone) jsonVertexDone {
	l := jsonVertexDone{Type: "vertex", Vertex: e.Vertex.Name, Grid: e.Vertex.GridName, Known: e.Known, Complete: e.Complete,
		Derivation: e.Derivation, Count: newCount(e.Count), Wall: e.Wall.Seconds()}
	for i, version := range e.Outputs {
		if l.Versions == nil {
			l.Versions = map[string]graph.Digest{}
		}
		l.Versions[e.Vertex.Outputs[i].Variable] = version
	}
	return l
}

// Summary implements Display.
func (j *JSON) Summary(s Summary) error {
	return j.line(struct {
		Type     string                  `json:"type"`
		Status   string                  `json:"status"`
		Targets  []string                `json:"targets"`
		Versions map[string]graph.Digest `json:"versions"`
		Count    jsonCount               `json:"count"`
		Run      string                  `json:"run,omitempty"`
		Wall     float64                 `json:"wall_s"`
	}{"summary", s.Status, s.Targets, s.Result.Versions, newCount(s.Result.Count), s.Run, s.Took.Seconds()})
}

// Close implements Display.
func (j *JSON) Close() error { return nil }
