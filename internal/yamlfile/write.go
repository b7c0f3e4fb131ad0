package yamlfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// NewString returns a node of text, to write.
func NewString(s string) *Node { return &Node{Kind: String, Text: s} }

// NewMap returns an empty map, to write.
func NewMap() *Node { return &Node{Kind: Map} }

// NewList returns a list, to write.
func NewList(items ...*Node) *Node { return &Node{Kind: List, Items: items} }

// NewNumber returns a number, to write; text is as JSON has it.
func NewNumber(text string) *Node {
	if strings.ContainsAny(text, ".eE") {
		return &Node{Kind: Float, Text: text}
	}
	return &Node{Kind: Int, Text: text}
}

// NewBool returns a truth value, to write.
func NewBool(b bool) *Node {
	if b {
		return &Node{Kind: Bool, Text: "true"}
	}
	return &Node{Kind: Bool, Text: "false"}
}

// Encode writes a value as YAML, always the same bytes for the same value:
// maps in the order of their entries, one key a line; lists of scalars in
// brackets. Parse reads it back as it was.
func Encode(n *Node) []byte {
	var b bytes.Buffer
	switch {
	case isInline(n):
		inline(&b, n)
		b.WriteByte('\n')
	default:
		block(&b, n, 0)
	}
	return b.Bytes()
}

// isInline reports whether a value is written in one line.
func isInline(n *Node) bool {
	switch n.Kind {
	case Map:
		return len(n.Entries) == 0
	case List:
		for _, item := range n.Items {
			if item.Kind == Map || item.Kind == List {
				return false
			}
		}
	}
	return true
}

func block(b *bytes.Buffer, n *Node, indent int) {
	pad := strings.Repeat("  ", indent)
	for _, e := range n.Entries {
		b.WriteString(pad + plainOrQuoted(e.Key) + ":")
		value(b, e.Value, indent)
	}
	for _, item := range n.Items {
		b.WriteString(pad + "-")
		value(b, item, indent)
	}
}

func value(b *bytes.Buffer, n *Node, indent int) {
	if isInline(n) {
		b.WriteByte(' ')
		inline(b, n)
		b.WriteByte('\n')
		return
	}
	b.WriteByte('\n')
	block(b, n, indent+1)
}

func inline(b *bytes.Buffer, n *Node) {
	switch n.Kind {
	case Null:
		b.WriteString("null")
	case Map:
		b.WriteString("{}")
	case String:
		b.WriteString(plainOrQuoted(n.Text))
	case List:
		b.WriteByte('[')
		for i, item := range n.Items {
			if i > 0 {
				b.WriteString(", ")
			}
			inline(b, item)
		}
		b.WriteByte(']')
	default:
		b.WriteString(n.Text)
	}
}

// safeText needs no quotes in any place, by any reader of YAML.
var safeText = regexp.MustCompile(`^[A-Za-z_./][A-Za-z0-9_./@+-]*(:[A-Za-z0-9_./@+-]+)*$`)

// ambiguous are the words that some reader of YAML takes for something else.
var ambiguous = map[string]bool{"null": true, "true": true, "false": true, "yes": true, "no": true,
	"on": true, "off": true, "y": true, "n": true, ".inf": true, ".nan": true}

func plainOrQuoted(s string) string {
	if safeText.MatchString(s) && !ambiguous[strings.ToLower(s)] && !strings.HasPrefix(s, "..") && !floatText.MatchString(s) {
		return s
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return `""`
	}
	return escapeControls(strings.TrimSuffix(b.String(), "\n"))
}

// escapeControls escapes what JSON allows in text and Parse does not.
func escapeControls(s string) string {
	if strings.IndexFunc(s, isControl) < 0 {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		if isControl(c) {
			fmt.Fprintf(&b, "\\u%04x", c)
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// FromJSON makes a node of a value as encoding/json decodes it with UseNumber.
// Keys are sorted.
func FromJSON(v any) *Node {
	switch v := v.(type) {
	case bool:
		return NewBool(v)
	case json.Number:
		return NewNumber(string(v))
	case string:
		return NewString(v)
	case []any:
		items := make([]*Node, len(v))
		for i, e := range v {
			items[i] = FromJSON(e)
		}
		return NewList(items...)
	case map[string]any:
		m := NewMap()
		for _, k := range slices.Sorted(maps.Keys(v)) {
			m.Set(k, FromJSON(v[k]))
		}
		return m
	}
	return &Node{}
}
