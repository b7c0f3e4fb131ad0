package source

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/wholefile"
)

// partial is a fetch on its way. Its file outlives the process: the next one
// goes on where this one stopped, if what is there is what was written down of
// it, and the server has the same still. Whoever holds the file's lock is the
// one that fetches.
type partial struct {
	path string
	file *os.File
	size int64 // bytes that are in the file
	note note
	hash hash.Hash // of these bytes
	md5  hash.Hash // the same; nil where no server said what it is to be

	known *hint // asked for only where it is no longer this
}

// note is what is written beside a partial file: what the server said of the
// whole, and how much of it was there when this was written.
type note struct {
	ETag     string       `json:"etag,omitempty"`          // strong
	Modified string       `json:"last_modified,omitempty"` // where it is no ETag's job
	Coding   string       `json:"content_encoding,omitempty"`
	Total    int64        `json:"total"` // -1: unknown
	Size     int64        `json:"size"`
	SHA256   graph.Digest `json:"sha256"` // of the first Size bytes
	Sums     sums         `json:"sums,omitzero"`
}

// sums are digests of the whole, as a server gave them with its beginning.
type sums struct {
	SHA256 []byte `json:"sha256,omitempty"`
	MD5    []byte `json:"md5,omitempty"`
}

const (
	checkpoint = 16 << 20 // bytes after which it is noted how much is there
	maxNote    = 64 << 10
)

// resume brings a partial file to the state that its note tells of; without
// one, or where the file is not as noted, it is empty.
func (p *partial) resume(ctx context.Context) error {
	b, err := wholefile.Read(p.path+".json", maxNote)
	var n note
	if err == nil {
		err = json.Unmarshal(b, &n)
	}
	if err != nil || n.Size <= 0 || n.validator() == "" {
		return p.forget()
	}
	p.hash, p.md5 = sha256.New(), nil
	all := io.Writer(p.hash)
	if n.Sums.MD5 != nil {
		p.md5 = md5.New()
		all = io.MultiWriter(p.hash, p.md5)
	}
	got, err := io.Copy(all, &contextReader{ctx, io.NewSectionReader(p.file, 0, n.Size)})
	if err != nil {
		return err
	}
	if got != n.Size || graph.Digest(p.hash.Sum(nil)) != n.SHA256 {
		return p.forget() // the machine went down while it was written
	}
	p.note, p.size = n, n.Size
	return p.at(n.Size)
}

// at cuts the file to a size, and writes on from there.
func (p *partial) at(size int64) error {
	if err := p.file.Truncate(size); err != nil {
		return err
	}
	_, err := p.file.Seek(size, io.SeekStart)
	return err
}

// forget empties the file.
func (p *partial) forget() error {
	p.size, p.note, p.hash, p.md5 = 0, note{Total: -1}, sha256.New(), nil
	return errors.Join(p.at(0), ignoreNotExist(os.Remove(p.path+".json")))
}

// validator is what a server is asked to go on with, or "".
func (n *note) validator() string {
	if n.ETag != "" {
		return n.ETag
	}
	return n.Modified
}

// ask adds to a request that only the rest is wanted, or only what is new.
func (p *partial) ask(h http.Header) {
	if p.size > 0 {
		h.Set("Range", fmt.Sprintf("bytes=%d-", p.size))
		h.Set("If-Range", p.note.validator())
	} else if p.known != nil {
		h.Set("If-None-Match", p.known.ETag)
	}
}

// restart begins anew with an answer that is the whole.
func (p *partial) restart(h http.Header, length int64) error {
	if err := p.forget(); err != nil {
		return err
	}
	p.note = noteOf(h)
	p.note.Total = length
	if p.note.Sums = sumsOf(h); p.note.Sums.MD5 != nil {
		p.md5 = md5.New()
	}
	return nil
}

// noteOf takes from an answer's head what a later request may go on with: a
// strong ETag, or a date of change that was long past when it was sent.
func noteOf(h http.Header) note {
	n := note{ETag: h.Get("ETag"), Coding: h.Get("Content-Encoding")}
	if !strings.HasPrefix(n.ETag, `"`) || len(n.ETag) > 1024 {
		n.ETag = ""
	}
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	sent, errSent := http.ParseTime(h.Get("Date"))
	if n.ETag == "" && err == nil && errSent == nil && sent.Sub(modified) >= time.Minute {
		n.Modified = h.Get("Last-Modified")
	}
	return n
}

