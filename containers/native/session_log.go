//go:build linux

package native

import (
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// logPipe takes what a payload that serves prints, and gives it to the writer
// of the request that it serves; between two requests nobody wants it. What it
// prints as it starts waits in the pipe for the first request.
type logPipe struct {
	read  *os.File
	conn  syscall.RawConn
	begun bool
	mu    sync.Mutex // held while bytes go from the pipe to the writer
	to    io.Writer  // nil discards
	buf   []byte
}

// newLogPipe returns the pipe and the payload's end of it.
func newLogPipe() (*logPipe, *os.File, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	conn, err := read.SyscallConn()
	if err != nil {
		closeFiles([]*os.File{read, write})
		return nil, nil, err
	}
	return &logPipe{read: read, conn: conn, buf: make([]byte, 32<<10)}, write, nil
}

// begin gives all that the payload has printed, and prints, to the first writer.
func (l *logPipe) begin(to io.Writer, copying *sync.WaitGroup) {
	l.begun, l.to = true, to
	copying.Go(l.copy)
}

// close closes a pipe that never began; copy closes one that has.
func (l *logPipe) close() {
	if !l.begun {
		l.read.Close()
	}
}

// copy passes on what comes until nobody is left to write.
func (l *logPipe) copy() {
	defer l.read.Close()
	for more := true; more; {
		err := l.conn.Read(func(fd uintptr) bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			n, err := l.pass(int(fd), len(l.buf))
			more = n > 0 || err == unix.EINTR
			return err != unix.EAGAIN
		})
		if err != nil {
			return
		}
	}
}

// pass passes on what there is, at most so many bytes. The lock is held. A
// writer that fails gets no more, but the payload must not notice.
func (l *logPipe) pass(fd, most int) (int, error) {
	n, err := unix.Read(fd, l.buf[:min(most, len(l.buf))])
	if n > 0 && l.to != nil {
		if _, err := l.to.Write(l.buf[:n]); err != nil {
			l.to = nil
		}
	}
	return n, err
}

// turn passes on what is in the pipe at this moment, which is bounded, and then
// gives what follows to another writer.
func (l *logPipe) turn(to io.Writer) {
	_ = l.conn.Control(func(fd uintptr) {
		l.mu.Lock()
		defer l.mu.Unlock()
		waiting, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		for err == nil && waiting > 0 {
			var n int
			if n, err = l.pass(int(fd), waiting); n <= 0 {
				break
			}
			waiting -= n
		}
		l.to = to
	})
}
