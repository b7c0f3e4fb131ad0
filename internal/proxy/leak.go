package proxy

import (
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

// netrcWords are the words of a .netrc that are no secret and longer than the
// shortest.
var netrcWords = []string{"password"}

// lookedFor are the secrets that nothing that is kept may hold; nil where there
// are none.
func lookedFor(c Config) *secret.Set {
	if len(c.Secrets) == 0 {
		return nil
	}
	set := &secret.Set{}
	for _, s := range c.Secrets {
		text := strings.TrimSpace(s)
		words := slices.DeleteFunc(secret.Words(text), func(w string) bool { return slices.Contains(netrcWords, w) || c.Hosts.names(w) })
		set.AddWhole(append(words, text)...)
	}
	return set
}

// unseen is an ErrSecret for want of a look: why none could be had.
func unseen(format string, args ...any) error {
	return fmt.Errorf("it "+format+", and so may hold one unseen: %w", append(args, ErrSecret)...)
}

// look looks for secrets in a body while it comes: in its bytes, and in what
// they unpack to.
type look struct {
	scan   *secret.Scan // nil: there are none to look for
	coded  error        // why it cannot be looked into; nil: it can
	packed *gunzip      // nil: it is as it is
}

// look returns what looks into a body with codings, in the order in which they
// were applied.
func (p *Proxy) look(codings []string) *look {
	if p.kept == nil {
		return &look{}
	}
	l := &look{scan: secret.NewScan(p.kept)}
	switch named := strings.Join(notIdentity(codings), ", "); named {
	case "":
	case "gzip", "x-gzip":
		l.packed = newGunzip(p)
	default:
		l.coded = unseen("is sent in the coding %.100q, which cannot be looked into", named)
	}
	return l
}

// notIdentity are the codings that the values of a header name, in lower case,
// without those that do nothing.
func notIdentity(values []string) []string {
	var out []string
	for coding := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if coding = strings.ToLower(strings.TrimSpace(coding)); coding != "" && coding != "identity" {
			out = append(out, coding)
		}
	}
	return out
}

// write looks at more of the body.
func (l *look) write(b []byte) error {
	switch {
	case l.scan == nil || len(b) == 0:
		return nil
	case l.coded != nil:
		return l.coded
	}
	_, _ = l.scan.Write(b)
	if l.scan.Found() {
		return ErrSecret
	}
	if l.packed != nil {
		return l.packed.write(b)
	}
	return nil
}

// end says whether what came, which is all, may be kept.
func (l *look) end() error {
	if l.packed != nil {
		return l.packed.end()
	}
	return nil
}

// stop lets go of a body of which no more comes. It may be called after end.
func (l *look) stop() {
	if l.packed != nil {
		l.packed.stop()
	}
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

// Guard returns what a driver made of its answers, held to what they are held to:
// reading it ends with an ErrSecret where a secret comes. A replay knows none.
func (p *Proxy) Guard(r io.Reader) io.Reader {
	if p.cfg.Replay {
		return r
	}
	return &looked{r, p.look(nil)}
}
