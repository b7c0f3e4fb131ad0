package zarr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
)

// A Group is a node that holds arrays and further groups. Its methods may be
// called from many goroutines at once; two Groups of one path must not be
// changed at once.
type Group struct {
	store   Reader
	path    string
	version int // of the format: 3, or 2

	mu   sync.Mutex
	meta *GroupMeta
}

// OpenGroup opens the group at path, "" for the store's root. A group of version
// 2 is opened too, and cannot be changed. It fails with ErrNotExist where there
// is none.
func OpenGroup(ctx context.Context, store Reader, path string) (*Group, error) {
	meta, version, err := readGroup(ctx, store, path)
	if err != nil {
		return nil, fmt.Errorf("open group %q: %w", path, err)
	}
	return &Group{store: store, path: path, meta: meta, version: version}, nil
}

// CreateGroup writes a new, empty group at path, with consolidated metadata. It
// fails with ErrExist where there is a node already.
func CreateGroup(ctx context.Context, store Store, path string, attrs Attributes) (*Group, error) {
	g := &Group{store: store, path: path, version: 3, meta: &GroupMeta{Attributes: attrs.clone(), Members: map[string]json.RawMessage{}}}
	doc, err := g.meta.Encode()
	if err != nil {
		return nil, fmt.Errorf("create group %q: %w", path, err)
	}
	if err := create(ctx, store, path, doc); err != nil {
		return nil, fmt.Errorf("create group %q: %w", path, err)
	}
	return g, nil
}

// Path is where in the store the group is.
func (g *Group) Path() string { return g.path }

// Attributes is a copy of the group's attributes.
func (g *Group) Attributes() Attributes {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.meta.Attributes.clone()
}

// Consolidated tells whether the group holds the metadata of its members.
func (g *Group) Consolidated() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.meta.Members != nil
}

// Array opens the array of that name, or path relative to the group. Where the
// group has consolidated metadata nothing is read.
func (g *Group) Array(ctx context.Context, name string) (*Array, error) {
	g.mu.Lock()
	doc, known := g.meta.Members[name]
	trusted := g.meta.Members != nil
	g.mu.Unlock()
	path := join(g.path, name)
	if !trusted {
		return OpenArray(ctx, g.store, path)
	}
	if !known {
		return nil, fmt.Errorf("open array %q: %w", path, ErrNotExist)
	}
	meta, err := ParseArray(doc)
	if err != nil {
		return nil, fmt.Errorf("open array %q: %w", path, err)
	}
	return NewArray(g.store, path, meta)
}

// Arrays is the sorted names of the arrays directly in the group.
func (g *Group) Arrays(ctx context.Context) ([]string, error) { return g.members(ctx, "array") }

// Groups is the sorted names of the groups directly in the group.
func (g *Group) Groups(ctx context.Context) ([]string, error) { return g.members(ctx, "group") }

