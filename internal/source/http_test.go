package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cubebuild/cube/graph"
)

// server answers with f, and counts how often it is asked.
func server(t *testing.T, f http.HandlerFunc) (uri string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Add(1); f(w, r) }))
	t.Cleanup(srv.Close)
	return srv.URL + "/dem.tif", asked
}

// checkEmpty checks that nothing half fetched is left.
func checkEmpty(t *testing.T, c *Cache) {
	t.Helper()
	left, err := os.ReadDir(c.temp())
	if err != nil && !errors.Is(err, os.ErrNotExist) || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	objects, err := filepath.Glob(filepath.Join(c.cfg.Dir, "objects", "*", "*"))
	if err != nil || len(objects) > 0 {
		t.Errorf("kept: %v %v", objects, err)
	}
}

// raw answers a connection with text, and closes it.
func raw(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write([]byte(text))
	}
}

func TestEachAnswerIsTriedAsOftenAsItMayHelp(t *testing.T) {
	t.Parallel()
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) }
	}
	for name, c := range map[string]struct {
		answer   http.HandlerFunc
		attempts int64
		says     string
	}{
		"404":              {status(404), 1, "404 Not Found"},
		"401":              {status(401), 1, "401"},
		"204":              {status(204), 1, "204"},
		"206":              {status(206), 1, "206"},
		"408":              {status(408), attempts, "408"},
		"429":              {status(429), attempts, "429"},
		"503":              {status(503), attempts, "503"},
		"more than said":   {raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nraster, and more"), 1, ""},
		"fewer than said":  {raw("HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\nraster"), attempts, "unexpected EOF"},
		"negative length":  {raw("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nraster"), attempts, "Content-Length"},
		"two lengths":      {raw("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Length: 3\r\n\r\nraster"), attempts, "Content-Length"},
		"absurd length":    {raw("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nraster"), 1, "the limit is 1048576"},
		"cut chunks":       {raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nraster\r\n"), attempts, "unexpected EOF"},
		"bad chunks":       {raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-6\r\nraster\r\n"), attempts, "chunk"},
		"no HTTP":          {raw("raster"), attempts, "malformed"},
		"endless headers":  {raw("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 12000)), attempts, "header"},
		"nothing":          {raw(""), attempts, "EOF"},
		"redirect nowhere": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(302) }, 1, "302 Found"},
		"redirect to files": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, 1, "unsupported protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uri, asked := server(t, c.answer)
			cache := quick(Config{Dir: t.TempDir(), MaxSize: 1 << 20})
			p, err := cache.Pin(t.Context(), "", Want{URI: uri + "?key=secret"})
			if n := asked.Load(); n != c.attempts {
				t.Errorf("asked %d times, want %d: %v", n, c.attempts, err)
			}
			if c.says == "" {
				if err != nil || p.Size != 4 || p.SHA256 != graph.Sum([]byte("rast")) {
					t.Errorf("got %v %v", p, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "/dem.tif") {
				t.Errorf("got %v, want %q and no key", err, c.says)
			}
			checkEmpty(t, cache)
		})
	}
}

func TestCompressedBytesAreKeptAsTheyAre(t *testing.T) {
	t.Parallel()
	body := []byte("\x1f\x8b, says the server")
	uri, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("asked for %s", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(body)
	})
	p, err := quick(Config{Dir: t.TempDir()}).Pin(t.Context(), "", Want{URI: uri, SHA256: graph.Sum(body)})
	if err != nil || p.Size != int64(len(body)) {
		t.Errorf("%v %v", p, err)
	}
}

func TestARedirectNeverLeavesHTTPS(t *testing.T) {
	t.Parallel()
	plain, asked := server(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "raster") })
	mux := http.NewServeMux()
	mux.HandleFunc("/down", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain+"?token=secret", http.StatusFound)
	})
	mux.HandleFunc("/on", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/down", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/fine", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/raster", http.StatusMovedPermanently)
	})
	mux.HandleFunc("/raster", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "raster") })
	srv := httptest.NewUnstartedServer(mux)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are to fail
	srv.StartTLS()
	defer srv.Close()
	up, _ := server(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, srv.URL+"/raster", http.StatusFound) })
	around, _ := server(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, srv.URL+"/down", http.StatusFound) })
	open := func() *Cache {
		c := quick(Config{Dir: t.TempDir()})
		c.client.Transport.(*http.Transport).TLSClientConfig = srv.Client().Transport.(*http.Transport).TLSClientConfig
		return c
	}
	for _, uri := range []string{srv.URL + "/down", srv.URL + "/on", around} {
		c := open()
		_, err := c.Pin(t.Context(), "", Want{URI: uri})
		if err == nil || !strings.Contains(err.Error(), "a redirect leaves https") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", uri, err)
		}
		checkEmpty(t, c)
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("the plain server was asked %d times", n)
	}
	for _, uri := range []string{srv.URL + "/fine", up} {
		if p, err := open().Pin(t.Context(), "", Want{URI: uri}); err != nil || p.SHA256 != graph.Sum([]byte("raster")) {
			t.Errorf("%s: %v %v", uri, p, err)
		}
	}
	if _, err := quick(Config{Dir: t.TempDir()}).Pin(t.Context(), "", Want{URI: srv.URL + "/raster"}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority was trusted: %v", err)
	}
}

func TestAHostThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, err = quick(Config{Dir: t.TempDir()}).Pin(t.Context(), "", Want{URI: "http://user:secret@" + addr + "/dem.tif"})
	if err == nil || !strings.Contains(err.Error(), "fetch http://"+addr+"/dem.tif") || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

func TestOtherBytesThanPinnedAreKeptUnderTheirOwnName(t *testing.T) {
	t.Parallel()
	uri, asked := server(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "another raster") })
	c := quick(Config{Dir: t.TempDir()})
	want := graph.Sum([]byte("raster"))
	p, err := c.Pin(t.Context(), "", Want{URI: uri, SHA256: want})
	if !errors.Is(err, ErrChanged) || p.SHA256 != graph.Sum([]byte("another raster")) || asked.Load() != 1 {
		t.Errorf("got %v %v, asked %d times", p, err, asked.Load())
	}
	if _, ok := c.Path(want); ok {
		t.Error("it is kept as what it should have been")
	}
}

func TestSecretsOfAURIAreNotShown(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"https://a.example/x.tif":                     "https://a.example/x.tif",
		"https://me:secret@a.example/x?key=secret#se": "https://a.example/x?redacted",
		"data/x.tif":                       "data/x.tif",
		"https://a.example/%zz?key=secret": "a URI that cannot be read",
	} {
		if got := Redact(uri); got != want {
			t.Errorf("%s: got %s, want %s", uri, got, want)
		}
	}
	_, err := quick(Config{Dir: t.TempDir()}).Pin(t.Context(), "", Want{URI: "https://a.example/%zz?key=secret"})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

// FuzzFetch gives a fetch any answer: what comes is taken whole, or refused,
// and nothing is left behind.
func FuzzFetch(f *testing.F) {
	for _, seed := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nraster", "HTTP/1.0 200 OK\r\n\r\nraster",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nraster\r\n0\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", "x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		c := quick(Config{Dir: t.TempDir(), MaxSize: 1 << 10})
		c.waits.pause = time.Microsecond
		c.client.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				defer there.Close()
				if _, err := there.Read(make([]byte, 4096)); err == nil {
					_, _ = there.Write(answer)
				}
			}()
			return here, nil
		}
		p, err := c.Pin(t.Context(), "", Want{URI: "http://data.invalid/dem.tif"})
		if err != nil {
			checkEmpty(t, c)
			return
		}
		path, ok := c.Path(p.SHA256)
		b, readErr := os.ReadFile(path)
		if !ok || readErr != nil || graph.Sum(b) != p.SHA256 || !bytes.Contains(answer, b) && !bytes.Contains(bytes.ToLower(answer), []byte("chunked")) {
			t.Errorf("kept %q of %q: %v", b, answer, readErr)
		}
	})
}
