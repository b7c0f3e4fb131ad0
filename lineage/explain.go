package lineage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/cubebuild/cube/graph"
)

// What says what sort of thing changed between two derivations.
type What string

// The sorts of changes, in the order in which Explain tells them.
const (
	ChangedInput    What = "input"    // a version that is read
	ChangedSource   What = "source"   // a source's bytes
	ChangedParam    What = "param"    // a param
	ChangedImage    What = "image"    // a layer, the environment, the command
	ChangedContract What = "contract" // what the producer says it needs or makes
	ChangedGrid     What = "grid"     // lattice, domain or time axis
	ChangedTiling   What = "tiling"   // the size of tiles
	ChangedHost     What = "host"     // what an action may hold of the machine
	ChangedSalt     What = "bump"     // the salt that cube bump raises
	ChangedEngine   What = "engine"   // the engine's own work on values
	ChangedOther    What = "other"    // a field that this program does not know
)

var whats = []What{ChangedInput, ChangedSource, ChangedParam, ChangedImage, ChangedContract,
	ChangedGrid, ChangedTiling, ChangedHost, ChangedSalt, ChangedEngine, ChangedOther}

// Change is one difference between two derivations. Old or New is empty where
// it was added or removed.
type Change struct {
	What     What   `json:"what"`
	Name     string `json:"name"` // of the input, source, param or field
	Old      string `json:"old,omitempty"`
	New      string `json:"new,omitempty"`
	Sentence string `json:"sentence"`
}

// Explain compares the preimages of two derivation keys and says in words what
// differs. It is empty exactly where they are the same JSON.
func Explain(before, after json.RawMessage) ([]Change, error) {
	a, err := decodeTree(before)
	if err != nil {
		return nil, fmt.Errorf("explain: old derivation: %w", err)
	}
	b, err := decodeTree(after)
	if err != nil {
		return nil, fmt.Errorf("explain: new derivation: %w", err)
	}
	e := &explainer{}
	e.compare(nil, a, b)
	e.sort()
	return e.changes, nil
}

func decodeTree(raw json.RawMessage) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var tree map[string]any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	return tree, nil
}

type explainer struct{ changes []Change }

// sort puts the changes in the order in which they are told.
func (e *explainer) sort() {
	slices.SortStableFunc(e.changes, func(a, b Change) int {
		return slices.Index(whats, a.What) - slices.Index(whats, b.What)
	})
}

// compare walks down both trees to where they differ. What is told as a whole
// is told where it begins.
func (e *explainer) compare(path []string, a, b any) {
	if reflect.DeepEqual(a, b) {
		return
	}
	if c, ok := whole(path, a, b); ok {
		e.changes = append(e.changes, c)
		return
	}
	ma, oka := keyed(path, a)
	mb, okb := keyed(path, b)
	if !oka || !okb || len(ma) == 0 && len(mb) == 0 {
		e.changes = append(e.changes, tell(path, a, b))
		return
	}
	before := len(e.changes)
	for _, k := range union(ma, mb) {
		e.compare(append(slices.Clone(path), k), ma[k], mb[k])
	}
	if len(e.changes) == before { // only the order differs
		e.changes = append(e.changes, tell(path, a, b))
	}
}

// keyed sees a value as an object: an object itself, the variables of an
// environment, or a list whose elements are named by role, variable or name, and
// else by their place.
func keyed(path []string, v any) (map[string]any, bool) {
	switch v := v.(type) {
	case nil:
		return nil, true
	case map[string]any:
		return v, true
	case []any:
		m := make(map[string]any, len(v))
		for i, element := range v {
			if s, ok := element.(string); ok && is(path, "shared", "image", "env") {
				name, value, _ := strings.Cut(s, "=")
				m[name] = value
				continue
			}
			name := elementName(element, i)
			if _, twice := m[name]; twice {
				name += "#" + strconv.Itoa(i)
			}
			m[name] = element
		}
		return m, true
	}
	return nil, false
}

func elementName(v any, i int) string {
	object, _ := v.(map[string]any)
	for _, key := range []string{"role", "variable", "name"} {
		if s, ok := object[key].(string); ok && s != "" {
			return s
		}
	}
	return strconv.Itoa(i)
}

