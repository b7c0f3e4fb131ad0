package proxy

import (
	"compress/gzip"
	"errors"
	"io"

	"github.com/cubebuild/cube/internal/secret"
)

// gunzip looks for secrets in what gzip unpacks, while it comes. All of it must
// unpack, to its end and to no more than a body may have: what is damaged, cut off
// or too large is refused, whatever a driver could make of it.
type gunzip struct {
	proxy *Proxy
	scan  *secret.Scan
	in    *io.PipeWriter
	ended chan struct{}
	left  int64 // that it may unpack to yet
	err   error // once ended is closed
}

func newGunzip(p *Proxy) *gunzip {
	r, w := io.Pipe()
	g := &gunzip{proxy: p, scan: secret.NewScan(p.kept), in: w, ended: make(chan struct{}), left: p.cfg.Limits.Body}
	go func() {
		defer close(g.ended)
		g.err = g.run(r)
		r.CloseWithError(g.err) // whoever writes more is told
	}()
	return g
}

func (g *gunzip) run(r io.Reader) error {
	z, err := gzip.NewReader(r)
	if err == io.EOF {
		return nil // an answer without a body names a coding, too
	}
	if err == nil {
		_, err = io.Copy(g, z) // one member after the other
	}
	if err != nil && !errors.Is(err, ErrSecret) {
		return unseen("is sent as gzip that does not unpack (%v)", err)
	}
	return err
}

// Write looks at more of what was unpacked, which counts as if it had come.
func (g *gunzip) Write(b []byte) (int, error) {
	if g.left -= int64(len(b)); g.left < 0 {
		return 0, unseen("unpacks to more than %d bytes", g.proxy.cfg.Limits.Body)
	}
	if err := g.proxy.weigh(int64(len(b))); err != nil {
		return 0, unseen("unpacks to too much (%v)", err)
	}
	_, _ = g.scan.Write(b)
	if g.scan.Found() {
		return 0, ErrSecret
	}
	return len(b), nil
}

// write takes more of the body. What it says may be of what came before.
func (g *gunzip) write(b []byte) error {
	if _, err := g.in.Write(b); err != nil {
		<-g.ended
		return g.err
	}
	return nil
}

// end waits until all has been looked at.
func (g *gunzip) end() error {
	g.in.Close()
	<-g.ended
	return g.err
}

func (g *gunzip) stop() {
	g.in.CloseWithError(errors.New("no more comes"))
	<-g.ended
}
