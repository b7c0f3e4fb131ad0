package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/yamlfile"
)

// setFile is what errors call the text of an override.
const setFile = "--set"

// Set overrides a value of the file, as in
//
//	producers.slope.params.method=zevenbergen
//	grids.default.bounds=[0, 0, 1000, 1000]
//
// The value is YAML; a key with a dot in it stands in double quotes. Instances,
// sources and grids that the file does not have cannot be added. Mistakes name
// the override as their file. After an error the file is as it was.
func (f *File) Set(override string) error {
	if strings.ContainsAny(override, "\r\n") || !utf8.ValidString(override) {
		return setError(override, 1, "", "an override is one line of text")
	}
	path, at, err := setPath(override)
	if err != nil {
		return err
	}
	value, err := setValue(override, at)
	if err != nil {
		return err
	}
	changed := *f
	changed.doc = f.doc.Clone()
	if err := put(changed.doc.Root, keyNodes(path, value), value, nil); err != nil {
		return err
	}
	if err := changed.decode(); err != nil {
		return err
	}
	changed.sets = append(slices.Clone(f.sets), override)
	*f = changed
	return nil
}

// Sets are the overrides that hold, in the order in which they were set.
func (f *File) Sets() []string { return slices.Clone(f.sets) }

// Digest is the digest of what the file says, overrides included: comments,
// white space and notation are not in it, the order of keys is.
func (f *File) Digest() graph.Digest { return graph.Sum(yamlfile.Encode(f.doc.Root)) }

// setError is a mistake in an override.
func setError(override string, col int, hint, format string, args ...any) *yamlfile.Error {
	return &yamlfile.Error{Position: yamlfile.Position{File: setFile, Line: 1, Column: col, Width: 1, Source: override},
		Message: fmt.Sprintf(format, args...), Hint: hint}
}

// pathKey is a key of an override's path, and where it stands in characters.
type pathKey struct {
	key           string
	column, width int
}

// keyNodes are the keys of a path, with their places in the override.
func keyNodes(path []pathKey, value *yamlfile.Node) []*yamlfile.Node {
	nodes := make([]*yamlfile.Node, len(path))
	for i, k := range path {
		nodes[i] = value.Beside(k.key, k.column, k.width)
	}
	return nodes
}

// setPath splits an override into its path and where its value begins.
func setPath(override string) (path []pathKey, value int, err error) {
	rest := override
	for {
		key, more, ok := setKey(rest)
		column := utf8.RuneCountInString(override[:len(override)-len(rest)]) + 1
		if !ok {
			return nil, 0, setError(override, column, "write it like producers.slope.params.method=horn", "a key and = are missing here")
		}
		width := utf8.RuneCountInString(rest[:len(rest)-len(more)])
		path, rest = append(path, pathKey{key, column, width}), more
		if strings.HasPrefix(rest, "=") {
			return path, len(override) - len(rest) + 1, nil
		}
		rest = rest[1:]
	}
}

// setKey cuts the first key off; what is left begins with . or =.
func setKey(s string) (key, rest string, ok bool) {
	if strings.HasPrefix(s, `"`) {
		key, rest, ok = strings.Cut(s[1:], `"`)
		return key, rest, ok && key != "" && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "="))
	}
	i := strings.IndexAny(s, ".=")
	if i <= 0 {
		return "", "", false
	}
	return s[:i], s[i:], true
}

// setValue parses the value of an override; its nodes have their places in
// the override.
func setValue(override string, at int) (*yamlfile.Node, error) {
	if strings.TrimSpace(override[at:]) == "" {
		return nil, setError(override, utf8.RuneCountInString(override), "for no text at all write \"\"", "the value is missing")
	}
	doc, err := yamlfile.ParseLine(setFile, override, at)
	if err != nil {
		return nil, err
	}
	return doc.Root, nil
}

// closed are the maps that an override cannot add to.
var closed = map[string]string{"producers": "producer", "sources": "source", "grids": "grid"}

// put sets a value in a tree, and makes the maps on the way to it.
func put(n *yamlfile.Node, path []*yamlfile.Node, value *yamlfile.Node, above []string) error {
	key := path[0].Text
	if n.Kind == yamlfile.List {
		return putItem(n, path, value, above)
	}
	if n.Kind != yamlfile.Map && n.Kind != yamlfile.Null {
		return &yamlfile.Error{Position: path[0].Pos(), Message: fmt.Sprintf("%s is no map, it has no %s", strings.Join(above, "."), key)}
	}
	n.Kind = yamlfile.Map
	next := n.Get(key)
	if next == nil && len(above) == 1 && closed[above[0]] != "" {
		r := yamlfile.NewReport()
		r.Unknown(path[0], closed[above[0]], key, n.Keys())
		return r.Err()
	}
	if len(path) == 1 {
		n.SetAt(path[0], value)
		return nil
	}
	if next == nil {
		next = value.NewMap()
		n.SetAt(path[0], next)
	}
	if next.Kind == yamlfile.String {
		next = long(n, append(slices.Clone(above), key), next)
	}
	return put(next, path[1:], value, append(above, key))
}

// putItem sets a value in a list.
func putItem(n *yamlfile.Node, path []*yamlfile.Node, value *yamlfile.Node, above []string) error {
	for i := range n.Items {
		if path[0].Text != fmt.Sprint(i) {
			continue
		}
		if len(path) == 1 {
			n.Items[i] = value
			return nil
		}
		return put(n.Items[i], path[1:], value, append(above, path[0].Text))
	}
	return &yamlfile.Error{Position: path[0].Pos(),
		Message: fmt.Sprintf("%s is a list of %d; it has no %s", strings.Join(above, "."), len(n.Items), path[0].Text)}
}

// long turns the short form of a producer, of a source or of the backend, which
// stands at a path, into the long one.
func long(n *yamlfile.Node, path []string, short *yamlfile.Node) *yamlfile.Node {
	field := ""
	switch {
	case len(path) == 1 && path[0] == "backend":
		field = "kind"
	case len(path) == 2:
		field = map[string]string{"producers": "image", "sources": "uri"}[path[0]]
	}
	if field == "" {
		return short
	}
	m := short.NewMap()
	m.Set(field, short)
	n.SetValue(path[len(path)-1], m)
	return m
}
