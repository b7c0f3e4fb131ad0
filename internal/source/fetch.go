package source

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/wholefile"
)

// hint is what a URI was when it was last fetched. It is asked for only where
// nothing pins the source.
type hint struct {
	SHA256 graph.Digest `json:"sha256"`
	Size   int64        `json:"size"`
	ETag   string       `json:"etag,omitempty"` // strong
	Time   int64        `json:"time"`           // when it was fetched, in Unix nanoseconds
}

// fetch brings a URI into the cache. Of several processes that want it one
// fetches, and the others wait for what it brings.
func (c *Cache) fetch(ctx context.Context, w Want) (Pin, error) {
	p, err := c.fetchAlone(ctx, w)
	if err != nil {
		return p, &hiddenError{c.hide(fmt.Sprintf("fetch %s: %v", Redact(w.URI), err)), err}
	}
	return p, nil
}

// hiddenError shows a text in which no secret stands.
type hiddenError struct {
	text string
	err  error
}

func (e *hiddenError) Error() string { return e.text }
func (e *hiddenError) Unwrap() error { return e.err }

func (c *Cache) hide(text string) string {
	if c.cfg.Redact != nil {
		return c.cfg.Redact(text)
	}
	return text
}

func (c *Cache) fetchAlone(ctx context.Context, w Want) (_ Pin, err error) {
	key := graph.Sum([]byte(w.URI)).Hex()
	before, _ := c.hint(key)
	part, err := c.claim(ctx, key, w)
	if err != nil {
		return Pin{}, err
	}
	defer func() { err = errors.Join(err, part.close()) }()
	last, ok := c.hint(key)
	_, there := c.Path(last.SHA256)
	if ok = ok && there; ok && last.Time != before.Time && (w.SHA256.IsZero() || w.SHA256 == last.SHA256) {
		return Pin{last.SHA256, last.Size}, nil // fetched while this one waited
	}
	if err := part.resume(ctx); err != nil {
		return Pin{}, err
	}
	if ok && w.SHA256.IsZero() && last.ETag != "" {
		part.known = &last
	}
	if w.SHA256.IsZero() || part.pin().SHA256 != w.SHA256 { // else whoever began it had come to its end
		if err := c.download(ctx, w, part); errors.Is(err, errUnchanged) {
			last.Time = time.Now().UnixNano()
			return Pin{last.SHA256, last.Size}, c.remember(key, last)
		} else if err != nil {
			return Pin{}, err
		}
	}
	return c.finish(key, part)
}

// finish takes a partial file that is whole for what it is.
func (c *Cache) finish(key string, part *partial) (Pin, error) {
	// Once the file leaves its place, somebody else may take that: before, all
	// there is to know is written.
	p := part.pin()
	if err := c.remember(key, hint{p.SHA256, p.Size, part.note.ETag, time.Now().UnixNano()}); err != nil {
		return Pin{}, err
	}
	if err := ignoreNotExist(os.Remove(part.path + ".json")); err != nil {
		return Pin{}, err
	}
	return p, c.keep(part.file, p)
}

// claim opens the partial file of a fetch and locks it, waiting for whoever
// has it.
func (c *Cache) claim(ctx context.Context, key string, w Want) (*partial, error) {
	path := filepath.Join(c.cfg.Dir, "partial", key)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	for waited := false; ; {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		locked := tryLock(f)
		if locked && named(f) {
			return &partial{path: path, file: f, note: note{Total: -1}, hash: sha256.New()}, nil
		}
		f.Close()
		if locked {
			continue // its last owner was done with it
		}
		if !waited && c.cfg.Waiting != nil {
			c.cfg.Waiting(Redact(w.URI))
		}
		waited = true
		if err := wait(ctx, c.waits.look, nil, 0); err != nil {
			return nil, err
		}
	}
}

// progress tells how much of a source is there.
func (c *Cache) progress(w Want, p *partial) {
	if c.cfg.Progress != nil {
		c.cfg.Progress(Redact(w.URI), p.size, p.note.Total)
	}
}

func (c *Cache) hintPath(key string) string { return filepath.Join(c.cfg.Dir, "fetched", key+".json") }

// hint returns what a URI is known to have been.
func (c *Cache) hint(key string) (h hint, ok bool) {
	b, err := wholefile.Read(c.hintPath(key), maxNote)
	if err != nil || json.Unmarshal(b, &h) != nil {
		return hint{}, false
	}
	return h, !h.SHA256.IsZero()
}

func (c *Cache) remember(key string, h hint) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	path := c.hintPath(key)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return replace(path, b)
}

// replace writes a file whole, under a name of its own until then. It is not
// made durable: what is read is checked.
func replace(path string, b []byte) error {
	f, err := createTemp(filepath.Join(filepath.Dir(filepath.Dir(path)), "temp"))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = f.Write(b); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, ignoreNotExist(os.Remove(f.Name())))
	}
	return nil
}

// secretMark begins the place of a secret in a URI: {secret:name}.
const secretMark = "{secret:"

// reveal puts the secrets that a URI names in their places, for a request and
// nothing else.
func (c *Cache) reveal(uri string) (string, error) {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(uri, secretMark)
		out.WriteString(before)
		if !ok {
			return out.String(), nil
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok || c.cfg.Secret == nil {
			return "", fmt.Errorf("the secret %s that the URI names is not at hand", name)
		}
		value, err := c.cfg.Secret(name)
		if err != nil {
			return "", err
		}
		out.WriteString(strings.ReplaceAll(url.QueryEscape(value), "+", "%20"))
		uri = after
	}
}
