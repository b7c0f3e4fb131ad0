package lineage

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/cubebuild/cube/graph"
)

const (
	frameWord = "#cube-log "
	frameSize = 16 << 10 // a frame is written when so much is there
	// flushAfter is how long a reader waits for what was printed, at most.
	flushAfter = 500 * time.Millisecond
	maxFrame   = 1 << 20 // a larger one is damage
)

// Log returns where what an action prints is to go. What the producer prints
// appears in the log as it comes, within half a second, up to half of [Options.LogLimit]; of the
// rest only the end is kept, and written by Close. It may be called again for
// another attempt.
func (w *Writer) Log(id graph.Digest) *Log {
	return &Log{w: w, id: id, head: w.logLimit / 2, half: w.logLimit / 2}
}

// Log takes what one action prints. Its methods may be called at once.
type Log struct {
	w  *Writer
	id graph.Digest

	mu      sync.Mutex
	buf     []byte      // not yet a frame
	due     *time.Timer // that flushes it; nil while it is empty
	head    int         // how much more is written as it comes
	half    int
	tail    []byte // the end, once head is used up
	dropped int64
	size    int64
}

// Size is how much was printed, kept or not.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// Write takes p. It never fails for what the log does not keep.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	l.size += int64(n)
	k := min(n, l.head)
	l.head -= k
	l.buf = append(l.buf, p[:k]...)
	l.keep(p[k:])
	if len(l.buf) >= frameSize || l.head == 0 && len(l.buf) > 0 {
		return n, l.flush()
	}
	if l.due == nil && len(l.buf) > 0 {
		l.due = time.AfterFunc(flushAfter, func() { _ = l.Flush() }) // what it could not write it tries again
	}
	return n, nil
}

// keep adds p to the tail, of which the last half bytes matter.
func (l *Log) keep(p []byte) {
	if over := len(p) - l.half; over > 0 {
		l.dropped += int64(len(l.tail) + over)
		l.tail, p = l.tail[:0], p[over:]
	}
	l.tail = append(l.tail, p...)
	if len(l.tail) > 2*l.half {
		l.trim()
	}
}

func (l *Log) trim() {
	if over := len(l.tail) - l.half; over > 0 {
		l.dropped += int64(over)
		l.tail = append(l.tail[:0], l.tail[over:]...)
	}
}

// Flush writes what has come so far, so that a reader sees it.
func (l *Log) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flush()
}

func (l *Log) flush() error {
	if l.due != nil {
		l.due.Stop()
		l.due = nil
	}
	if len(l.buf) == 0 {
		return nil
	}
	if err := l.w.AppendLog(l.id, l.buf); err != nil {
		return err
	}
	l.buf = l.buf[:0]
	return nil
}

// Close writes what is left.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trim()
	if l.dropped > 0 {
		l.buf = fmt.Appendf(l.buf, "\n[%d bytes left out]\n", l.dropped)
	}
	l.buf = append(l.buf, l.tail...)
	l.tail, l.dropped = nil, 0
	return l.flush()
}

// AppendLog adds b to what an action printed, just as it is.
func (w *Writer) AppendLog(id graph.Digest, b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.begin(); err != nil {
		return err
	}
	if err := w.lazily(&w.log, logFile); err != nil {
		return err
	}
	for len(b) > 0 {
		n := min(len(b), maxFrame)
		if err := w.log.append(appendFrame(nil, id, b[:n])); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func appendFrame(to []byte, id graph.Digest, b []byte) []byte {
	to = fmt.Appendf(to, "%s%s %d\n", frameWord, id.Hex(), len(b))
	return append(append(to, b...), '\n')
}

// Printed is a piece of what an action printed.
type Printed struct {
	Action graph.Digest
	Text   []byte // valid until the next one
}

// Printed yields what the actions of a run printed, piece by piece as it came:
// all of them, or the one with the given id.
func (s *Store) Printed(run string, id *graph.Digest) iter.Seq2[Printed, error] {
	return onlyRecords(s.printed(run, 0, id))
}

// PrintedFrom is Printed from the offset behind a piece that was read before.
func (s *Store) PrintedFrom(run string, offset int64) iter.Seq2[Placed[Printed], error] {
	return s.printed(run, offset, nil)
}

func (s *Store) printed(run string, offset int64, id *graph.Digest) iter.Seq2[Placed[Printed], error] {
	return func(yield func(Placed[Printed], error) bool) {
		path, err := s.path(run, logFile)
		if err != nil {
			yield(Placed[Printed]{}, err)
			return
		}
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return
		}
		if err == nil {
			defer f.Close()
			_, err = f.Seek(offset, io.SeekStart)
		}
		if err != nil {
			yield(Placed[Printed]{}, err)
			return
		}
		frames(f, path, offset, id, yield)
	}
}

// frames yields the frames of r, which begins at an offset, or those of one
// action. A frame that is cut short ends it.
func frames(r io.Reader, name string, offset int64, id *graph.Digest, yield func(Placed[Printed], error) bool) {
	br := bufio.NewReaderSize(r, 64<<10)
	var buf []byte
	damage := func(what string) { yield(Placed[Printed]{End: offset}, &DamageError{name, offset, what}) }
	for {
		header, err := br.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return
		}
		got, n, ok := parseFrame(header)
		if err != nil || !ok {
			damage("not a frame")
			return
		}
		size := int64(len(header)) + int64(n) + 1
		if id != nil && got != *id {
			if _, err := br.Discard(n + 1); err != nil {
				return
			}
			offset += size
			continue
		}
		buf = append(buf[:0], make([]byte, n+1)...)
		if _, err := io.ReadFull(br, buf); err != nil {
			return
		}
		if buf[n] != '\n' {
			damage("no line feed behind the frame")
			return
		}
		offset += size
		if !yield(Placed[Printed]{Printed{got, buf[:n]}, offset}, nil) {
			return
		}
	}
}

func parseFrame(line []byte) (id graph.Digest, n int, ok bool) {
	rest, ok := bytes.CutPrefix(bytes.TrimSuffix(line, []byte("\n")), []byte(frameWord))
	if !ok {
		return id, 0, false
	}
	hex, size, _ := bytes.Cut(rest, []byte(" "))
	id, err := graph.ParseDigest(string(hex))
	if err != nil {
		return id, 0, false
	}
	n, err = strconv.Atoi(string(size))
	return id, n, err == nil && n >= 0 && n <= maxFrame
}
