// Slope computes the steepness of the ground, in degrees, from elevation.
package main

import (
	"encoding/json"
	"math"
)

// params as in producer.yaml.
type params struct {
	Method string `json:"method"`
	Edges  bool   `json:"compute_edges"`
}

func main() { produce("elevation", "slope", slope) }

func slope(req *request, w *window) ([]float32, error) {
	var p params
	if err := json.Unmarshal(req.Params, &p); err != nil {
		return nil, err
	}
	if err := w.check(req.Grid); err != nil {
		return nil, err
	}
	out := make([]float32, 0, w.tile.Y.len()*w.tile.X.len())
	w.each(p.Edges, func(n nine, ok bool) {
		if !ok {
			out = append(out, float32(math.NaN()))
			return
		}
		east, north := n.gradient(p.Method, w.dx, w.dy)
		out = append(out, float32(math.Atan(math.Sqrt(east*east+north*north))*180/math.Pi))
	})
	return out, nil
}
