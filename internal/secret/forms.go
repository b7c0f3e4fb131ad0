package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// forms are the ways in which a text may stand within another.
func forms(text string) []string {
	b := []byte(text)
	out := []string{text, hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)), html.EscapeString(text)}
	out = append(out, escaped(text)...)
	out = append(out, quoted(text)...)
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 { // it may begin at any of a group's three bytes
			coded := enc.EncodeToString(append(make([]byte, shift), b...))
			first, last := (8*shift+5)/6, 8*(shift+len(b))/6 // letters that it alone decides
			if first < last {
				out = append(out, coded[first:last])
			}
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(f string) bool { return len(f) < Least })
}

// plain are the signs that the usual libraries leave as they are in URLs, beside
// letters, digits and -_. : those of a query, Python's quote, a path by Go, and
// JavaScript's encodeURIComponent and encodeURI.
var plain = []string{"", "~", "~/", "~$&+=:@", "~!*'()", "~!*'();/?:@&=+$,#"}

// escaped are the ways in which URLs write a text, and URLs within URLs.
func escaped(text string) []string {
	var out []string
	for _, signs := range plain {
		for _, digits := range []string{"%%%02X", "%%%02x"} {
			e := escape(text, signs, digits)
			query := strings.ReplaceAll(e, "%20", "+")
			out = append(out, e, query, escape(e, "~", digits), escape(query, "~", digits))
		}
	}
	return out
}

func escape(text, signs, digits string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.", c) >= 0, strings.IndexByte(signs, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, digits, c)
		}
	}
	return b.String()
}

// quoted are the ways in which JSON writes a text: with and without what HTML
// would take for its own, with slashes escaped, and in ASCII alone.
func quoted(text string) []string {
	var out []string
	for _, html := range []bool{false, true} {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(html)
		if e.Encode(text) != nil {
			continue
		}
		q := b.String()
		q = q[1 : len(q)-len("\"\n")]
		a := ascii(q)
		out = append(out, q, a, strings.ReplaceAll(q, "/", `\/`), strings.ReplaceAll(a, "/", `\/`))
	}
	return out
}

// ascii writes all that is not ASCII by its UTF-16 units, as JSON may.
func ascii(quoted string) string {
	var b strings.Builder
	for _, r := range quoted {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}
