package graph

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

// Canonical returns v as canonical JSON (RFC 8785): keys sorted by UTF-16 code
// units, no white space, numbers as ECMAScript prints them. An integer that a
// double cannot hold exactly is written as the string "int:0x…" or "int:-0x…",
// so that no digit is lost. NaN and infinities are errors, as in encoding/json,
// and so are duplicate keys and JSON that nests more than 256 levels deep.
func Canonical(v any) ([]byte, error) { return appendValue(make([]byte, 0, 1024), v) }

// appendValue appends v's canonical JSON.
func appendValue(b []byte, v any) ([]byte, error) {
	if v == nil {
		return append(b, "null"...), nil
	}
	r := reflect.ValueOf(v)
	b, err := encoderOf(r.Type())(b, r)
	if err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	return b, nil
}

// hashCanonical digests v's canonical JSON under a domain prefix, so that no
// two sorts of record can share a digest, and returns the preimage.
func hashCanonical(domain string, v any) (Digest, []byte, error) {
	start := append(append(make([]byte, 0, 1024), domain...), 0)
	b, err := appendValue(start, v)
	if err != nil {
		return Digest{}, nil, fmt.Errorf("%s: %w", domain, err)
	}
	return Sum(b), b[len(start):], nil
}

// spare holds buffers for preimages that nobody keeps.
var spare = sync.Pool{New: func() any { return new([]byte) }}

// digestWritten is hashCanonical of what write writes, for who needs no preimage.
func digestWritten(domain string, write func(*writer)) (Digest, error) {
	buf := spare.Get().(*[]byte)
	defer spare.Put(buf)
	w := writer{b: append(append((*buf)[:0], domain...), 0)}
	write(&w)
	*buf = w.b
	if w.err != nil {
		return Digest{}, fmt.Errorf("%s: %w", domain, w.err)
	}
	return Sum(w.b), nil
}

// written is [Canonical] of a request.
func written(r *Request) ([]byte, error) {
	buf := spare.Get().(*[]byte)
	defer spare.Put(buf)
	w := writer{b: (*buf)[:0]}
	w.request(r)
	*buf = w.b
	return slices.Clone(w.b), w.err
}

// canon rewrites JSON that is known to be valid.
type canon struct {
	src   []byte
	pos   int
	depth int
}

// maxDepth is how many levels deep JSON from outside may nest. Sorting moves what
// an object holds, once a level.
const maxDepth = 256

func (c *canon) space() {
	for c.pos < len(c.src) {
		switch c.src[c.pos] {
		case ' ', '\t', '\n', '\r':
			c.pos++
		default:
			return
		}
	}
}

// value appends the next value.
func (c *canon) value(b []byte) ([]byte, error) {
	c.space()
	if c.depth++; c.depth > maxDepth {
		return nil, fmt.Errorf("it nests more than %d levels deep", maxDepth)
	}
	defer func() { c.depth-- }()
	switch c.src[c.pos] {
	case '{':
		return c.object(b)
	case '[':
		return c.array(b)
	case '"':
		s, err := c.str()
		if err != nil {
			return nil, err
		}
		return append(b, s...), nil
	}
	start := c.pos
	for c.pos < len(c.src) && !strings.ContainsRune(",]} \t\n\r", rune(c.src[c.pos])) {
		c.pos++
	}
	switch word := c.src[start:c.pos]; word[0] {
	case 't', 'f', 'n':
		return append(b, word...), nil
	default:
		return appendNumber(b, string(word))
	}
}

// next passes a comma, and reports whether the end was there instead.
func (c *canon) next(end byte) (done bool) {
	c.space()
	done = c.src[c.pos] == end
	if done || c.src[c.pos] == ',' {
		c.pos++
	}
	c.space()
	return done
}

