package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/lineage"
)

// cause is one reason why a vertex would run, with its own reasons below it.
type cause struct {
	What     lineage.What `json:"what"`
	Name     string       `json:"name,omitempty"` // of the variable, source or param
	Old      string       `json:"old,omitempty"`
	New      string       `json:"new,omitempty"`
	Sentence string       `json:"sentence"`
	Because  []cause      `json:"because,omitempty"`
	// Window says where an input differs within what one tile reads of it.
	Window *windowChange `json:"window,omitempty"`

	input *graph.Binding // of a changed or pending input
	was   graph.Digest   // of a changed input
	code  bool           // a producer's own files changed, and no more of its image
}

// What a preview finds beside what lineage.Explain does.
const (
	causeNever   lineage.What = "never built"
	causePending lineage.What = "pending" // an input is itself to be made anew
	causeForgot  lineage.What = "forgotten"
	causeVoid    lineage.What = "invalidated"
	causeHead    lineage.What = "head elsewhere"
)

// causes says what keeps the result of a vertex from being known, compared
// with an earlier preimage of its derivation. It is empty where that is known
// and shown.
func causes(p *solve.VertexPreview, before json.RawMessage) ([]cause, error) {
	switch {
	case p.Head == nil && before == nil && p.Known:
		return []cause{{What: causeHead, Sentence: "its result is known; only the head is to be set"}}, nil
	case p.Head == nil && before == nil:
		return append([]cause{{What: causeNever, Sentence: "never built"}}, pending(p)...), nil
	case before == nil:
		return []cause{{What: causeForgot, Sentence: "nothing tells any more what the head was made of"}}, nil
	}
	changes, err := lineage.Explain(before, p.Preimage)
	if err != nil {
		return nil, err
	}
	was, err := graph.ReadOutline(before)
	if err != nil {
		return nil, err
	}
	out := pending(p)
	if p.Void {
		out = append(out, cause{What: causeVoid, Sentence: "results of it were invalidated"})
	}
	moved := was.Lattice != p.Vertex.Grid.Lattice
	if moved {
		out = append(out, latticeCause(p.Vertex, was))
	}
	for _, c := range changes {
		if moved && c.What == lineage.ChangedGrid && !strings.HasPrefix(c.Sentence, "time") {
			continue // the lattice's cause tells of it
		}
		if c := translate(p, was, c); c.input == nil || !isPending(p, c.input) {
			out = append(out, c)
		}
	}
	if len(out) == 0 && !p.Known {
		out = append(out, cause{What: causeForgot, Sentence: "its result is not in the cube any more"})
	}
	return out, nil
}

// pending are the inputs that are to be made anew first.
func pending(p *solve.VertexPreview) (out []cause) {
	for _, i := range p.Pending {
		b := p.Vertex.Inputs[i]
		out = append(out, cause{What: causePending, Name: b.Variable, Sentence: b.Variable + " is to be made first", input: b})
	}
	return out
}

func isPending(p *solve.VertexPreview, b *graph.Binding) bool {
	for _, i := range p.Pending {
		if p.Vertex.Inputs[i] == b {
			return true
		}
	}
	return false
}

// translate puts a change into the workspace's own names: variables, sources
// and producers for roles and layers.
func translate(p *solve.VertexPreview, was graph.Outline, c lineage.Change) cause {
	out := cause{What: c.What, Name: c.Name, Old: c.Old, New: c.New, Sentence: c.Sentence}
	inst := p.Vertex.Instance
	switch {
	case c.What == lineage.ChangedInput:
		out.input, out.was = inputOf(p.Vertex, was, c.Name)
		if out.input != nil {
			out.Name = out.input.Variable
			out.Sentence = changed(out.Name, c)
		}
	case c.What == lineage.ChangedSource && inst != nil:
		role, field, _ := strings.Cut(c.Name, ".")
		if name := inst.Sources[role]; name != "" {
			out.Name = name
			out.Sentence = changed(strings.TrimSpace("source "+name+" "+field), c)
		}
	case c.What == lineage.ChangedImage && inst != nil:
		out.Name = inst.Image.Ref
		out.Sentence, out.code = imageSentence(inst, c)
	case c.What == lineage.ChangedSalt && inst != nil:
		out.Name = inst.Name
		out.Sentence = fmt.Sprintf("producer %s was bumped: salt %s → %s", inst.Name, orZero(c.Old), orZero(c.New))
	case c.What == lineage.ChangedGrid && c.Name == "domain":
		out.Sentence = domainSentence(p.Vertex, was.Box)
	}
	return out
}

func orZero(salt string) string {
	if salt == "" {
		return "0"
	}
	return salt
}

