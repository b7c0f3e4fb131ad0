package main

import (
	"io"
	"slices"
	"strings"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/cubebuild/cube/lineage"
)

// grounds are what an explanation of a variable and one of a tile have in common:
// what it costs to run again, and why that is to be.
type grounds struct {
	Predicted float64       `json:"predicted_s,omitempty"`
	FromRuns  int           `json:"from_runs,omitempty"`
	Causes    []cause       `json:"causes"`
	Unchanged []string      `json:"unchanged"`
	NotKeyed  []limitChange `json:"not_keyed"`

	about string
}

// noGrounds are those of what nothing would run for: lists of JSON, and empty.
func noGrounds() grounds {
	return grounds{Causes: []cause{}, Unchanged: []string{}, NotKeyed: []limitChange{}}
}

// grounds begins the explanation of so many actions of a vertex: with what they
// take, and what counts for nothing.
func (x *foresight) grounds(p *solve.VertexPreview, actions int64) (grounds, error) {
	g := noGrounds()
	if took := x.predict(p.Vertex, actions); took > 0 {
		g.Predicted, g.FromRuns = took.Seconds(), x.pace(p.Vertex).runs
		g.about = about(took, g.FromRuns)
	}
	notKeyed, err := x.notKeyed(p)
	g.NotKeyed = append(g.NotKeyed, notKeyed...)
	return g, err
}

// found adds the causes, and what is as it was where there was something.
func (g *grounds) found(p *solve.VertexPreview, causes []cause) {
	g.Causes = append(g.Causes, causes...)
	if p.Head != nil {
		g.Unchanged = append(g.Unchanged, unchanged(p.Vertex, causes)...)
	}
}

// unchanged names what a vertex was made of that is as it was.
func unchanged(v *graph.Vertex, found []cause) []string {
	has := func(what lineage.What, name string) bool {
		return slices.ContainsFunc(found, func(c cause) bool { return c.What == what && (name == "" || c.Name == name) })
	}
	if has(causeForgot, "") {
		return nil
	}
	told := func(b *graph.Binding) bool {
		return slices.ContainsFunc(found, func(c cause) bool { return c.input == b })
	}
	var out []string
	for _, b := range v.Inputs {
		if !told(b) {
			out = append(out, b.Variable)
		}
	}
	if inst := v.Instance; inst != nil {
		for _, need := range inst.Manifest.Sources {
			if name := inst.Sources[need.Name]; name != "" && !has(lineage.ChangedSource, name) {
				out = append(out, "source "+name)
			}
		}
		if len(inst.Manifest.Params) > 0 && !has(lineage.ChangedParam, "") {
			out = append(out, "params")
		}
		if !has(lineage.ChangedImage, "") {
			out = append(out, "image")
		}
	}
	if !has(lineage.ChangedGrid, "") {
		out = append(out, "grid")
	}
	if !has(lineage.ChangedTiling, "") {
		out = append(out, "tiling")
	}
	return out
}

// told is an explanation that begins with a line of its own.
type told interface{ headline(s ui.Style) string }

// tell prints an explanation and its grounds.
func (a *app) tell(e told, g *grounds) error {
	if a.json {
		return a.printLines(e)
	}
	var b strings.Builder
	s := a.style(a.stdout)
	b.WriteString(e.headline(s) + "\n")
	writeCauses(&b, g.Causes, "  ")
	writeRest(&b, s, g.Unchanged, g.NotKeyed)
	_, err := io.WriteString(a.stdout, b.String())
	return err
}

func writeCauses(b *strings.Builder, cs []cause, indent string) {
	for _, c := range cs {
		b.WriteString(indent + c.Sentence + "\n")
		writeCauses(b, c.Because, indent+"  ")
	}
}

// writeRest says what is as it was, and what counts for nothing.
func writeRest(b *strings.Builder, s ui.Style, unchanged []string, notKeyed []limitChange) {
	var last []string
	if len(unchanged) > 0 {
		last = append(last, "unchanged: "+strings.Join(unchanged, ", "))
	}
	if len(notKeyed) > 0 {
		var all []string
		for _, l := range notKeyed {
			all = append(all, l.String())
		}
		last = append(last, "Not keyed: "+strings.Join(all, ", "))
	}
	if len(last) > 0 {
		b.WriteString("  " + s.Dim(strings.Join(last, ". ")) + "\n")
	}
}
