package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/source"
	"github.com/google/go-cmp/cmp"
)

// internet is a server that answers http and https for every name.
type internet struct {
	plain, secure *httptest.Server
	roots         *x509.CertPool
	asked         atomic.Int64
}

func newInternet(t *testing.T, handle http.HandlerFunc) *internet {
	t.Helper()
	n := &internet{roots: x509.NewCertPool()}
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { n.asked.Add(1); handle(w, r) })
	n.plain, n.secure = httptest.NewServer(counted), httptest.NewUnstartedServer(counted)
	ca, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	n.secure.TLS = &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return ca.issue(h.ServerName) }}
	n.secure.Config.ErrorLog = silent
	n.secure.StartTLS()
	n.roots.AddCert(ca.cert)
	t.Cleanup(func() { n.plain.Close(); n.secure.Close() })
	return n
}

func (n *internet) upstream() Upstream {
	return Upstream{Roots: n.roots, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		server := n.plain
		if strings.HasSuffix(address, ":443") {
			server = n.secure
		}
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}}
}

// session is a proxy that serves, and a driver's client of it.
type session struct {
	*Proxy
	client *http.Client
	log    *syncBuffer
	hangUp func()
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func serve(t *testing.T, c Config) *session {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, nil, c)
}

// serveOn is serve with a listener and how it is reached.
func serveOn(t *testing.T, l net.Listener, dial func(context.Context, string, string) (net.Conn, error), c Config) *session {
	t.Helper()
	if c.Store == nil {
		c.Store = source.Open(source.Config{Dir: t.TempDir()})
	}
	log := &syncBuffer{}
	c.Log = log
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); p.Serve(t.Context(), l) }()
	pem, err := Authority()
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	at := &url.URL{Scheme: "http", Host: l.Addr().String()}
	transport := &http.Transport{Proxy: http.ProxyURL(at), DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: roots}, DisableCompression: true}
	s := &session{Proxy: p, client: &http.Client{Transport: transport}, log: log}
	s.hangUp = sync.OnceFunc(func() { transport.CloseIdleConnections(); l.Close(); <-done })
	t.Cleanup(s.hangUp)
	return s
}

// get returns what a driver is answered: the status and the body.
func (s *session) get(t *testing.T, uri string, header ...string) string {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return s.do(r)
}

func (s *session) do(r *http.Request) string {
	resp, err := s.client.Do(r)
	if err != nil {
		return "error: " + err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "broken off: " + err.Error()
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, b)
}

func hello(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s at %s", r.URL.Path, r.Host)
}

func TestAnAllowedHostIsReachedAndRecorded(t *testing.T) {
	t.Parallel()
	net := newInternet(t, hello)
	s := serve(t, Config{Hosts: Hosts{"data.example.org", "*.tiles.example.org"}, Upstream: net.upstream()})
	for uri, want := range map[string]string{
		"http://data.example.org/a":      "200 /a at data.example.org",
		"https://data.example.org/b?x=1": "200 /b at data.example.org",
		"https://a.tiles.example.org/":   "200 / at a.tiles.example.org",
	} {
		if got := s.get(t, uri); got != want {
			t.Errorf("%s: %s", uri, got)
		}
	}
	s.hangUp()
	r := s.Recording()
	var got []string
	for _, e := range r.Exchanges {
		got = append(got, fmt.Sprint(e.Request.Method, " ", e.Request.URL, " ", e.Response.Status, " ", e.Response.Size))
	}
	want := []string{"GET http://data.example.org/a 200 22", "GET https://a.tiles.example.org/ 200 24", "GET https://data.example.org/b?x=1 200 22"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s.Err() != nil || len(s.Refused()) != 0 {
		t.Error(s.Err(), s.Refused())
	}
}

func TestEverythingElseIsRefused(t *testing.T) {
	t.Parallel()
	net := newInternet(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "https://evil.example.com/", http.StatusFound)
			return
		}
		hello(w, r)
	})
	s := serve(t, Config{Hosts: Hosts{"data.example.org", "*.tiles.example.org", "odd.example.org:8080"}, Upstream: net.upstream()})
	for uri, why := range map[string]string{
		"http://evil.example.com/":                "403 network: refused GET http://evil.example.com/ (the host is not among",
		"https://evil.example.com/":               "Forbidden",
		"http://data.example.org:8080/":           "403 network: refused GET http://data.example.org:8080/",
		"http://odd.example.org/":                 "403 network: refused",
		"http://tiles.example.org/":               "403 network: refused",
		"http://data.example.org.evil.example/":   "403 network: refused",
		"http://xdata.example.org/":               "403 network: refused",
		"http://127.0.0.1/":                       "403 network: refused",
		"http://data.example.org/away":            "Forbidden", // a redirect
		"http://u:p@evil.example.com/?token=abcd": "403 network: refused GET http://evil.example.com/?token=REDACTED",
	} {
		if got := s.get(t, uri); !strings.Contains(got, why) {
			t.Errorf("%s: %s", uri, got)
		}
	}
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions, http.MethodTrace} {
		r, _ := http.NewRequest(method, "http://data.example.org/", nil)
		if got := s.do(r); !strings.HasPrefix(got, "405 network: refused "+method) {
			t.Errorf("%s: %s", method, got)
		}
	}
	s.hangUp()
	if n := len(s.Recording().Exchanges); n != 1 || net.asked.Load() != 1 {
		t.Errorf("%d recorded, %d asked", n, net.asked.Load())
	}
	if !strings.Contains(s.log.String(), "network: refused CONNECT evil.example.com:443 (the host is not among") {
		t.Error(s.log)
	}
}

