package cas

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"syscall"
)

// A long log keeps its index in a file beside it, so that whoever opens it next
// reads that and what was appended since, and not all of it. Nothing rests on
// that file: what a log finds by it is checked as ever, and where it is not
// there, or is not of this log, the log is read.

const (
	indexMagic   = "cube-idx"
	indexVersion = 1
	indexHeader  = 8 + 4 + 4 + 8 + 8 + 8 + recordHeader
	indexEntry   = 8 + 8
	// keepFrom is how much must have been read or appended since the index was
	// kept for it to be kept again; of a longer log it is a keepPart.
	keepFrom = 256 << 10
	keepPart = 8
)

// indexPath is where the log's index is kept.
func (l *Log) indexPath() string { return l.path + ".index" }

// keepIndex writes the index beside the log, where that is worth it and nobody
// else is at work on the log. A failure is none: the log is read, then.
func (l *Log) keepIndex() {
	if l.f == nil || l.dirty && !l.conf.NoSync || l.end-l.kept < max(keepFrom, l.kept/keepPart) {
		return
	}
	if syscall.Flock(int(l.f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return
	}
	defer flock(l.f, syscall.LOCK_UN)
	if _, replaced, err := l.stat(); err != nil || replaced {
		return
	}
	b, err := l.encodeIndex()
	if err != nil {
		return
	}
	// It is not made durable: what is not whole is not read.
	temp := l.indexPath() + newSuffix
	if err = os.WriteFile(temp, b, 0o666); err == nil {
		err = os.Rename(temp, l.indexPath())
	}
	if err != nil {
		os.Remove(temp)
		return
	}
	l.kept = l.end
}

func (l *Log) encodeIndex() ([]byte, error) {
	b := make([]byte, indexHeader, indexHeader+indexEntry*l.index.live+4)
	copy(b, indexMagic)
	binary.LittleEndian.PutUint32(b[8:], indexVersion)
	binary.LittleEndian.PutUint64(b[16:], uint64(l.end))
	binary.LittleEndian.PutUint64(b[24:], uint64(l.last))
	binary.LittleEndian.PutUint64(b[32:], uint64(l.index.live))
	if _, err := l.f.ReadAt(b[40:indexHeader], l.last); err != nil {
		return nil, err
	}
	for _, s := range l.index.sorted() {
		b = binary.LittleEndian.AppendUint64(b, s.hash)
		b = binary.LittleEndian.AppendUint64(b, uint64(s.off))
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// loadIndex begins with the index that is kept of this log, which has size
// bytes, where there is one.
func (l *Log) loadIndex(size int64) {
	b, err := os.ReadFile(l.indexPath())
	if err != nil {
		return
	}
	k, ok := parseIndex(b)
	if !ok || k.end > size {
		return
	}
	// The log may have been rewritten or replaced since.
	var last [recordHeader]byte
	if _, err := l.f.ReadAt(last[:], k.last); err != nil || !bytes.Equal(last[:], k.lastHeader) {
		return
	}
	n := len(k.entries) / indexEntry
	l.index = index{kept: kept{k.entries, n}, live: n}
	l.end, l.last, l.kept = k.end, k.last, k.end
}

// keptIndex is what a file says of an index.
type keptIndex struct {
	end, last  int64  // of the log: how far it was read, and where its last record begins
	lastHeader []byte // of that record
	entries    []byte
}

// parseIndex reads an index file; false where it is none, or damaged.
func parseIndex(b []byte) (k keptIndex, ok bool) {
	if len(b) < indexHeader+4 || string(b[:8]) != indexMagic || binary.LittleEndian.Uint32(b[8:]) != indexVersion {
		return k, false
	}
	body := b[:len(b)-4]
	if binary.LittleEndian.Uint32(b[len(body):]) != crc32.Checksum(body, castagnoli) {
		return k, false
	}
	k.end, k.last = int64(binary.LittleEndian.Uint64(b[16:])), int64(binary.LittleEndian.Uint64(b[24:]))
	k.lastHeader, k.entries = b[40:indexHeader], body[indexHeader:]
	n := binary.LittleEndian.Uint64(b[32:])
	if k.last < headerSize || k.end < k.last || len(k.entries)%indexEntry != 0 || n != uint64(len(k.entries)/indexEntry) {
		return k, false
	}
	var last uint64
	for e := k.entries; len(e) > 0; e = e[indexEntry:] {
		h, off := binary.LittleEndian.Uint64(e), int64(binary.LittleEndian.Uint64(e[8:]))
		if h < last || off < headerSize || off > k.last {
			return k, false
		}
		last = h
	}
	return k, true
}

// dropIndex removes the index file: it is not of the log that is to come.
func (l *Log) dropIndex() error {
	l.kept = 0
	if err := os.Remove(l.indexPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// reread forgets what is known of the log and reads it without the index file,
// which leads to a record that is damaged.
func (l *Log) reread(locked bool) error {
	if err := l.dropIndex(); err != nil {
		return err
	}
	l.index, l.end, l.seen, l.last, l.scan = index{}, 0, 0, 0, true
	size, _, err := l.stat()
	if err != nil {
		return err
	}
	return l.catchUp(size, locked)
}
