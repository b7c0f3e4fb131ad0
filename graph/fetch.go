package graph

import (
	"encoding/json"

	"github.com/cubebuild/cube/cube/grid"
)

// NetworkVersion rises when what a driver finds in place of the network changes:
// where it is, whom to trust, what of a request and an answer is passed on.
const NetworkVersion = 1

// Fetched are the names of the sources that the producer brings in itself.
func (m *Manifest) Fetched() []string {
	var names []string
	for _, s := range m.Sources {
		if s.Fetch {
			names = append(names, s.Name)
		}
	}
	return names
}

// Fetch is what a producer is asked that brings in sources itself. It is the
// same on every machine: the image is held by its own pin, and what the network
// answered by the recording's.
type Fetch struct {
	Producer string               `json:"producer"`
	Network  int                  `json:"network"`
	Hosts    []string             `json:"hosts"`
	CPUs     float64              `json:"cpus,omitempty"`
	Serves   bool                 `json:"serves,omitempty"`
	Request  Digest               `json:"request"` // of its bytes
	Sources  map[string]SourceKey `json:"sources,omitempty"`
}

// Digest names the question.
func (f Fetch) Digest() (Digest, error) {
	d, _, err := hashCanonical("cube.fetch", f)
	return d, err
}

// FetchRequest returns what a producer is told that brings in sources: the whole
// of its grid, and of time where it makes anything in time, so that what it
// brings serves every tile. It is given no inputs.
func FetchRequest(params json.RawMessage, sources map[string]SourceKey, g grid.Grid, m *Manifest) ([]byte, error) {
	box, timed := g.Box.Static(), false
	for _, o := range m.Produces {
		timed = timed || o.WithDefaults().Kind == Time
	}
	if timed {
		box = g.Box
	}
	if len(params) == 0 {
		params = json.RawMessage("{}")
	}
	return Canonical(Request{Version: RequestVersion, Operation: OpFetch, Params: params, Tile: &box, Grid: NewRequestGrid(g, box),
		Inputs: map[string]RequestInput{}, Sources: requestSources(Shared{Sources: sources}, nil), Outputs: FetchOutputs(m)})
}

// FetchOutputs is what operation fetch asks for: a file for each source, which
// the producer names; its extension tells the format.
func FetchOutputs(m *Manifest) map[string]RequestOutput {
	out := map[string]RequestOutput{}
	for _, name := range m.Fetched() {
		out[name] = RequestOutput{Path: OutputDir + "/" + name, Kind: File}
	}
	return out
}
