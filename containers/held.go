package containers

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrInputChanged says that a file was written to while an action read it, so that
// nobody knows what the action saw. Nothing of it may be kept, nor that it failed.
var ErrInputChanged = errors.New("it was written to while the action ran: build again")

// held is a file that an action is shown where it is, as it was before. It is known
// by a handle, and so another file that takes its name changes nothing.
type held struct {
	path   string
	handle int
	size   int64
	time   unix.Timespec
}

// hold takes handles on the files that are mounted to be read. One that cannot be
// had is the runner's to name.
func (s *staged) hold() {
	for i := range s.spec.Mounts {
		m := &s.spec.Mounts[i]
		if m.Kind != Bind || m.Writable {
			continue
		}
		fd, err := unix.Open(m.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			unix.Close(fd)
			continue
		}
		s.held = append(s.held, held{m.Source, fd, st.Size, st.Mtim})
	}
}

// letGo closes the handles.
func (s *staged) letGo() {
	for _, h := range s.held {
		unix.Close(h.handle)
	}
	s.held = nil
}

// unchanged is an ErrInputChanged where a file is not what it was. A link to one
// changes it in no way that counts.
func (s *staged) unchanged() error {
	for _, h := range s.held {
		var st unix.Stat_t
		if err := unix.Fstat(h.handle, &st); err != nil {
			return fmt.Errorf("%s: %w", h.path, err)
		}
		if st.Size != h.size || st.Mtim != h.time {
			return fmt.Errorf("%s: %w", h.path, ErrInputChanged)
		}
	}
	return nil
}
