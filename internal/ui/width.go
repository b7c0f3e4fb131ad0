package ui

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// Width is the number of a terminal's columns that text takes. Colours take
// none.
func Width(text string) int {
	n := 0
	for len(text) > 0 {
		if skip := escape(text); skip > 0 {
			text = text[skip:]
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		n += runeWidth(r)
		text = text[size:]
	}
	return n
}

// runeWidth is the number of columns of one rune.
func runeWidth(r rune) int {
	switch {
	case r < 0x20 || r == 0x7f:
		return 0
	case r < 0x7f:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// escape is the length of the colour sequence that text begins with, or 0.
func escape(text string) int {
	if !strings.HasPrefix(text, "\x1b[") {
		return 0
	}
	if i := strings.IndexByte(text, 'm'); i > 0 {
		return i + 1
	}
	return 0
}

// Fit cuts text to at most so many columns, with an ellipsis where it is cut.
// Colours that were begun are ended.
func Fit(text string, columns int) string {
	if Width(text) <= columns {
		return text
	}
	if columns < 1 {
		return ""
	}
	var b strings.Builder
	room, coloured := columns-1, false
	for len(text) > 0 {
		if skip := escape(text); skip > 0 {
			b.WriteString(text[:skip])
			text, coloured = text[skip:], true
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		if room -= runeWidth(r); room < 0 {
			break
		}
		b.WriteString(text[:size])
		text = text[size:]
	}
	b.WriteString("…")
	if coloured {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// Pad fills text with spaces up to so many columns.
func Pad(text string, columns int) string {
	return text + strings.Repeat(" ", max(0, columns-Width(text)))
}

// PadLeft is Pad with the spaces before the text, as numbers in a column want.
func PadLeft(text string, columns int) string {
	return strings.Repeat(" ", max(0, columns-Width(text))) + text
}