func TestATunnelCarriesNothingButHTTPToItsHost(t *testing.T) {
	t.Parallel()
	net0 := newInternet(t, hello)
	s := serve(t, Config{Hosts: Hosts{"data.example.org", "other.example.org"}, Upstream: net0.upstream()})
	at, _ := s.client.Transport.(*http.Transport).Proxy(nil)
	open := func() net.Conn {
		c, err := net.Dial("tcp", at.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		fmt.Fprint(c, "CONNECT data.example.org:443 HTTP/1.1\r\nHost: data.example.org:443\r\n\r\n")
		b := make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
		return c
	}
	raw := open()
	fmt.Fprint(raw, "SSH-2.0-raw\r\n\r\n")
	if b, _ := io.ReadAll(raw); bytes.Contains(b, []byte("200")) {
		t.Errorf("raw bytes are answered: %q", b)
	}
	tlsConn := tls.Client(open(), &tls.Config{ServerName: "data.example.org", RootCAs: s.client.Transport.(*http.Transport).TLSClientConfig.RootCAs})
	fmt.Fprint(tlsConn, "GET / HTTP/1.1\r\nHost: other.example.org\r\nConnection: close\r\n\r\n")
	if b, _ := io.ReadAll(tlsConn); !bytes.Contains(b, []byte("421 Misdirected")) {
		t.Errorf("another host is answered: %q", b)
	}
	if n := net0.asked.Load(); n != 0 {
		t.Errorf("%d requests went out", n)
	}
}

func TestNoAddressButPublicOnesIsDialled(t *testing.T) {
	t.Parallel()
	for _, a := range []string{"127.0.0.1:80", "127.8.0.1:80", "10.1.2.3:80", "172.16.0.1:80", "192.168.1.1:443", "169.254.169.254:80",
		"100.64.0.1:80", "0.0.0.0:80", "255.255.255.255:80", "224.0.0.1:80", "198.18.0.1:80", "192.0.2.7:80", "240.0.0.1:80",
		"[::1]:80", "[::]:80", "[fe80::1%eth0]:80", "[fc00::1]:80", "[fd12::1]:80", "[ff02::1]:80", "[::ffff:127.0.0.1]:80",
		"[::ffff:10.0.0.1]:80", "[64:ff9b::7f00:1]:80", "[2002:7f00:1::]:80", "[::127.0.0.1]:80", "[2001:db8::1]:80", "nonsense"} {
		if public(a) {
			t.Errorf("%s passes for public", a)
		}
	}
	for _, a := range []string{"1.1.1.1:443", "93.184.216.34:80", "[2606:4700::1111]:443", "[::ffff:1.1.1.1]:443"} {
		if !public(a) {
			t.Errorf("%s is refused", a)
		}
	}
}

func TestANameThatLeadsToTheHostItselfLeadsNowhere(t *testing.T) {
	t.Parallel()
	inner := httptest.NewServer(http.HandlerFunc(hello))
	defer inner.Close()
	_, port, _ := net.SplitHostPort(inner.Listener.Addr().String())
	host := "localhost:" + port
	s := serve(t, Config{Hosts: Hosts{host}})
	if got := s.get(t, "http://"+host+"/"); !strings.HasPrefix(got, "502 network: GET") || !strings.Contains(got, "is no address of the internet") {
		t.Error(got)
	}
	if got := s.Unanswered(); len(got) != 1 || !strings.Contains(got[0], "CUBE_PRIVATE_HOSTS") {
		t.Errorf("unanswered: %q", got)
	}
	let := serve(t, Config{Hosts: Hosts{host}, Upstream: Upstream{Dial: Dialer(Hosts{host})}})
	if got := let.get(t, "http://"+host+"/"); got != "200 / at "+host {
		t.Errorf("a host that may be private: %s", got)
	}
}

func TestAReplayGivesTheSameWithoutTheNetwork(t *testing.T) {
	t.Parallel()
	n := 0
	net := newInternet(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		w.Header().Set("Content-Type", "text/x-count")
		w.Header().Set("Set-Cookie", "session=s3cret")
		w.Header().Set("X-Request-Id", "unlike")
		switch r.URL.Path {
		case "/poll":
			fmt.Fprint(w, n)
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/missing":
			http.NotFound(w, r)
		case "/chunks":
			fmt.Fprint(w, "one ")
			w.(http.Flusher).Flush()
			fmt.Fprint(w, "two")
		default:
			b, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %s", r.Method, b, r.Header.Get("Range"))
		}
	})
	store := source.Open(source.Config{Dir: t.TempDir()})
	c := Config{Hosts: Hosts{"data.example.org"}, Store: store, Upstream: net.upstream()}
	play := func(s *session) []string {
		out := []string{}
		for _, path := range []string{"/poll", "/poll", "/poll", "/none", "/missing", "/chunks"} {
			out = append(out, s.get(t, "https://data.example.org"+path))
		}
		out = append(out, s.get(t, "https://data.example.org/r", "Range", "bytes=0-1"), s.get(t, "https://data.example.org/r", "Range", "bytes=2-3"))
		for _, body := range []string{"a", "b"} {
			r, _ := http.NewRequest(http.MethodPost, "https://data.example.org/search", strings.NewReader(body))
			out = append(out, s.do(r))
		}
		r, _ := http.NewRequest(http.MethodHead, "https://data.example.org/poll", nil)
		resp, err := s.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		head := fmt.Sprint(resp.StatusCode, resp.ContentLength, resp.Header)
		return append(out, head)
	}
	record := serve(t, c)
	want := play(record)
	record.hangUp()
	text, err := record.Recording().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"s3cret", "unlike", "ookie"} {
		if strings.Contains(string(text), word) || strings.Contains(strings.Join(want, ""), word) {
			t.Errorf("%s is recorded or given: %s", word, text)
		}
	}
	if c.Known, err = Decode(text); err != nil {
		t.Fatal(err)
	}
	c.Replay = true
	net.plain.Close()
	net.secure.Close()
	asked := net.asked.Load()
	replay := serve(t, c)
	if diff := cmp.Diff(want, play(replay)); diff != "" {
		t.Errorf("(-recorded +replayed):\n%s", diff)
	}
	if got := replay.get(t, "https://data.example.org/other?key=abc"); got != "403 network: refused GET https://data.example.org/other?key=REDACTED (it is not in the recording)\n" {
		t.Error(got)
	}
	if net.asked.Load() != asked {
		t.Error("the network was asked")
	}
	replay.hangUp()
	again, err := replay.Recording().Encode()
	if err != nil || !bytes.Equal(again, text) {
		t.Errorf("a replay is another recording: %v\n%s\n%s", err, again, text)
	}
}

func TestWhatIsKnownIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	body := "first"
	net := newInternet(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body, " ", r.URL.Path) })
	c := Config{Hosts: Hosts{"data.example.org"}, Store: source.Open(source.Config{Dir: t.TempDir()}), Upstream: net.upstream()}
	one := serve(t, c)
	one.get(t, "http://data.example.org/a")
	one.hangUp()
	body, c.Known = "second", one.Recording()
	two := serve(t, c)
	if got := two.get(t, "http://data.example.org/a") + ", " + two.get(t, "http://data.example.org/b"); got != "200 first /a, 200 second /b" {
		t.Error(got)
	}
	two.hangUp()
	if n := len(two.Recording().Exchanges); n != 2 {
		t.Errorf("%d exchanges", n)
	}
}

func TestFaultsOfAServerAreNeverRecorded(t *testing.T) {
	t.Parallel()
	net := newInternet(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/dies":
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/dies-in-chunks":
			fmt.Fprint(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/endless":
			for r.Context().Err() == nil {
				w.Write(make([]byte, 1<<16))
			}
		case "/huge":
			w.Header().Set("Content-Length", "1000000")
		case "/busy":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/often":
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	s := serve(t, Config{Hosts: Hosts{"data.example.org"}, Upstream: net.upstream(), Limits: Limits{Body: 500_000}})
	for path, want := range map[string]string{
		"/dies":           "broken off",
		"/dies-in-chunks": "broken off",
		"/endless":        "broken off",
		"/huge":           "502 network: GET http://data.example.org/huge was not answered: 1000000 bytes: the limit is 500000",
		"/busy":           "503 ",
		"/often":          "429 ",
	} {
		if got := s.get(t, "http://data.example.org"+path); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", path, got)
		}
	}
	s.hangUp()
	if r := s.Recording(); len(r.Exchanges) != 0 || s.Err() != nil {
		t.Errorf("recorded %v, %v", r.Exchanges, s.Err())
	}
	for _, line := range []string{"/endless broke off: more than 500000 bytes", "/busy is 503, which"} {
		if !strings.Contains(s.log.String(), line) {
			t.Errorf("no %q in:\n%s", line, s.log)
		}
	}
}

func TestWhatADriverMayHaveIsBounded(t *testing.T) {
	t.Parallel()
	net := newInternet(t, func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 600)) })
	few := serve(t, Config{Hosts: Hosts{"data.example.org"}, Upstream: net.upstream(), Limits: Limits{Requests: 2}})
	for i, want := range []string{"200 ", "200 ", "429 network: refused"} {
		if got := few.get(t, fmt.Sprint("http://data.example.org/", i)); !strings.HasPrefix(got, want) {
			t.Errorf("%d: %.80q", i, got)
		}
	}
	little := serve(t, Config{Hosts: Hosts{"data.example.org"}, Upstream: net.upstream(), Limits: Limits{Total: 1000}})
	for i, whole := range []bool{true, false, false} {
		if got := little.get(t, fmt.Sprint("http://data.example.org/", i)); strings.HasPrefix(got, "200 ") != whole {
			t.Errorf("%d: %.80q", i, got)
		}
	}
	little.hangUp()
	if n := len(little.Recording().Exchanges); n != 1 {
		t.Errorf("%d recorded", n)
	}
	r, _ := http.NewRequest(http.MethodPost, "http://data.example.org/", bytes.NewReader(make([]byte, maxRequestBody+1)))
	if got := serve(t, Config{Hosts: Hosts{"data.example.org"}, Upstream: net.upstream()}).do(r); strings.HasPrefix(got, "200") {
		t.Error("an endless question is passed on")
	}
}

