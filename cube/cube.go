package cube

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/cubebuild/cube/cube/cas"
	"github.com/cubebuild/cube/cube/zarr/codec"
	"github.com/cubebuild/cube/graph"
)

// Dir is the folder of a cube within its workspace.
const Dir = ".cube"

const format = "cube 1\n"

// Config says how a Cube works. The zero value is the usual one.
type Config struct {
	// Compressor is blosc's: "zstd" (the default), "lz4" or "zlib". Level is 1
	// to 9; 0 is 1. Neither changes a digest.
	Compressor string
	Level      int
	// CacheBytes bounds the decoded chunks that are kept; 0 means 256 MiB.
	CacheBytes int64
	// Parallel bounds the chunks that one call works on at once; 0 means as
	// many as there are processors.
	Parallel int
	// NoSync has nothing wait for the disk: for a cube that need not outlive a
	// power cut.
	NoSync bool
}

// Cube is a cube on disk. Its methods may be called from many goroutines, and
// from several processes, at once.
type Cube struct {
	dir     string
	conf    Config
	objects *cas.Store
	results *cas.Log
	derived *cas.Log
	claims  *cas.Claims
	chunks  *chunkCache
	coders  byShape[*codec.Pipeline]
	fills   byShape[graph.Digest]
	heads   headCache
	encoded sync.Pool // of *[]byte: objects that are being decoded
	buffers sync.Pool // of *tileBuffers

	verified sync.Map // files whose content was compared: digest → os.FileInfo

	syncing   sync.Mutex // held by the Sync that is under way: the next one waits for it
	mu        sync.Mutex
	lock      *os.File // shared, from Use on
	manifests []string // written since the last Sync
}

// Create makes an empty cube in the folder dir, which it makes too. A cube that
// is there already is left as it is.
func Create(dir string) error {
	root := filepath.Join(dir, Dir)
	if err := os.MkdirAll(root, 0o777); err != nil {
		return fmt.Errorf("create cube: %w", err)
	}
	path := filepath.Join(root, "format")
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := writeFile(path, []byte(format), true); err != nil {
		return fmt.Errorf("create cube: %w", err)
	}
	return nil
}

