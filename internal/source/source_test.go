package source

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cubebuild/cube/graph"
)

// quick is a cache that waits for nothing long between attempts. What it does
// where a server is slow is told by the tests of waiting.
func quick(conf Config) *Cache {
	c := Open(conf)
	c.waits = waits{pause: time.Millisecond, header: time.Minute, idle: time.Minute, window: time.Hour, longer: time.Second, look: time.Millisecond}
	c.client = newClient(c.waits)
	return c
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestALocalFileIsPinnedAndKept(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	write(t, filepath.Join(base, "dem.tif"), "one")
	c := Open(Config{Dir: t.TempDir()})
	for _, uri := range []string{"dem.tif", filepath.Join(base, "dem.tif"), "file://" + base + "/dem.tif"} {
		p, err := c.Pin(t.Context(), base, Want{URI: uri})
		if err != nil || p.SHA256 != graph.Sum([]byte("one")) || p.Size != 3 {
			t.Fatalf("%s: %v %v", uri, p, err)
		}
		path, ok := c.Path(p.SHA256)
		if b, err := os.ReadFile(path); !ok || err != nil || string(b) != "one" {
			t.Fatalf("%s was not kept: %q %v", uri, b, err)
		}
	}
}

func TestAChangeIsSeenAlsoWhenSizeAndTimeAreTheSame(t *testing.T) {
	t.Parallel()
	base, dir := t.TempDir(), t.TempDir()
	path := filepath.Join(base, "dem.tif")
	write(t, path, "one")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	c := Open(Config{Dir: dir})
	if _, err := c.Pin(t.Context(), base, Want{URI: "dem.tif"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	write(t, path, "two")
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	p, err := Open(Config{Dir: dir}).Pin(t.Context(), base, Want{URI: "dem.tif"})
	if err != nil || p.SHA256 != graph.Sum([]byte("two")) {
		t.Fatalf("the change was missed: %v %v", p, err)
	}
}

func TestAFileThatHasLongNotChangedIsNotReadAgain(t *testing.T) {
	t.Parallel()
	base, dir := t.TempDir(), t.TempDir()
	path := filepath.Join(base, "dem.tif")
	write(t, path, "one")
	c := Open(Config{Dir: dir})
	info, _ := os.Stat(path)
	c.stats.put(path, info, time.Now().Add(time.Hour), Pin{graph.Sum([]byte("one")), 3})
	if _, err := c.take(t.Context(), strings.NewReader("one")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	info, _ = os.Stat(path)
	c.stats.put(path, info, time.Now().Add(time.Hour), Pin{graph.Sum([]byte("one")), 3})
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	p, err := Open(Config{Dir: dir}).Pin(t.Context(), base, Want{URI: "dem.tif"})
	if err != nil || p.Size != 3 {
		t.Fatalf("%v %v", p, err)
	}
}

func TestAPinnedSourceIsFoundByItsDigestInAFolder(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write(t, filepath.Join(folder, "other.tif"), "nothing")
	write(t, filepath.Join(folder, "called-otherwise.tif"), "raster")
	c := Open(Config{Dir: t.TempDir(), Folders: []string{folder}, Offline: true})
	want := graph.Sum([]byte("raster"))
	p, err := c.Pin(t.Context(), "", Want{URI: "https://data.invalid/dem.tif", SHA256: want})
	if err != nil || p.SHA256 != want {
		t.Fatalf("%v %v", p, err)
	}
	if _, err := c.Pin(t.Context(), "", Want{URI: "https://data.invalid/dem.tif", SHA256: graph.Sum([]byte("absent"))}); !errors.Is(err, ErrOffline) {
		t.Fatalf("got %v, want ErrOffline", err)
	}
}

func TestBytesWithAnotherDigestAreRefused(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	write(t, filepath.Join(base, "dem.tif"), "one")
	_, err := Open(Config{Dir: t.TempDir()}).Pin(t.Context(), base, Want{URI: "dem.tif", SHA256: graph.Sum([]byte("two"))})
	if !errors.Is(err, ErrChanged) {
		t.Fatalf("got %v, want ErrChanged", err)
	}
}

func TestAFetchOutlivesAPassingFaultAndRefusesTheOthers(t *testing.T) {
	t.Parallel()
	faults := 0
	mux := http.NewServeMux()
	mux.HandleFunc("/flaky", func(w http.ResponseWriter, r *http.Request) {
		if faults++; faults < 3 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "raster")
	})
	mux.HandleFunc("/truncated", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "raster")
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	dir := t.TempDir()
	c := quick(Config{Dir: dir, MaxSize: 1 << 20})
	if p, err := c.Pin(t.Context(), "", Want{URI: srv.URL + "/flaky"}); err != nil || p.SHA256 != graph.Sum([]byte("raster")) {
		t.Errorf("flaky: %v %v", p, err)
	}
	for path, text := range map[string]string{"/absent?key=secret": "404", "/truncated": "unexpected EOF", "/endless": "limit", "/round": "redirects"} {
		_, err := c.Pin(t.Context(), "", Want{URI: srv.URL + path})
		if err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want %q and no key", path, err, text)
		}
	}
	left, err := os.ReadDir(filepath.Join(dir, "temp"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
