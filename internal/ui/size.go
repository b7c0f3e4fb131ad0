package ui

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// IsTerminal reports whether a stream is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Size is the size of the terminal that a stream is: 80 × 24 where it is none
// or does not say.
func Size(stream io.Writer) (columns, rows int) {
	columns, rows = 80, 24
	f, ok := stream.(*os.File)
	if !ok {
		return columns, rows
	}
	ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return columns, rows
	}
	if ws.Col > 0 {
		columns = int(ws.Col)
	}
	if ws.Row > 0 {
		rows = int(ws.Row)
	}
	return columns, rows
}
