package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"
)

// hopByHop are headers of one connection, not of the request or the answer.
var hopByHop = []string{"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Expect"}

// asked is a request on its way to a host.
type asked struct {
	Request
	key  string
	turn int
	to   *url.URL
	body []byte
	from *http.Request // the driver's
}

// forward asks the host, gives its answer to the driver as it comes, and records
// it when it has come whole. A driver that does not wait for the end changes
// nothing of that, as long as it runs.
func (p *Proxy) forward(ctx context.Context, w http.ResponseWriter, a *asked) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(p.cfg.Limits.Header, func() { cancel(fmt.Errorf("no answer for %v", p.cfg.Limits.Header)) })
	defer late.Stop()
	resp, err := p.transport.RoundTrip(p.outgoing(ctx, a))
	if err != nil {
		p.unanswered(w, a, because(ctx, err))
		return
	}
	defer resp.Body.Close()
	late.Stop()
	if resp.ContentLength > p.cfg.Limits.Body {
		p.unanswered(w, a, fmt.Errorf("%d bytes: the limit is %d", resp.ContentLength, p.cfg.Limits.Body))
		return
	}
	p.jar.SetCookies(a.to, resp.Cookies())
	in := &incoming{proxy: p, left: p.cfg.Limits.Body, codings: resp.Header.Values("Content-Encoding")}
	in.idle = time.AfterFunc(p.cfg.Limits.Idle, func() { cancel(fmt.Errorf("nothing came for %v", p.cfg.Limits.Idle)) })
	defer in.idle.Stop()
	answer := p.head(w, resp, a)
	in.body = resp.Body
	if mayPass(answer.Status) {
		p.log(fmt.Sprintf("network: the answer to %s %s is %d, which is not recorded", a.Method, a.URL, answer.Status))
		_, _ = io.Copy(w, in) // a driver that is gone wants no more
		return
	}
	p.deliver(ctx, w, in, a, answer)
}

// head gives the driver the head of an answer, and returns what is recorded of
// it. They differ where the host gave a credential with an address.
func (p *Proxy) head(w http.ResponseWriter, resp *http.Response, a *asked) Response {
	elsewhere := redirect(resp, a.to)
	if elsewhere != nil {
		resp.Header.Set("Location", signed(elsewhere).String())
		resp.Body, resp.ContentLength = http.NoBody, 0 // it repeats the address
	}
	answer := Response{Status: resp.StatusCode, Headers: p.headers(resp.Header, responseHeaders)}
	length := resp.ContentLength
	if a.Method == http.MethodHead && length >= 0 {
		if answer.Headers == nil {
			answer.Headers = map[string]string{}
		}
		answer.Headers["Content-Length"] = fmt.Sprint(length)
		length = -1
	}
	setHeaders(w.Header(), answer.Headers)
	if elsewhere != nil {
		w.Header().Set("Location", elsewhere.String())
	}
	writeHead(w, answer.Status, length)
	return answer
}

// redirect returns the address that an answer sends the driver to, or nil. Links
// that may hold credentials in a form that is not looked for are taken off it.
func redirect(resp *http.Response, from *url.URL) *url.URL {
	links := strings.Join(resp.Header.Values("Link"), ", ")
	if strings.Count(links, "<") != strings.Count(links, "<http") {
		resp.Header.Del("Link")
	}
	location := resp.Header.Get("Location")
	resp.Header.Del("Location")
	u, err := from.Parse(location)
	if location == "" || err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil
	}
	return normal(u)
}

