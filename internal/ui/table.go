package ui

import (
	"fmt"
	"io"
	"strings"
)

// Table is rows of text in columns. It is written at once, each column as wide
// as its widest cell.
type Table struct {
	Header []string
	Right  []bool // which columns are aligned to the right, as numbers are
	rows   [][]string
}

// Add adds a row.
func (t *Table) Add(cells ...string) { t.rows = append(t.rows, cells) }

// Len is the number of rows.
func (t *Table) Len() int { return len(t.rows) }

// Write writes the table, the header first where there is one.
func (t *Table) Write(w io.Writer, s Style) error {
	widths := t.widths()
	var b strings.Builder
	if len(t.Header) > 0 {
		t.line(&b, t.Header, widths, s.Dim)
	}
	for _, row := range t.rows {
		t.line(&b, row, widths, nil)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *Table) widths() []int {
	var widths []int
	for _, row := range append([][]string{t.Header}, t.rows...) {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], Width(cell))
		}
	}
	return widths
}

func (t *Table) line(b *strings.Builder, row []string, widths []int, paint func(string) string) {
	var line strings.Builder
	for i, cell := range row {
		if i > 0 {
			line.WriteString("  ")
		}
		if i < len(t.Right) && t.Right[i] {
			cell = PadLeft(cell, widths[i])
		} else {
			cell = Pad(cell, widths[i])
		}
		line.WriteString(cell)
	}
	text := strings.TrimRight(line.String(), " ")
	if paint != nil {
		text = paint(text)
	}
	fmt.Fprintln(b, text)
}
