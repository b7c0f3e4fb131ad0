package cas

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/cubebuild/cube/graph"
)

const (
	tempDir    = "temp"
	damagedDir = "damaged"
	marksDir   = "marks"
)

// maxObject bounds the object that Get reads into memory.
const maxObject = 2 << 30

// Config says how a Store works. The zero value is the usual one.
type Config struct {
	// NoSync lets Sync return at once: for a store that need not outlive a
	// power cut.
	NoSync bool
}

// Store is a folder of content-addressed objects. Its methods may be called
// from many goroutines, and from many processes, at once.
type Store struct {
	dir  string
	conf Config

	syncing  sync.Mutex // held by the Sync that is under way: the next one waits for it
	mu       sync.Mutex
	pending  []graph.Digest // put since the last Sync
	writing  int            // temporary files that are open
	mark     *os.File       // of this process, while it writes or pending holds something
	folders  [256]bool      // that exist
	haveTemp bool
}

// Open names the folder dir as a store. It and what lies below are made when
// they are needed: a store that nobody asks costs nothing.
func Open(dir string, conf Config) *Store { return &Store{dir: filepath.Clean(dir), conf: conf} }

// Close gives up the process's mark. Objects that were put and not synced stay
// marked as perhaps not durable.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mark == nil {
		return nil
	}
	err := s.mark.Close()
	s.mark = nil
	return err
}

// Path is where the object d is, or would be.
func (s *Store) Path(d graph.Digest) string {
	h := d.Hex()
	return s.dir + string(filepath.Separator) + h[:2] + string(filepath.Separator) + h
}

// Has reports whether the object is there; its bytes are not looked at.
func (s *Store) Has(d graph.Digest) bool {
	_, err := s.Size(d)
	return err == nil
}

// Size returns the object's size, or ErrNotExist.
func (s *Store) Size(d graph.Digest) (int64, error) {
	var st syscall.Stat_t // not os.Lstat: it is asked of every chunk of every result
	if err := again(func() error { return syscall.Lstat(s.Path(d), &st) }); err != nil {
		return 0, fmt.Errorf("object %s: %w", d.Short(), err)
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return 0, fmt.Errorf("object %s: not a regular file: %w", d.Short(), ErrNotExist)
	}
	return st.Size, nil
}

// Put stores b and returns its digest. An object that is there with that size
// is not written again. On an error nothing is left behind; a full disk is in
// the error's chain as syscall.ENOSPC.
func (s *Store) Put(ctx context.Context, b []byte) (graph.Digest, error) {
	d := graph.Sum(b)
	return d, s.PutDigest(ctx, d, b)
}

// PutDigest stores b under d, which the caller has just computed from it.
func (s *Store) PutDigest(ctx context.Context, d graph.Digest, b []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n, err := s.Size(d); err == nil && n == int64(len(b)) {
		return nil
	}
	t, err := s.create()
	if err != nil {
		return fmt.Errorf("put object: %w", err)
	}
	if _, err := t.Write(b); err != nil {
		s.discard(t)
		return fmt.Errorf("put object: %w", err)
	}
	return s.commit(t, d)
}

// PutFrom stores what r yields, up to limit bytes, and returns its digest and
// size. It holds no more than a small part of it in memory.
func (s *Store) PutFrom(ctx context.Context, r io.Reader, limit int64) (graph.Digest, int64, error) {
	t, err := s.create()
	if err != nil {
		return graph.Digest{}, 0, fmt.Errorf("put object: %w", err)
	}
	h := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(t, h), io.LimitReader(&ctxReader{ctx, r}, limit+1), make([]byte, 256<<10))
	if err == nil && n > limit {
		err = fmt.Errorf("more than %d bytes: %w", limit, ErrTooLarge)
	}
	if err != nil {
		s.discard(t)
		return graph.Digest{}, n, fmt.Errorf("put object: %w", err)
	}
	d := graph.Digest(h.Sum(nil))
	return d, n, s.commit(t, d)
}

// ctxReader ends a copy when its context ends.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// create opens a new temporary file. commit or discard ends it.
func (s *Store) create() (*os.File, error) {
	dir := filepath.Join(s.dir, tempDir)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.haveTemp {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, err
		}
		s.haveTemp = true
	}
	if err := s.markLocked(); err != nil {
		return nil, err
	}
	// The mark's name leads the file's: it says whose leftover it would be.
	name := filepath.Base(s.mark.Name()) + "." + rand.Text()[:12]
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o444)
	if err == nil {
		s.writing++
	}
	return f, err
}

func (s *Store) discard(t *os.File) {
	t.Close()
	os.Remove(t.Name())
	s.mu.Lock()
	s.writing--
	s.mu.Unlock()
}

