package secret

import (
	"io"
	"sync"
)

// Log writes to another writer what is written to it, without the secrets of a
// set: also one that comes in pieces. What may be the beginning of one is held
// back until more comes, or Flush. It may be written to from several goroutines.
type Log struct {
	set *Set
	to  io.Writer

	mu   sync.Mutex
	held string
}

// NewLog returns a log before a writer.
func NewLog(s *Set, to io.Writer) *Log { return &Log{set: s, to: to} }

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.held + string(p)
	end := l.set.open(text)
	l.held = text[end:]
	return len(p), l.pass(text[:end])
}

// Flush writes what is held back.
func (l *Log) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.held
	l.held = ""
	return l.pass(text)
}

func (l *Log) pass(text string) error {
	if text == "" {
		return nil
	}
	_, err := io.WriteString(l.to, l.set.Redact(text))
	return err
}

// Forget drops what is held back, and has the writer forget too, where it can.
func (l *Log) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = ""
	if f, ok := l.to.(interface{ Forget() }); ok {
		f.Forget()
	}
}
