package lineage

import (
	"fmt"
	"testing"
	"time"

	"github.com/cubebuild/cube/graph"
)

func BenchmarkRecordingAnAction(b *testing.B) {
	w := Create(b.TempDir(), aRun(noon), Options{})
	a := anAction(1)
	for b.Loop() {
		must(b, w.Action(a))
	}
	must(b, w.End(Succeeded, Counts{}, nil))
}

// BenchmarkWhoMadeAVersion asks a store that was just opened among 2,000 runs
// of five vertices.
func BenchmarkWhoMadeAVersion(b *testing.B) {
	dir := b.TempDir()
	version := func(run, vertex int) graph.Digest { return digest(fmt.Sprint(run, vertex)) }
	for run := range 2000 {
		w := Create(dir, aRun(noon.Add(time.Duration(run)*time.Minute)), Options{})
		must(b, w.begin())
		must(b, w.lazily(&w.vertices, verticesFile))
		for n := range 5 {
			v := demVertex()
			v.Outputs[0].Version = version(run, n)
			line, err := encodeLine("vertex", v)
			must(b, err)
			must(b, w.vertices.append(line))
		}
		w.vertices.close()
		w.actions.close()
	}
	for b.Loop() {
		if _, _, err := Open(dir).ByVersion("elevation", version(1999, 4)); err != nil {
			b.Fatal(err)
		}
	}
}
