//go:build linux

package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// Version is the version of what is said. Engine and worker are of the same.
const Version = 1

// Kind is the kind of a frame.
type Kind byte

// The kinds of frames.
const (
	SetUp  Kind = 'S'
	Run    Kind = 'R'
	Cancel Kind = 'C'
	Ready  Kind = 'H'
	Log    Kind = 'L'
	Ended  Kind = 'D'
	Failed Kind = 'F'
	Broken Kind = 'E'
)

// Bounds of a frame.
const (
	maxBody  = 1 << 26
	maxBlobs = 1 << 13
	// Inline is the most bytes of a blob that goes into a frame where it can go
	// beside it.
	Inline = 64 << 10
)

// ErrFrame is returned for bytes that are not a frame.
var ErrFrame = errors.New("malformed frame")

// Frame is one thing said.
type Frame struct {
	Kind   Kind
	Action uint64
	Body   []byte
	Blobs  []Blob
}

// Blob is bytes beside a frame's body, or a file that holds them; neither is
// none. Who receives a frame closes its files.
type Blob struct {
	Bytes []byte
	File  *os.File
}

// where a blob is.
const (
	absent = iota
	inFrame
	beside
)

func (b Blob) where() byte {
	switch {
	case b.File != nil:
		return beside
	case b.Bytes != nil:
		return inFrame
	}
	return absent
}

// Close closes the files of the frame.
func (f *Frame) Close() {
	for _, b := range f.Blobs {
		if b.File != nil {
			b.File.Close()
		}
	}
}

// Conn carries frames between an engine and a worker. Send may be called at
// once with itself and with Receive. Receive returns io.EOF where the other side
// is gone. What is sent stays the caller's.
type Conn interface {
	Send(f Frame) error
	Receive() (Frame, error)
	Close() error
}

const (
	headSize = 16
	blobSize = 9
)

// Append appends the bytes of a frame. Files are the Conn's to pass.
func Append(b []byte, f Frame) ([]byte, error) {
	if len(f.Body) > maxBody || len(f.Blobs) > maxBlobs {
		return nil, fmt.Errorf("a frame of %d bytes and %d blobs: %w", len(f.Body), len(f.Blobs), ErrFrame)
	}
	b = append(b, byte(f.Kind), 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(f.Blobs)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Body)))
	b = binary.LittleEndian.AppendUint64(b, f.Action)
	for _, blob := range f.Blobs {
		b = append(b, blob.where())
		b = binary.LittleEndian.AppendUint64(b, uint64(len(blob.Bytes)))
	}
	b = append(b, f.Body...)
	for _, blob := range f.Blobs {
		b = append(b, blob.Bytes...)
	}
	return b, nil
}

// Read reads a frame. Files are those that came beside it, which the frame
// takes; on an error the caller still has them. io.EOF is an end between frames,
// io.ErrUnexpectedEOF one within.
func Read(r io.Reader, files []*os.File) (Frame, error) {
	var head [headSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Frame{}, err
	}
	return readRest(r, head, files)
}

func readRest(r io.Reader, head [headSize]byte, files []*os.File) (Frame, error) {
	f := Frame{Kind: Kind(head[0]), Action: binary.LittleEndian.Uint64(head[8:])}
	blobs, body := int(binary.LittleEndian.Uint16(head[2:])), binary.LittleEndian.Uint32(head[4:])
	if head[1] != 0 || blobs > maxBlobs || body > maxBody {
		return Frame{}, ErrFrame
	}
	table := make([]byte, blobs*blobSize)
	if _, err := io.ReadFull(r, table); err != nil {
		return Frame{}, within(err)
	}
	var err error
	if f.Body, err = take(r, uint64(body)); err != nil {
		return Frame{}, err
	}
	for ; len(table) > 0; table = table[blobSize:] {
		size := binary.LittleEndian.Uint64(table[1:])
		var b Blob
		switch {
		case table[0] == beside && len(files) > 0 && size == 0:
			b.File, files = files[0], files[1:]
		case table[0] == inFrame:
			if b.Bytes, err = take(r, size); err != nil {
				return Frame{}, err
			}
		case table[0] != absent || size != 0:
			return Frame{}, ErrFrame
		}
		f.Blobs = append(f.Blobs, b)
	}
	if len(files) > 0 {
		return Frame{}, ErrFrame
	}
	return f, nil
}

// take reads n bytes. It takes memory only as they come.
func take(r io.Reader, n uint64) ([]byte, error) {
	const atOnce = 1 << 20
	if n <= atOnce {
		b := make([]byte, n)
		_, err := io.ReadFull(r, b)
		return b, within(err)
	}
	if n > 1<<40 {
		return nil, ErrFrame
	}
	var buf bytes.Buffer
	_, err := io.CopyN(&buf, r, int64(n))
	return buf.Bytes(), within(err)
}

// within is the error of an end within a frame.
func within(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
