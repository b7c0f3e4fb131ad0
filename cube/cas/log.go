package cas

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/cubebuild/cube/graph"
)

const (
	logVersion   = 1
	logMagic     = "cube-log"
	headerSize   = 16
	recordHeader = 4 + 4 + 4 + 4 + len(graph.Digest{})
	// MaxValue is the size in bytes of the largest value that a Log takes.
	MaxValue = 64 << 20

	kindPut     = 1
	kindDeleted = 2
)

var (
	recordMagic = [4]byte{0xc5, 0xb3, 0x1e, 0x0d}
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
)

// LogConfig says how a Log works. The zero value is the usual one.
type LogConfig struct {
	// NoSync lets Sync return at once.
	NoSync bool
}

// Log is an append-only file of key → value, shared by several processes. Its
// methods may be called from many goroutines at once.
type Log struct {
	path string
	conf LogConfig

	mu    sync.Mutex
	f     *os.File // nil until the file is there and needed
	index index
	end   int64 // how far the file has been read: the end of a whole record
	seen  int64 // the file's size when it was read that far
	last  int64 // where the last record begins that was read or appended
	kept  int64 // how far the index file goes
	scan  bool  // the index file is not to be read
	dirty bool  // appended to since the last Sync
}

// OpenLog names the log at path. The file is opened, and made, when it is
// needed: a log that nobody asks costs nothing.
func OpenLog(path string, conf LogConfig) *Log { return &Log{path: path, conf: conf} }

// Close closes the file, and keeps its index for whoever opens it next.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keepIndex()
	return l.reset()
}

func (l *Log) reset() error {
	f := l.f
	l.f, l.index, l.end, l.seen, l.last, l.kept = nil, index{}, 0, 0, 0, 0
	if f == nil {
		return nil
	}
	return f.Close()
}

// Get returns the value of key, and whether there is one. It sees what any
// process has put before.
func (l *Log) Get(key graph.Digest) ([]byte, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refresh(); err != nil {
		return nil, false, fmt.Errorf("log %s: %w", filepath.Base(l.path), err)
	}
	v, ok, err := l.find(key, false)
	if err != nil {
		return nil, false, fmt.Errorf("log %s: %w", filepath.Base(l.path), err)
	}
	return v, ok, nil
}

// Len is the number of keys that have a value.
func (l *Log) Len() (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.refresh()
	return l.index.live, err
}

// Put makes value the value of key unless it has one, and returns the one that
// it has then. It does not wait for the disk; see Sync. A full disk is in the
// error's chain as syscall.ENOSPC, and the log is as it was.
func (l *Log) Put(ctx context.Context, key graph.Digest, value []byte) (winner []byte, err error) {
	winners, err := l.PutAll(ctx, Entry{key, value})
	if err != nil {
		return nil, err
	}
	return winners[0], nil
}

// Entry is a key with the value that it is to have.
type Entry struct {
	Key   graph.Digest
	Value []byte
}

// PutAll puts several entries with different keys at once, in their order: all
// of them, or after an error none. A reader that sees one sees those before it.
func (l *Log) PutAll(ctx context.Context, entries ...Entry) (winners [][]byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if len(e.Value) > MaxValue {
			return nil, fmt.Errorf("log %s: %d bytes: %w", filepath.Base(l.path), len(e.Value), ErrTooLarge)
		}
	}
	if err = l.locked(func() error { winners, err = l.putAll(entries); return err }); err != nil {
		return nil, fmt.Errorf("log %s: %w", filepath.Base(l.path), err)
	}
	return winners, nil
}

func (l *Log) putAll(entries []Entry) ([][]byte, error) {
	missing := make([]int, 0, len(entries)) // of the entries, those whose keys have no value
	winners := make([][]byte, len(entries))
	for i, e := range entries {
		winner, ok, err := l.find(e.Key, true)
		if err != nil {
			return nil, err
		}
		if winners[i] = e.Value; ok {
			winners[i] = winner
			continue
		}
		missing = append(missing, i)
	}
	size := 0
	for _, i := range missing {
		size += recordHeader + len(entries[i].Value)
	}
	records, offsets := make([]byte, 0, size), make([]int64, len(missing))
	for k, i := range missing {
		offsets[k] = l.end + int64(len(records))
		records = appendRecord(records, kindPut, entries[i].Key, entries[i].Value)
	}
	if err := l.append(records, offsets); err != nil {
		return nil, err
	}
	for k, i := range missing {
		l.index.put(entries[i].Key, offsets[k])
	}
	return winners, nil
}

// Delete takes the value of key away, so that the next Put sets it anew. That
// it has none is no error.
func (l *Log) Delete(ctx context.Context, key graph.Digest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := l.locked(func() error {
		off, ok, err := l.index.get(l.at, key)
		if !ok || err != nil {
			return err
		}
		if err := l.append(appendRecord(nil, kindDeleted, key, nil), []int64{l.end}); err != nil {
			return err
		}
		l.index.remove(key, off)
		return nil
	})
	if err != nil {
		return fmt.Errorf("log %s: %w", filepath.Base(l.path), err)
	}
	return nil
}

