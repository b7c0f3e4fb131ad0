package lineage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cubebuild/cube/graph"
)

// Tree is the provenance of one version: everything that went into it, down to
// the sources.
type Tree struct {
	Variable string       `json:"variable"`
	Version  graph.Digest `json:"version"`
	// Nodes are the versions that went into it, each once, each after what it
	// was made of; the last one is the version itself.
	Nodes []*Node `json:"nodes"`
}

// Node is one version of a variable and how it was first made.
type Node struct {
	Variable string       `json:"variable"`
	Version  graph.Digest `json:"version"`
	// Known says whether a run tells of it. Where none does, all below is empty.
	Known     bool            `json:"known"`
	Run       string          `json:"run,omitempty"`
	Made      time.Time       `json:"made,omitzero"`
	Role      string          `json:"role,omitempty"` // the producer's own name of it
	Instance  string          `json:"instance,omitempty"`
	Grid      string          `json:"grid,omitempty"`
	Native    float64         `json:"native_res_m,omitempty"`
	Producer  Producer        `json:"producer,omitzero"`
	Image     Image           `json:"image,omitzero"`
	Params    json.RawMessage `json:"params,omitempty"`
	Packages  []Package       `json:"packages,omitempty"`
	Inputs    []Input         `json:"inputs,omitempty"`
	Sources   []Source        `json:"sources,omitempty"`
	Engine    Engine          `json:"engine,omitzero"`
	Workspace Workspace       `json:"workspace,omitzero"`

	children []*Node // in the order of Inputs
}

// Trace follows a version down to its sources. A version of which no run tells
// is a node that is not Known; for the one asked for it is [ErrNoRecord].
func Trace(s *Store, variable string, version graph.Digest) (*Tree, error) {
	t := &Tree{Variable: variable, Version: version}
	root, err := t.trace(s, map[madeKey]*Node{}, madeKey{variable, version})
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	if !root.Known {
		return nil, fmt.Errorf("trace %s version %s: %w", variable, version.Short(), ErrNoRecord)
	}
	return t, nil
}

func (t *Tree) trace(s *Store, seen map[madeKey]*Node, k madeKey) (*Node, error) {
	if n, ok := seen[k]; ok {
		return n, nil
	}
	n := &Node{Variable: k.variable, Version: k.version}
	seen[k] = n
	v, run, err := s.ByVersion(k.variable, k.version)
	if err != nil && !errors.Is(err, ErrNoRecord) {
		return nil, err
	}
	if err == nil {
		n.fill(v, run)
	}
	for _, in := range n.Inputs {
		child, err := t.trace(s, seen, madeKey{in.Variable, in.Version})
		if err != nil {
			return nil, err
		}
		n.children = append(n.children, child)
	}
	t.Nodes = append(t.Nodes, n)
	return n, nil
}

func (n *Node) fill(v Vertex, run Run) {
	n.Known, n.Run, n.Made = true, run.ID, run.Started
	n.Instance, n.Grid, n.Producer, n.Image = v.Instance, v.Grid, v.Producer, v.Image
	n.Params, n.Packages, n.Inputs, n.Sources = v.Params, v.Packages, v.Inputs, v.Sources
	n.Engine, n.Workspace = run.Engine, run.Workspace
	for _, o := range v.Outputs {
		if o.Variable == n.Variable && o.Version == n.Version {
			n.Role, n.Native = o.Role, o.Native
		}
	}
}

// root is the version that was asked for.
func (t *Tree) root() *Node { return t.Nodes[len(t.Nodes)-1] }

// IsMerge reports whether the engine itself folded the inputs.
func (n *Node) IsMerge() bool { return n.Known && n.Image.Config == "" && len(n.Inputs) > 0 }

// WriteText draws the tree. A version that went in by several ways is drawn
// once.
func (t *Tree) WriteText(w io.Writer) error {
	d := drawing{drawn: map[*Node]bool{}}
	d.node("", "", t.root(), "")
	_, err := d.buf.WriteTo(w)
	return err
}

type drawing struct {
	buf   bytes.Buffer
	drawn map[*Node]bool
}

// node draws n behind head; rest is what stands before its further lines.
func (d *drawing) node(head, rest string, n *Node, note string) {
	fmt.Fprintf(&d.buf, "%s%s %s%s", head, n.Variable, n.Version.Short(), note)
	if d.drawn[n] {
		d.buf.WriteString(", see above\n")
		return
	}
	d.drawn[n] = true
	d.buf.WriteByte('\n')
	below := len(n.children) + len(n.Sources)
	bar := "│ "
	if below == 0 {
		bar = "  "
	}
	for _, line := range n.facts() {
		d.buf.WriteString(rest + bar + line + "\n")
	}
	for i, c := range n.children {
		h, r := branch(below - i)
		d.node(rest+h, rest+r, c, n.Inputs[i].note())
	}
	for i, src := range n.Sources {
		h, r := branch(len(n.Sources) - i)
		d.source(rest+h, rest+r, src)
	}
}

