package lineage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Methods writes the paragraph that a paper's methods section wants: the
// sources, each step in order, the software, and the state of the workspace;
// then the works to cite.
func (t *Tree) Methods(w io.Writer) error {
	var b bytes.Buffer
	root := t.root()
	fmt.Fprintf(&b, "The variable %s (version %s) was made with %s.", root.Variable, root.Version, engine(root.Engine))
	t.writeSources(&b)
	for _, n := range t.Nodes {
		b.WriteByte(' ')
		b.WriteString(n.sentence())
	}
	b.WriteByte(' ')
	b.WriteString(workspaceSentence(root.Workspace))
	b.WriteByte('\n')
	if refs := t.citations(); len(refs) > 0 {
		b.WriteString("\nReferences\n")
		for i, r := range refs {
			fmt.Fprintf(&b, "[%d] %s\n", i+1, r)
		}
	}
	_, err := b.WriteTo(w)
	return err
}

func engine(e Engine) string {
	if e.Version == "" {
		return "cube"
	}
	return "cube " + e.Version
}

// sources are the sources of the tree, each once.
func (t *Tree) sources() []Source {
	var all []Source
	for _, n := range t.Nodes {
		for _, s := range n.Sources {
			same := func(o Source) bool { return o.Name == s.Name && o.SHA256 == s.SHA256 }
			if !slices.ContainsFunc(all, same) {
				all = append(all, s)
			}
		}
	}
	return all
}

func (t *Tree) writeSources(b *bytes.Buffer) {
	for _, s := range t.sources() {
		fmt.Fprintf(b, " The source %s", s.Name)
		if s.Recording != nil {
			fmt.Fprintf(b, " was fetched by its producer on %s, in %d requests that are recorded (%s)",
				s.Recording.Fetched.UTC().Format(time.DateOnly), len(s.Recording.Exchanges)+s.Recording.More, s.URI)
		} else if s.URI != "" {
			fmt.Fprintf(b, " was taken from %s", s.URI)
		} else {
			b.WriteString(" was a local file")
		}
		fmt.Fprintf(b, " (SHA-256 %s%s).", s.SHA256.Hex(), labelled("; licence ", s.License))
	}
}

func (n *Node) sentence() string {
	if !n.Known {
		return fmt.Sprintf("%s (version %s) was taken as it was; no record tells how it was made.", n.Variable, n.Version)
	}
	var from []string
	for _, in := range n.Inputs {
		name := in.Variable
		if in.Held {
			name += " (an earlier version, held)"
		}
		from = append(from, name)
	}
	for _, s := range n.Sources {
		from = append(from, "the source "+s.Name)
	}
	if n.IsMerge() {
		return fmt.Sprintf("%s was merged from %s.", n.Variable, and(from))
	}
	s := fmt.Sprintf("%s was computed", n.Variable)
	if len(from) > 0 {
		s += " from " + and(from)
	}
	by := n.Producer.Name
	if by == "" {
		by = n.Instance
	}
	return s + " by " + by + " (" + n.means() + ")."
}

// means are the container, the software and the params of a step.
func (n *Node) means() string {
	parts := []string{"container image " + n.Image.Config}
	if p := params(n.Params); p != "" {
		parts = append(parts, "with "+p)
	}
	if s := n.software(); s != "" {
		parts = append(parts, "software "+s)
	}
	return strings.Join(parts, "; ")
}

// params writes an object as "method = horn, radius = 3".
func params(raw json.RawMessage) string {
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil {
		return ""
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(object)) {
		value := string(object[k])
		var text string
		if json.Unmarshal(object[k], &text) == nil {
			value = text
		}
		parts = append(parts, k+" = "+value)
	}
	return strings.Join(parts, ", ")
}

func workspaceSentence(w Workspace) string {
	s := "The workspace's configuration has SHA-256 " + w.Config.Hex()
	if !w.Lock.IsZero() {
		s += " and its lock " + w.Lock.Hex()
	}
	if w.Git.Commit != "" {
		s += "; it was at git commit " + w.Git.Commit
		if w.Git.Dirty {
			s += " with uncommitted changes"
		}
	}
	return s + "."
}

// citations are the works that sources and producers ask to be cited, each
// once.
func (t *Tree) citations() []string {
	var refs []string
	add := func(c string) {
		if c = oneLine(c); c != "" && !slices.Contains(refs, c) {
			refs = append(refs, c)
		}
	}
	for _, s := range t.sources() {
		add(s.Citation)
	}
	for _, n := range t.Nodes {
		add(n.Producer.Citation)
	}
	return refs
}

func and(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
