package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// pictureFormats are the formats of cube graph, each with what writes it.
var pictureFormats = map[string]func(*picture, io.Writer) error{
	"text": (*picture).writeText, "dot": (*picture).writeDot, "mermaid": (*picture).writeMermaid, "svg": (*picture).writeSVG, "json": (*picture).writeJSON,
}

type graphOptions struct {
	format string
	output string
}

func newGraphCommand(a *app) *cobra.Command {
	var o graphOptions
	c := &cobra.Command{
		Use:     "graph [VARIABLE...]",
		Short:   "draw what variables are made of",
		GroupID: groupExplain,
		Long: `Graph draws sources, producers and variables, and what is made of what: as a tree
in the terminal, or as dot (Graphviz), mermaid (for Markdown) or svg (a picture,
with no other program). Colours say what is clean, dirty or not built yet; of what
is unknown an image or a source is not at hand ("cube plan" makes them ready).`,
		Example: `  cube graph slope
  cube graph -o plan.svg
  cube graph --format mermaid terrain_class >> README.md
  cube graph --format dot | dot -Tpdf -o plan.pdf`,
		ValidArgsFunction: a.completeVariables,
		RunE:              func(c *cobra.Command, args []string) error { return runGraph(c.Context(), a, o, args) },
	}
	c.Flags().StringVar(&o.format, "format", "", "text, dot, mermaid, svg or json (default: by the name of the file, or text)")
	c.Flags().StringVarP(&o.output, "output", "o", "", "write to this `file`")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "dot", "mermaid", "svg", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func runGraph(ctx context.Context, a *app, o graphOptions, targets []string) error {
	write, err := o.writer(a.json)
	if err != nil {
		return err
	}
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	p, err := g.picture(ctx, targets)
	if err != nil {
		return err
	}
	p.style = a.style(a.stdout)
	if o.output == "" {
		return write(p, a.stdout)
	}
	p.style.Color = false
	var b bytes.Buffer
	if err := write(p, &b); err != nil {
		return err
	}
	return os.WriteFile(o.output, b.Bytes(), 0o644)
}

// writer is the format that was asked for: by name, or by the file's.
func (o graphOptions) writer(json bool) (func(*picture, io.Writer) error, error) {
	format := o.format
	if format == "" {
		format = map[string]string{".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".md": "mermaid", ".svg": "svg", ".json": "json"}[filepath.Ext(o.output)]
	}
	if format == "" {
		format = "text"
		if json {
			format = "json"
		}
	}
	w, ok := pictureFormats[format]
	if !ok {
		return nil, &usageError{fmt.Errorf("unknown format %q; there are text, dot, mermaid, svg and json", format)}
	}
	return w, nil
}

// writeText draws a tree for each target.
func (p *picture) writeText(w io.Writer) error {
	var b strings.Builder
	drawn := map[*pictureNode]bool{}
	var draw func(n *pictureNode, head, rest string)
	draw = func(n *pictureNode, head, rest string) {
		b.WriteString(head + n.line(p))
		if drawn[n] && len(n.from) > 0 {
			b.WriteString(p.style.Dim(" (see above)") + "\n")
			return
		}
		drawn[n] = true
		b.WriteString("\n")
		below := p.below(n)
		for i, c := range below {
			if i == len(below)-1 {
				draw(c, rest+"└─ ", rest+"   ")
			} else {
				draw(c, rest+"├─ ", rest+"│  ")
			}
		}
	}
	for _, n := range p.roots() {
		draw(n, "", "")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// line is a node in the tree.
func (n *pictureNode) line(p *picture) string {
	switch n.Kind {
	case nodeVariable:
		s := p.style.Bold(n.Label)
		sep := " ← "
		for _, m := range n.from {
			s += sep + m.Label
			sep = ", "
			if m.Detail != "" && m.Detail != m.Label {
				s += p.style.Dim(" (" + m.Detail + ")")
			}
		}
		if n.State == stateNone {
			return s + p.style.Dim("  not built yet")
		}
		return s + "  " + n.State.word(p.style)
	case nodeSource:
		return "source " + n.Label + p.style.Dim("  "+n.Detail)
	case nodeImport:
		return n.Label + p.style.Dim("  imported")
	}
	return n.Label
}

// below is what a node stands on in the tree: producers stand on the line of
// what they make.
func (p *picture) below(n *pictureNode) []*pictureNode {
	var out []*pictureNode
	for _, m := range n.from {
		for _, c := range m.from {
			if !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
	}
	return out
}

// roots are the targets, or, where none were named, what nothing else needs.
func (p *picture) roots() []*pictureNode {
	var out []*pictureNode
	for _, n := range p.Nodes {
		if n.target || len(p.targets) == 0 && n.Kind == nodeVariable && len(n.to) == 0 {
			out = append(out, n)
		}
	}
	return out
}
