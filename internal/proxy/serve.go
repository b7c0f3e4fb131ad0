package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// silent drops what net/http says of connections: the driver's affair.
var silent = log.New(io.Discard, "", 0)

// limited is a listener with a bound on its connections: it hangs up on those
// beyond.
type limited struct {
	net.Listener
	open chan struct{} // holds as many as are open
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.open <- struct{}{}:
			return &limitedConn{Conn: c, done: sync.OnceFunc(func() { <-l.open })}, nil
		default:
			c.Close()
		}
	}
}

type limitedConn struct {
	net.Conn
	done func()
}

func (c *limitedConn) Close() error {
	c.done()
	return c.Conn.Close()
}

// handle answers what a driver sends to its proxy.
func (p *Proxy) handle(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		p.connect(ctx, w, r)
	case r.URL.Scheme != "http" || r.URL.Host == "":
		p.refuse(w, http.StatusBadRequest, r.Method+" "+r.URL.Redacted(), errors.New("this is a proxy: it takes absolute http URLs and CONNECT"))
	default:
		p.answer(ctx, w, r, r.URL)
	}
}

// connect takes the driver's TLS connection as the host would, so that it sees
// requests.
func (p *Proxy) connect(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	u := &url.URL{Scheme: "https", Host: r.Host}
	host, port := place(u)
	if host == "" || !p.cfg.Hosts.Allow(host, port) {
		p.refuse(w, http.StatusForbidden, "CONNECT "+r.Host, errNotAllowed)
		return
	}
	cert, err := p.authority.issue(host)
	if err != nil {
		p.refuse(w, http.StatusForbidden, "CONNECT "+r.Host, err)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		p.fail(fmt.Errorf("take over connection: %w", err))
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Time{})
	if buffered.Reader.Buffered() > 0 { // nobody speaks before the answer
		return
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	config := &tls.Config{Certificates: []tls.Certificate{*cert}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
	p.within(ctx, tls.Server(conn, config), host, port)
}

// within answers what comes through a driver's TLS connection to a host.
func (p *Proxy) within(ctx context.Context, conn net.Conn, host, port string) {
	one := &oneConn{conn: conn, closed: make(chan struct{})}
	s := p.server(ctx, func(ctx context.Context, w http.ResponseWriter, r *http.Request) {
		u := *r.URL
		u.Scheme, u.Host = "https", r.Host
		if h, po := place(&u); h != host || po != port || r.Method == http.MethodConnect {
			p.refuse(w, http.StatusMisdirectedRequest, r.Method+" "+u.Redacted(), fmt.Errorf("the connection is to %s", host))
			return
		}
		p.answer(ctx, w, r, &u)
	})
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed || state == http.StateHijacked {
			one.close()
		}
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	_ = s.Serve(one) // always an error: there is no second connection
}

// oneConn is a listener that has one connection.
type oneConn struct {
	conn   net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *oneConn) close() { l.once.Do(func() { close(l.closed) }) }

func (l *oneConn) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error   { l.close(); return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// answer answers a request, from what is known or from the network.
func (p *Proxy) answer(ctx context.Context, w http.ResponseWriter, r *http.Request, to *url.URL) {
	to = normal(to)
	what := r.Method + " " + to.String()
	host, port := place(to)
	if err := p.count(); err != nil {
		p.refuse(w, http.StatusTooManyRequests, what, err)
		return
	}
	if !p.cfg.Hosts.Allow(host, port) {
		p.refuse(w, http.StatusForbidden, what, errNotAllowed)
		return
	}
	if !slices.Contains(methods, r.Method) {
		p.refuse(w, http.StatusMethodNotAllowed, what, fmt.Errorf("a driver may %s", strings.Join(methods, ", ")))
		return
	}
	request, body, err := p.describe(to, r)
	if err != nil {
		p.refuse(w, http.StatusBadRequest, what, err)
		return
	}
	a := &asked{Request: request, key: request.key(), to: to, body: body, from: r}
	a.turn = p.turn(a.key)
	switch {
	case p.replay(ctx, w, a):
	case p.cfg.Replay:
		p.refuse(w, http.StatusForbidden, what, errNotRecorded)
	default:
		p.forward(ctx, w, a)
	}
}

var errNotRecorded = errors.New("it is not in the recording")
