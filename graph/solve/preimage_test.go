package solve

import (
	"encoding/json"
	"testing"

	"github.com/cubebuild/cube/graph"
)

// rebuilding has a build's events be checked: the preimage of every action that
// ran comes out of its vertex's basis, as that is read back from JSON, its tile
// and its windows.
func rebuilding(t *testing.T, then func(Event) error) func(Event) error {
	bases := map[*graph.Vertex]graph.Basis{}
	return func(e Event) error {
		if done, ok := e.(TileDone); ok && done.Shared != nil {
			b, ok := bases[done.Vertex]
			if !ok {
				raw, err := json.Marshal(done.Vertex.Basis(*done.Shared))
				if err == nil {
					err = json.Unmarshal(raw, &b)
				}
				if err != nil {
					t.Error(err)
				}
				bases[done.Vertex] = b
			}
			p, err := b.Preimage(done.Action, done.Tile.Box, done.Windows, done.Parts)
			if err != nil {
				t.Errorf("%s tile %s: %v", done.Vertex.Name, done.Tile.Box, err)
			} else if p.Action.Request != done.Request || graph.Sum(p.Request) != done.Request {
				t.Errorf("%s tile %s: another request", done.Vertex.Name, done.Tile.Box)
			}
		}
		if then == nil {
			return nil
		}
		return then(e)
	}
}

func TestAPreimageIsThatOfItsActionAlone(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.build(chain(), "one")
	seen := 0
	for _, ev := range e.events {
		done, ok := ev.(TileDone)
		if !ok || done.Vertex.Name != "one" {
			continue
		}
		seen++
		b := done.Vertex.Basis(*done.Shared)
		if _, err := b.Preimage(done.Action, done.Tile.Box, done.Windows, done.Parts); err != nil {
			t.Error(err)
		}
		other := done.Tile.Box
		other.X.Hi--
		if _, err := b.Preimage(done.Action, other, done.Windows, done.Parts); err == nil {
			t.Error("another tile comes to the same action")
		}
		b.Shared.Salt++
		if _, err := b.Preimage(done.Action, done.Tile.Box, done.Windows, done.Parts); err == nil {
			t.Error("another salt comes to the same action")
		}
	}
	if seen != 16 {
		t.Errorf("%d actions", seen)
	}
}
