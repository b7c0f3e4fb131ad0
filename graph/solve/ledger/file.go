//go:build linux

package ledger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cubebuild/cube/graph/solve/resource"
	"golang.org/x/sys/unix"
)

const (
	magic    = "cube-ledger 1\n\x00\x00"
	header   = 32
	part     = 1 << 16
	maxParts = 1 << 12
	// stale is after how many milliseconds a waiter is taken to have stopped.
	stale = 2000
)

// ErrFormat is in the chain of errors about a file that is no ledger.
var ErrFormat = errors.New("not a ledger of this version")

// Entry is what the ledger says of one build.
type Entry struct {
	PID     int               `json:"pid"` // for people
	Name    string            `json:"name"`
	Held    resource.Amounts  `json:"held"`
	Waiting []resource.Waiter `json:"waiting,omitempty"`
	// Seen is when it last looked, by the clock of the boot, in milliseconds.
	Seen int64 `json:"seen,omitempty"`
}

// encode is an entry's part. Waiters that have no room are left out: they are
// merely not waited for.
func (e Entry) encode() ([]byte, error) {
	for {
		body, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		if len(body)+4 <= part {
			return append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body...), nil
		}
		if len(e.Waiting) == 0 {
			return nil, fmt.Errorf("an entry of %d bytes", len(body))
		}
		e.Waiting = e.Waiting[:len(e.Waiting)/2]
	}
}

// decodeEntry reads a part.
func decodeEntry(b []byte) (e Entry, err error) {
	if len(b) < 4 {
		return e, ErrFormat
	}
	n := binary.LittleEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return e, ErrFormat
	}
	if err := json.Unmarshal(b[4:4+n], &e); err != nil {
		return Entry{}, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	for _, v := range e.Held {
		if v < 0 {
			return Entry{}, ErrFormat
		}
	}
	return e, nil
}

// lock takes a lock on one byte; false where another has it.
func lock(f *os.File, off int64) (bool, error) {
	lk := unix.Flock_t{Type: unix.F_WRLCK, Start: off, Len: 1}
	err := fcntl(f, unix.F_OFD_SETLK, &lk)
	if err == unix.EAGAIN || err == unix.EACCES {
		return false, nil
	}
	return err == nil, err
}

func unlock(f *os.File, off int64) error {
	return fcntl(f, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK, Start: off, Len: 1})
}

// locked reports whether another holds a lock on a byte.
func locked(f *os.File, off int64) (bool, error) {
	lk := unix.Flock_t{Type: unix.F_WRLCK, Start: off, Len: 1}
	err := fcntl(f, unix.F_OFD_GETLK, &lk)
	return lk.Type != unix.F_UNLCK, err
}

func fcntl(f *os.File, cmd int, lk *unix.Flock_t) error {
	for {
		if err := unix.FcntlFlock(f.Fd(), cmd, lk); err != unix.EINTR {
			return err
		}
	}
}

// readHead reads the header: zeros of a new file.
func readHead(f *os.File) (ticket, admitted uint64, err error) {
	var b [header]byte
	n, err := f.ReadAt(b[:], 0)
	if n == 0 && err == io.EOF {
		return 0, 0, nil // a new file
	}
	if n < header || string(b[:16]) != magic {
		return 0, 0, fmt.Errorf("%s: %w", f.Name(), ErrFormat)
	}
	return binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:]), nil
}

func writeHead(f *os.File, ticket, admitted uint64) error {
	b := append(make([]byte, 0, header), magic...)
	b = binary.LittleEndian.AppendUint64(b, ticket)
	b = binary.LittleEndian.AppendUint64(b, admitted)
	_, err := f.WriteAt(b, 0)
	return err
}

// parts is how many parts the file has.
func parts(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return min((info.Size()+part-1)/part, maxParts) - 1, nil
}

// fill takes the disk for a part, so that none is half written when that is full:
// others could not read it. Where the file system cannot, it is taken as it is
// written.
func fill(f *os.File, off int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, off, part)
		switch err {
		case unix.EINTR:
			continue
		case unix.EOPNOTSUPP, unix.ENOSYS:
			return nil
		}
		return err
	}
}

func offset(i int64) int64 { return (i + 1) * part }

// others are the entries of the builds that live, but for part own.
func others(f *os.File, own int64, yield func(Entry)) error {
	n, err := parts(f)
	if err != nil {
		return err
	}
	for i := range n {
		if i == own {
			continue
		}
		if alive, err := locked(f, offset(i)); err != nil || !alive {
			if err != nil {
				return err
			}
			continue
		}
		e, err := readEntry(f, i)
		if err != nil {
			return fmt.Errorf("%s: part %d: %w", f.Name(), i, err)
		}
		yield(e)
	}
	return nil
}

func readEntry(f *os.File, i int64) (Entry, error) {
	b := make([]byte, 4096) // nearly always enough
	n, err := f.ReadAt(b, offset(i))
	if err != nil && err != io.EOF {
		return Entry{}, err
	}
	if n >= 4 {
		if size := 4 + int64(binary.LittleEndian.Uint32(b)); size > int64(n) && size <= part {
			b = make([]byte, size)
			if n, err = f.ReadAt(b, offset(i)); err != nil && err != io.EOF {
				return Entry{}, err
			}
		}
	}
	return decodeEntry(b[:n])
}
