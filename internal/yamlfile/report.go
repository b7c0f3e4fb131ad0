package yamlfile

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxErrors is how many mistakes a report keeps; more help nobody.
const maxErrors = 20

// Report reads nodes and collects the mistakes in them. Its readers return
// the zero value for what is wrong. A nil node is a value that is not there
// and reads as zero without a mistake. It is not for several goroutines.
type Report struct {
	errs    Errors
	dropped int // mistakes beyond maxErrors
}

// NewReport returns an empty report.
func NewReport() *Report { return &Report{} }

// Err returns the mistakes: nil, an *Error, or Errors in the order of lines.
func (r *Report) Err() error {
	switch len(r.errs) {
	case 0:
		return nil
	case 1:
		return r.errs[0]
	}
	slices.SortStableFunc(r.errs, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if r.dropped > 0 {
		return append(slices.Clone(r.errs), &Error{Message: fmt.Sprintf("and %d more mistakes", r.dropped)})
	}
	return r.errs
}

// Len is the number of mistakes.
func (r *Report) Len() int { return len(r.errs) + r.dropped }

// Errorf adds a mistake at a node and returns it, so that a hint can be added.
func (r *Report) Errorf(n *Node, format string, args ...any) *Error {
	var pos Position
	if n != nil {
		pos = n.Pos()
	}
	return r.Add(&Error{Position: pos, Message: fmt.Sprintf(format, args...)})
}

// Add adds a mistake.
func (r *Report) Add(e *Error) *Error {
	if len(r.errs) == maxErrors {
		r.dropped++
		return e
	}
	r.errs = append(r.errs, e)
	return e
}

// Unknown adds the mistake of a name that is none of the choices.
func (r *Report) Unknown(n *Node, what, name string, choices []string) {
	choices = slices.Sorted(slices.Values(choices))
	e := r.Errorf(n, "unknown %s %s", what, quote(name))
	e.Hint, e.Choices = DidYouMean(name, choices), choices
}

// Fields says how the value of each key of a map is read.
type Fields map[string]func(*Node)

// Fields reads a map with known keys. What names the map for people. A key
// that is not in fields is a mistake, and so is one without a value and a
// required one that is missing.
func (r *Report) Fields(n *Node, what string, fields Fields, required ...string) {
	if n == nil {
		return
	}
	if n.Kind != Map {
		r.Errorf(n, "%s must be a map, not %s", what, n.describe())
		return
	}
	for _, e := range n.Entries {
		read, ok := fields[e.Key]
		if !ok {
			r.Unknown(e.Name, "key", e.Key, slices.Collect(maps.Keys(fields)))
			continue
		}
		if e.Value.Kind != Null {
			read(e.Value)
		} else {
			r.Errorf(e.Name, "%s has no value", e.Key).Hint = "give it one, or remove the key"
		}
	}
	for _, key := range required {
		if n.Get(key) == nil {
			r.Errorf(n, "%s has no %s", what, key)
		}
	}
}

// Entries returns the entries of a map with free keys.
func (r *Report) Entries(n *Node, what string) []Entry {
	if n == nil {
		return nil
	}
	if n.Kind != Map {
		r.Errorf(n, "%s must be a map, not %s", what, n.describe())
		return nil
	}
	return n.Entries
}

// Items returns the items of a list.
func (r *Report) Items(n *Node, what string) []*Node {
	if n == nil {
		return nil
	}
	if n.Kind != List {
		r.Errorf(n, "%s must be a list, not %s", what, n.describe())
		return nil
	}
	return n.Items
}

// ListOf reads each item of a list.
func ListOf[T any](r *Report, n *Node, what string, read func(*Node) T) []T {
	var out []T
	for _, item := range r.Items(n, what) {
		out = append(out, read(item))
	}
	return out
}

// Into returns a reader that keeps its result in dst.
func Into[T any](dst *T, read func(*Node) T) func(*Node) {
	return func(n *Node) { *dst = read(n) }
}

// String reads text that is not empty.
func (r *Report) String(n *Node) string {
	if n == nil {
		return ""
	}
	if n.Kind != String {
		e := r.Errorf(n, "%s must be text, not %s", n.subject(), n.describe())
		if n.raw != "" {
			e.Hint = "write it in quotes: " + strconv.Quote(n.raw)
		}
		return ""
	}
	if strings.TrimSpace(n.Text) == "" {
		r.Errorf(n, "%s is empty", n.subject())
		return ""
	}
	return n.Text
}

// Scalar reads text, a number or a truth value as text, as it was written.
func (r *Report) Scalar(n *Node) string {
	if n == nil {
		return ""
	}
	switch n.Kind {
	case Int, Float, Bool:
		return n.Written()
	}
	return r.String(n)
}

// Int reads a whole number from lo to hi.
func (r *Report) Int(n *Node, lo, hi int64) int64 {
	if n == nil {
		return 0
	}
	if n.Kind != Int {
		r.Errorf(n, "%s must be a whole number, not %s", n.subject(), n.describe())
		return 0
	}
	v, err := strconv.ParseInt(n.Text, 10, 64)
	if err != nil || v < lo || v > hi {
		r.Errorf(n, "%s must be %s, not %s", n.subject(), between(lo, hi), n.Text)
		return 0
	}
	return v
}

// Float reads a finite number from lo to hi.
func (r *Report) Float(n *Node, lo, hi float64) float64 {
	if n == nil {
		return 0
	}
	if n.Kind != Int && n.Kind != Float {
		r.Errorf(n, "%s must be a number, not %s", n.subject(), n.describe())
		return 0
	}
	v, err := strconv.ParseFloat(n.Text, 64)
	if err != nil || v < lo || v > hi {
		r.Errorf(n, "%s must be %s, not %s", n.subject(), between(lo, hi), n.Text)
		return 0
	}
	return v
}

// Positive reads a finite number greater than zero.
func (r *Report) Positive(n *Node) float64 {
	v := r.Float(n, -math.MaxFloat64, math.MaxFloat64)
	if n != nil && v <= 0 && (n.Kind == Int || n.Kind == Float) {
		r.Errorf(n, "%s must be greater than zero, not %s", n.subject(), n.Text)
		return 0
	}
	return v
}

func between[T int64 | float64](lo, hi T) string {
	switch {
	case hi >= math.MaxInt64/2:
		return fmt.Sprintf("at least %v", lo)
	case lo <= math.MinInt64/2:
		return fmt.Sprintf("at most %v", hi)
	}
	return fmt.Sprintf("from %v to %v", lo, hi)
}

// Bool reads true or false.
func (r *Report) Bool(n *Node) bool {
	if n == nil {
		return false
	}
	if n.Kind != Bool {
		e := r.Errorf(n, "%s must be true or false, not %s", n.subject(), n.describe())
		switch strings.ToLower(n.Text) {
		case "yes", "on", "y":
			e.Hint = "write true"
		case "no", "off", "n":
			e.Hint = "write false"
		}
	}
	return n.Text == "true"
}

// OneOf reads one of a few words.
func OneOf[T ~string](r *Report, n *Node, what string, choices []T) T {
	if n == nil {
		return ""
	}
	words := make([]string, len(choices))
	for i, c := range choices {
		words[i] = string(c)
	}
	s := r.Scalar(n)
	if s == "" {
		return ""
	}
	if !slices.Contains(words, s) {
		e := r.Errorf(n, "unknown %s %s", what, quote(s))
		e.Choices, e.Hint = words, DidYouMean(s, words)
		return ""
	}
	return T(s)
}

// subject names a node by the key that it stands under.
func (n *Node) subject() string {
	if n.name == "" {
		return "this"
	}
	return clipped(n.name)
}

// describe says what a node is, for "must be …, not …".
func (n *Node) describe() string {
	switch n.Kind {
	case String:
		return "the text " + quote(n.Text)
	case Bool:
		return n.Text
	case Int, Float:
		if utf8.RuneCountInString(n.raw) > 0 {
			return "the number " + n.raw
		}
		return "the number " + n.Text
	}
	return n.Kind.String()
}