// branch returns what stands before a child's first line and before its further
// ones, when left children, it included, are still to come.
func branch(left int) (head, rest string) {
	if left > 1 {
		return "├─ ", "│  "
	}
	return "└─ ", "   "
}

func (in Input) note() string {
	var s string
	if in.Role != "" && in.Role != in.Variable {
		s += " as " + in.Role
	}
	if in.Held {
		s += " (held: stale when it was used)"
	}
	return s
}

func (d *drawing) source(head, rest string, s Source) {
	fmt.Fprintf(&d.buf, "%ssource %s\n", head, s.Name)
	for _, line := range s.facts() {
		d.buf.WriteString(rest + "  " + line + "\n")
	}
}

func (s Source) facts() []string {
	sum := "sha256 " + s.SHA256.Hex()
	if s.Size > 0 {
		sum += ", " + size(s.Size)
	}
	lines := []string{s.URI, sum, labelled("license ", s.License), labelled("cite ", oneLine(s.Citation))}
	lines = append(lines, s.Recording.facts()...)
	return slices.DeleteFunc(lines, func(l string) bool { return l == "" })
}

// shownExchanges is how many exchanges of a recording are drawn.
const shownExchanges = 10

// facts are what a recording tells, none where there is none.
func (r *Recording) facts() []string {
	if r == nil {
		return nil
	}
	lines := []string{"fetched " + r.Fetched.UTC().Format(time.RFC3339)}
	for i, e := range r.Exchanges {
		if i == shownExchanges {
			break
		}
		line := fmt.Sprintf("%s %s → %d", e.Method, e.URL, e.Status)
		if !e.SHA256.IsZero() {
			line += ", sha256 " + e.SHA256.Hex() + ", " + size(e.Size)
		}
		lines = append(lines, line)
	}
	if more := len(r.Exchanges) + r.More - shownExchanges; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}

// facts are the lines below a version's name.
func (n *Node) facts() []string {
	if !n.Known {
		return []string{"no record tells how it was made"}
	}
	by := "by " + n.Instance
	if n.IsMerge() {
		by = "merged"
	}
	if n.Producer.Name != "" && n.Producer.Name != n.Instance {
		by += " (" + n.Producer.Name + ")"
	}
	if n.Grid != "" {
		by += " on grid " + n.Grid
	}
	lines := []string{by + ", run " + n.Run, n.imageFact(), labelled("params ", n.paramsFact()),
		labelled("software ", n.software()), labelled("license ", n.Producer.License),
		labelled("cite ", oneLine(n.Producer.Citation))}
	if n.Native > 0 {
		lines = append(lines, fmt.Sprintf("native %.4g m", n.Native))
	}
	return slices.DeleteFunc(lines, func(l string) bool { return l == "" })
}

func (n *Node) imageFact() string {
	if n.Image.Config == "" {
		return ""
	}
	s := "image " + n.Image.Ref
	if n.Image.Ref != "" {
		s += ", "
	}
	return s + "config " + shortDigest(n.Image.Config) + labelled(", ", n.Image.Platform)
}

func (n *Node) paramsFact() string {
	if p := string(n.Params); p != "{}" && p != "null" {
		return p
	}
	return ""
}

// shownPackages is how many packages a line names.
const shownPackages = 6

// software names the packages of the image that a reader asks for: those of its
// language and the interpreter, and of the system's only the number.
func (n *Node) software() string {
	var names []string
	for _, p := range n.Packages {
		if (p.Kind != "deb" || strings.HasPrefix(p.Name, "python3.")) && len(names) < shownPackages {
			names = append(names, p.Name+" "+p.Version)
		}
	}
	more := len(n.Packages) - len(names)
	switch {
	case more == 0:
		return strings.Join(names, ", ")
	case len(names) == 0:
		return fmt.Sprintf("%d packages", more)
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), more)
}

func labelled(label, s string) string {
	if s == "" {
		return ""
	}
	return label + s
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// shortDigest is a digest's first 12 hex digits, or s where it is none.
func shortDigest(s string) string {
	if d, err := graph.ParseDigest(s); err == nil {
		return d.Short()
	}
	return s
}

// size is a number of bytes for people.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), -1
	for f >= 999.5 && unit < 4 {
		f, unit = f/1000, unit+1
	}
	return fmt.Sprintf("%.3g %cB", f, "kMGTP"[unit])
}
