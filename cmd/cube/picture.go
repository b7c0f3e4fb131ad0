package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/ui"
)

// nodeKind says what a node of a picture stands for.
type nodeKind string

const (
	nodeSource   nodeKind = "source"
	nodeProducer nodeKind = "producer"
	nodeVariable nodeKind = "variable"
	nodeImport   nodeKind = "import"
)

// pictureNode is a source, a producer or a variable.
type pictureNode struct {
	ID     string   `json:"id"`
	Kind   nodeKind `json:"kind"`
	Label  string   `json:"label"`
	Detail string   `json:"detail,omitempty"` // the image of a producer, the URI of a source
	State  state    `json:"state,omitempty"`

	from, to []*pictureNode
	target   bool
}

// pictureEdge leads from what is read to what reads it, and from a producer to
// what it makes.
type pictureEdge struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// picture is the graph of a workspace by its contracts.
type picture struct {
	Nodes []*pictureNode
	Edges []pictureEdge

	targets []string
	style   ui.Style
	byID    map[string]*pictureNode
}

// picture draws what the targets need, or everything.
func (g *gallery) picture(ctx context.Context, targets []string) (*picture, error) {
	ws, err := g.proj.Outline(ctx)
	if err != nil {
		return nil, err
	}
	wanted := targets
	if len(wanted) == 0 {
		wanted = ws.Variables()
	}
	needed, err := graph.Closure(&ws, wanted...)
	if err != nil {
		return nil, err
	}
	states, _, err := g.states(ctx)
	if err != nil {
		return nil, err
	}
	p := &picture{targets: targets, byID: map[string]*pictureNode{}}
	for i := range ws.Instances {
		if inst := &ws.Instances[i]; slices.Contains(needed, inst.Name) {
			g.drawInstance(p, &ws, inst, states)
		}
	}
	for _, name := range wanted {
		n := p.variable(&ws, name, states)
		n.target = slices.Contains(targets, name)
	}
	return p, nil
}

func (g *gallery) drawInstance(p *picture, ws *graph.Workspace, inst *graph.Instance, states map[string]state) {
	n := p.node(nodeProducer, inst.Name)
	n.Detail = inst.Image.Ref
	for _, role := range slices.Sorted(maps.Keys(inst.Sources)) {
		s := p.node(nodeSource, inst.Sources[role])
		if src := g.proj.File.Source(s.Label); src != nil {
			s.Detail = src.URI
		}
		p.edge(s, n)
	}
	for _, need := range inst.Manifest.Needs {
		p.edge(p.variable(ws, inst.Input(need.Variable), states), n)
	}
	for _, o := range inst.Manifest.Produces {
		p.edge(n, p.variable(ws, inst.Output(o.Name), states))
	}
}

func (p *picture) variable(ws *graph.Workspace, name string, states map[string]state) *pictureNode {
	kind := nodeVariable
	if _, ok := ws.Imports[name]; ok {
		kind = nodeImport
	}
	n := p.node(kind, name)
	n.State = states[name]
	if n.State == "" {
		n.State = stateNone
	}
	return n
}

// node returns the node of a thing, which it makes where there is none.
func (p *picture) node(kind nodeKind, name string) *pictureNode {
	id := string(kind) + ":" + name
	if n, ok := p.byID[id]; ok {
		return n
	}
	n := &pictureNode{ID: id, Kind: kind, Label: name}
	p.byID[id] = n
	p.Nodes = append(p.Nodes, n)
	return n
}

func (p *picture) edge(a, b *pictureNode) {
	e := pictureEdge{a.ID, b.ID}
	if slices.Contains(p.Edges, e) {
		return
	}
	p.Edges = append(p.Edges, e)
	a.to, b.from = append(a.to, b), append(b.from, a)
}

func (p *picture) writeJSON(w io.Writer) error {
	return json.NewEncoder(w).Encode(struct {
		Type  string         `json:"type"`
		Nodes []*pictureNode `json:"nodes"`
		Edges []pictureEdge  `json:"edges"`
	}{"graph", p.Nodes, p.Edges})
}

// look is how a node is filled, outlined and written on.
type look struct{ fill, line, text string }

// looks are by state; what has none is a source or a producer.
var looks = map[state]look{
	"":           {"#f4f6f8", "#52606d", "#1f2933"},
	stateClean:   {"#e3f4e7", "#2f7d4f", "#14452f"},
	stateDirty:   {"#fdeecb", "#b7791f", "#5f370e"},
	stateNone:    {"#ffffff", "#9aa5b1", "#52606d"},
	stateUnknown: {"#eceff1", "#78909c", "#37474f"},
	stateOrphan:  {"#fbe3e4", "#b3333a", "#5c1519"},
}

// writeDot writes the language of Graphviz.
func (p *picture) writeDot(w io.Writer) error {
	shapes := map[nodeKind]string{nodeSource: "cylinder", nodeProducer: "box", nodeVariable: "ellipse", nodeImport: "note"}
	var b strings.Builder
	b.WriteString("digraph cube {\n  rankdir=LR;\n  node [fontname=\"sans-serif\", fontsize=11, style=filled];\n")
	for _, n := range p.Nodes {
		l, style := looks[n.State], "filled"
		if n.State == stateNone {
			style = "filled,dashed"
		}
		fmt.Fprintf(&b, "  %s [label=%s, shape=%s, style=%s, fillcolor=%s, color=%s, fontcolor=%s, tooltip=%s];\n", dotQuote(n.ID),
			dotQuote(n.Label), shapes[n.Kind], dotQuote(style), dotQuote(l.fill), dotQuote(l.line), dotQuote(l.text), dotQuote(n.title()))
	}
	for _, e := range p.Edges {
		fmt.Fprintf(&b, "  %s -> %s;\n", dotQuote(e.From), dotQuote(e.To))
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func dotQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// title says what a node is, in a line.
func (n *pictureNode) title() string {
	s := string(n.Kind) + " " + n.Label
	if n.Detail != "" && n.Detail != n.Label {
		s += ", " + n.Detail
	}
	switch n.State {
	case "":
	case stateNone:
		s += ": not built yet"
	default:
		s += ": " + string(n.State)
	}
	return s
}

// writeMermaid writes a flowchart of Mermaid, which Markdown renders.
func (p *picture) writeMermaid(w io.Writer) error {
	shapes := map[nodeKind][2]string{nodeSource: {"[(", ")]"}, nodeProducer: {"[", "]"}, nodeVariable: {"([", "])"}, nodeImport: {"[/", "/]"}}
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	short := map[string]string{}
	for i, n := range p.Nodes {
		short[n.ID] = fmt.Sprintf("n%d", i)
		s := shapes[n.Kind]
		fmt.Fprintf(&b, "  n%d%s\"%s\"%s\n", i, s[0], mermaidText(n.Label), s[1])
		if n.State != "" {
			fmt.Fprintf(&b, "  class n%d %s\n", i, n.State)
		}
	}
	for _, e := range p.Edges {
		fmt.Fprintf(&b, "  %s --> %s\n", short[e.From], short[e.To])
	}
	for _, st := range []state{stateClean, stateDirty, stateNone, stateUnknown, stateOrphan} {
		l, dash := looks[st], ""
		if st == stateNone {
			dash = ",stroke-dasharray:4"
		}
		fmt.Fprintf(&b, "  classDef %s fill:%s,stroke:%s,color:%s%s\n", st, l.fill, l.line, l.text, dash)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func mermaidText(s string) string {
	return strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;", "\n", " ").Replace(s)
}
