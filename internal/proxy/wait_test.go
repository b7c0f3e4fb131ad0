package proxy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are in memory: while all wait for each
// other, the time of a test's bubble goes on, and none passes outside.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestSilenceOfAServerIsGivenUpAndNeverRecorded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		upstream, driver := newPipes(), newPipes()
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/stops":
				fmt.Fprint(w, "half")
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			case "/slow":
				for range 10 {
					fmt.Fprint(w, "more ")
					w.(http.Flusher).Flush()
					time.Sleep(50 * time.Second)
				}
			default:
				<-r.Context().Done()
			}
		})}
		go srv.Serve(upstream)
		defer srv.Shutdown(context.Background())
		s := serveOn(t, driver, driver.dial, Config{Hosts: Hosts{"data.example.org"}, Upstream: Upstream{Dial: upstream.dial}})
		defer s.hangUp()
		for path, want := range map[string]string{
			"/silent": "502 network: GET http://data.example.org/silent was not answered: no answer for 1m0s",
			"/stops":  "broken off",
			"/slow":   "200 " + strings.Repeat("more ", 10),
		} {
			if got := s.get(t, "http://data.example.org"+path); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s", path, got)
			}
		}
		s.hangUp()
		if r := s.Recording(); len(r.Exchanges) != 1 || s.Err() != nil {
			t.Errorf("recorded %v, %v", r.Exchanges, s.Err())
		}
		if line := "/stops broke off: nothing came for 1m0s"; !strings.Contains(s.log.String(), line) {
			t.Errorf("no %q in:\n%s", line, s.log)
		}
	})
}