// Open opens the cube in the folder dir, or says ErrNotCube. Close it after
// use. Nothing is read but the format: a cube that nobody asks costs nothing.
func Open(dir string, conf Config) (*Cube, error) {
	root := filepath.Join(dir, Dir)
	b, err := os.ReadFile(filepath.Join(root, "format"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open cube %s: %w", dir, ErrNotCube)
	}
	if err != nil {
		return nil, fmt.Errorf("open cube: %w", err)
	}
	if string(b) != format {
		return nil, fmt.Errorf("open cube %s: format %.20q, this program reads %q: %w", dir, b, format, ErrFormat)
	}
	c := newCube(root, conf.withDefaults())
	if _, err := codec.New(c.codecs(1), codec.Chunk{Shape: []int{1}, Size: 1, Unit: 1}); err != nil {
		return nil, fmt.Errorf("open cube: compressor %q, level %d: %w", conf.Compressor, conf.Level, err)
	}
	return c, nil
}

func newCube(root string, conf Config) *Cube {
	actions := filepath.Join(root, "actions")
	logs := cas.LogConfig{NoSync: conf.NoSync}
	return &Cube{
		dir: root, conf: conf,
		objects: cas.Open(filepath.Join(root, "objects"), cas.Config{NoSync: conf.NoSync}),
		results: cas.OpenLog(filepath.Join(actions, "results"), logs),
		derived: cas.OpenLog(filepath.Join(actions, "derivations"), logs),
		claims:  cas.OpenClaims(filepath.Join(actions, "claims")),
		chunks:  newChunkCache(conf.CacheBytes),
	}
}

func (c Config) withDefaults() Config {
	if c.Compressor == "" {
		c.Compressor = "zstd"
	}
	if c.Level == 0 {
		c.Level = 1
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = 256 << 20
	}
	if c.Parallel <= 0 {
		c.Parallel = runtime.GOMAXPROCS(0)
	}
	return c
}

// Close closes the cube. It does not make anything durable; see Sync.
func (c *Cube) Close() error {
	errs := []error{c.results.Close(), c.derived.Close(), c.claims.Close(), c.objects.Close()}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lock != nil {
		errs = append(errs, c.lock.Close())
		c.lock = nil
	}
	return errors.Join(errs...)
}

// Path is a path within the .cube folder.
func (c *Cube) Path(elem ...string) string {
	return filepath.Join(append([]string{c.dir}, elem...)...)
}

// Objects is the store of encoded chunks, pages and files.
func (c *Cube) Objects() *cas.Store { return c.objects }

// Results is the log of action results, by ActionID and by cover key.
func (c *Cube) Results() *cas.Log { return c.results }

// Derivations is the log of derivation keys. It is small: a build that has
// nothing to do reads only this log, the heads and their manifests.
func (c *Cube) Derivations() *cas.Log { return c.derived }

// Claims is who works on which action.
func (c *Cube) Claims() *cas.Claims { return c.claims }

// Sync makes everything durable that this Cube wrote so far, in order: objects,
// results, manifests, derivations. It comes before MoveHeads.
func (c *Cube) Sync(ctx context.Context) error {
	c.syncing.Lock()
	defer c.syncing.Unlock()
	c.mu.Lock()
	manifests := c.manifests
	c.manifests = nil
	c.mu.Unlock()
	if err := c.objects.Sync(ctx); err != nil {
		return err
	}
	if err := c.results.Sync(ctx); err != nil {
		return err
	}
	if err := c.syncManifests(manifests); err != nil {
		c.mu.Lock()
		c.manifests = append(manifests, c.manifests...)
		c.mu.Unlock()
		return fmt.Errorf("sync manifests: %w", err)
	}
	return c.derived.Sync(ctx)
}

func (c *Cube) syncManifests(paths []string) error {
	if c.conf.NoSync || len(paths) == 0 {
		return nil
	}
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return cas.SyncDir(c.Path("versions"))
}

// Use says that the caller is going to work with the cube: from then on, until it
// is closed, [Cube.Exclusive] says ErrBusy to others. While somebody has the cube
// for himself, Use waits for that, until ctx ends. What was looked up before Use
// may be gone. Whatever writes calls it; a second call does nothing.
func (c *Cube) Use(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lock != nil {
		return nil
	}
	f, err := openLock(c.Path("lock"))
	if f == nil || err != nil {
		return err
	}
	if err := flockWait(ctx, f, syscall.LOCK_SH); err != nil {
		f.Close()
		return err
	}
	c.lock = f
	return nil
}

// openLock opens the file of the lock. It is nil where there is none and none can be
// made: a cube that may only be read, and that nobody ever had for himself.
func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
		return f, err
	}
	f, err = os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

// flockWait takes a lock of f, waiting for others until ctx ends.
func flockWait(ctx context.Context, f *os.File, how int) error {
	pause := time.Millisecond
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case err != syscall.EWOULDBLOCK && err != syscall.EINTR:
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
}

// tempPrefix begins the names of files and folders that are not yet complete.
const tempPrefix = ".tmp-"

// writeFile makes b the content of path, wholly or not at all.
func writeFile(path string, b []byte, durable bool) error {
	err := replaceFile(filepath.Dir(path), path, b, durable)
	if errors.Is(err, fs.ErrNotExist) {
		// The folder is missing, or a sweep took the file for a dead one's.
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		err = replaceFile(filepath.Dir(path), path, b, durable)
	}
	return err
}

// replaceFile is writeFile with a temporary file in the folder temp.
func replaceFile(temp, path string, b []byte, durable bool) error {
	f, err := os.CreateTemp(temp, tempPrefix+"*")
	if err != nil {
		return err
	}
	// Locked, it is not swept.
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		_, err = f.Write(b)
	}
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil && durable {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
		return err
	}
	if durable {
		return cas.SyncDir(filepath.Dir(path))
	}
	return nil
}
