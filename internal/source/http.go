package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	attempts     = 4  // that bring nothing, one after the other
	mostAttempts = 64 // in all
	maxRedirects = 10
	maxHeaders   = 1 << 20
)

// waits is how long a fetch waits for what.
type waits struct {
	pause  time.Duration // before the second attempt; it doubles from there
	header time.Duration // for a connection, and for an answer's beginning
	idle   time.Duration // for more of it
	window time.Duration // within which at least trickle bytes must come
	longer time.Duration // that a server may ask to be left alone
	look   time.Duration // between looks at what another process fetches
}

// trickle is what must come within waits.window: less is no progress.
const trickle = 64 << 10

var defaultWaits = waits{pause: 500 * time.Millisecond, header: 30 * time.Second, idle: 60 * time.Second,
	window: 10 * time.Minute, longer: 5 * time.Minute, look: 200 * time.Millisecond}

// errUnchanged says that a server still has what was fetched before.
var errUnchanged = errors.New("unchanged")

// download fetches a URI into a partial file. A fault that may pass (a lost
// connection, a server's 5xx or 429) is tried again, from where it broke off
// where the server can go on there.
func (c *Cache) download(ctx context.Context, w Want, part *partial) error {
	var err error
	pause := c.waits.pause
	for tried, idle := 0, 0; idle < attempts && tried < mostAttempts; tried++ {
		if tried > 0 {
			if err := wait(ctx, pause, err, c.waits.longer); err != nil {
				return err
			}
			pause *= 2
		}
		before := part.size
		if err = c.attempt(ctx, w, part); err == nil || errors.Is(err, errUnchanged) {
			return err
		}
		if final := (*finalError)(nil); errors.As(err, &final) || ctx.Err() != nil {
			return err
		}
		if idle++; part.size-before >= trickle {
			idle, pause = 0, c.waits.pause
		}
	}
	return &absentError{err}
}

// absentError is the last of the errors that every attempt came to.
type absentError struct{ error }

func (e *absentError) Unwrap() []error { return []error{e.error, ErrAbsent} }

// wait pauses before another attempt: for as long as the server that gave the
// error asked for, within bounds.
func wait(ctx context.Context, d time.Duration, err error, longest time.Duration) error {
	if busy := (*busyError)(nil); errors.As(err, &busy) {
		d = max(d, min(busy.after, longest))
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// finalError is one that another attempt would not mend.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

// busyError is one after which a server said how long to leave it alone.
type busyError struct {
	error
	after time.Duration
}

func (e *busyError) Unwrap() error { return e.error }

// attempt asks once, and adds what comes to the partial file. What came stays
// there also where the attempt fails.
func (c *Cache) attempt(ctx context.Context, w Want, part *partial) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if part.note.validator() == "" {
		if err := part.forget(); err != nil {
			return &finalError{err}
		}
	}
	resp, err := c.ask(ctx, w, part)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := accept(resp, part); err != nil {
		if resp.StatusCode == http.StatusForbidden && isS3(w.URI) && c.cfg.S3.AccessKey == "" {
			err = fmt.Errorf("%w, and there are no credentials to sign with (AWS_ACCESS_KEY_ID, or AWS_PROFILE)", err)
		}
		return err
	}
	limit := c.limit(w)
	if resp.ContentLength > limit-part.size {
		return &finalError{fmt.Errorf("%d bytes: the limit is %d", part.size+resp.ContentLength, limit)}
	}
	body := newPaced(resp.Body, limit-part.size, c.waits, cancel)
	defer body.stop()
	if err = part.take(ctx, body, func() { c.progress(w, part) }); err == nil {
		err = part.whole()
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// ask sends the request, for the rest where there is a beginning already.
func (c *Cache) ask(ctx context.Context, w Want, part *partial) (*http.Response, error) {
	if isS3(w.URI) {
		return c.askS3(ctx, w, part)
	}
	req, err := c.request(ctx, w.URI)
	if err != nil {
		return nil, &finalError{err}
	}
	part.ask(req.Header)
	return c.send(req)
}

func (c *Cache) send(req *http.Request) (*http.Response, error) {
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	return resp, nil
}

// request makes a GET of a URI, with the secrets that it names.
func (c *Cache) request(ctx context.Context, uri string) (*http.Request, error) {
	whole, err := c.reveal(uri)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, whole, nil)
	if err != nil {
		return nil, withoutURL(err)
	}
	return req, nil
}

// accept judges an answer's head, and brings the partial file to where the
// body goes on.
func accept(resp *http.Response, part *partial) error {
	switch {
	case resp.StatusCode == http.StatusOK:
		return part.restart(resp.Header, resp.ContentLength)
	case resp.StatusCode == http.StatusNotModified && part.known != nil:
		return errUnchanged
	case part.size > 0 && resp.StatusCode == http.StatusPartialContent && part.continues(resp.Header):
		return nil
	case part.size > 0 && (resp.StatusCode == http.StatusPartialContent ||
		resp.StatusCode == http.StatusRequestedRangeNotSatisfiable || resp.StatusCode == http.StatusPreconditionFailed):
		err := fmt.Errorf("the server answered %s for another part than was asked for", resp.Status)
		return errors.Join(err, part.forget())
	}
	err := fmt.Errorf("the server answered %s", resp.Status)
	if !mayPass(resp.StatusCode) {
		return &finalError{err}
	}
	return &busyError{err, retryAfter(resp.Header.Get("Retry-After"), time.Now())}
}

// retryAfter reads the header of that name: seconds, or a date. 0: none.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

// mayPass reports whether another attempt may be answered otherwise.
func mayPass(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

// newClient follows few redirects, to http and https alone, and never from
// https to http.
func newClient(w waits) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: w.header}).DialContext,
			TLSHandshakeTimeout:    w.header,
			ResponseHeaderTimeout:  w.header,
			MaxResponseHeaderBytes: maxHeaders,
			DisableCompression:     true, // the bytes as they are
			DisableKeepAlives:      true,
		},
		CheckRedirect: redirect,
	}
}

