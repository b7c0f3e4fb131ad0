package secret

import (
	"io"
	"strings"
)

// Scan looks for the secrets of a set in what is written to it, in whatever pieces
// it comes. It writes nothing. One goroutine at a time may use it.
type Scan struct {
	set   *Set
	tail  string // of what came, so much as a secret may have begun in
	found bool
}

// NewScan returns a scan for the secrets that a set has now.
func NewScan(s *Set) *Scan { return &Scan{set: s} }

// Found reports whether one of the secrets has come, as it is or in one of the
// forms that a Set knows.
func (s *Scan) Found() bool { return s.found }

// Write implements io.Writer. It never fails.
func (s *Scan) Write(p []byte) (int, error) {
	s.set.mu.Lock()
	defer s.set.mu.Unlock()
	if s.found || len(s.set.forms) == 0 {
		return len(p), nil
	}
	text := s.tail + string(p)
	for _, f := range s.set.forms {
		if s.found = strings.Contains(text, f); s.found {
			return len(p), nil
		}
	}
	longest := len(s.set.forms[0])
	s.tail = text[max(0, len(text)-longest+1):]
	return len(p), nil
}

var _ io.Writer = (*Scan)(nil)
