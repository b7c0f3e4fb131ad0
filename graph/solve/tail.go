package solve

import (
	"fmt"
	"sync"
)

// maxLog is how much of what an action prints is kept.
const maxLog = 1 << 20

// tail keeps the first and the last part of what is written to it, so that an
// endless log costs no memory. It may be written from several goroutines.
type tail struct {
	limit int

	mu      sync.Mutex
	head    []byte
	rest    []byte // a ring of limit/2 bytes, once it is full
	at      int
	dropped int64
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, half := len(p), t.limit/2
	if room := half - len(t.head); room > 0 {
		k := min(room, len(p))
		t.head = append(t.head, p[:k]...)
		p = p[k:]
	}
	for len(p) > 0 {
		if len(t.rest) < half {
			k := min(half-len(t.rest), len(p))
			t.rest = append(t.rest, p[:k]...)
			p = p[k:]
			continue
		}
		k := copy(t.rest[t.at:], p)
		t.at, t.dropped, p = (t.at+k)%half, t.dropped+int64(k), p[k:]
	}
	return n, nil
}

// Forget implements containers.Forgetter.
func (t *tail) Forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.head, t.rest, t.at, t.dropped = nil, nil, 0, 0
}

// Bytes returns what was kept, with a line that says what was not.
func (t *tail) Bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := append([]byte(nil), t.head...)
	if t.dropped > 0 {
		out = fmt.Appendf(out, "\n… %d bytes left out …\n", t.dropped)
	}
	out = append(out, t.rest[t.at:]...)
	return append(out, t.rest[:t.at]...)
}
