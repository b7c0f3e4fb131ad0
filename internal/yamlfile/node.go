package yamlfile

import (
	"encoding/json"
	"strconv"
)

// Kind is the type of a node.
type Kind int

// The kinds of nodes.
const (
	Null Kind = iota
	Bool
	Int
	Float
	String
	Map
	List
)

// String names the kind for people.
func (k Kind) String() string {
	return [...]string{"nothing", "true or false", "a whole number", "a number", "text", "a map", "a list"}[k]
}

// Node is a value in a document, with its place.
type Node struct {
	Kind    Kind
	Text    string  // of a scalar: a number as JSON writes it, text without quotes
	Entries []Entry // of a map, in the order of the file
	Items   []*Node // of a list

	name  string // the key that it stands under, for messages
	raw   string // of a plain scalar: as it was written
	doc   *Document
	line  int
	col   int
	width int
}

// Entry is a key and its value in a map.
type Entry struct {
	Key   string
	Name  *Node // the key as a node, for its place
	Value *Node
}

// Document is a parsed file.
type Document struct {
	File string
	Root *Node

	lines []string
}

// Pos returns the node's place.
func (n *Node) Pos() Position {
	p := Position{Line: n.line, Column: n.col, Width: max(1, n.width)}
	if n.doc != nil {
		p.File = n.doc.File
		if n.line >= 1 && n.line <= len(n.doc.lines) {
			p.Source = n.doc.lines[n.line-1]
		}
	}
	return p
}

// Get returns the value of a key, or nil. A nil node has no keys.
func (n *Node) Get(key string) *Node {
	if e := n.entry(key); e != nil {
		return e.Value
	}
	return nil
}

func (n *Node) entry(key string) *Entry {
	if n == nil {
		return nil
	}
	for i := range n.Entries {
		if n.Entries[i].Key == key {
			return &n.Entries[i]
		}
	}
	return nil
}

// At walks down keys and list indices and returns the deepest node that is
// there: of a missing key, the map that misses it. It never returns nil for a
// node that is not.
func (n *Node) At(path ...string) *Node {
	for _, p := range path {
		next := n.Get(p)
		if i, err := strconv.Atoi(p); next == nil && err == nil && i >= 0 && i < len(n.Items) {
			next = n.Items[i]
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// Key returns the node of a key's name, or the map itself without it.
func (n *Node) Key(key string) *Node {
	if e := n.entry(key); e != nil {
		return e.Name
	}
	return n
}

// Set puts a value into a map under a key, at the end if it is new. The key has
// the place of the value.
func (n *Node) Set(key string, value *Node) {
	n.SetAt(&Node{Kind: String, Text: key, doc: value.doc, line: value.line, col: value.col, width: value.width}, value)
}

// SetAt is Set for a key that has a place of its own.
func (n *Node) SetAt(key, value *Node) {
	if e := n.entry(key.Text); e != nil {
		e.Name, e.Value = key, value
		return
	}
	n.Entries = append(n.Entries, Entry{key.Text, key, value})
}

// Beside returns text that stands at another column of n's line, over width
// characters.
func (n *Node) Beside(text string, column, width int) *Node {
	return &Node{Kind: String, Text: text, doc: n.doc, line: n.line, col: column, width: width}
}

// JSON returns the value as encoding/json has it: map[string]any, []any,
// string, json.Number, bool or nil.
func (n *Node) JSON() any {
	switch n.Kind {
	case Bool:
		return n.Text == "true"
	case Int, Float:
		return json.Number(n.Text)
	case String:
		return n.Text
	case Map:
		m := make(map[string]any, len(n.Entries))
		for _, e := range n.Entries {
			m[e.Key] = e.Value.JSON()
		}
		return m
	case List:
		l := make([]any, len(n.Items))
		for i, item := range n.Items {
			l[i] = item.JSON()
		}
		return l
	}
	return nil
}

// Written returns a scalar as the file has it, without quotes: 0.10 stays
// 0.10.
func (n *Node) Written() string {
	if n.raw != "" {
		return n.raw
	}
	return n.Text
}

// SetValue replaces the value of a key that is there; the key keeps its place.
func (n *Node) SetValue(key string, value *Node) {
	if e := n.entry(key); e != nil {
		e.Value = value
	}
}

// Keys are the keys of a map, in the order of the file.
func (n *Node) Keys() []string {
	var keys []string
	if n != nil {
		for _, e := range n.Entries {
			keys = append(keys, e.Key)
		}
	}
	return keys
}

// NewMap returns an empty map with the place of n.
func (n *Node) NewMap() *Node {
	return &Node{Kind: Map, doc: n.doc, line: n.line, col: n.col, width: n.width}
}

// Clone returns a copy of the document whose tree can be changed.
func (d *Document) Clone() *Document {
	c := *d
	c.Root = d.Root.clone()
	return &c
}

// clone copies a tree; places stay those of the first document.
func (n *Node) clone() *Node {
	if n == nil {
		return nil
	}
	c := *n
	c.Entries, c.Items = nil, nil
	for _, e := range n.Entries {
		c.Entries = append(c.Entries, Entry{e.Key, e.Name, e.Value.clone()})
	}
	for _, item := range n.Items {
		c.Items = append(c.Items, item.clone())
	}
	return &c
}
