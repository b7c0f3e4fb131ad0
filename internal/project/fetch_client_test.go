//go:build linux

package project_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/proxy"
	"github.com/google/go-cmp/cmp"
)

// TestPythonsClientsFetchByTheProxy holds that urllib and requests find the proxy
// and its authority by the environment alone, over http and https, and that what
// they were answered is replayed to them.
func TestPythonsClientsFetchByTheProxy(t *testing.T) {
	t.Parallel()
	b := fetchBenchOf(t, "testdata/pyfetch.txtar")
	b.must(t)
	text, pin := b.fetched(t)
	want := ""
	for _, path := range []string{"/a", "/b", "/c"} {
		want += "by_urllib 200 first " + path + "\nby_requests 200 first " + path + "\n"
	}
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("fetched (-want +got):\n%s", diff)
	}
	if b.count() != 6 || pin.Recording.Exchanges != 6 {
		t.Errorf("asked %v, recorded %d", b.asked, pin.Recording.Exchanges)
	}
	b.plain.Close()
	b.secure.Close()
	if err := os.Remove(b.object(pin.Sources["scenes"].SHA256)); err != nil {
		t.Fatal(err)
	}
	b.must(t, locked, stranger)
	if again, _ := b.fetched(t); again != text {
		t.Errorf("replayed:\n%s", again)
	}
	holdsNoSecret(t, b.dir, b.cache)
}

func TestPythonsClientsReachNoHostThatIsNotNamed(t *testing.T) {
	t.Parallel()
	b := fetchBenchOf(t, "testdata/pyfetch.txtar")
	b.edit(t, "cube.yaml", `params: {get: [`, `params: {must: false, get: ["http://evil.test/", "https://evil.test/", "http://169.254.169.254/latest", `)
	b.must(t)
	text, _ := b.fetched(t)
	for _, want := range []string{
		"by_urllib 403 network: refused GET http://evil.test/ (the host is not among", "by_requests 403 network: refused GET http://evil.test/",
		"by_urllib 0 Tunnel connection failed: 403 Forbidden", "by_requests 0 ProxyError",
		"by_requests 403 network: refused GET http://169.254.169.254/latest", "by_requests 200 first /b",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	for _, at := range b.asked {
		if !strings.Contains(at, ".example.com/") {
			t.Errorf("asked %s", at)
		}
	}
}

// TestAFetchThatIsAnsweredItsSecretFails holds that what a portal says back of a
// token reaches no recording, no file of the cache and no message.
func TestAFetchThatIsAnsweredItsSecretFails(t *testing.T) {
	t.Parallel()
	b := newFetchBench(t)
	b.set(func() {
		b.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/b" {
				return false
			}
			fmt.Fprintf(w, `{"session": %q}`, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			return true
		}
	})
	err := b.fails(t, "https://data.example.com/b?api_key=REDACTED")
	if !errors.Is(err, proxy.ErrSecret) || strings.Contains(err.Error(), "t0ken") {
		t.Errorf("got %v", err)
	}
	if lock, err := config.LoadLock(b.path("cube.lock")); err == nil && len(lock.Fetches) > 0 {
		t.Errorf("pinned %+v", lock.Fetches)
	}
	holdsNoSecret(t, b.dir, b.cache)
}

// TestAFetchThatWritesItsSecretDownFails holds that it is not even in the cache.
func TestAFetchThatWritesItsSecretDownFails(t *testing.T) {
	t.Parallel()
	b := newFetchBench(t)
	b.edit(t, "cube.yaml", "params: {", "params: {tell: true, ")
	b.fails(t, "producer scenes writes a secret that it was given into source scenes")
	holdsNoSecret(t, b.dir, b.cache)
}

// holdsNoSecret looks for the secret of the benches in all files but images.
func holdsNoSecret(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			if strings.Contains(string(text), "t0ken") || strings.Contains(string(text), fmt.Sprintf("%x", "t0ken")) {
				t.Errorf("%s holds the secret", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