func union(a, b map[string]any) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]any{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

// whole tells the changes that are about more than a leaf.
func whole(path []string, a, b any) (Change, bool) {
	oneSided := a == nil || b == nil
	switch {
	case is(path, "shared", "image", "diff_ids"):
		return layersChange(a, b), true
	case is(path, "box"):
		return sized(ChangedGrid, "domain", box(a), box(b), ""), true
	case is(path, "parts", "*"):
		return partsChange(path[1], a, b), true
	case is(path, "domain_time"):
		return sized(ChangedGrid, "time range", "steps "+span(a), span(b), ""), true
	case is(path, "tiling"):
		return sized(ChangedTiling, "tile size", tiling(a), tiling(b), "; every tile is new"), true
	case is(path, "chunks"):
		return chunksChange(a, b), true
	case is(path, "inputs", "*", "need", "halo"):
		c := sized(ChangedContract, "need "+path[1]+": halo", halo(a), halo(b), "")
		c.Name = path[1] + ": halo"
		return c, true
	case is(path, "shared", "serves"):
		return nowOrNot("serves", "it serves batches of tiles (capabilities.batch)", a, b), true
	case is(path, "shared", "checkpoint"):
		return nowOrNot("checkpoint", "it finds /cube/checkpoint (capabilities.checkpoint)", a, b), true
	case is(path, "told", "*", "window"):
		return sized(ChangedContract, "window of "+path[1], box(a), box(b), ""), true
	case is(path, "told", "*"):
		return tell(path, a, b), oneSided
	case is(path, "shared", "image", "command"):
		return tell(path, a, b), true
	case is(path, "shared", "image", "env", "*"):
		c := tell(path, a, b)
		c.Sentence = strings.Replace(c.Sentence, "image env."+path[3], "variable "+path[3]+" of the environment of image", 1)
		return c, true
	case is(path, "shared", "params", "*"):
		return tell(path, a, b), !bothObjects(a, b)
	case is(path, "shared", "image"), is(path, "shared", "sources", "*"), is(path, "shared", "outputs", "*"), is(path, "inputs", "*"):
		return tell(path, a, b), oneSided
	}
	return Change{}, false
}

// partsChange is a change of which parts of an indexed source there are.
func partsChange(role string, a, b any) Change {
	count := func(v any) string {
		m, _ := v.(map[string]any)
		return fmt.Sprintf("%v parts", m["count"])
	}
	c := Change{What: ChangedSource, Name: role, Old: count(a), New: count(b)}
	switch {
	case a == nil:
		c.Old, c.Sentence = "", fmt.Sprintf("source %s is now read by parts: %s", role, c.New)
	case b == nil:
		c.New, c.Sentence = "", fmt.Sprintf("source %s is no longer read by parts, of which there were %s", role, c.Old)
	default:
		c.Sentence = fmt.Sprintf("parts of source %s changed: it had %s, and has %s; tiles that meet none of the changed ones stay", role, c.Old, c.New)
	}
	return c
}

// chunksChange is a change of how outputs are cut into chunks: of the first that
// is cut otherwise.
func chunksChange(a, b any) Change {
	la, _ := a.([]any)
	lb, _ := b.([]any)
	at := func(l []any, i int) string {
		if i >= len(l) {
			return "none"
		}
		return tiling(l[i])
	}
	i := 0
	for i < min(len(la), len(lb))-1 && reflect.DeepEqual(la[i], lb[i]) {
		i++
	}
	return sized(ChangedTiling, "chunk size", at(la, i), at(lb, i), "")
}

// nowOrNot is a change of something that is so or not.
func nowOrNot(name, so string, a, b any) Change {
	c := Change{What: ChangedContract, Name: name, Old: show(a), New: show(b), Sentence: so + " now, and did not before"}
	if b == nil {
		c.Sentence = so + " no longer"
	}
	return c
}

// is reports whether a path has these steps; "*" is any one step.
func is(path []string, steps ...string) bool {
	return slices.EqualFunc(path, steps, func(p, s string) bool { return s == "*" || p == s })
}

// sized is a change of an extent.
func sized(what What, name, before, after, then string) Change {
	return Change{what, name, before, after, fmt.Sprintf("%s changed: %s → %s%s", name, before, after, then)}
}

func bothObjects(a, b any) bool {
	_, oka := a.(map[string]any)
	_, okb := b.(map[string]any)
	return oka && okb
}

// tell puts one difference in words.
func tell(path []string, a, b any) Change {
	what, noun, name := classify(path)
	c := Change{What: what, Name: name, Old: show(a), New: show(b)}
	subject := strings.TrimSpace(noun + " " + name)
	switch {
	case a == nil:
		c.Sentence = fmt.Sprintf("%s is new: %s", subject, c.New)
	case b == nil:
		c.Sentence = fmt.Sprintf("%s is gone, it was %s", subject, c.Old)
	default:
		c.Sentence = fmt.Sprintf("%s changed: %s → %s", subject, c.Old, c.New)
	}
	return c
}

// classify says what a field of a derivation is: the sort of change, the noun
// for a sentence, and its name.
func classify(path []string) (what What, noun, name string) {
	if len(path) > 0 && path[0] == "shared" {
		return classifyShared(path[1:])
	}
	head, rest := split(path)
	switch head {
	case "inputs":
		return classifyInput(path[1:])
	case "windows":
		return ChangedInput, "window of", rest
	case "told":
		return classifyTold(path[1:])
	case "request":
		return ChangedGrid, "request", rest
	case "lattice":
		return ChangedGrid, "grid", rest
	case "time":
		return ChangedGrid, "time axis", rest
	case "box", "domain_time":
		return ChangedGrid, "domain", rest
	case "tiling":
		return ChangedTiling, "tile size", rest
	}
	return ChangedOther, "", strings.Join(path, ".")
}

// split returns a path's first step and the others, joined.
func split(path []string) (head, rest string) {
	if len(path) == 0 {
		return "", ""
	}
	return path[0], strings.Join(path[1:], ".")
}

func classifyInput(path []string) (What, string, string) {
	role, field := split(path)
	if need, ok := strings.CutPrefix(field, "need"); ok {
		return ChangedContract, "need", role + labelled(": ", strings.TrimPrefix(need, "."))
	}
	return ChangedInput, "input", role + labelled(": ", strings.TrimPrefix(field, "version"))
}

func classifyShared(path []string) (What, string, string) {
	head, rest := split(path)
	switch head {
	case "sources":
		return ChangedSource, "source", strings.TrimSuffix(rest, ".sha256")
	case "params":
		return ChangedParam, "param", rest
	case "image":
		return ChangedImage, "image", rest
	case "outputs":
		name, field, _ := strings.Cut(rest, ".")
		return ChangedContract, "output", name + labelled(": ", field)
	case "cpus":
		return ChangedContract, "thread count", ""
	case "salt":
		return ChangedSalt, "salt", ""
	case "cpu_class", "sandbox":
		return ChangedHost, "", strings.ReplaceAll(head, "_", " ")
	case "engine", "key_version":
		return ChangedEngine, "cube's own", strings.TrimPrefix(strings.Join(path, "."), "engine.")
	}
	return ChangedOther, "", strings.Join(path, ".")
}

// show is a JSON value for people: digests are cut short, objects and lists
// are JSON.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		if d, err := graph.ParseDigest(v); err == nil && strings.HasPrefix(v, "sha256:") {
			return d.Short()
		}
		return v
	case json.Number:
		return v.String()
	case map[string]any:
		if s, ok := v["version"].(string); ok {
			return show(s)
		}
		if s, ok := v["sha256"].(string); ok {
			return show(s)
		}
	}
	b, err := marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return clip(string(b))
}