func TestSecretsAreRecordedNowhere(t *testing.T) {
	t.Parallel()
	const secret = "sup3r/secret"
	net := newInternet(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+secret || r.URL.Query().Get("q") != secret {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		if r.URL.Path == "/signed" {
			http.Redirect(w, r, "/file?X-Amz-Date="+fmt.Sprint(time.Now().UnixNano())+"&X-Amz-Signature=abcdef&q="+url.QueryEscape(secret), http.StatusFound)
			return
		}
		fmt.Fprint(w, "data")
	})
	store := source.Open(source.Config{Dir: t.TempDir()})
	c := Config{Hosts: Hosts{"data.example.org"}, Store: store, Upstream: net.upstream(), Secrets: []string{secret}}
	record := serve(t, c)
	uri := "https://data.example.org/signed?q=" + url.QueryEscape(secret) + "&api_key=k3y"
	if got := record.get(t, uri, "Authorization", "Bearer "+secret); got != "200 data" {
		t.Fatal(got)
	}
	record.get(t, "https://evil.example.org/?q="+url.QueryEscape(secret), "Authorization", secret)
	record.hangUp()
	text, _ := record.Recording().Encode()
	said := string(text) + record.log.String() + strings.Join(record.Refused(), "")
	for _, word := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), "k3y", "abcdef", "Bearer"} {
		if strings.Contains(said, word) {
			t.Errorf("%s is in %s", word, said)
		}
	}
	c.Replay, c.Known, c.Secrets = true, record.Recording(), nil
	replay := serve(t, c) // on a machine without the secret
	if got := replay.get(t, "https://data.example.org/signed?q=REDACTED&api_key=other"); got != "200 data" {
		t.Error(got)
	}
}

