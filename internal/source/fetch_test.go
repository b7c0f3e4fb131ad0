package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cubebuild/cube/graph"
)

// cutting has every connection of a cache break off after so many bytes, and
// counts connections.
func cutting(t *testing.T, c *Cache, after int64) *atomic.Int64 {
	t.Helper()
	asked := new(atomic.Int64)
	c.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		asked.Add(1)
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &cutConn{Conn: conn, left: after}, err
	}
	return asked
}

type cutConn struct {
	net.Conn
	left int64
}

func (c *cutConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errors.New("connection reset by peer")
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// raster is a source of some size, that a server serves with an ETag.
var raster = strings.Repeat("raster ", 50_000)

func serveRaster(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("ETag", `"one"`)
	http.ServeContent(w, r, "dem.tif", time.Time{}, strings.NewReader(raster))
}

func wantRaster(t *testing.T, c *Cache, uri string) {
	t.Helper()
	p, err := c.Pin(t.Context(), "", Want{URI: uri})
	if err != nil || p.SHA256 != graph.Sum([]byte(raster)) || p.Size != int64(len(raster)) {
		t.Fatalf("got %v %v", p, err)
	}
	checkNoPartial(t, c)
}

func checkNoPartial(t *testing.T, c *Cache) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(c.cfg.Dir, "partial", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAFetchGoesOnWhereItsLineBroke(t *testing.T) {
	t.Parallel()
	var ranges []string
	uri, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Header.Get("Range"))
		serveRaster(w, r)
	})
	c := quick(Config{Dir: t.TempDir()})
	asked := cutting(t, c, 100_000)
	wantRaster(t, c, uri)
	if asked.Load() != 4 || ranges[0] != "" || !strings.HasPrefix(ranges[3], "bytes=29") {
		t.Errorf("asked %d times: %v", asked.Load(), ranges)
	}
}

// breakOff begins a fetch, as a process that is stopped on the way does.
func breakOff(t *testing.T, dir, uri string) {
	t.Helper()
	broken := quick(Config{Dir: dir})
	ctx, cancel := context.WithCancel(t.Context())
	broken.cfg.Progress = func(string, int64, int64) { cancel() }
	if _, err := broken.Pin(ctx, "", Want{URI: uri}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestTheNextProcessGoesOnWithAFetch(t *testing.T) {
	t.Parallel()
	var got []string
	uri, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Range"))
		serveRaster(w, r)
	})
	dir := t.TempDir()
	breakOff(t, dir, uri)
	c := quick(Config{Dir: dir})
	if err := c.Sweep(); err != nil {
		t.Fatal(err)
	}
	wantRaster(t, c, uri)
	if len(got) != 2 || !strings.HasPrefix(got[1], "bytes=") {
		t.Errorf("asked for %q", got)
	}
}

// TestWhatWasWholeIsNotFetchedAgain holds it where a process ended after the last
// byte, and where the source is pinned, and so is known to be whole.
func TestWhatWasWholeIsNotFetchedAgain(t *testing.T) {
	t.Parallel()
	uri, asked := server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		_, _ = io.WriteString(w, raster)
		w.(http.Flusher).Flush()
		<-r.Context().Done() // nobody is told that this is all
	})
	dir := t.TempDir()
	broken := quick(Config{Dir: dir})
	ctx, cancel := context.WithCancel(t.Context())
	broken.cfg.Progress = func(_ string, size, _ int64) {
		if size == int64(len(raster)) {
			cancel()
		}
	}
	if _, err := broken.Pin(ctx, "", Want{URI: uri}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	c := quick(Config{Dir: dir})
	want := Pin{graph.Sum([]byte(raster)), int64(len(raster))}
	if p, err := c.Pin(t.Context(), "", Want{URI: uri, SHA256: want.SHA256}); err != nil || p != want || asked.Load() != 1 {
		t.Errorf("%v %v, asked %d times", p, err, asked.Load())
	}
	if _, err := c.Verified(t.Context(), want.SHA256); err != nil {
		t.Error(err)
	}
	checkNoPartial(t, c)
}

