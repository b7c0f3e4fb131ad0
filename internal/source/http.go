package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	attempts     = 4
	maxRedirects = 10
)

// waits is how long a fetch waits for what.
type waits struct {
	pause  time.Duration // before the second attempt; it doubles from there
	header time.Duration // for a connection, and for an answer's beginning
	idle   time.Duration // for more of it
}

var defaultWaits = waits{pause: 500 * time.Millisecond, header: 30 * time.Second, idle: 60 * time.Second}

// fetch downloads a URI. A fault that may pass (a lost connection, a server's
// 5xx or 429) is tried again.
func (c *Cache) fetch(ctx context.Context, uri string) (Pin, error) {
	var err error
	for i := range attempts {
		if i > 0 {
			if err := pause(ctx, c.waits.pause<<(i-1)); err != nil {
				return Pin{}, err
			}
		}
		var p Pin
		if p, err = c.fetchOnce(ctx, uri); err == nil {
			return p, nil
		}
		if final := (*finalError)(nil); errors.As(err, &final) || ctx.Err() != nil {
			break
		}
	}
	return Pin{}, fmt.Errorf("fetch %s: %w", Redact(uri), err)
}

func pause(ctx context.Context, d time.Duration) error {
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

func (c *Cache) fetchOnce(ctx context.Context, uri string) (Pin, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return Pin{}, &finalError{err}
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return Pin{}, withoutURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		err := fmt.Errorf("the server answered %s", resp.Status)
		if !mayPass(resp.StatusCode) {
			return Pin{}, &finalError{err}
		}
		return Pin{}, err
	}
	if resp.ContentLength > c.cfg.MaxSize {
		return Pin{}, &finalError{fmt.Errorf("%d bytes: the limit is %d", resp.ContentLength, c.cfg.MaxSize)}
	}
	body := &idleReader{r: resp.Body, left: c.cfg.MaxSize, idle: c.waits.idle,
		timer: time.AfterFunc(c.waits.idle, func() { cancel(fmt.Errorf("nothing came for %v", c.waits.idle)) })}
	defer body.timer.Stop()
	p, err := c.take(ctx, body, resp.ContentLength)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return Pin{}, cause
	}
	return p, err
}

// mayPass reports whether another attempt may be answered otherwise.
func mayPass(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

// newClient follows few redirects, and never from https to http.
func newClient(w waits) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: w.header}).DialContext,
			TLSHandshakeTimeout:   w.header,
			ResponseHeaderTimeout: w.header,
			DisableCompression:    true, // the bytes as they are
			DisableKeepAlives:     true,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) >= maxRedirects {
				return &finalError{fmt.Errorf("more than %d redirects", maxRedirects)}
			}
			if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
				return &finalError{errors.New("a redirect leaves https")}
			}
			return nil
		},
	}
}

// withoutURL drops the URL that net/http puts before its errors: a key may
// stand in it.
func withoutURL(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return u.Err
	}
	return err
}

// idleReader fails when more comes than it may, and puts off a timer with
// everything that comes.
type idleReader struct {
	r     io.Reader
	left  int64
	idle  time.Duration
	timer *time.Timer
}

func (r *idleReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.timer.Reset(r.idle)
	if r.left -= int64(n); r.left < 0 {
		return n, &finalError{errors.New("more bytes than the limit allows")}
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
	return u.String()
}
