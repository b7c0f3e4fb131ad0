//go:build linux

package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxFiles is how many descriptors the kernel lets pass at once.
const maxFiles = 250

// Socket is a Conn on one machine: a connected Unix socket, which passes files.
type Socket struct {
	conn *net.UnixConn
	send sync.Mutex
}

var _ Conn = (*Socket)(nil)

// Pair returns two connected ends: a Conn, and a file for another process,
// which the caller closes.
func Pair() (*Socket, *os.File, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make socket: %w", err)
	}
	theirs := os.NewFile(uintptr(ends[1]), "worker's socket")
	ours, err := NewSocket(os.NewFile(uintptr(ends[0]), "engine's socket"))
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// NewSocket makes a Conn of a connected Unix socket, and closes f.
func NewSocket(f *os.File) (*Socket, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("not a Unix socket")
	}
	return &Socket{conn: u}, nil
}

// Close implements Conn.
func (s *Socket) Close() error { return s.conn.Close() }

// Send implements Conn. Large bytes go as files in memory.
func (s *Socket) Send(f Frame) error {
	blobs := append([]Blob(nil), f.Blobs...)
	var made []*os.File
	defer func() {
		for _, m := range made {
			m.Close()
		}
	}()
	var fds []int
	for i, b := range blobs {
		if b.File == nil && len(b.Bytes) > Inline && len(fds) < maxFiles {
			m, err := memory(b.Bytes)
			if err != nil {
				return err
			}
			made, blobs[i] = append(made, m), Blob{File: m}
		}
		if file := blobs[i].File; file != nil {
			fds = append(fds, int(file.Fd()))
		}
	}
	if len(fds) > maxFiles {
		return fmt.Errorf("%d files at once: %w", len(fds), ErrFrame)
	}
	f.Blobs = blobs
	b, err := Append(nil, f)
	if err != nil {
		return err
	}
	s.send.Lock()
	defer s.send.Unlock()
	n := 0
	if len(fds) > 0 {
		if n, _, err = s.conn.WriteMsgUnix(b, unix.UnixRights(fds...), nil); err != nil {
			return err
		}
	}
	_, err = s.conn.Write(b[n:])
	return err
}

// Receive implements Conn. One goroutine receives.
func (s *Socket) Receive() (Frame, error) {
	var head [headSize]byte
	oob := make([]byte, unix.CmsgSpace(4*(maxFiles+3)))
	n, oobn, _, _, err := s.conn.ReadMsgUnix(head[:], oob)
	if err != nil {
		return Frame{}, ended(err)
	}
	if n == 0 {
		return Frame{}, io.EOF
	}
	files, err := rights(oob[:oobn])
	if err == nil {
		_, err = io.ReadFull(s.conn, head[n:])
	}
	var f Frame
	if err == nil {
		f, err = readRest(s.conn, head, files)
	}
	if err != nil {
		for _, file := range files {
			file.Close()
		}
		return Frame{}, ended(within(err))
	}
	return f, nil
}

// ended is io.EOF for errors that say that the other side is gone.
func ended(err error) error {
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) {
		return io.EOF
	}
	return err
}

func rights(oob []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	for i := range messages {
		fds, rightsErr := unix.ParseUnixRights(&messages[i])
		err = errors.Join(err, rightsErr)
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "passed file"))
		}
	}
	return files, err
}

// memory is a file in memory that holds b.
func memory(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("cube-values", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make memory file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "values")
	if _, err := f.WriteAt(b, 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("write memory file: %w", err)
	}
	return f, nil
}