// TestASumIsHeldAgainstTheWholeByTheNextProcessToo holds it where the rest comes
// with another process, from a server that tells the sum with the whole alone.
func TestASumIsHeldAgainstTheWholeByTheNextProcessToo(t *testing.T) {
	t.Parallel()
	for _, field := range []string{"Repr-Digest", "Content-MD5"} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			uri, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") != "" {
					serveRaster(w, r)
					return
				}
				sum := map[string]string{"Repr-Digest": "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:", "Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}[field]
				w.Header().Set(field, sum)
				serveRaster(w, r)
			})
			dir := t.TempDir()
			breakOff(t, dir, uri)
			if _, err := quick(Config{Dir: dir}).Pin(t.Context(), "", Want{URI: uri}); err == nil || !strings.Contains(err.Error(), "the server's own") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestABeginningThatIsNotAsNotedIsNotGoneOnWith(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(path string) error{
		"other bytes": func(p string) error { return os.WriteFile(p, []byte(strings.Repeat("x", 200_000)), 0o600) },
		"cut":         func(p string) error { return os.Truncate(p, 10) },
		"no note":     func(p string) error { return os.Remove(p + ".json") },
		"no JSON":     func(p string) error { return os.WriteFile(p+".json", []byte("{"), 0o600) },
		"negative":    func(p string) error { return os.WriteFile(p+".json", []byte(`{"etag":"\"one\"","size":-1}`), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := true
			uri, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
				whole = whole && r.Header.Get("Range") == ""
				serveRaster(w, r)
			})
			c := quick(Config{Dir: t.TempDir()})
			ctx, cancel := context.WithCancel(t.Context())
			c.cfg.Progress = func(string, int64, int64) { cancel() }
			if _, err := c.Pin(ctx, "", Want{URI: uri}); err == nil {
				t.Fatal("not broken off")
			}
			c.cfg.Progress = nil
			if err := spoil(filepath.Join(c.cfg.Dir, "partial", graph.Sum([]byte(uri)).Hex())); err != nil {
				t.Fatal(err)
			}
			wantRaster(t, c, uri)
			if !whole {
				t.Error("the rest alone was asked for")
			}
		})
	}
}

