//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// report is all that a run measured.
type report struct {
	Machine machine  `json:"machine"`
	Scale   float64  `json:"scale"`
	Rows    []row    `json:"rows"`
	Missing []string `json:"missing,omitempty"`
}

// The marks in a Markdown file that a report stands between.
const (
	beginMark = "<!-- measured: replaced by make bench -->"
	endMark   = "<!-- end of what was measured -->"
)

// publish prints the report, and writes it where the options say.
func (r *report) publish(w io.Writer, o options) error {
	if err := r.text(w); err != nil {
		return err
	}
	if o.output != "" {
		data := r.markdown()
		if filepath.Ext(o.output) == ".json" {
			var err error
			if data, err = json.MarshalIndent(r, "", "  "); err != nil {
				return err
			}
			data = append(data, '\n')
		}
		if err := os.WriteFile(o.output, data, 0o644); err != nil {
			return err
		}
	}
	if o.update == "" {
		return nil
	}
	text, err := os.ReadFile(o.update)
	if err != nil {
		return err
	}
	if text, err = replaceBetween(text, r.markdown()); err != nil {
		return fmt.Errorf("%s: %w", o.update, err)
	}
	return os.WriteFile(o.update, text, 0o644)
}

// replaceBetween puts data between the marks.
func replaceBetween(text, data []byte) ([]byte, error) {
	before, rest, ok := bytes.Cut(text, []byte(beginMark))
	_, after, closed := bytes.Cut(rest, []byte(endMark))
	if !ok || !closed {
		return nil, fmt.Errorf("it has no lines %q and %q", beginMark, endMark)
	}
	return bytes.Join([][]byte{before, []byte(beginMark + "\n\n"), data, []byte("\n" + endMark), after}, nil), nil
}

// figure is a number with three digits that count.
func figure(v float64) string {
	switch {
	case v >= 100 || v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// measured is a median with the ends: 6.1 (5.8–9.3).
func (s spread) String() string {
	if s.Min == s.Max {
		return figure(s.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", figure(s.Median), figure(s.Min), figure(s.Max))
}

func (r row) limit() string {
	switch {
	case r.Limit == 0:
		return ""
	case r.AtLeast:
		return "≥ " + figure(r.Limit)
	}
	return "≤ " + figure(r.Limit)
}

func (r row) verdict() string {
	switch {
	case r.Limit == 0:
		return ""
	case r.Reached:
		return "reached"
	}
	return "not reached"
}

func (r row) cells() []string {
	return []string{r.Ours, r.Against, r.Unit, r.A.String(), r.B.String(), r.Ratio.String(), r.limit(), r.verdict()}
}

var header = []string{"cube", "against", "unit", "cube: median (min–max)", "other: median (min–max)", "ratio", "to reach", ""}

// where says on what and with how much work it was measured.
func (r *report) where() string {
	if r.Scale == 1 {
		return r.Machine.String()
	}
	return fmt.Sprintf("%s; with `-scale %v`, a first look", r.Machine, r.Scale)
}

func (r *report) text(w io.Writer) error {
	rows := [][]string{header}
	for _, row := range r.Rows {
		rows = append(rows, row.cells())
	}
	widths := make([]int, len(header))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], len([]rune(c)))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, c := range row {
			b.WriteString(c + strings.Repeat(" ", widths[i]-len([]rune(c))+2))
		}
		b.WriteString("\n")
	}
	for _, m := range r.Missing {
		b.WriteString("not measured: " + m + "\n")
	}
	b.WriteString(r.where() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *report) markdown() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s.\n\n", r.where())
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(header, " | "), strings.Repeat("---|", len(header)))
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row.cells(), " | "))
	}
	for _, row := range r.Rows {
		if row.Note != "" {
			fmt.Fprintf(&b, "\n%s, against %s: %s.\n", row.Ours, row.Against, row.Note)
		}
	}
	for _, m := range r.Missing {
		fmt.Fprintf(&b, "\nNot measured: %s.\n", m)
	}
	return b.Bytes()
}
