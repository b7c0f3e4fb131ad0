package proxy

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/cubebuild/cube/internal/secret"
	"github.com/cubebuild/cube/internal/source"
)

// Config says what a driver may reach, and what is known already.
type Config struct {
	Hosts    Hosts         // that may be reached
	Store    *source.Cache // where bodies are kept
	Known    *Recording    // that requests are answered from first; nil: none
	Replay   bool          // and from nothing else
	Secrets  []string      // texts that are recorded nowhere
	Log      io.Writer     // a line for each refusal and failure; nil: none
	Limits   Limits
	Upstream Upstream
}

// Upstream is how hosts are reached.
type Upstream struct {
	// Dial connects; nil: as Dialer(nil) does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Roots verify https; nil: the machine's own.
	Roots *x509.CertPool
	// Proxy is the machine's own way out, where it has one; nil: none.
	Proxy func(*http.Request) (*url.URL, error)
}

// Limits bound what a driver may have of the network; zero is the default.
type Limits struct {
	Requests int           // 100,000
	Body     int64         // of one answer; 4 GiB
	Total    int64         // of all answers; 64 GiB
	Header   time.Duration // until an answer begins; 60 s
	Idle     time.Duration // until more of it comes; 60 s
}

func (l Limits) withDefaults() Limits {
	or := func(n *int64, d int64) {
		if *n == 0 {
			*n = d
		}
	}
	if l.Requests == 0 {
		l.Requests = 100_000
	}
	or(&l.Body, 4<<30)
	or(&l.Total, 64<<30)
	or((*int64)(&l.Header), int64(time.Minute))
	or((*int64)(&l.Idle), int64(time.Minute))
	return l
}

// Proxy answers one run of a driver. Its methods may be called at once.
type Proxy struct {
	cfg       Config
	kept      *secret.Set // out of what is recorded; nil where there are no secrets
	transport *http.Transport
	jar       *cookiejar.Jar
	authority *authority
	known     map[string][]Exchange // by request

	mu       sync.Mutex
	turns    map[string]int // how often a request came
	requests int
	bytes    int64
	recorded []numbered
	refused  []string
	silent   []string
	err      error
	active   int           // requests that are being answered
	ended    bool          // no more are
	idle     chan struct{} // closed when the last was answered after that
}

// New returns a proxy. It opens nothing until it serves.
func New(c Config) (*Proxy, error) {
	a, err := theAuthority()
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	c.Limits = c.Limits.withDefaults()
	p := &Proxy{cfg: c, kept: lookedFor(c), transport: newTransport(c), jar: jar, authority: a,
		known: map[string][]Exchange{}, turns: map[string]int{}, idle: make(chan struct{})}
	if c.Known != nil {
		for _, e := range c.Known.Exchanges {
			key := e.Request.key()
			p.known[key] = append(p.known[key], e)
		}
	}
	return p, nil
}

// maxConnections is how many a driver may have open at once.
const maxConnections = 256

// Serve answers until the listener is closed, and returns when all answering has
// ended.
func (p *Proxy) Serve(ctx context.Context, l net.Listener) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := p.server(ctx, p.handle)
	defer s.Close()
	defer p.transport.CloseIdleConnections()
	_ = s.Serve(&limited{Listener: l, open: make(chan struct{}, maxConnections)}) // always an error: the listener was closed
	p.end()
	moment := time.NewTimer(grace)
	defer moment.Stop()
	select {
	case <-p.idle:
		return
	case <-ctx.Done():
	case <-moment.C:
	}
	cancel()
	<-p.idle
}

// grace is for answers that were about to come whole when the driver ended.
const grace = 5 * time.Second

// begin takes note of a request that is answered from now on, unless all is over.
func (p *Proxy) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.active++
	}
	return !p.ended
}

// done takes note of its end.
func (p *Proxy) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.active--; p.ended && p.active == 0 {
		close(p.idle)
	}
}

func (p *Proxy) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended = true; p.active == 0 {
		close(p.idle)
	}
}

// handler answers a request within a context that ends when all does, not when
// the driver hangs up.
type handler func(ctx context.Context, w http.ResponseWriter, r *http.Request)

func (p *Proxy) server(ctx context.Context, handle handler) *http.Server {
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !p.begin() {
				panic(http.ErrAbortHandler)
			}
			defer p.done()
			handle(ctx, w, r)
		}),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: p.cfg.Limits.Header,
		MaxHeaderBytes:    maxText,
		ErrorLog:          silent,
	}
}

// Recording is what was answered from the network or from what was known, once
// Serve has returned.
func (p *Proxy) Recording() *Recording {
	p.mu.Lock()
	defer p.mu.Unlock()
	return newRecording(p.recorded)
}

// Err says what went wrong on this machine, such as a full disk, or that an answer
// may not be kept (ErrSecret): then neither the recording nor what the driver made of
// it is of any use.
func (p *Proxy) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Refused are the requests that were refused, each with the reason, the first
// of them.
func (p *Proxy) Refused() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.refused)
}

// Unanswered are the requests that no host answered, each with the reason, the
// first of them.
func (p *Proxy) Unanswered() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.silent)
}

// fail keeps the first error of this machine.
func (p *Proxy) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// maxRefused bounds the refusals that are kept, and that are logged, and the
// requests that no host answered that are kept.
const maxRefused = 100

// refuse answers a request with why it is not answered, and says so in the log.
func (p *Proxy) refuse(w http.ResponseWriter, status int, what string, why error) {
	line := p.printable(fmt.Sprintf("network: refused %s (%v)", what, why))
	if p.keep(&p.refused, line) {
		p.log(line)
	}
	http.Error(w, line, status)
}

// keep adds a line to the first of its sort, and reports whether it is one.
func (p *Proxy) keep(lines *[]string, line string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := len(*lines) < maxRefused
	if kept {
		*lines = append(*lines, line)
	}
	return kept
}

// printable is a line without credentials and without what a terminal would obey.
func (p *Proxy) printable(line string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, p.hide(line))
}

func (p *Proxy) log(line string) {
	if p.cfg.Log != nil {
		_, _ = io.WriteString(p.cfg.Log, p.printable(line)+"\n") // who keeps logs says what becomes of them
	}
}

// count takes note of a request, or says that there were too many.
func (p *Proxy) count() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.requests++; p.requests > p.cfg.Limits.Requests {
		return fmt.Errorf("more than %d requests", p.cfg.Limits.Requests)
	}
	return nil
}

// turn is how many equal requests came before.
func (p *Proxy) turn(key string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.turns[key]
	p.turns[key] = n + 1
	return n
}

// record keeps an exchange.
func (p *Proxy) record(e Exchange, key string, turn int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recorded = append(p.recorded, numbered{e, key, turn})
}

var errNotAllowed = errors.New("the host is not among those that the producer may reach (capabilities.network)")
