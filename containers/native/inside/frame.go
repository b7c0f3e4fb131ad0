//go:build linux

package inside

import (
	"encoding/binary"
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// Kind is the kind of a frame.
type Kind byte

// The kinds of frames. Start and Go are the engine's, the rest the init's.
const (
	Start   Kind = 'S' // Version, then a Config; descriptors: output, tasks
	Listens Kind = 'L' // a listening socket, where Config.Listen asks for one
	Handles Kind = 'H' // an index into Config.Mounts, or Base, per descriptor, two bytes each, the lower first
	Go      Kind = 'G' // the tmpfs are filled
	Began   Kind = 'B' // the payload is started
	Ended   Kind = 'E' // an Ending
	Failed  Kind = 'F' // a byte that is 1 where the Config is to blame, then why
)

const (
	frameHeader = 5       // kind, little-endian length
	maxFrame    = 1 << 26 // of a body
	// MaxHandles is the most descriptors that go with one frame.
	MaxHandles = 100
	// Base is the index of the handle on the file system that holds /tmp,
	// /dev/shm and /cube, as tmp, shm and cube. It goes with Config.Serve.
	Base = 1<<16 - 1
)

// ErrFrame is returned for bytes that are not a frame.
var ErrFrame = errors.New("malformed frame")

// Send writes one frame to the socket, with descriptors beside it, and blocks
// until all of it is taken.
func Send(sock int, kind Kind, body []byte, fds ...int) error {
	frame := make([]byte, frameHeader, frameHeader+len(body))
	frame[0] = byte(kind)
	binary.LittleEndian.PutUint32(frame[1:], uint32(len(body)))
	frame = append(frame, body...)
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	for len(frame) > 0 {
		n, err := unix.SendmsgN(sock, frame, rights, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		frame, rights = frame[n:], nil
	}
	return nil
}

// Receive reads one frame from the socket and the descriptors beside it, which
// the caller closes. At the end of the stream it returns io.EOF.
func Receive(sock int) (kind Kind, body []byte, fds []int, err error) {
	var header [frameHeader]byte
	oob := make([]byte, unix.CmsgSpace(4*MaxHandles))
	n, oobn, err := recvmsg(sock, header[:], oob)
	if err != nil {
		return 0, nil, nil, err
	}
	if n == 0 {
		return 0, nil, nil, io.EOF
	}
	if fds, err = rights(oob[:oobn]); err == nil {
		err = readFull(sock, header[n:])
	}
	if err == nil {
		size := binary.LittleEndian.Uint32(header[1:])
		if size > maxFrame {
			err = ErrFrame
		} else {
			body = make([]byte, size)
			err = readFull(sock, body)
		}
	}
	if err != nil {
		closeAll(fds)
		return 0, nil, nil, err
	}
	return Kind(header[0]), body, fds, nil
}

func recvmsg(sock int, p, oob []byte) (n, oobn int, err error) {
	for {
		n, oobn, _, _, err = unix.Recvmsg(sock, p, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			return n, oobn, err
		}
	}
}

func readFull(sock int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Read(sock, p)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case n == 0:
			return io.ErrUnexpectedEOF
		default:
			p = p[n:]
		}
	}
	return nil
}

func rights(oob []byte) (fds []int, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		got, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			closeAll(fds)
			return nil, err
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
