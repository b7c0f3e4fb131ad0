package codec

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
)

// terrain is a smooth float32 field of n by n with a little noise, as a chunk.
func terrain(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var out []byte
	for y := range n {
		for x := range n {
			u, v := float64(x)/1e3, float64(y)/1e3
			z := 900 + 300*math.Sin(5*u+3*v) + 120*math.Cos(17*u-11*v) + 40*math.Sin(41*u+29*v)
			z += r.NormFloat64() * 0.05
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(z)))
		}
	}
	return out
}