// A server that answers a request for the rest in each wrong way gives no
// mixture: the fetch begins anew, or fails.
func TestTheRestIsTakenOnlyFromTheSameWhole(t *testing.T) {
	t.Parallel()
	other := strings.ToUpper(raster)
	part := func(w http.ResponseWriter, etag, contentRange, body string) {
		if etag != "" {
			w.Header().Set("ETag", etag)
		}
		w.Header().Set("Content-Range", contentRange)
		w.WriteHeader(206)
		_, _ = io.WriteString(w, body)
	}
	all := len(raster)
	for name, c := range map[string]struct {
		rest func(w http.ResponseWriter, r *http.Request, from int)
		want string
	}{
		"ignored range": {func(w http.ResponseWriter, r *http.Request, _ int) {
			r.Header.Del("Range")
			serveRaster(w, r)
		}, raster},
		"changed, and says so": {func(w http.ResponseWriter, r *http.Request, _ int) {
			w.Header().Set("ETag", `"two"`)
			_, _ = io.WriteString(w, other)
		}, other},
		"changed, in a part": {func(w http.ResponseWriter, r *http.Request, from int) {
			part(w, `"two"`, fmt.Sprintf("bytes %d-%d/%d", from, all-1, all), other[from:])
		}, raster},
		"wrong beginning": {func(w http.ResponseWriter, r *http.Request, from int) {
			part(w, `"one"`, fmt.Sprintf("bytes %d-%d/%d", from-1, all-1, all), raster[from-1:])
		}, raster},
		"wrong end": {func(w http.ResponseWriter, r *http.Request, from int) {
			part(w, `"one"`, fmt.Sprintf("bytes %d-%d/%d", from, all-2, all), raster[from:all-1])
		}, raster},
		"another length": {func(w http.ResponseWriter, r *http.Request, from int) {
			part(w, `"one"`, fmt.Sprintf("bytes %d-%d/%d", from, all, all+1), raster[from:]+"x")
		}, raster},
		"no range at all": {func(w http.ResponseWriter, r *http.Request, from int) { part(w, `"one"`, "", raster[from:]) }, raster},
		"nonsense": {func(w http.ResponseWriter, r *http.Request, from int) {
			part(w, `"one"`, "bytes -1--2/*", raster[from:])
		}, raster},
		"too little": {func(w http.ResponseWriter, r *http.Request, from int) {
			part(w, `"one"`, fmt.Sprintf("bytes %d-%d/%d", from, all-1, all), raster[from:all-5])
		}, raster},
		"changed, in a part that does not say so": {func(w http.ResponseWriter, r *http.Request, from int) {
			part(w, "", fmt.Sprintf("bytes %d-%d/%d", from, all-1, all), other[from:])
		}, raster},
		"in another coding": {func(w http.ResponseWriter, r *http.Request, from int) {
			w.Header().Set("Content-Encoding", "gzip")
			part(w, `"one"`, fmt.Sprintf("bytes %d-%d/%d", from, all-1, all), other[from:])
		}, raster},
		"416": {func(w http.ResponseWriter, r *http.Request, _ int) { w.WriteHeader(416) }, raster},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wrong := false
			uri, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
				from := 0
				if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err != nil || wrong {
					serveRaster(w, r)
					return
				}
				wrong = true
				c.rest(w, r, from)
			})
			cache := quick(Config{Dir: t.TempDir()})
			cut := int64(200_000)
			cache.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				left := cut
				cut = 1 << 40 // the first alone
				return &cutConn{Conn: conn, left: left}, err
			}
			p, err := cache.Pin(t.Context(), "", Want{URI: uri})
			if err != nil || p.SHA256 != graph.Sum([]byte(c.want)) || !wrong {
				t.Errorf("got %v %v; the rest was asked for: %v", p, err, wrong)
			}
			checkNoPartial(t, cache)
		})
	}
}

func TestWithoutAValidatorAFetchBeginsAnew(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{"none": "", "weak": `W/"one"`, "bare": "one"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uri, asked := server(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") != "" {
					t.Errorf("asked for %s", r.Header.Get("Range"))
				}
				w.Header().Set("Content-Length", fmt.Sprint(len(raster)))
				if head != "" {
					w.Header().Set("ETag", head)
				}
				_, _ = io.WriteString(w, raster[:1000])
			})
			c := quick(Config{Dir: t.TempDir()})
			if _, err := c.Pin(t.Context(), "", Want{URI: uri}); err == nil || asked.Load() != attempts {
				t.Errorf("got %v, asked %d times", err, asked.Load())
			}
			checkNoPartial(t, c)
		})
	}
}

func TestAChangeThatWasLongAgoValidatesToo(t *testing.T) {
	t.Parallel()
	now := time.Now()
	head := func(age time.Duration) http.Header {
		return http.Header{"Last-Modified": {now.Add(-age).UTC().Format(http.TimeFormat)}, "Date": {now.UTC().Format(http.TimeFormat)}}
	}
	long, recent := noteOf(head(time.Hour)), noteOf(head(time.Second))
	if long.validator() == "" || recent.validator() != "" {
		t.Errorf("got %q and %q", long.validator(), recent.validator())
	}
}

