package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"time"
)

// Dialer connects to public addresses alone, whatever name led there: what is
// asked of it comes out of a sandbox, and must not reach this machine, its
// neighbours, or what a cloud shows to its machines. The address is looked at
// as it is dialled, and so nothing comes of a name that changes its mind. The
// hosts in private are let through as they are.
func Dialer(private Hosts) func(ctx context.Context, network, address string) (net.Conn, error) {
	plain := &net.Dialer{Timeout: 30 * time.Second}
	guarded := *plain
	guarded.Control = func(_, address string, _ syscall.RawConn) error {
		if !public(address) {
			return fmt.Errorf("%s is no address of the internet; a host that may be private is named in CUBE_PRIVATE_HOSTS", address)
		}
		return nil
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err == nil && private.Allow(host, port) {
			return plain.DialContext(ctx, network, address)
		}
		return guarded.DialContext(ctx, network, address)
	}
}

// newTransport returns how hosts are asked: over HTTP/1.1, with nothing added to
// the request or taken off the answer.
func newTransport(c Config) *http.Transport {
	dial := c.Upstream.Dial
	if dial == nil {
		dial = Dialer(nil)
	}
	t := &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{RootCAs: c.Upstream.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    30 * time.Second,
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConnsPerHost:    4,
		MaxResponseHeaderBytes: 1 << 20,
		DisableCompression:     true,
	}
	if c.Upstream.Proxy != nil {
		t.Proxy, t.DialContext = throughProxy(c.Upstream.Proxy, dial)
	}
	return t
}

// throughProxy has the machine's own proxy dialled wherever it is, since the
// machine's owner named it, and everything else as dial does.
func throughProxy(proxy func(*http.Request) (*url.URL, error), dial func(ctx context.Context, network, address string) (net.Conn, error)) (
	func(*http.Request) (*url.URL, error), func(ctx context.Context, network, address string) (net.Conn, error)) {
	var known sync.Map // addresses of proxies
	plain := &net.Dialer{Timeout: 30 * time.Second}
	find := func(r *http.Request) (*url.URL, error) {
		u, err := proxy(r)
		if u != nil {
			port := u.Port()
			if port == "" {
				port = map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
			}
			if port == "" {
				port = "80"
			}
			known.Store(net.JoinHostPort(u.Hostname(), port), true)
		}
		return u, err
	}
	return find, func(ctx context.Context, network, address string) (net.Conn, error) {
		if _, ok := known.Load(address); ok {
			return plain.DialContext(ctx, network, address)
		}
		return dial(ctx, network, address)
	}
}
