//go:build linux

package inside

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Ending is the body of an Ended frame: how the payload ended, and what it and
// all that it started used. No other process of the sandbox is left by then.
type Ending struct {
	Status       uint32 // as wait(2) gives it
	User, System int64  // microseconds, of process 1, too
	MaxRSS       int64  // KiB, of the largest process
}

const endingSize = 4 + 3*8

// measure sets what was used.
func (e *Ending) measure() {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) != nil {
			continue
		}
		e.User += u.Utime.Nano() / 1000
		e.System += u.Stime.Nano() / 1000
		e.MaxRSS = max(e.MaxRSS, u.Maxrss)
	}
}

func (e *Ending) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, e.Status)
	for _, v := range []int64{e.User, e.System, e.MaxRSS} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	return b
}

// DecodeEnding reads the body of an Ended frame.
func DecodeEnding(b []byte) (Ending, error) {
	if len(b) != endingSize {
		return Ending{}, ErrFrame
	}
	field := func(i int) int64 { return int64(binary.LittleEndian.Uint64(b[4+8*i:])) }
	return Ending{Status: binary.LittleEndian.Uint32(b), User: field(0), System: field(1), MaxRSS: field(2)}, nil
}