func TestWhatAServerSaysOfTheWholeIsHeldAgainstIt(t *testing.T) {
	t.Parallel()
	good, bad := "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for name, c := range map[string]struct {
		field, value string
		ok           bool
	}{
		"digest":         {"Digest", "md5=x,sha-256=" + good, true},
		"wrong digest":   {"Digest", "SHA-256=" + bad, false},
		"repr":           {"Repr-Digest", "sha-512=:x:, sha-256=:" + good + ":", true},
		"wrong repr":     {"Repr-Digest", "sha-256=:" + bad + ":", false},
		"amz":            {"x-amz-checksum-sha256", good, true},
		"wrong amz":      {"x-amz-checksum-sha256", bad, false},
		"of its parts":   {"x-amz-checksum-sha256", bad + "-3", true},
		"md5":            {"Content-MD5", "XrY7u+Ae7tCTyyK7j1rNww==", true},
		"wrong md5":      {"Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA==", false},
		"nonsense":       {"Digest", "sha-256=?", true},
		"nothing at all": {"Digest", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uri, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set(c.field, c.value)
				_, _ = io.WriteString(w, "hello world")
			})
			cache := quick(Config{Dir: t.TempDir()})
			_, err := cache.Pin(t.Context(), "", Want{URI: uri})
			if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "the server's own") {
				t.Errorf("got %v", err)
			}
			if !c.ok {
				checkEmpty(t, cache)
			}
		})
	}
}

func TestASourceMayNotOutgrowItsOwnLimit(t *testing.T) {
	t.Parallel()
	uri, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush() // no length
		_, _ = io.WriteString(w, raster)
	})
	c := quick(Config{Dir: t.TempDir()})
	local := filepath.Join(t.TempDir(), "dem.tif")
	write(t, local, raster)
	size := int64(len(raster))
	for _, uri := range []string{uri, local} {
		if _, err := c.Pin(t.Context(), "", Want{URI: uri, MaxSize: size - 1}); err == nil || !strings.Contains(err.Error(), "limit") {
			t.Errorf("got %v", err)
		}
		if _, err := c.Pin(t.Context(), "", Want{URI: uri, MaxSize: size}); err != nil {
			t.Error(err)
		}
	}
}

func TestTwoThatWantOneThingFetchItOnce(t *testing.T) {
	t.Parallel()
	begin := make(chan struct{})
	uri, asked := server(t, func(w http.ResponseWriter, r *http.Request) {
		<-begin
		serveRaster(w, r)
	})
	dir := t.TempDir()
	var wg sync.WaitGroup
	release := sync.OnceFunc(func() { close(begin) })
	for range 4 {
		wg.Go(func() {
			c := quick(Config{Dir: dir, Waiting: func(string) { release() }})
			if p, err := c.Pin(t.Context(), "", Want{URI: uri}); err != nil || p.SHA256 != graph.Sum([]byte(raster)) {
				t.Errorf("%v %v", p, err)
			}
		})
	}
	wg.Wait()
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
}

func TestWhatIsUnchangedIsNotFetchedAgain(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	body, etag := raster, `"one"`
	uri, asked := server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(304)
			return
		}
		sent.Add(1)
		_, _ = io.WriteString(w, body)
	})
	dir := t.TempDir()
	wantRaster(t, quick(Config{Dir: dir}), uri)
	wantRaster(t, quick(Config{Dir: dir}), uri) // as another workspace does
	if asked.Load() != 2 || sent.Load() != 1 {
		t.Errorf("asked %d times, sent %d times", asked.Load(), sent.Load())
	}
	wantRaster(t, quick(Config{Dir: dir, Offline: true}), uri)
	if asked.Load() != 2 {
		t.Error("asked although nothing may be fetched")
	}
	if err := os.RemoveAll(filepath.Join(dir, "objects")); err != nil {
		t.Fatal(err)
	}
	if _, err := quick(Config{Dir: dir, Offline: true}).Pin(t.Context(), "", Want{URI: uri}); !errors.Is(err, ErrOffline) {
		t.Errorf("what is gone is said to be at hand: %v", err)
	}
	wantRaster(t, quick(Config{Dir: dir}), uri)
	body, etag = "another", `"two"`
	if p, err := quick(Config{Dir: dir}).Pin(t.Context(), "", Want{URI: uri}); err != nil || p.SHA256 != graph.Sum([]byte("another")) {
		t.Errorf("a change was missed: %v %v", p, err)
	}
}

