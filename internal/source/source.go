// Package source brings outside data to this machine: it turns a URI into a
// file that is known by its SHA-256 and never changes.
//
// A [Cache] is a folder that all workspaces of a user share:
//
//	objects/<2 hex>/<64 hex>   a source's bytes, read-only, named by their SHA-256
//	fetched/<64 hex>.json      what a URI was when it was last fetched: {sha256, size, etag, time}
//	partial/<64 hex>           the beginning of a fetch; locked by its fetcher
//	partial/<64 hex>.json      of that: {etag, last_modified, content_encoding, total, size, sha256, sums: {sha256, md5}}
//	stats.json                 what local files hashed to, with what stat said of them
//	temp/                      what is being written; locked by its writer
//
// The names in fetched and partial are the SHA-256 of the URI, params filled
// in. Both are hints. What was fetched before is asked for again with its ETag,
// where nothing pins the source, and taken where the server still has it. A
// fetch that broke off is gone on with, by the same process or a later one, if
// the beginning has the digest that was noted and the server still has what it
// was the beginning of (Range and If-Range, and the same ETag in the answer);
// otherwise it begins anew. The sums that the server gave of the whole are held
// against it whoever brought its parts. Whoever
// holds the lock of a partial file fetches, and the others wait for it. One that
// nobody came back to for a week is swept.
//
// A stat is a hint: a file whose size, times and inode are as they were is not
// read again, unless it was changed so shortly before it was read that its
// times could not tell.
package source

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cubebuild/cube/graph"
)

// Errors that Pin wraps.
var (
	// ErrChanged says that a source does not have the digest it is pinned to.
	ErrChanged = errors.New("source is not what it is pinned to")
	// ErrOffline says that a source would have to be fetched, and may not be.
	ErrOffline = errors.New("source is not on this machine")
	// ErrAbsent says that whoever has a source did not give it, however often it
	// was asked for: later it may.
	ErrAbsent = errors.New("source is not to be had now")
)

// Config says where sources come from.
type Config struct {
	Dir     string   // of the cache
	Folders []string // whose files stand in for fetches, by their SHA-256
	Offline bool     // nothing is fetched
	MaxSize int64    // of one fetched source that sets no limit of its own; 0: 64 GiB
	S3      S3       // how s3: sources are reached

	// Secret returns the value of a secret that a URI names; it enters requests
	// alone. Redact takes such values out of a text.
	Secret func(name string) (string, error)
	Redact func(text string) string
	// Progress is told how much of a URI there is, with every piece that comes;
	// total is -1 where it is not known. Waiting is told that another process
	// fetches it.
	Progress func(uri string, size, total int64)
	Waiting  func(uri string)
}

// Cache keeps sources. Its methods may be called at once, by several processes
// too.
type Cache struct {
	cfg      Config
	stats    *stats
	verified verified
	waits    waits
	client   *http.Client
	found    sync.Map // the region that a bucket was found in, by its name
}

const defaultMaxSize = 64 << 30

// Open returns the cache in a folder, which is made when it is first needed.
func Open(c Config) *Cache {
	if c.MaxSize == 0 {
		c.MaxSize = defaultMaxSize
	}
	return &Cache{cfg: c, waits: defaultWaits, client: newClient(defaultWaits), stats: openStats(filepath.Join(c.Dir, "stats.json"), filepath.Join(c.Dir, "temp"))}
}

// Pin is a source's bytes: their digest and number.
type Pin struct {
	SHA256 graph.Digest
	Size   int64
}

// Want is a source that is asked for. Where SHA256 is set, other bytes are an
// ErrChanged.
type Want struct {
	URI     string
	SHA256  graph.Digest
	MaxSize int64 // in bytes; 0: the cache's
}

// Pin brings a source into the cache and says what it is. A local URI is a
// path, relative to base, or file:; others are http:, https: and s3:.
func (c *Cache) Pin(ctx context.Context, base string, w Want) (Pin, error) {
	p, err := c.pin(ctx, base, w)
	if err != nil {
		return p, err
	}
	if !w.SHA256.IsZero() && p.SHA256 != w.SHA256 {
		return p, fmt.Errorf("%w: it has sha256 %s, want %s", ErrChanged, p.SHA256.Hex(), w.SHA256.Hex())
	}
	return p, nil
}

func (c *Cache) pin(ctx context.Context, base string, w Want) (Pin, error) {
	path, local, err := localPath(base, w.URI)
	if err != nil {
		return Pin{}, err
	}
	if local {
		if info, err := os.Stat(path); err == nil && info.Size() > c.limit(w) {
			return Pin{}, fmt.Errorf("%s has %d bytes: the limit is %d", path, info.Size(), c.limit(w))
		}
		return c.pinFile(ctx, path)
	}
	if info, err := os.Stat(c.path(w.SHA256)); err == nil && !w.SHA256.IsZero() {
		return Pin{w.SHA256, info.Size()}, nil
	}
	if p, ok, err := c.fromFolders(ctx, w.URI, w.SHA256); ok || err != nil {
		return p, err
	}
	if c.cfg.Offline {
		return c.remembered(w)
	}
	return c.fetch(ctx, w)
}