func (c *canon) array(b []byte) (_ []byte, err error) {
	b = append(b, '[')
	c.pos++
	for first := true; !c.next(']'); first = false {
		if !first {
			b = append(b, ',')
		}
		if b, err = c.value(b); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// member is a key and where it stands with its value, both canonical.
type member struct {
	key      []byte
	from, to int
}

func (c *canon) object(b []byte) ([]byte, error) {
	var room [16]member
	members, start := room[:0], len(b)
	b = append(b, '{')
	c.pos++
	for !c.next('}') {
		key, err := c.str()
		if err != nil {
			return nil, err
		}
		c.space()
		c.pos++ // the colon
		if len(members) > 0 {
			b = append(b, ',')
		}
		from := len(b)
		if b, err = c.value(append(append(b, key...), ':')); err != nil {
			return nil, err
		}
		members = append(members, member{key, from, len(b)})
	}
	b, err := sortMembers(b, start, members)
	return append(b, '}'), err
}

// sortMembers puts the members of the object that begins at start in order.
func sortMembers(b []byte, start int, members []member) ([]byte, error) {
	byKey := func(x, y member) int { return compareKeys(x.key, y.key) }
	sorted := slices.IsSortedFunc(members, byKey)
	if !sorted {
		slices.SortFunc(members, byKey)
	}
	for i := 1; i < len(members); i++ {
		if bytes.Equal(members[i-1].key, members[i].key) {
			return nil, fmt.Errorf("key %s twice", members[i].key)
		}
	}
	if sorted {
		return b, nil
	}
	was := slices.Clone(b[start:])
	b = b[:start+1]
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, was[m.from-start:m.to-start]...)
	}
	return b, nil
}

// compareKeys compares quoted keys by their UTF-16 code units.
func compareKeys(a, b []byte) int {
	if plain(a) && plain(b) {
		return bytes.Compare(a[1:len(a)-1], b[1:len(b)-1])
	}
	return slices.Compare(units(a), units(b))
}

// plain reports whether bytes sort as code units do: ASCII without escapes.
func plain(s []byte) bool {
	for _, c := range s {
		if c >= utf8.RuneSelf || c == '\\' {
			return false
		}
	}
	return true
}

func units(quoted []byte) []uint16 {
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return nil
	}
	return utf16.Encode([]rune(s))
}

// str returns the next string in canonical form, with its quotes.
func (c *canon) str() ([]byte, error) {
	start := c.pos
	c.pos++
	for c.src[c.pos] != '"' {
		if c.src[c.pos] == '\\' {
			c.pos++
		}
		c.pos++
	}
	c.pos++
	quoted := c.src[start:c.pos]
	if plain(quoted) {
		return quoted, nil
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return nil, err
	}
	return appendString(nil, s), nil
}

const maxExact = 1 << 53

func appendNumber(b []byte, n string) ([]byte, error) {
	if i, err := strconv.ParseInt(n, 10, 64); err == nil {
		return appendInt(b, i), nil
	}
	if u, err := strconv.ParseUint(n, 10, 64); err == nil {
		return appendUint(b, u), nil
	}
	f, err := strconv.ParseFloat(n, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, fmt.Errorf("number %s is out of range", n)
	}
	if f == 0 {
		return append(b, '0'), nil
	}
	// encoding/json prints doubles as ECMAScript does.
	s, err := json.Marshal(f)
	return append(b, s...), err
}

func appendInt(b []byte, i int64) []byte {
	switch {
	case i < -maxExact:
		return fmt.Appendf(b, `"int:-0x%x"`, -uint64(i))
	case i > maxExact:
		return fmt.Appendf(b, `"int:0x%x"`, i)
	}
	return strconv.AppendInt(b, i, 10)
}

func appendUint(b []byte, u uint64) []byte {
	if u > maxExact {
		return fmt.Appendf(b, `"int:0x%x"`, u)
	}
	return strconv.AppendUint(b, u, 10)
}

// asItIs reports whether nothing in s is written otherwise than as it is.
func asItIs(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

const hexDigits = "0123456789abcdef"

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	if asItIs(s) {
		return append(append(b, s...), '"')
	}
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < 0x20:
			b = append(b, `\u00`...)
			b = append(b, hexDigits[r>>4], hexDigits[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