func TestASecretOfAURIReachesTheServerAndNothingElse(t *testing.T) {
	t.Parallel()
	const key = "s3cr/t&=key"
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.Path
		if strings.HasSuffix(got, "/bad") {
			w.WriteHeader(404)
			return
		}
		_, _ = io.WriteString(w, "rows")
	}))
	defer srv.Close()
	dir := t.TempDir()
	c := quick(Config{Dir: dir, Secret: func(name string) (string, error) {
		if name != "firms" {
			return "", fmt.Errorf("there is no secret %s", name)
		}
		return key, nil
	}})
	if _, err := c.Pin(t.Context(), "", Want{URI: srv.URL + "/api/{secret:firms}/rows.csv"}); err != nil || got != "/api/"+key+"/rows.csv" {
		t.Errorf("the server got %q: %v", got, err)
	}
	_, err := c.Pin(t.Context(), "", Want{URI: srv.URL + "/api/{secret:firms}/bad"})
	if err == nil || strings.Contains(err.Error(), "s3cr") || !strings.Contains(err.Error(), "/api/{secret:firms}/bad") {
		t.Errorf("got %v", err)
	}
	for _, uri := range []string{"/{secret:other}", "/{secret:firms"} {
		if _, err := c.Pin(t.Context(), "", Want{URI: srv.URL + uri}); err == nil || !strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", uri, err)
		}
	}
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if b, err := os.ReadFile(path); err != nil || strings.Contains(string(b)+path, "s3cr") {
			t.Errorf("%s holds it: %v", path, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAnAbandonedBeginningIsSweptInTime(t *testing.T) {
	t.Parallel()
	c := quick(Config{Dir: t.TempDir()})
	dir := filepath.Join(c.cfg.Dir, "partial")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * stale)
	for _, name := range []string{"old", "old.json", "new", "new.json"} {
		write(t, filepath.Join(dir, name), "x")
		if strings.HasPrefix(name, "old") {
			if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.Sweep(); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(left) != 2 || !strings.HasSuffix(left[0], "new") {
		t.Errorf("left: %v", left)
	}
}

// FuzzNote gives a fetch any note beside any beginning: what comes out is the
// whole that the server has.
func FuzzNote(f *testing.F) {
	beginning := graph.Sum([]byte("ras"))
	f.Add([]byte(`{"etag": "\"one\"", "total": 6, "size": 3, "sha256": "`+beginning.String()+`"}`), []byte("ras"))
	f.Add([]byte(`{"etag": "\"one\"", "total": 6, "size": 3, "sha256": "`+beginning.String()+`"}`), []byte("xxx"))
	f.Add([]byte(`{"size": -1}`), []byte("ras"))
	f.Add([]byte(`{`), []byte(""))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(w, r, "dem.tif", time.Time{}, strings.NewReader("raster"))
	}))
	f.Cleanup(srv.Close)
	f.Fuzz(func(t *testing.T, note, beginning []byte) {
		if sum := graph.Sum(beginning).Hex(); strings.Contains(string(note), sum) && !strings.HasPrefix("raster", string(beginning)) {
			return // a true note of another beginning: the server has lied
		}
		c := quick(Config{Dir: t.TempDir()})
		path := filepath.Join(c.cfg.Dir, "partial", graph.Sum([]byte(srv.URL)).Hex())
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, path, string(beginning))
		write(t, path+".json", string(note))
		p, err := c.Pin(t.Context(), "", Want{URI: srv.URL})
		if err != nil || p.SHA256 != graph.Sum([]byte("raster")) {
			t.Errorf("got %v %v", p, err)
		}
	})
}