func (g *Group) members(ctx context.Context, nodeType string) ([]string, error) {
	g.mu.Lock()
	documents := g.meta.Members
	g.mu.Unlock()
	if documents == nil {
		var err error
		if documents, err = g.scan(ctx, "", 1); err != nil {
			return nil, fmt.Errorf("group %q: %w", g.path, err)
		}
	}
	var names []string
	for _, name := range sortedKeys(documents) {
		var node struct {
			NodeType string `json:"node_type"`
		}
		if err := unmarshal(documents[name], &node); err != nil {
			return nil, fmt.Errorf("group %q: member %q: %w", g.path, name, err)
		}
		if node.NodeType == nodeType && !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	return names, nil
}

// maxDepth bounds how deep groups may be nested.
const maxDepth = 32

// scan finds the documents of the nodes below the relative path, down to a
// number of levels.
func (g *Group) scan(ctx context.Context, below string, levels int) (map[string]json.RawMessage, error) {
	found := map[string]json.RawMessage{}
	lister, ok := g.store.(Lister)
	if !ok {
		return nil, fmt.Errorf("the store cannot list: %w", errors.ErrUnsupported)
	}
	for name, err := range lister.List(ctx, join2(g.path, below)) {
		if err != nil {
			return nil, err
		}
		name, isDir := strings.CutSuffix(name, "/")
		if !isDir {
			continue
		}
		path := join(below, name)
		member, isGroup, err := g.member(ctx, path)
		if errors.Is(err, ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("member %q: %w", path, err)
		}
		found[path] = member
		if isGroup && levels > 1 {
			deeper, err := g.scan(ctx, path, levels-1)
			if err != nil {
				return nil, err
			}
			maps.Copy(found, deeper)
		}
	}
	return found, nil
}

// member is the document of the node at the relative path, as consolidated
// metadata holds it. A node of version 2 is told in the words of version 3.
func (g *Group) member(ctx context.Context, path string) (doc json.RawMessage, isGroup bool, err error) {
	doc, err = g.store.Get(ctx, join(g.path, join(path, document)), nil)
	if err == nil {
		return memberDocument(doc)
	}
	if !errors.Is(err, ErrNotExist) || g.version != 2 {
		return nil, false, err
	}
	if meta, _, err := readGroup(ctx, g.store, join(g.path, path)); err == nil {
		doc, err = meta.Encode()
		return doc, true, err
	}
	meta, err := readArray(ctx, g.store, join(g.path, path))
	switch {
	case errors.Is(err, ErrUnsupported):
		return json.RawMessage(`{"zarr_format":2,"node_type":"array"}`), false, nil
	case err != nil:
		return nil, false, err
	}
	doc, err = meta.Encode()
	return doc, false, err
}

// join2 is join where either part may be empty.
func join2(a, b string) string {
	if b == "" {
		return a
	}
	return join(a, b)
}

// memberDocument is a node's document as consolidated metadata holds it: that of
// a group is without its own consolidated metadata.
func memberDocument(doc []byte) (member json.RawMessage, isGroup bool, err error) {
	f, err := parseFields(doc)
	if err != nil {
		return nil, false, err
	}
	if string(f["node_type"]) != `"group"` {
		if !json.Valid(doc) {
			doc, _ = quoteNonFinite(doc)
		}
		return doc, false, nil
	}
	meta, err := ParseGroup(doc)
	if err != nil {
		return nil, true, err
	}
	meta.Members = nil
	member, err = meta.Encode()
	return member, true, err
}

// CreateArray creates an array in the group, at a name or relative path, and
// adds it to the consolidated metadata.
func (g *Group) CreateArray(ctx context.Context, name string, meta *ArrayMeta) (*Array, error) {
	store, err := g.writable()
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	a, err := CreateArray(ctx, store, join(g.path, name), meta)
	if err != nil {
		return nil, err
	}
	doc, err := meta.Encode()
	if err != nil {
		return nil, err
	}
	return a, g.update(ctx, store, func(m *GroupMeta) {
		if m.Members == nil {
			return
		}
		m.Members = maps.Clone(m.Members)
		m.Members[name] = doc
	})
}

// SetAttributes replaces the group's attributes.
func (g *Group) SetAttributes(ctx context.Context, attrs Attributes) error {
	store, err := g.writable()
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.update(ctx, store, func(m *GroupMeta) { m.Attributes = attrs.clone() })
}

// Consolidate reads the metadata of every node below the group and writes it
// into the group's own, at once.
func (g *Group) Consolidate(ctx context.Context) error {
	store, err := g.writable()
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	members, err := g.scan(ctx, "", maxDepth)
	if err != nil {
		return fmt.Errorf("consolidate group %q: %w", g.path, err)
	}
	return g.update(ctx, store, func(m *GroupMeta) { m.Members = members })
}

func (g *Group) writable() (Store, error) {
	store, ok := g.store.(Store)
	if !ok || g.version != 3 {
		return nil, fmt.Errorf("group %q: the store is read-only, or the group of version 2: %w", g.path, errors.ErrUnsupported)
	}
	return store, nil
}

// update changes a copy of the metadata, writes it and keeps it; g.mu is held.
func (g *Group) update(ctx context.Context, store Store, change func(*GroupMeta)) error {
	next := *g.meta
	change(&next)
	doc, err := next.Encode()
	if err == nil {
		err = store.Set(ctx, join(g.path, document), doc)
	}
	if err != nil {
		return fmt.Errorf("group %q: %w", g.path, err)
	}
	g.meta = &next
	return nil
}