// commit makes t the object d.
func (s *Store) commit(t *os.File, d graph.Digest) error {
	err := s.folder(d)
	if err == nil {
		err = os.Rename(t.Name(), s.Path(d))
	}
	if err == nil {
		err = t.Close()
	}
	if err != nil {
		s.discard(t)
		return fmt.Errorf("put object: %w", err)
	}
	s.mu.Lock()
	s.writing--
	s.pending = append(s.pending, d)
	s.mu.Unlock()
	return nil
}

// folder makes the folder that d lies in.
func (s *Store) folder(d graph.Digest) error {
	s.mu.Lock()
	have := s.folders[d[0]]
	s.mu.Unlock()
	if have {
		return nil
	}
	if err := os.Mkdir(filepath.Dir(s.Path(d)), 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	s.mu.Lock()
	s.folders[d[0]] = true
	s.mu.Unlock()
	return nil
}

// Get appends the object's bytes to dst. They are verified: bytes that do not
// have the digest d are a *CorruptError, and no object ErrNotExist.
func (s *Store) Get(ctx context.Context, d graph.Digest, dst []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return dst, err
	}
	n := len(dst)
	for try := 0; ; try++ {
		b, err := s.read(d, dst)
		if err != nil {
			return dst[:n], fmt.Errorf("get object %s: %w", d.Short(), err)
		}
		if graph.Sum(b[n:]) == d {
			return b, nil
		}
		if try > 0 {
			return dst[:n], s.quarantine(d)
		}
	}
}

func (s *Store) read(d graph.Digest, dst []byte) ([]byte, error) {
	f, err := s.Open(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxObject {
		return nil, fmt.Errorf("%d bytes: %w", info.Size(), ErrTooLarge)
	}
	n, size := len(dst), int(info.Size())
	dst = slices.Grow(dst, size)[:n+size]
	if _, err := io.ReadFull(f, dst[n:]); err != nil {
		return nil, err
	}
	return dst, nil
}

// Open opens the object for reading without verifying it; see Verify.
func (s *Store) Open(d graph.Digest) (*os.File, error) {
	f, err := os.OpenFile(s.Path(d), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(fmt.Errorf("%s: not a regular file: %w", s.Path(d), ErrNotExist), err)
	}
	return f, nil
}

// Verify reads the whole object and checks its digest, as Get does, without
// holding it in memory.
func (s *Store) Verify(ctx context.Context, d graph.Digest) error {
	f, err := s.Open(d)
	if err != nil {
		return fmt.Errorf("verify object %s: %w", d.Short(), err)
	}
	defer f.Close()
	h := sha256.New()
	if err := copyHash(ctx, h, f); err != nil {
		return fmt.Errorf("verify object %s: %w", d.Short(), err)
	}
	if graph.Digest(h.Sum(nil)) != d {
		return s.quarantine(d)
	}
	return nil
}

func copyHash(ctx context.Context, h hash.Hash, r io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{&ctxReader{ctx, r}}, make([]byte, 256<<10))
	return err
}

// quarantine moves a damaged object away and returns the error that says so.
func (s *Store) quarantine(d graph.Digest) error {
	corrupt := &CorruptError{Digest: d, Path: s.Path(d)}
	dir := filepath.Join(s.dir, damagedDir)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return errors.Join(corrupt, err)
	}
	if err := os.Rename(s.Path(d), filepath.Join(dir, d.Hex())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(corrupt, err)
	}
	return corrupt
}

// Damaged lists the objects that were found damaged and moved away since they
// were last removed.
func (s *Store) Damaged() ([]graph.Digest, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, damagedDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list damaged objects: %w", err)
	}
	var out []graph.Digest
	for _, e := range entries {
		if d, err := graph.ParseDigest(e.Name()); err == nil {
			out = append(out, d)
		}
	}
	return out, nil
}

// RemoveDamaged removes what quarantine moved away.
func (s *Store) RemoveDamaged() error { return os.RemoveAll(filepath.Join(s.dir, damagedDir)) }

// Remove removes an object. That it is not there is no error.
func (s *Store) Remove(d graph.Digest) error {
	if err := os.Remove(s.Path(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove object %s: %w", d.Short(), err)
	}
	return nil
}

// Walk calls f with every object and its file's info, in order of the digests.
// It ends with the first error that f returns.
func (s *Store) Walk(ctx context.Context, f func(graph.Digest, fs.FileInfo) error) error {
	folders, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("walk objects: %w", err)
	}
	for _, folder := range folders {
		if len(folder.Name()) != 2 || !folder.IsDir() {
			continue
		}
		if err := s.walkFolder(ctx, folder.Name(), f); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) walkFolder(ctx context.Context, name string, f func(graph.Digest, fs.FileInfo) error) error {
	entries, err := os.ReadDir(filepath.Join(s.dir, name))
	if err != nil {
		return fmt.Errorf("walk objects: %w", err)
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		d, err := graph.ParseDigest(e.Name())
		if err != nil || !strings.HasPrefix(e.Name(), name) || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("walk objects: %w", err)
		}
		if err := f(d, info); err != nil {
			return err
		}
	}
	return nil
}