// clip shortens a long value.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// layersChange says which layers of two images differ.
func layersChange(a, b any) Change {
	la, _ := a.([]any)
	lb, _ := b.([]any)
	c := Change{What: ChangedImage, Name: "layers", Old: fmt.Sprint(len(la), " layers"), New: fmt.Sprint(len(lb), " layers")}
	var olds, news, places []string
	for i := range max(len(la), len(lb)) {
		before, after := element(la, i), element(lb, i)
		if before != after {
			places, olds, news = append(places, strconv.Itoa(i+1)), append(olds, before), append(news, after)
		}
	}
	if len(la) != len(lb) {
		c.Sentence = fmt.Sprintf("image changed: %s → %s, the first that differs is number %s", c.Old, c.New, strings.Join(places[:1], ""))
		return c
	}
	c.Old, c.New = strings.Join(olds, ", "), strings.Join(news, ", ")
	c.Sentence = fmt.Sprintf("image changed: layer %s of %d: %s → %s", strings.Join(places, ", "), len(lb), c.Old, c.New)
	return c
}

func element(list []any, i int) string {
	if i >= len(list) {
		return ""
	}
	return show(list[i])
}

// box is a grid.Box for people.
func box(v any) string {
	m, _ := v.(map[string]any)
	s := "y" + span(m["y"]) + " x" + span(m["x"])
	if t := span(m["t"]); t != "[0,0)" {
		s = "t" + t + " " + s
	}
	return s
}

func span(v any) string {
	m, _ := v.(map[string]any)
	return fmt.Sprintf("[%s,%s)", orZero(m["lo"]), orZero(m["hi"]))
}

// halo is a grid.Halo for people.
func halo(v any) string {
	m, _ := v.(map[string]any)
	s := orZero(m["y"]) + " × " + orZero(m["x"]) + " cells"
	if before, after := orZero(m["before"]), orZero(m["after"]); before != "0" || after != "0" {
		s += ", " + before + " steps before and " + after + " after"
	}
	return s
}

func orZero(v any) string {
	if s := show(v); s != "" {
		return s
	}
	return "0"
}

// tiling is a grid.Tiling for people.
func tiling(v any) string {
	m, _ := v.(map[string]any)
	one := func(key string) string {
		if s := orZero(m[key]); s != "0" {
			return s
		}
		return "all"
	}
	s := one("y") + " × " + one("x") + " cells"
	if t := orZero(m["t"]); t != "0" {
		s += " × " + t + " steps"
	}
	return s
}
