package proxy

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cubebuild/cube/internal/secret"
)

// ErrSecret says that an answer holds a secret of the driver's, or may hold one
// unseen. It cannot be recorded.
var ErrSecret = errors.New("answers are recorded, and this one gives a secret back that the producer was given: ask for something that does not")

var errUnseen = fmt.Errorf("it is sent in a coding that cannot be looked into, and so may hold one: %w", ErrSecret)

// netrcWords are the words of a .netrc that are no secret and longer than the
// shortest.
var netrcWords = []string{"password"}

// lookedFor are the secrets that no answer may hold; nil where there are none.
func lookedFor(c Config) *secret.Set {
	if len(c.Secrets) == 0 {
		return nil
	}
	set := &secret.Set{}
	for _, s := range c.Secrets {
		words := strings.Fields(s)
		for _, w := range words {
			if len(words) > 1 && (len(w) < 2*secret.Least || slices.Contains(netrcWords, w) || c.Hosts.names(w)) {
				continue
			}
			set.Add([]byte(w))
		}
	}
	return set
}

// look looks for secrets in a body while it comes.
type look struct {
	scan   *secret.Scan // nil: there are none to look for
	packed *io.PipeWriter
	ended  chan struct{}
	unseen bool
}

// look returns what looks into a body with a coding.
func (p *Proxy) look(coding string) *look {
	if p.kept == nil {
		return &look{}
	}
	l := &look{scan: secret.NewScan(p.kept)}
	switch strings.ToLower(strings.TrimSpace(coding)) {
	case "", "identity":
	case "gzip", "x-gzip":
		l.unpack(p.cfg.Limits.Body)
	default:
		l.unseen = true
	}
	return l
}

// unpack has what is written looked into as what gzip made of it, so much of it as
// a body may be.
func (l *look) unpack(most int64) {
	r, w := io.Pipe()
	l.packed, l.ended = w, make(chan struct{})
	go func() {
		defer close(l.ended)
		if z, err := gzip.NewReader(r); err == nil {
			_, _ = io.Copy(l.scan, io.LimitReader(z, most)) // what is damaged reaches nobody as text either
		}
		_, _ = io.Copy(io.Discard, r)
	}()
}

// write looks at more of the body.
func (l *look) write(b []byte) error {
	switch {
	case l.scan == nil:
		return nil
	case l.unseen:
		return errUnseen
	case l.packed != nil:
		_, err := l.packed.Write(b)
		return err
	}
	_, _ = l.scan.Write(b)
	return l.leak()
}

// end ends the look, and says whether a secret was seen. It may be called again.
func (l *look) end() error {
	if l.packed != nil {
		l.packed.Close()
		<-l.ended
	}
	return l.leak()
}

func (l *look) leak() error {
	if l.scan != nil && l.scan.Found() {
		return ErrSecret
	}
	return nil
}

// looked is a body that is looked into before anybody has it.
type looked struct {
	body io.Reader
	look *look
}

func (r *looked) Read(b []byte) (int, error) {
	n, err := r.body.Read(b)
	if leak := r.look.write(b[:n]); leak != nil {
		return 0, leak
	}
	if err == io.EOF {
		if leak := r.look.end(); leak != nil {
			return 0, leak
		}
	}
	return n, err
}
