// Aspect computes the direction that the ground faces, in degrees clockwise
// from north, from elevation.
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

func main() { produce("elevation", "aspect", aspect) }

func aspect(req *request, w *window) ([]float32, error) {
	var p params
	if err := json.Unmarshal(req.Params, &p); err != nil {
		return nil, err
	}
	if err := w.check(req.Grid); err != nil {
		return nil, err
	}
	out := make([]float32, 0, w.tile.Y.len()*w.tile.X.len())
	w.each(p.Edges, func(n nine, ok bool) {
		east, north := n.gradient(p.Method, w.dx, w.dy)
		if !ok || east == 0 && north == 0 { // flat ground faces nowhere
			out = append(out, float32(math.NaN()))
			return
		}
		out = append(out, float32(azimuth(-east, -north)))
	})
	return out, nil
}

// azimuth returns the direction of a vector in degrees, in [0, 360).
func azimuth(east, north float64) float64 {
	a := math.Atan2(east, north) * 180 / math.Pi
	if a < 0 {
		a += 360
	}
	if float32(a) >= 360 {
		return 0
	}
	return a
}
