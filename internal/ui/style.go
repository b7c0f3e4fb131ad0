package ui

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Style colours words. The zero value leaves them as they are.
type Style struct{ Color bool }

func (s Style) paint(code, text string) string {
	if !s.Color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Good is what went well.
func (s Style) Good(t string) string { return s.paint("32", t) }

// Bad is what did not.
func (s Style) Bad(t string) string { return s.paint("1;31", t) }

// Dim is what matters less.
func (s Style) Dim(t string) string { return s.paint("2", t) }

// Bold is what matters more.
func (s Style) Bold(t string) string { return s.paint("1", t) }

// UseColor decides whether a stream gets colour: never where NO_COLOR is set
// and not empty, always where CLICOLOR_FORCE is, and otherwise on a terminal
// that is not dumb.
func UseColor(terminal bool, env func(string) string) bool {
	switch {
	case env("NO_COLOR") != "":
		return false
	case env("CLICOLOR_FORCE") != "" && env("CLICOLOR_FORCE") != "0":
		return true
	}
	return terminal && env("TERM") != "dumb"
}

// Printable makes what a producer printed safe to show: control characters,
// escape sequences above all, are shown by their code.
func Printable(line []byte) string {
	var b strings.Builder
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, "\\x%02x", line[0])
		case r == '\t':
			b.WriteString("    ")
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
		line = line[n:]
	}
	return b.String()
}