func redirect(req *http.Request, via []*http.Request) error {
	last := via[len(via)-1]
	switch {
	case last.Header.Get("X-Amz-Content-Sha256") != "":
		return http.ErrUseLastResponse // what is signed is signed for one host
	case len(via) >= maxRedirects:
		return &finalError{fmt.Errorf("more than %d redirects", maxRedirects)}
	case req.URL.Scheme != "http" && req.URL.Scheme != "https":
		return &finalError{fmt.Errorf("a redirect leads to %s:, which is an unsupported protocol scheme", req.URL.Scheme)}
	case last.URL.Scheme == "https" && req.URL.Scheme != "https":
		return &finalError{errors.New("a redirect leaves https")}
	}
	req.Header.Del("Referer") // a key may stand in it
	return nil
}

// withoutURL drops the URL that net/http puts before its errors: a key may
// stand in it.
func withoutURL(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return u.Err
	}
	return err
}

// paced fails when more comes than may, and cancels when too little does.
type paced struct {
	r      io.Reader
	left   int64
	waits  waits
	timer  *time.Timer
	since  time.Time // of the window
	came   int64     // within it
	cancel context.CancelCauseFunc
}

func newPaced(r io.Reader, left int64, w waits, cancel context.CancelCauseFunc) *paced {
	idle := func() { cancel(fmt.Errorf("nothing came for %v", w.idle)) }
	return &paced{r: r, left: left, waits: w, timer: time.AfterFunc(w.idle, idle), since: time.Now(), cancel: cancel}
}

func (r *paced) stop() { r.timer.Stop() }

func (r *paced) Read(p []byte) (int, error) {
	p = p[:min(int64(len(p)), r.left+1)]
	n, err := r.r.Read(p)
	r.timer.Reset(r.waits.idle)
	if r.left -= int64(n); r.left < 0 {
		return 0, &finalError{errors.New("more bytes than the limit allows")}
	}
	if r.came += int64(n); time.Since(r.since) > r.waits.window {
		if r.came < trickle {
			r.cancel(fmt.Errorf("%d bytes came within %v, which is too slow", r.came, r.waits.window))
		}
		r.since, r.came = time.Now(), 0
	}
	return n, err
}

// Redact returns a URI without user, password, query and fragment, where keys
// stand.
func Redact(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return "a URI that cannot be read"
	}
	if u.Scheme == "" {
		return uri
	}
	if u.RawQuery != "" {
		u.RawQuery = "redacted"
	}
	u.User, u.Fragment = nil, ""
	return strings.NewReplacer("%7B", "{", "%7D", "}").Replace(u.String())
}
