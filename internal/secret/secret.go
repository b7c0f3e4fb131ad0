// Package secret keeps what must not be shown out of what is shown: texts and
// logs, in which a secret may stand as it is, or as the usual encodings write it.
package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Hidden stands where a secret stood.
const Hidden = "REDACTED"

// Least is how long a secret must be, in bytes: shorter ones could not be told
// from other text.
const Least = 4

// Set is a set of secrets. Its methods may be called at once; the zero value is
// empty.
type Set struct {
	mu       sync.Mutex
	forms    []string // longest first
	replacer *strings.Replacer
}

// Add adds a secret. Of one with several words, such as a .netrc, each long one
// counts by itself, too.
func (s *Set) Add(value []byte) {
	text := strings.TrimSpace(string(value))
	all := append(forms(string(value)), forms(text)...)
	if words := strings.Fields(text); len(words) > 1 {
		for _, w := range words {
			if len(w) >= 2*Least {
				all = append(all, forms(w)...)
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range all {
		if len(f) >= Least && !slices.Contains(s.forms, f) {
			s.forms = append(s.forms, f)
		}
	}
	slices.SortStableFunc(s.forms, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(s.forms))
	for _, f := range s.forms {
		pairs = append(pairs, f, Hidden)
	}
	s.replacer = strings.NewReplacer(pairs...)
}

// forms are the ways in which a text may stand within another.
func forms(text string) []string {
	b := []byte(text)
	out := []string{text, url.QueryEscape(text), url.PathEscape(text), strings.ReplaceAll(url.QueryEscape(text), "+", "%20"),
		hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b))}
	if quoted, err := json.Marshal(text); err == nil {
		out = append(out, strings.Trim(string(quoted), `"`))
	}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 { // it may begin at any of a group's three bytes
			coded := enc.EncodeToString(append(make([]byte, shift), b...))
			first, last := (8*shift+5)/6, 8*(shift+len(b))/6 // letters that it alone decides
			if first < last {
				out = append(out, coded[first:last])
			}
		}
	}
	return slices.DeleteFunc(out, func(f string) bool { return len(f) < Least })
}

// Redact takes every secret out of a text.
func (s *Set) Redact(text string) string {
	s.mu.Lock()
	r := s.replacer
	s.mu.Unlock()
	if r == nil {
		return text
	}
	return r.Replace(text)
}

// open is where the part of a text begins that may become a secret when more
// comes: at most its end.
func (s *Set) open(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := len(text)
	for _, f := range s.forms {
		for n := min(len(f)-1, len(text)); n > len(text)-from; n-- {
			if strings.HasSuffix(text, f[:n]) {
				from = len(text) - n
				break
			}
		}
	}
	for moved := true; moved; {
		moved = false
		for _, f := range s.forms { // that lie across the border
			lo := max(0, from-len(f)+1)
			if i := strings.Index(text[lo:min(len(text), from+len(f)-1)], f); i >= 0 && lo+i < from {
				from, moved = lo+i, true
			}
		}
	}
	return from
}
