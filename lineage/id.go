package lineage

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"
)

// idTime is the readable beginning of a run's id.
const idTime = "20060102T150405Z"

// NewID returns the id of a run that starts at t: the second, four hex digits
// of its fraction, so that ids sort by time, and six random ones.
func NewID(t time.Time) string {
	var b [5]byte
	rand.Read(b[:]) // never fails
	fraction := int64(t.Nanosecond()) << 16 / int64(time.Second)
	b[0], b[1] = byte(fraction>>8), byte(fraction)
	return t.UTC().Format(idTime) + "-" + hex.EncodeToString(b[:])
}

// CheckID says what keeps s from being the id of a run, or nil. An id that
// passes is safe as the name of a file.
func CheckID(s string) error {
	if len(s) != len(idTime)+11 || s[len(idTime)] != '-' {
		return fmt.Errorf("run %.40q: %w", s, ErrBadID)
	}
	if _, err := time.Parse(idTime, s[:len(idTime)]); err != nil {
		return fmt.Errorf("run %.40q: %w", s, ErrBadID)
	}
	for _, c := range s[len(idTime)+1:] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("run %.40q: %w", s, ErrBadID)
		}
	}
	return nil
}