// sumsOf reads the digests of the whole that a head gives.
func sumsOf(h http.Header) (s sums) {
	texts := []string{h.Get("X-Amz-Checksum-Sha256")}
	for _, field := range append(h.Values("Digest"), h.Values("Repr-Digest")...) {
		for item := range strings.SplitSeq(field, ",") {
			if name, value, _ := strings.Cut(strings.TrimSpace(item), "="); strings.EqualFold(name, "sha-256") {
				texts = append(texts, strings.Trim(value, ":"))
			}
		}
	}
	for _, text := range texts {
		if b, err := base64.StdEncoding.DecodeString(text); err == nil && len(b) == sha256.Size {
			s.SHA256 = b
		}
	}
	if b, err := base64.StdEncoding.DecodeString(h.Get("Content-MD5")); err == nil && len(b) == md5.Size {
		s.MD5 = b
	}
	return s
}

// continues reports whether an answer with a part goes on where the file ends,
// with the same whole.
func (p *partial) continues(h http.Header) bool {
	var first, last, total int64
	if _, err := fmt.Sscanf(h.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total); err != nil {
		return false
	}
	modified := h.Get("Last-Modified") // may be left out of a part, an ETag may not (RFC 9110, 15.3.7)
	return first == p.size && last == total-1 && p.note.Coding == h.Get("Content-Encoding") && (p.note.Total < 0 || p.note.Total == total) &&
		(p.note.ETag == "" || p.note.ETag == h.Get("ETag")) && (p.note.Modified == "" || modified == "" || p.note.Modified == modified)
}

// take adds what a reader gives, and notes it from time to time and at the end.
func (p *partial) take(ctx context.Context, r io.Reader, more func()) error {
	defer p.save()
	buf := make([]byte, 256<<10)
	for next := p.size + checkpoint; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if _, werr := p.file.Write(buf[:n]); werr != nil {
			return &finalError{errors.Join(werr, p.at(p.size))}
		}
		p.add(buf[:n])
		if n > 0 {
			more()
		}
		if p.size >= next {
			p.save()
			next = p.size + checkpoint
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (p *partial) add(b []byte) {
	p.size += int64(len(b))
	p.hash.Write(b)
	if p.md5 != nil {
		p.md5.Write(b)
	}
}

// save notes how much is there. Without a note the next process begins anew,
// and so its failure costs nothing else.
func (p *partial) save() {
	if p.note.validator() == "" || p.size == 0 {
		return
	}
	p.note.Size, p.note.SHA256 = p.size, graph.Digest(p.hash.Sum(nil))
	if b, err := json.Marshal(p.note); err == nil {
		_ = replace(p.path+".json", b)
	}
}

// whole says what is wrong with what came, now that the server is done with an
// answer. What is wrong is dropped.
func (p *partial) whole() error {
	err := p.check()
	if err != nil {
		err = errors.Join(err, p.forget())
	}
	return err
}

func (p *partial) check() error {
	switch {
	case p.note.Total >= 0 && p.size != p.note.Total:
		return fmt.Errorf("%d bytes came, the server announced %d", p.size, p.note.Total)
	case p.note.Sums.SHA256 != nil && string(p.hash.Sum(nil)) != string(p.note.Sums.SHA256):
		return errors.New("what came is not what the server's own SHA-256 says")
	case p.md5 != nil && string(p.md5.Sum(nil)) != string(p.note.Sums.MD5):
		return errors.New("what came is not what the server's own Content-MD5 says")
	}
	return nil
}

// pin is what the file is, now that it is whole.
func (p *partial) pin() Pin { return Pin{graph.Digest(p.hash.Sum(nil)), p.size} }

// close lets go of the file. One that nobody can go on with is removed, if it is
// still in its place.
func (p *partial) close() error {
	var err error
	if named(p.file) && (p.size == 0 || p.note.validator() == "") {
		err = errors.Join(ignoreNotExist(os.Remove(p.path)), ignoreNotExist(os.Remove(p.path+".json")))
	}
	return errors.Join(err, p.file.Close())
}
