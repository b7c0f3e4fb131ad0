package lineage

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/cubebuild/cube/graph"
)

// Preimage rebuilds everything that the id of a recorded action is the digest
// of. It is [ErrNoBasis] where the run kept too little, and
// [graph.ErrPreimage] where what it kept comes to another id.
func (s *Store) Preimage(a Action) (*graph.Preimage, error) {
	for b, err := range onlyRecords(records[Basis](s, a.Run, basesFile, "basis", 0)) {
		var damage *DamageError
		if errors.As(err, &damage) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("action %s: %w", a.ID.Short(), err)
		}
		if b.Instance == a.Instance && b.Grid == a.Grid {
			return b.Basis.Preimage(a.ID, a.Tile, a.Windows, a.Parts)
		}
	}
	return nil, fmt.Errorf("action %s of run %s: %w", a.ID.Short(), a.Run, ErrNoBasis)
}

// ExplainActions compares the preimages of two actions of one tile and says in
// words what differs. It is empty where they are one action.
func ExplainActions(before, after *graph.Preimage) ([]Change, error) {
	a, err := actionTree(before)
	if err != nil {
		return nil, fmt.Errorf("explain: old action: %w", err)
	}
	b, err := actionTree(after)
	if err != nil {
		return nil, fmt.Errorf("explain: new action: %w", err)
	}
	e := &explainer{}
	e.compare(nil, a, b)
	e.sort()
	return e.changes, nil
}

// actionTree is what an action's preimage tells, each thing once: what its
// request repeats of the shared part, or only follows from its windows, is left
// out.
func actionTree(p *graph.Preimage) (map[string]any, error) {
	shared, err := decodeTree(p.Shared)
	if err != nil {
		return nil, err
	}
	request, err := decodeTree(p.Request)
	if err != nil {
		return nil, err
	}
	for _, repeated := range []string{"params", "seed", "sources", "outputs"} {
		delete(request, repeated)
	}
	inputs, _ := request["inputs"].(map[string]any)
	for _, in := range inputs {
		object, _ := in.(map[string]any)
		for _, follows := range []string{"path", "file", "shape", "clipped"} {
			delete(object, follows)
		}
		place, _ := object["grid"].(map[string]any)
		delete(place, "transform")
	}
	delete(request, "inputs")
	windows := map[string]any{}
	for role, d := range p.Action.Windows {
		windows[role] = d.String()
	}
	tree := map[string]any{"shared": shared, "request": request, "windows": windows}
	if len(inputs) > 0 {
		tree["told"] = maps.Clone(inputs)
	}
	return tree, nil
}

// classifyTold says what a field of what an action is told of an input is.
func classifyTold(path []string) (What, string, string) {
	role, field := split(path)
	return ChangedContract, "what is told of", role + labelled(": ", field)
}

// MarshalPreimage is a preimage as JSON: the shared part, the request and the
// digests of the windows.
func MarshalPreimage(p *graph.Preimage) (json.RawMessage, error) {
	return marshal(struct {
		Action  json.RawMessage `json:"action"`
		Shared  json.RawMessage `json:"shared"`
		Request json.RawMessage `json:"request"`
	}{p.Bytes, p.Shared, p.Request})
}