func (c *Cache) limit(w Want) int64 { return cmp.Or(w.MaxSize, c.cfg.MaxSize) }

// remembered is what a source that nothing pins was when it was last fetched.
func (c *Cache) remembered(w Want) (Pin, error) {
	last, ok := c.hint(graph.Sum([]byte(w.URI)).Hex())
	if _, there := c.Path(last.SHA256); !ok || !there || !w.SHA256.IsZero() {
		return Pin{}, ErrOffline
	}
	return Pin{last.SHA256, last.Size}, nil
}

// localPath returns the file that a URI names on this machine.
func localPath(base, uri string) (string, bool, error) {
	if !strings.Contains(uri, "://") && !hasScheme(uri, "file:") {
		if filepath.IsAbs(uri) {
			return uri, true, nil
		}
		return filepath.Join(base, uri), true, nil
	}
	u, err := url.Parse(uri)
	if err != nil {
		return "", false, fmt.Errorf("not a URI: %w", withoutURL(err))
	}
	switch u.Scheme {
	case "file":
		if !filepath.IsAbs(u.Path) || u.Host != "" && u.Host != "localhost" {
			return "", false, errors.New("a file: URI has three slashes and an absolute path: file:///data/dem.tif")
		}
		return filepath.Clean(u.Path), true, nil
	case "http", "https":
		return "", false, nil
	case "s3":
		_, _, _, err := parseS3(uri)
		return "", false, err
	}
	return "", false, fmt.Errorf("scheme %s: sources are paths, or file:, http:, https: or s3: URIs", u.Scheme)
}

// Path returns the file that holds a source's bytes, and whether it is there.
// The bytes are not looked at; see Verified.
func (c *Cache) Path(d graph.Digest) (string, bool) {
	p := c.path(d)
	_, err := os.Stat(p)
	return p, err == nil
}

func (c *Cache) path(d graph.Digest) string {
	h := d.Hex()
	return filepath.Join(c.cfg.Dir, "objects", h[:2], h)
}

// Save writes down what was learnt of local files; it is a hint and may fail
// without harm.
func (c *Cache) Save() error { return c.stats.save() }

// pinFile hashes a local file, and copies it so that what a build reads cannot
// change under it.
func (c *Cache) pinFile(ctx context.Context, path string) (Pin, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Pin{}, err
	}
	if !info.Mode().IsRegular() {
		return Pin{}, fmt.Errorf("%s is no regular file", path)
	}
	if p, ok := c.stats.get(path, info); ok {
		if _, there := c.Path(p.SHA256); there {
			return p, nil
		}
	}
	f, err := openRegular(path)
	if err != nil {
		return Pin{}, err
	}
	defer f.Close()
	before := time.Now()
	p, err := c.take(ctx, f)
	if err != nil {
		return Pin{}, err
	}
	after, err := os.Stat(path)
	if err != nil || !sameStat(info, after) {
		return Pin{}, fmt.Errorf("%s changed while it was read; try again", path)
	}
	c.stats.put(path, info, before, p)
	return p, nil
}

// take copies r into the cache.
func (c *Cache) take(ctx context.Context, r io.Reader) (_ Pin, err error) {
	f, err := createTemp(c.temp())
	if err != nil {
		return Pin{}, err
	}
	defer func() { err = errors.Join(err, ignoreNotExist(os.Remove(f.Name()))) }()
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), &contextReader{ctx, r})
	if err != nil {
		return Pin{}, err
	}
	p := Pin{graph.Digest(h.Sum(nil)), n}
	return p, c.keep(f, p)
}

// openRegular opens a regular file, and never waits for a pipe's writer.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// keep gives a temporary file its name, durably. Its times are 1970, on every
// machine: containers see them.
func (c *Cache) keep(f *os.File, p Pin) error {
	path := c.path(p.SHA256)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := f.Chmod(0o444); err != nil {
		return err
	}
	epoch := time.Unix(0, 0)
	if err := os.Chtimes(f.Name(), epoch, epoch); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func ignoreNotExist(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// IsRemote reports whether a URI names something on another machine.
func IsRemote(uri string) bool {
	return hasScheme(uri, "http://") || hasScheme(uri, "https://") || isS3(uri)
}

func hasScheme(uri, scheme string) bool {
	return len(uri) >= len(scheme) && strings.EqualFold(uri[:len(scheme)], scheme)
}
