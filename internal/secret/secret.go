// Package secret keeps what must not be shown out of what is shown: texts and
// logs, in which a secret may stand as it is, or as the usual encodings write it.
package secret

import (
	"cmp"
	"encoding/json"
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
	s.AddWhole(append(Words(text), string(value), text)...)
}

// AddWhole adds secrets of which no part counts by itself.
func (s *Set) AddWhole(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range texts {
		s.forms = append(s.forms, forms(text)...)
	}
	slices.SortFunc(s.forms, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	s.forms = slices.Compact(s.forms)
	pairs := make([]string, 0, 2*len(s.forms))
	for _, f := range s.forms {
		pairs = append(pairs, f, Hidden)
	}
	s.replacer = strings.NewReplacer(pairs...)
}

// Words are the parts of a secret that may be secrets by themselves, each of at
// least twice Least bytes: the texts that JSON holds, but for its names, and the
// words of anything else that has several.
func Words(text string) []string {
	words := strings.Fields(text)
	var document any
	switch err := json.Unmarshal([]byte(text), &document); {
	case err == nil:
		words = texts(document)
	case len(words) == 1:
		return nil
	}
	return slices.DeleteFunc(words, func(w string) bool { return len(w) < 2*Least })
}

// texts are those of a JSON document.
func texts(document any) []string {
	var out []string
	switch d := document.(type) {
	case string:
		out = append(out, d)
	case []any:
		for _, e := range d {
			out = append(out, texts(e)...)
		}
	case map[string]any:
		for _, e := range d {
			out = append(out, texts(e)...)
		}
	}
	return out
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
