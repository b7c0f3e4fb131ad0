package main

import (
	"testing"
	"time"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/lineage"
)

func TestThePaceOfAVertexIsThatOfItsNewestRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	record := func(hour int, instance string, walls ...time.Duration) {
		w := lineage.Create(dir, lineage.Run{Started: time.Date(2020, 9, 27, hour, 0, 0, 0, time.UTC)}, lineage.Options{})
		for _, wall := range append(walls, -1) {
			a := lineage.Action{Instance: instance, Grid: "default", Status: lineage.Succeeded, Usage: lineage.Usage{Wall: wall, Read: 3 * int64(wall), Written: int64(wall)}}
			if wall < 0 {
				a.Status = lineage.Failed
			}
			if err := w.Action(a); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.End(lineage.Succeeded, lineage.Counts{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	record(1, "slope", 1000, 1000, 1000)
	for hour := range historyRuns {
		record(2+hour, "slope", 1, 9)
	}
	record(9, "dem", 7)
	h := newHistory(lineage.Open(dir))
	for name, want := range map[string]pace{
		"slope":  {mean: 5, p50: 1, p90: 9, read: 15, written: 5, sized: true, actions: 10, runs: historyRuns},
		"dem":    {mean: 7, p50: 7, p90: 7, read: 21, written: 7, sized: true, actions: 1, runs: 1},
		"aspect": {},
	} {
		if got := h.pace(&graph.Vertex{Name: name, GridName: "default"}); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}