// Range calls f with every key and its value, in the order in which they were
// put, until it returns an error. The value is only valid during the call, and
// f must not call the log.
func (l *Log) Range(ctx context.Context, f func(key graph.Digest, value []byte) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refresh(); err != nil {
		return fmt.Errorf("log %s: %w", filepath.Base(l.path), err)
	}
	return l.each(ctx, func(r record) error { return f(r.key, r.value) })
}

// each calls f with every live record, in file order.
func (l *Log) each(ctx context.Context, f func(record) error) error {
	if l.f == nil {
		return nil
	}
	s := newScanner(l.f, headerSize, l.end)
	for {
		r, ok, err := s.next()
		if !ok || err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		off, live, err := l.index.get(l.at, r.key)
		if err != nil {
			return err
		}
		if !live || off != r.off {
			continue
		}
		if err := f(r); err != nil {
			return err
		}
	}
}

// Sync makes everything that this Log appended durable.
func (l *Log) Sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.dirty || l.f == nil || l.conf.NoSync {
		return nil
	}
	if err := errors.Join(l.f.Sync(), SyncDir(filepath.Dir(l.path))); err != nil {
		return fmt.Errorf("sync log %s: %w", filepath.Base(l.path), err)
	}
	l.dirty = false
	return nil
}

// Compact rewrites the log with the records that keep wants, durably, and
// reports how many bytes it has shed.
func (l *Log) Compact(ctx context.Context, keep func(key graph.Digest, value []byte) bool) (shed int64, err error) {
	err = l.locked(func() error {
		before := l.end
		if err := l.rewrite(ctx, keep); err != nil {
			return err
		}
		shed = before - l.end
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("compact log %s: %w", filepath.Base(l.path), err)
	}
	return shed, nil
}

// Sweep removes what killed processes left of new forms of the log and of its
// index. Nobody may be compacting the log; an index that is being kept may be lost.
func (l *Log) Sweep() error {
	for _, path := range []string{l.path, l.indexPath()} {
		if err := os.Remove(path + newSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// newSuffix names what is to be renamed over a file.
const newSuffix = ".new"

// rewrite makes a new file beside the log and renames it over the log.
func (l *Log) rewrite(ctx context.Context, keep func(graph.Digest, []byte) bool) error {
	temp := l.path + newSuffix
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	off := int64(headerSize)
	_, err = f.WriteAt(header(), 0)
	if err == nil {
		err = l.each(ctx, func(r record) error {
			if !keep(r.key, r.value) {
				return nil
			}
			b := appendRecord(nil, kindPut, r.key, r.value)
			_, err := f.WriteAt(b, off)
			off += int64(len(b))
			return err
		})
	}
	if err == nil && !l.conf.NoSync {
		err = f.Sync()
	}
	if err == nil {
		err = l.dropIndex()
	}
	if err == nil {
		// Whoever waits for the old file's lock finds that it has no name.
		err = os.Rename(temp, l.path)
	}
	if err != nil {
		f.Close()
		os.Remove(temp)
		return err
	}
	l.f.Close()
	l.f, l.index, l.end, l.seen, l.last = f, index{}, headerSize, headerSize, 0
	if !l.conf.NoSync {
		err = SyncDir(filepath.Dir(l.path))
	}
	return errors.Join(err, l.catchUp(off, true))
}

// locked runs f while this process alone may append, with everything read.
func (l *Log) locked(f func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if err := l.create(); err != nil {
			return err
		}
		mine := l.f
		if err := flock(mine, syscall.LOCK_EX); err != nil {
			return err
		}
		size, replaced, err := l.stat()
		if err != nil || replaced {
			_ = flock(mine, syscall.LOCK_UN)
			if err = errors.Join(err, l.reset()); err != nil {
				return err
			}
			continue
		}
		err = l.catchUp(size, true)
		if err == nil {
			err = f()
		}
		if l.f == mine {
			err = errors.Join(err, flock(mine, syscall.LOCK_UN))
		}
		return err
	}
}

func flock(f *os.File, how int) error {
	return again(func() error { return syscall.Flock(int(f.Fd()), how) })
}

// again repeats a system call that a signal interrupts.
func again(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

// create opens the log for writing and makes it where it is missing.
func (l *Log) create() error {
	if l.f != nil {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o666)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(l.path), 0o777); err != nil {
			return err
		}
		f, err = os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o666)
	}
	l.f = f
	return err
}

// stat returns the file's size and whether another file took its name.
func (l *Log) stat() (size int64, replaced bool, err error) {
	var st syscall.Stat_t
	if err := again(func() error { return syscall.Fstat(int(l.f.Fd()), &st) }); err != nil {
		return 0, false, os.NewSyscallError("fstat", err)
	}
	return st.Size, st.Nlink == 0, nil
}

// refresh reads what was appended since the last look, without a lock.
func (l *Log) refresh() error {
	for {
		if l.f == nil {
			f, err := os.OpenFile(l.path, os.O_RDWR, 0)
			if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) {
				f, err = os.Open(l.path)
			}
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			l.f = f
		}
		size, replaced, err := l.stat()
		if err != nil {
			return err
		}
		if !replaced {
			return l.catchUp(size, false)
		}
		if err := l.reset(); err != nil {
			return err
		}
	}
}