// deliver gives a body to the driver while it is kept, and records the exchange.
func (p *Proxy) deliver(ctx context.Context, w http.ResponseWriter, in *incoming, a *asked, answer Response) {
	look := p.look(in.codings)
	defer look.stop()
	out := &driver{w: w, flush: http.NewResponseController(w), holds: look.packed != nil}
	pin, err := p.cfg.Store.Take(ctx, io.TeeReader(&looked{in, look}, out))
	switch {
	case errors.Is(err, ErrSecret):
		p.fail(fmt.Errorf("the answer of %s: %w", a.URL, err))
		panic(http.ErrAbortHandler)
	case err != nil && in.err == nil && ctx.Err() == nil:
		p.fail(fmt.Errorf("keep answer of %s: %w", a.URL, err)) // this machine's fault
		panic(http.ErrAbortHandler)
	case err != nil:
		p.log(fmt.Sprintf("network: the answer to %s %s broke off: %v", a.Method, a.URL, because(ctx, err)))
		panic(http.ErrAbortHandler) // the driver sees it break off, too
	}
	if pin.Size > 0 {
		answer.Body, answer.Size = pin.SHA256, pin.Size
	}
	p.record(Exchange{a.Request, answer}, a.key, a.turn)
	out.end()
}

// unanswered tells a driver that a host did not answer.
func (p *Proxy) unanswered(w http.ResponseWriter, a *asked, why error) {
	line := p.printable(fmt.Sprintf("network: %s %s was not answered: %v", a.Method, a.URL, why))
	p.keep(&p.silent, line)
	p.log(line)
	http.Error(w, line, http.StatusBadGateway)
}

// outgoing is the request as the host gets it.
func (p *Proxy) outgoing(ctx context.Context, a *asked) *http.Request {
	out := &http.Request{Method: a.Method, URL: a.to, Host: a.to.Host, Header: a.from.Header.Clone(), ContentLength: int64(len(a.body)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	if len(a.body) > 0 {
		out.Body = io.NopCloser(bytes.NewReader(a.body))
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(a.body)), nil }
	}
	for _, list := range a.from.Header.Values("Connection") {
		for _, name := range strings.Split(list, ",") {
			out.Header.Del(textproto.TrimString(name))
		}
	}
	for _, name := range hopByHop {
		out.Header.Del(name)
	}
	if p.kept != nil {
		out.Header.Set("Accept-Encoding", "identity")
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = nil // none is added
	}
	for _, c := range p.jar.Cookies(a.to) {
		out.AddCookie(c)
	}
	return out.WithContext(ctx)
}

// because is why a step went wrong: a limit that ran out comes first.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return u.Err
	}
	return err
}

// incoming reads a host's answer within its limits.
type incoming struct {
	proxy   *Proxy
	body    io.Reader
	codings []string // as the host names them
	left    int64
	idle    *time.Timer
	err     error // of reading
}

func (in *incoming) Read(b []byte) (int, error) {
	n, err := in.body.Read(b)
	in.idle.Reset(in.proxy.cfg.Limits.Idle)
	if in.left -= int64(n); in.left < 0 {
		n, err = 0, fmt.Errorf("more than %d bytes", in.proxy.cfg.Limits.Body)
	} else if over := in.proxy.weigh(int64(n)); over != nil {
		n, err = 0, over
	}
	if err != nil && err != io.EOF {
		in.err = err
	}
	return n, err
}

// weigh adds to what has come of all answers, or says that it is too much.
func (p *Proxy) weigh(n int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bytes += n; p.bytes > p.cfg.Limits.Total {
		return fmt.Errorf("more than %d bytes in all", p.cfg.Limits.Total)
	}
	return nil
}

// driver writes to the driver at once what comes, until it is gone.
type driver struct {
	w     http.ResponseWriter
	flush *http.ResponseController
	holds bool   // the last byte back, until end: what came may not be judged yet
	held  []byte // one at most
	gone  bool
}

func (d *driver) Write(b []byte) (int, error) {
	if !d.holds || len(b) == 0 {
		d.give(b)
		return len(b), nil
	}
	last := len(b) - 1
	d.give(append(d.held, b[:last]...))
	d.held = []byte{b[last]}
	return len(b), nil
}

// end gives what was held back.
func (d *driver) end() { d.give(d.held) }

func (d *driver) give(b []byte) {
	if d.gone || len(b) == 0 {
		return
	}
	_, err := d.w.Write(b)
	if err == nil {
		err = d.flush.Flush()
	}
	d.gone = err != nil
}
