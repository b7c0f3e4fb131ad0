// Hillshade computes how bright the ground is under a low sun, from elevation.
package main

import (
	"encoding/json"
	"math"
)

// params as in producer.yaml.
type params struct {
	Method   string  `json:"method"`
	Edges    bool    `json:"compute_edges"`
	Azimuth  float64 `json:"azimuth"`
	Altitude float64 `json:"altitude"`
	ZFactor  float64 `json:"z_factor"`
}

func main() { produce("elevation", "hillshade", hillshade) }

func hillshade(req *request, w *window) ([]uint8, error) {
	var p params
	if err := json.Unmarshal(req.Params, &p); err != nil {
		return nil, err
	}
	if err := w.check(req.Grid); err != nil {
		return nil, err
	}
	sun := sunAt(p.Azimuth, p.Altitude)
	out := make([]uint8, 0, w.tile.Y.len()*w.tile.X.len())
	w.each(p.Edges, func(n nine, ok bool) {
		if !ok {
			out = append(out, 0) // nodata
			return
		}
		east, north := n.gradient(p.Method, w.dx, w.dy)
		out = append(out, shade(sun, east*p.ZFactor, north*p.ZFactor))
	})
	return out, nil
}

// vector points east, north and up.
type vector struct{ east, north, up float64 }

func sunAt(azimuth, altitude float64) vector {
	az, alt := azimuth*math.Pi/180, altitude*math.Pi/180
	return vector{math.Sin(az) * math.Cos(alt), math.Cos(az) * math.Cos(alt), math.Sin(alt)}
}

// shade is the cosine of the angle between the sun and the ground's normal, as
// a grey value from 1 (in the dark) to 255.
func shade(sun vector, east, north float64) uint8 {
	cos := (sun.up - sun.east*east - sun.north*north) / math.Sqrt(1+east*east+north*north)
	return uint8(math.Floor(1 + 254*max(0, cos) + 0.5))
}
