package deb

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Stanza is a paragraph of a control file: field → value, continuation lines
// joined by newlines.
type Stanza map[string]string

// ParseStanzas reads paragraphs separated by empty lines.
func ParseStanzas(r io.Reader) ([]Stanza, error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 64<<10), 4<<20)
	var out []Stanza
	var cur Stanza
	last := ""
	for sc.Scan() {
		line := strings.TrimRight(sc.Text(), " \t\r")
		switch {
		case line == "":
			cur, last = nil, ""
		case line[0] == ' ' || line[0] == '\t':
			if last == "" {
				return nil, fmt.Errorf("%w: a control file begins with a continuation line", ErrFormat)
			}
			cur[last] += "\n" + strings.TrimSpace(line)
		default:
			k, v, ok := strings.Cut(line, ":")
			if !ok {
				return nil, fmt.Errorf("%w: control line %.80q", ErrFormat, line)
			}
			if cur == nil {
				cur = Stanza{}
				out = append(out, cur)
			}
			cur[k], last = strings.TrimSpace(v), k
		}
	}
	return out, sc.Err()
}

// names splits a relation field into its clauses, each a list of alternative
// package names, versions and architectures left off.
func names(field string) [][]string {
	var clauses [][]string
	for clause := range strings.SplitSeq(field, ",") {
		var alts []string
		for alt := range strings.SplitSeq(clause, "|") {
			name, _, _ := strings.Cut(strings.TrimSpace(alt), " ")
			name, _, _ = strings.Cut(name, "(")
			name, _, _ = strings.Cut(name, ":")
			if name != "" {
				alts = append(alts, name)
			}
		}
		if len(alts) > 0 {
			clauses = append(clauses, alts)
		}
	}
	return clauses
}

// Reach returns the names of the packages that roots need, themselves
// included, out of those given by name. A clause reaches every alternative
// that is there. Needs of the packages in without are not followed, and they
// are left out, unless they are roots.
func Reach(all map[string]Stanza, roots []string, without map[string]bool) map[string]bool {
	providers := make(map[string][]string)
	for name, s := range all {
		providers[name] = append(providers[name], name)
		for _, c := range names(s["Provides"]) {
			for _, p := range c {
				providers[p] = append(providers[p], name)
			}
		}
	}
	reached := make(map[string]bool)
	var visit func(want string, root bool)
	visit = func(want string, root bool) {
		for _, name := range providers[want] {
			if reached[name] || (without[name] && !root) {
				continue
			}
			reached[name] = true
			for _, field := range []string{"Pre-Depends", "Depends"} {
				for _, alts := range names(all[name][field]) {
					for _, a := range alts {
						visit(a, false)
					}
				}
			}
		}
	}
	for _, r := range roots {
		visit(r, true)
	}
	return reached
}
