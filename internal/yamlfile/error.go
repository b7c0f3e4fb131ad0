package yamlfile

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Position is a place in a file. Line and Column count from 1, in characters;
// Line is 0 where only the file is known.
type Position struct {
	File   string
	Line   int
	Column int
	Width  int    // characters that the mistake spans, at least 1
	Source string // the line itself
}

// String prints the position as file:line:column.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Error is one mistake in a file.
type Error struct {
	Position
	Message string   // what is wrong
	Hint    string   // what to do about it, or ""
	Choices []string // the names that are valid there, where they are few
}

// Summary is the error in one line, without the excerpt.
func (e *Error) Summary() string {
	s := e.Message
	if e.File != "" {
		s = e.Position.String() + ": " + s
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Error prints the place, the message, the line with a caret, and the hint.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.Position.String() + ": ")
	}
	b.WriteString(e.Message)
	if e.Line > 0 && e.Source != "" {
		text, caret := e.excerpt()
		gutter := fmt.Sprintf("%5d | ", e.Line)
		fmt.Fprintf(&b, "\n%s%s\n%s%s", gutter, text, strings.Repeat(" ", len(gutter)-2)+"| ", caret)
	}
	if e.Hint != "" {
		b.WriteString("\n        " + strings.ReplaceAll(e.Hint, "\n", "\n        "))
	}
	return b.String()
}

// excerptWidth is how much of a line an excerpt shows.
const excerptWidth = 100

// excerpt returns the part of the line around the mistake, with every
// character one column wide, and a line of carets under it.
func (e *Error) excerpt() (text, caret string) {
	line := []rune(e.Source)
	for i, c := range line {
		switch {
		case c == '\t':
			line[i] = ' '
		case !unicode.IsPrint(c):
			line[i] = utf8.RuneError
		}
	}
	at := max(0, min(e.Column-1, len(line)))
	width := max(1, min(e.Width, len(line)-at))
	from := 0
	if at+min(width, 20) > excerptWidth {
		from = at - excerptWidth/2
	}
	to := min(len(line), from+excerptWidth)
	width = max(1, min(width, to-at))
	text, pad := string(line[from:to]), at-from
	if from > 0 {
		text, pad = "…"+text, pad+1
	}
	if to < len(line) {
		text += "…"
	}
	return strings.TrimRight(text, " "), strings.Repeat(" ", pad) + strings.Repeat("^", width)
}

// Errors are the mistakes of one or more files, in the order of their lines.
type Errors []*Error

// Error prints the mistakes one after the other.
func (es Errors) Error() string {
	parts := make([]string, len(es))
	for i, e := range es {
		parts[i] = e.Error()
	}
	return strings.Join(parts, "\n")
}

// Unwrap gives errors.As each mistake.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// quote prints text from outside, shortened.
func quote(s string) string { return strconv.Quote(clipped(s)) }

// clipped shortens text from outside.
func clipped(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
