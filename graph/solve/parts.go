package solve

import (
	"fmt"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// place finds where the parts of a vertex's indexed sources lie on its grid, by
// role, and what its derivation holds of them. Both are nil where no source is
// indexed.
func place(v *graph.Vertex) (map[string]*graph.Placed, map[string]graph.PartsKey, error) {
	if v.IsMerge() {
		return nil, nil, nil
	}
	var placed map[string]*graph.Placed
	var keys map[string]graph.PartsKey
	for role, name := range v.Instance.Sources {
		if !v.Instance.Manifest.Indexes(role) {
			continue
		}
		p, err := v.Place(v.Instance.Parts[role])
		if err != nil {
			return nil, nil, fmt.Errorf("%s: source %s: %w", v.Name, name, err)
		}
		key, err := p.Key()
		if err != nil {
			return nil, nil, err
		}
		if placed == nil {
			placed, keys = map[string]*graph.Placed{}, map[string]graph.PartsKey{}
		}
		placed[role], keys[role] = p, key
	}
	return placed, keys, nil
}

// partsOf are the parts that a tile's action sees; nil where no source is
// indexed.
func (v *vertex) partsOf(tile grid.Tile) (graph.Parts, error) {
	if len(v.placed) == 0 {
		return nil, nil
	}
	parts := graph.Parts{}
	for role, p := range v.placed {
		if parts[role] = p.At(tile); len(parts[role]) > graph.MaxTileParts {
			return nil, fmt.Errorf("the tile meets %d parts of source %s: at most %d can be shown; let the driver make larger ones",
				len(parts[role]), v.Instance.Sources[role], graph.MaxTileParts)
		}
	}
	return parts, nil
}
