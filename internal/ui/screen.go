package ui

import (
	"bytes"
	"fmt"
	"io"
)

// screen repaints the last lines of a terminal in place. It never hides the
// cursor nor changes the terminal's mode, and leaves the cursor below what it
// painted: whatever ends the program, the terminal is as it was.
type screen struct {
	w     io.Writer
	size  func() (columns, rows int)
	shown []string // the lines that are on the terminal now
	buf   bytes.Buffer
}

// Terminals that know these show a frame whole; others pass over them.
const (
	beginFrame = "\x1b[?2026h"
	endFrame   = "\x1b[?2026l"
)

// paint writes lines that stay, and below them the frame, in one write.
func (s *screen) paint(stay []byte, frame []string) error {
	columns, rows := s.size()
	if len(frame) > rows-1 {
		frame = frame[:max(0, rows-1)]
	}
	s.buf.Reset()
	s.buf.WriteString(beginFrame)
	if up := s.height(columns); up > 0 {
		fmt.Fprintf(&s.buf, "\r\x1b[%dA", up)
	}
	if len(stay) > 0 {
		s.buf.WriteString("\x1b[J")
		s.buf.Write(bytes.ReplaceAll(stay, []byte("\n"), []byte("\r\n")))
	}
	s.shown = s.shown[:0]
	for _, line := range frame {
		line = Fit(line, columns-1)
		s.shown = append(s.shown, line)
		s.buf.WriteString(line)
		s.buf.WriteString("\x1b[K\r\n")
	}
	s.buf.WriteString("\x1b[J")
	s.buf.WriteString(endFrame)
	_, err := s.w.Write(s.buf.Bytes())
	return err
}

// height is how many rows the shown lines take on a terminal of so many
// columns: a terminal that became narrower has wrapped them.
func (s *screen) height(columns int) int {
	n := 0
	for _, line := range s.shown {
		n += max(1, (Width(line)+columns-1)/max(1, columns))
	}
	return n
}