// catchUp reads the records up to size. With the lock held, what is no whole
// record at the end is cut off; without it, somebody may be writing just that.
func (l *Log) catchUp(size int64, locked bool) error {
	if size == l.seen && !(locked && size > l.end) && size > 0 {
		return nil
	}
	if l.end == 0 {
		if ok, err := l.begin(size, locked); !ok || err != nil {
			return err
		}
		if !l.scan {
			l.loadIndex(size)
		}
		size = max(size, headerSize)
	}
	s := newScanner(l.f, l.end, size)
	s.locked = locked
	l.index.reserve(int((size - l.end) / typicalRecord))
	for {
		r, ok, err := s.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := l.apply(r); err != nil {
			return err
		}
		l.end, l.last = s.off, r.off
	}
	l.seen = size
	if locked && l.end < size {
		l.seen = l.end
		return l.f.Truncate(l.end)
	}
	return nil
}

// typicalRecord is a guess at the size of a record, by which room is made.
const typicalRecord = 256

// begin checks the header, or writes it where there is none and the lock is held.
func (l *Log) begin(size int64, locked bool) (ok bool, err error) {
	var got [headerSize]byte
	if _, err := l.f.ReadAt(got[:], 0); err != nil && err != io.EOF {
		return false, err
	}
	want := header()
	switch {
	case bytes.Equal(got[:], want):
	case size > headerSize || size == headerSize && string(got[:8]) == logMagic && intact(got):
		return false, fmt.Errorf("%s: %w", l.path, ErrFormat)
	case !locked:
		return false, nil // being made
	default:
		if _, err := l.f.WriteAt(want, 0); err != nil {
			_ = l.f.Truncate(0)
			return false, err
		}
		l.dirty = true
	}
	l.end = headerSize
	return true, nil
}

func header() []byte {
	b := append([]byte(logMagic), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(b[8:], logVersion)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func intact(h [headerSize]byte) bool {
	return binary.LittleEndian.Uint32(h[12:]) == crc32.Checksum(h[:12], castagnoli)
}

// apply enters a record into the index.
func (l *Log) apply(r record) error {
	off, ok, err := l.index.get(l.at, r.key)
	switch {
	case err != nil:
		return err
	case r.kind == kindDeleted && ok:
		l.index.remove(r.key, off)
	case r.kind == kindPut && !ok:
		l.index.put(r.key, r.off)
	}
	return nil // the first put wins
}

// append writes whole records at the end, which have these offsets there. The
// lock is held and the file read whole.
func (l *Log) append(b []byte, offsets []int64) error {
	if len(b) == 0 {
		return nil
	}
	if l.end+int64(len(b)) > maxOffset {
		return fmt.Errorf("%d bytes: %w", l.end, ErrTooLarge)
	}
	if _, err := l.f.WriteAt(b, l.end); err != nil {
		return errors.Join(err, l.f.Truncate(l.end))
	}
	l.end += int64(len(b))
	l.seen, l.last, l.dirty = l.end, offsets[len(offsets)-1], true
	return nil
}

// smallRecord is how much of a record is read at first.
const smallRecord = 512

// find reads the value of key. A record that was damaged after the index was
// kept is none, as it is for whoever reads the whole log.
func (l *Log) find(key graph.Digest, locked bool) ([]byte, bool, error) {
	v, ok, err := l.value(key)
	if !errors.Is(err, ErrFormat) || l.kept == 0 {
		return v, ok, err
	}
	if err := l.reread(locked); err != nil {
		return nil, false, err
	}
	return l.value(key)
}

func (l *Log) value(key graph.Digest) ([]byte, bool, error) {
	off, ok, err := l.index.get(l.at, key)
	if !ok || err != nil {
		return nil, false, err
	}
	// Most records are small: one read, of what may be more than the record.
	b := make([]byte, min(smallRecord, l.end-off))
	if _, err := l.f.ReadAt(b, off); err != nil {
		return nil, false, err
	}
	n, _, ok := parseHeader(b)
	if !ok || off+int64(recordHeader+n) > l.end {
		return nil, false, fmt.Errorf("record at %d: changed under a reader: %w", off, ErrFormat)
	}
	if recordHeader+n > len(b) {
		b = make([]byte, recordHeader+n)
		if _, err := l.f.ReadAt(b, off); err != nil {
			return nil, false, err
		}
	}
	r, ok := parseRecord(b)
	if !ok || r.key != key {
		return nil, false, fmt.Errorf("record at %d: changed under a reader: %w", off, ErrFormat)
	}
	return r.value, true, nil
}

// at returns the key of the record at off.
func (l *Log) at(off int64) (key graph.Digest, err error) {
	_, err = l.f.ReadAt(key[:], off+int64(recordHeader-len(key)))
	return key, err
}