// changed is a change of something with a name.
func changed(name string, c lineage.Change) string {
	switch {
	case c.Old == "":
		return name + " is new: " + c.New
	case c.New == "":
		return name + " is gone, it was " + c.Old
	}
	return fmt.Sprintf("%s changed: %s → %s", name, c.Old, c.New)
}

// inputOf finds an input by what Explain calls it, its role or its place, and
// the version that was read before.
func inputOf(v *graph.Vertex, was graph.Outline, name string) (*graph.Binding, graph.Digest) {
	place, err := strconv.Atoi(name)
	for i, b := range v.Inputs {
		if b.Role != name && (err != nil || place != i || !v.IsMerge()) {
			continue
		}
		return b, was.Version(v, i)
	}
	return nil, graph.Digest{}
}

// imageSentence tells a change of code from one of what it stands on: the last
// layer of an image that cube builds is the producer's own files.
func imageSentence(inst *graph.Instance, c lineage.Change) (sentence string, code bool) {
	rest := strings.TrimPrefix(c.Sentence, "image changed: ")
	_, builtin := config.Builtin(inst.Image.Ref)
	n := len(inst.Image.DiffIDs)
	if c.Name == "layers" && (builtin || config.IsPath(inst.Image.Ref)) && strings.HasPrefix(rest, fmt.Sprintf("layer %d of %d:", n, n)) {
		return fmt.Sprintf("the code of %s changed (%s)", inst.Image.Ref, rest), true
	}
	if c.Name == "layers" {
		return fmt.Sprintf("image %s changed: %s", inst.Image.Ref, rest), false
	}
	return strings.Replace(c.Sentence, "image ", "image "+inst.Image.Ref+" ", 1), false
}

// latticeCause is a grid with other cells, or elsewhere.
func latticeCause(v *graph.Vertex, was graph.Outline) cause {
	text := func(l grid.Lattice, b grid.Box) string {
		return fmt.Sprintf("%s, %d × %d cells", latticeText(l), b.Y.Len(), b.X.Len())
	}
	c := cause{What: lineage.ChangedGrid, Name: v.GridName, Old: text(was.Lattice, was.Box), New: text(v.Grid.Lattice, v.Box)}
	if c.Old == c.New {
		origin := func(l grid.Lattice) string { return fmt.Sprintf(", from %v, %v on", l.X0, l.Y0) }
		c.Old, c.New = c.Old+origin(was.Lattice), c.New+origin(v.Grid.Lattice)
	}
	c.Sentence = fmt.Sprintf("grid %s changed: %s → %s", c.Name, c.Old, c.New)
	return c
}

func domainSentence(v *graph.Vertex, was grid.Box) string {
	size := func(b grid.Box) string {
		s := fmt.Sprintf("%d × %d cells", b.Y.Len(), b.X.Len())
		if b.T.Len() > 0 {
			s += fmt.Sprintf(" × %d steps", b.T.Len())
		}
		return s
	}
	how := "changed"
	switch {
	case v.Box.Contains(was):
		how = "is larger"
	case was.Contains(v.Box):
		how = "is smaller"
	case size(was) == size(v.Box):
		return fmt.Sprintf("the domain of grid %s moved: %s → %s", v.GridName, was, v.Box)
	}
	return fmt.Sprintf("the domain of grid %s %s: %s → %s", v.GridName, how, size(was), size(v.Box))
}

// limitChange is a limit that is not what it was, which changes no value.
type limitChange struct {
	Name string `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

func (l limitChange) String() string { return fmt.Sprintf("%s %s → %s", l.Name, l.Old, l.New) }

// notKeyed are the limits that differ from those that the head was made under.
func (x *foresight) notKeyed(p *solve.VertexPreview) ([]limitChange, error) {
	if p.Head == nil || p.Head.Derivation.IsZero() || p.Vertex.Instance == nil {
		return nil, nil
	}
	v, _, err := x.runs.ByDerivation(p.Head.Derivation)
	if errors.Is(err, lineage.ErrNoRecord) || err == nil && v.Limits == (graph.Resources{}) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	old, now := v.Limits, p.Vertex.Instance.Limits()
	var out []limitChange
	add := func(name, a, b string) {
		if a != b {
			out = append(out, limitChange{name, a, b})
		}
	}
	add("timeout", duration(old.Timeout), duration(now.Timeout))
	add("memory", binary(old.Memory), binary(now.Memory))
	add("disk", binary(old.Disk), binary(now.Disk))
	add("pids", fmt.Sprint(old.PIDs), fmt.Sprint(now.PIDs))
	return out, nil
}

// binary is a number of bytes as limits are written: 512MiB.
func binary(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= unit.size && n%unit.size == 0 {
			return fmt.Sprintf("%d%s", n/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// duration is a time limit as limits are written: 10m, 1h30m.
func duration(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}
