package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cubebuild/cube/images/internal/layer"
	"github.com/cubebuild/cube/internal/wholefile"
)

// Config tunes a Store. The zero value is right for most.
type Config struct {
	// Env is the environment of the programs that a build runs (go, apt-get,
	// pip); nil is this process's own.
	Env []string
	// Pip is the command that runs pip; empty looks for "python3 -m pip".
	Pip []string
	// AptSources is a sources.list for apt to use instead of this machine's.
	AptSources string
	// Limits bound what a layer, package or wheel may unpack to; zero fields
	// have generous defaults.
	Limits Limits
}

// Limits bound what one layer may unpack to.
type Limits struct {
	Bytes   int64 // 64 GiB
	Entries int   // 2,000,000
	// Ratio is how many bytes a compressed byte may become on average, once
	// 256 MiB have come: 400.
	Ratio int64
}

func (l Limits) layer() layer.Limits {
	out := layer.DefaultLimits()
	if l.Bytes > 0 {
		out.Bytes = l.Bytes
	}
	if l.Entries > 0 {
		out.Entries = l.Entries
	}
	if l.Ratio > 0 {
		out.Ratio = l.Ratio
	}
	out.RatioAfter = min(out.RatioAfter, out.Bytes/4)
	return out
}

// Store keeps images in a folder. All its methods may be called at once, by
// several processes too.
type Store struct {
	dir string
	cfg Config
}

// OpenStore opens the store in a folder. It touches no disk: the folder is
// made when something is first written to it.
func OpenStore(dir string, cfg Config) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	if cfg.Env == nil {
		cfg.Env = os.Environ()
	}
	return &Store{dir: abs, cfg: cfg}, nil
}

// Dir is the store's folder.
func (s *Store) Dir() string { return s.dir }

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

func (s *Store) blobPath(digest string) string {
	return s.path("blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
}

func (s *Store) layerPath(diffID string) string {
	return s.path("layers", strings.TrimPrefix(diffID, "sha256:"))
}

// init makes the folders.
func (s *Store) init() error {
	if _, err := os.Stat(s.path("oci-layout")); err == nil {
		return nil
	}
	for _, d := range []string{"blobs/sha256", "layers", "downloads", "made", "stat", "locks", "tmp"} {
		if err := os.MkdirAll(s.path(d), 0o755); err != nil {
			return fmt.Errorf("make image store: %w", err)
		}
	}
	return s.writeFile(s.path("oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`))
}

// writeFile writes a file under its final name only when it is whole.
func (s *Store) writeFile(name string, b []byte) error {
	err := s.replaceFile(name, b)
	if errors.Is(err, fs.ErrNotExist) {
		err = s.replaceFile(name, b) // a sweep took the first for a killed build's
	}
	return err
}

func (s *Store) replaceFile(name string, b []byte) error {
	f, err := os.CreateTemp(s.path("tmp"), "file-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// lock holds a named lock of the store, alone among all processes, until the
// returned function is called.
func (s *Store) lock(ctx context.Context, name string) (func(), error) {
	return s.flock(ctx, name, unix.LOCK_EX)
}

// using makes the folders, and keeps GC away until the returned function is
// called.
func (s *Store) using(ctx context.Context) (func(), error) {
	if err := s.init(); err != nil {
		return nil, err
	}
	return s.flock(ctx, "gc", unix.LOCK_SH)
}

func (s *Store) flock(ctx context.Context, name string, how int) (func(), error) {
	f, err := os.OpenFile(s.path("locks", name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := flock(ctx, f, how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock image store %s: %w", name, err)
	}
	return func() { f.Close() }, nil
}

// flock waits for the lock until ctx ends. The wait is in the kernel, in a
// goroutine of its own; a lock that comes too late is given back.
func flock(ctx context.Context, f *os.File, how int) error {
	err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return err
	}
	dup, err := unix.Dup(int(f.Fd()))
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		err := unix.Flock(dup, how)
		unix.Close(dup)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// putBlob stores a small document and returns its digest.
func (s *Store) putBlob(b []byte) (string, error) {
	digest := digestOf(b)
	if _, err := os.Stat(s.blobPath(digest)); err == nil {
		return digest, nil
	}
	return digest, s.writeFile(s.blobPath(digest), b)
}

// blob reads a small document and checks its digest.
func (s *Store) blob(digest string, limit int64) ([]byte, error) {
	if !validDigest(digest) {
		return nil, fmt.Errorf("%q is not a sha256 digest", digest)
	}
	f, err := os.Open(s.blobPath(digest))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("blob %s: larger than %d bytes", digest, limit)
	case digestOf(b) != digest:
		return nil, fmt.Errorf("blob %s: %w", digest, ErrDigest)
	}
	return b, nil
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func sumString(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

func validDigest(d string) bool {
	h, ok := strings.CutPrefix(d, "sha256:")
	if !ok || len(h) != 64 || strings.ToLower(h) != h {
		return false
	}
	_, err := hex.DecodeString(h)
	return err == nil
}

// writeRecord writes one of the store's own records: JSON, sealed.
func (s *Store) writeRecord(name string, v any) error {
	return s.writeFile(name, wholefile.Seal(marshal(v)))
}

// readRecord reads one of the store's own records; one that is missing or not
// whole is not there: it is made again.
func readRecord[T any](path string) (*T, bool) {
	sealed, err := os.ReadFile(path)
	if err != nil {
		return nil, false
	}
	b, _, whole := wholefile.Unseal(sealed)
	if !whole {
		return nil, false
	}
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, false
	}
	return &v, true
}

// removeAll removes a tree, folders without write permission included.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			os.Chmod(p, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
