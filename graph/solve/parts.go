package solve

import (
	"fmt"
	"sync"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// placed finds, when the first tile asks, where the parts of an indexed source lie
// on a vertex's grid. It may be called at once.
type placed func() (*graph.Placed, error)

// place returns a vertex's indexed sources by role, and what its derivation holds
// of them. Both are nil where no source is indexed.
func place(v *graph.Vertex) (map[string]placed, map[string]graph.PartsKey, error) {
	if v.IsMerge() {
		return nil, nil, nil
	}
	var all map[string]placed
	var keys map[string]graph.PartsKey
	for role, name := range v.Instance.Sources {
		if !v.Instance.Manifest.Indexes(role) {
			continue
		}
		split := v.Instance.Parts[role]
		if split == nil { // not even into no part
			return nil, nil, fmt.Errorf("%s: source %s was not split", v.Name, name)
		}
		key, err := split.Key(v)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: source %s: %w", v.Name, name, err)
		}
		if all == nil {
			all, keys = map[string]placed{}, map[string]graph.PartsKey{}
		}
		all[role], keys[role] = sync.OnceValues(func() (*graph.Placed, error) { return split.Place(v) }), key
	}
	return all, keys, nil
}

// partsOf are the parts that a tile's action sees; nil where no source is
// indexed.
func (v *vertex) partsOf(tile grid.Tile) (graph.Parts, error) {
	if len(v.placed) == 0 {
		return nil, nil
	}
	parts := graph.Parts{}
	for role, find := range v.placed {
		p, err := find()
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", v.Instance.Sources[role], err)
		}
		if parts[role] = p.At(tile); len(parts[role]) > graph.MaxTileParts {
			return nil, fmt.Errorf("the tile meets %d parts of source %s: at most %d can be shown; let the driver make larger ones",
				len(parts[role]), v.Instance.Sources[role], graph.MaxTileParts)
		}
	}
	return parts, nil
}
