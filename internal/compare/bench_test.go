package compare

import (
	"math/rand/v2"
	"testing"

	"github.com/cubebuild/cube/graph"
)

// BenchmarkVersions compares 16 million cells: where one differs, and where
// every one does.
func BenchmarkVersions(b *testing.B) {
	const edge = 4096
	l := layout(graph.VarSpec{}, edge, edge, 512)
	values := make([]float32, edge*edge)
	for i := range values {
		values[i] = rand.Float32()
	}
	other := make([]float32, edge*edge)
	for i, v := range values {
		other[i] = v + rand.Float32()
	}
	old := put(b, l, values)
	for _, bench := range []struct {
		name string
		now  Side
	}{{"one", put(b, l, edited(values, map[int]float32{7777: 2}))}, {"all", put(b, l, other)}} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(2 * 4 * edge * edge)
			for b.Loop() {
				if _, err := Versions(b.Context(), old, bench.now, Options{Tolerance: Tolerance{ULP: 4}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