func TestCookiesStayInTheProxy(t *testing.T) {
	t.Parallel()
	net := newInternet(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("session"); err != nil {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "1", Path: "/"})
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
			return
		}
		fmt.Fprint(w, "in")
	})
	s := serve(t, Config{Hosts: Hosts{"data.example.org"}, Upstream: net.upstream()})
	if got := s.get(t, "https://data.example.org/"); got != "200 in" {
		t.Error(got)
	}
}

func TestADamagedAnswerIsNoAnswer(t *testing.T) {
	t.Parallel()
	net := newInternet(t, hello)
	dir := t.TempDir()
	c := Config{Hosts: Hosts{"data.example.org"}, Store: source.Open(source.Config{Dir: dir}), Upstream: net.upstream()}
	record := serve(t, c)
	record.get(t, "http://data.example.org/a")
	record.hangUp()
	c.Known, c.Replay = record.Recording(), true
	object := filepath.Join(dir, "objects", c.Known.Exchanges[0].Response.Body.Hex()[:2], c.Known.Exchanges[0].Response.Body.Hex())
	if err := os.Chmod(object, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(object, []byte("/a at evil.example.com"), 0o644); err != nil {
		t.Fatal(err)
	}
	replay := serve(t, c)
	if got := replay.get(t, "http://data.example.org/a"); !strings.HasPrefix(got, "502") {
		t.Error(got)
	}
	if err := replay.Err(); !errors.Is(err, source.ErrDamaged) {
		t.Error(err)
	}
	c.Replay = false // where the network may be asked, it is asked again
	mend := serve(t, c)
	if got := mend.get(t, "http://data.example.org/a"); got != "200 /a at data.example.org" {
		t.Error(got)
	}
	mend.hangUp()
	if diff := cmp.Diff(c.Known, mend.Recording()); diff != "" {
		t.Error(diff)
	}
}

func TestADriverThatLooksAtTheBeginningOnlyIsRecordedWhole(t *testing.T) {
	t.Parallel()
	rest := make(chan struct{})
	net := newInternet(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "begin ")
		w.(http.Flusher).Flush()
		<-rest
		fmt.Fprint(w, "end")
	})
	s := serve(t, Config{Hosts: Hosts{"data.example.org"}, Upstream: net.upstream()})
	resp, err := s.client.Get("http://data.example.org/")
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(resp.Body, make([]byte, 3))
	resp.Body.Close()
	close(rest)
	s.hangUp()
	if r := s.Recording(); len(r.Exchanges) != 1 || r.Exchanges[0].Response.Size != int64(len("begin end")) {
		t.Error(r)
	}
}

func TestTheOrderOfThreadsIsNotRecorded(t *testing.T) {
	t.Parallel()
	net := newInternet(t, hello)
	var texts []string
	for _, paths := range [][]string{{"/a", "/b", "/c"}, {"/c", "/a", "/b"}} {
		s := serve(t, Config{Hosts: Hosts{"data.example.org"}, Upstream: net.upstream()})
		for _, p := range paths {
			s.get(t, "https://data.example.org"+p)
		}
		s.hangUp()
		text, err := s.Recording().Encode()
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	if texts[0] != texts[1] {
		t.Error(texts)
	}
}

func TestTheAuthorityIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	pem, err := Authority()
	if err != nil {
		t.Fatal(err)
	}
	// A change of these bytes is a change of what drivers see: raise graph.NetworkVersion.
	const want = "f625e5da397a9c2866a4d64deef8932c390e16f7900621aa3228f1f97eb36485"
	if got := fmt.Sprintf("%x", sha256.Sum256(pem)); got != want {
		t.Errorf("its certificate is %s", got)
	}
	a, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	one, err := a.issue("data.example.org")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := newAuthority()
	two, _ := b.issue("data.example.org")
	if !slices.EqualFunc(one.Certificate, two.Certificate, bytes.Equal) {
		t.Error("its certificate of a host differs")
	}
}

func FuzzDecode(f *testing.F) {
	whole, err := (&Recording{Version: 1, Exchanges: []Exchange{{
		Request:  Request{Method: "GET", URL: "https://data.example.org/a?x=1", Headers: map[string]string{"Range": "bytes=0-1"}},
		Response: Response{Status: 206, Headers: map[string]string{"Content-Type": "text/plain"}, Body: graph.Sum([]byte("ab")), Size: 2}}}}).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`{"exchanges":[],"version":1}`))
	f.Add([]byte(`{"exchanges":null,"version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrRecording) {
				t.Errorf("%v", err)
			}
			return
		}
		again, err := r.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q is %q, %v", b, again, err)
		}
	})
}
