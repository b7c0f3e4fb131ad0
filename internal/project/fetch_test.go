//go:build linux

package project_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/project"
	"github.com/cubebuild/cube/internal/proxy"
	"github.com/cubebuild/cube/internal/source"
	"github.com/google/go-cmp/cmp"
)

// fetchBench is a workspace whose producer fetches, and servers that stand for
// every host. What they answer changes with text.
type fetchBench struct {
	*bench
	plain, secure *httptest.Server
	roots         *x509.CertPool

	mu    sync.Mutex
	text  string
	asked []string
	fault func(http.ResponseWriter, *http.Request) bool // reports whether it answered
}

func newFetchBench(t *testing.T) *fetchBench { return fetchBenchOf(t, "testdata/fetch.txtar") }

func fetchBenchOf(t *testing.T, archived string) *fetchBench {
	t.Helper()
	b := &fetchBench{bench: unpackBench(t, archived), text: "first", roots: x509.NewCertPool()}
	handle := http.HandlerFunc(b.answer)
	b.plain, b.secure = httptest.NewServer(handle), httptest.NewTLSServer(handle)
	b.roots.AddCert(b.secure.Certificate())
	t.Cleanup(func() { b.plain.Close(); b.secure.Close() })
	return b
}

func (b *fetchBench) answer(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, r.Host+r.URL.Path)
	if b.fault != nil && b.fault(w, r) {
		return
	}
	if q := r.URL.Query().Get("q"); r.Header.Get("Authorization") != "Bearer t0ken" || q != "" && q != "t0ken" {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	if r.URL.Path == "/away" {
		http.Redirect(w, r, "https://evil.test/", http.StatusFound)
		return
	}
	fmt.Fprint(w, b.text, " ", r.URL.Path)
}

func (b *fetchBench) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *fetchBench) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.asked)
}

// here lets a project reach the servers.
func (b *fetchBench) here(changes ...func(*project.Config)) func(*project.Config) {
	return func(c *project.Config) {
		c.Upstream = proxy.Upstream{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			server := b.plain
			if strings.HasSuffix(address, ":443") {
				server = b.secure
			}
			c, err := (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
			return c, err
		}, Roots: b.roots}
		c.Env = func(name string) string { return map[string]string{"PORTAL": "t0ken"}[name] }
		for _, change := range changes {
			change(c)
		}
	}
}

func offline(c *project.Config) { c.Offline = true }
func update(c *project.Config)  { c.Update = true }

// stranger is somebody without the secrets.
func stranger(c *project.Config) { c.Env = func(string) string { return "" } }

// fetched is what the producer wrote, by the lock.
func (b *fetchBench) fetched(t *testing.T) (string, config.LockedFetch) {
	t.Helper()
	lock, err := config.LoadLock(b.path("cube.lock"))
	if err != nil {
		t.Fatal(err)
	}
	pin := lock.Fetches["scenes"]
	text, err := os.ReadFile(b.object(pin.Sources["scenes"].SHA256))
	if err != nil {
		t.Fatal(err)
	}
	return string(text), pin
}

func (b *fetchBench) object(d graph.Digest) string {
	return filepath.Join(b.cache, "sources", "objects", d.Hex()[:2], d.Hex())
}

func (b *fetchBench) must(t *testing.T, changes ...func(*project.Config)) *project.Prepared {
	t.Helper()
	p, err := b.try(t, b.here(changes...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (b *fetchBench) fails(t *testing.T, want string, changes ...func(*project.Config)) error {
	t.Helper()
	_, err := b.try(t, b.here(changes...))
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	return err
}

func TestAProducerFetchesItsSourcesFromNamedHosts(t *testing.T) {
	t.Parallel()
	b := newFetchBench(t)
	p := b.must(t)
	text, pin := b.fetched(t)
	want := "[400000 10 0 4.40002e+06 0 -10]\n200 first /a\n200 first /b\n200 first /c\n"
	if text != want {
		t.Errorf("fetched:\n%s", text)
	}
	if pin.Recording.Exchanges != 3 || pin.Sources["scenes"].Ext != ".txt" || pin.Fetched.IsZero() ||
		cmp.Diff(pin.Recording.Hosts, []string{"data.example.com", "tiles.example.com"}) != "" {
		t.Errorf("pinned: %+v", pin)
	}
	src := p.Workspace.Sources["scenes.scenes"]
	if src.SHA256 != pin.Sources["scenes"].SHA256 || src.Fetched.Recording != pin.Recording.SHA256 {
		t.Errorf("source: %+v", src)
	}
	if b.count() != 3 {
		t.Errorf("asked %v", b.asked)
	}
	b.must(t)
	b.must(t, locked)
	if b.count() != 3 {
		t.Errorf("asked again: %v", b.asked)
	}
}

func TestAPinnedFetchIsReplayedWithoutTheNetwork(t *testing.T) {
	t.Parallel()
	b := newFetchBench(t)
	b.must(t)
	_, pin := b.fetched(t)
	b.set(func() { b.text = "second" })
	b.plain.Close()
	b.secure.Close()
	for name, changes := range map[string][]func(*project.Config){"locked": {locked, stranger}, "offline": {offline, stranger}, "both": {locked, offline}} {
		if err := os.Remove(b.object(pin.Sources["scenes"].SHA256)); err != nil {
			t.Fatal(err)
		}
		b.must(t, changes...)
		if _, again := b.fetched(t); cmp.Diff(pin, again) != "" {
			t.Errorf("%s: the lock changed: %s", name, cmp.Diff(pin, again))
		}
	}
	// On another machine a folder stands in for the network.
	folder := b.cache
	b.cache = t.TempDir()
	if err := os.Symlink(filepath.Join(folder, "images"), filepath.Join(b.cache, "images")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(folder, "sources", "objects", pin.Sources["scenes"].SHA256.Hex()[:2], pin.Sources["scenes"].SHA256.Hex())); err != nil {
		t.Fatal(err)
	}
	if err := b.fails(t, "neither the files nor recording", locked, offline); !strings.Contains(err.Error(), "CUBE_SOURCES") {
		t.Error(err)
	}
	// Who only looks needs none of the bytes.
	b.must(t, func(c *project.Config) { c.DryRun, c.Known = true, true })
	b.must(t, locked, offline, func(c *project.Config) { c.Folders = []string{filepath.Join(folder, "sources", "objects")} })
	if text, _ := b.fetched(t); !strings.Contains(text, "first /a") {
		t.Error(text)
	}
}

func TestAnAnswerThatChangedIsTakenWhenItIsAskedFor(t *testing.T) {
	t.Parallel()
	b := newFetchBench(t)
	b.must(t)
	_, before := b.fetched(t)
	b.set(func() { b.text = "second" })
	b.must(t)
	b.edit(t, "cube.yaml", `"http://data.example.com/a"`, `"http://data.example.com/a", "http://data.example.com/new"`)
	b.fails(t, "what producer scenes fetches", locked)
	b.must(t) // asks for what is new alone
	if text, _ := b.fetched(t); !strings.Contains(text, "first /a\n200 second /new\n200 first /b") {
		t.Error(text)
	}
	b.must(t, update)
	text, after := b.fetched(t)
	if strings.Contains(text, "first") || before.Recording.SHA256 == after.Recording.SHA256 {
		t.Error(text)
	}
	// What is gone from this machine is fetched again, and held to the pin.
	for _, d := range []graph.Digest{after.Sources["scenes"].SHA256, after.Recording.SHA256} {
		if err := os.Remove(b.object(d)); err != nil {
			t.Fatal(err)
		}
	}
	b.set(func() { b.text = "third" })
	var lockErr *project.LockError
	if err := b.fails(t, "what the network answered scenes", locked); !errors.As(err, &lockErr) {
		t.Errorf("%T", err)
	}
	b.fails(t, "cube lock --update")
	b.set(func() { b.text = "second" })
	b.must(t, locked)
	if again, _ := b.fetched(t); again != text {
		t.Error(again)
	}
}

func TestWhatIsNotRecordedIsRefusedUnderTheLock(t *testing.T) {
	t.Parallel()
	b := newFetchBench(t)
	b.must(t)
	_, pin := b.fetched(t)
	// A recording without one of the exchanges, pinned in its place.
	raw, err := os.ReadFile(b.object(pin.Recording.SHA256))
	if err != nil {
		t.Fatal(err)
	}
	r, err := proxy.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	r.Exchanges = r.Exchanges[:2]
	raw, _ = r.Encode()
	got, err := source.Open(source.Config{Dir: filepath.Join(b.cache, "sources")}).Take(t.Context(), strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	b.relock(t, func(l *config.Lock) {
		f := l.Fetches["scenes"]
		f.Recording.SHA256 = got.SHA256
		l.Fetches["scenes"] = f
	})
	os.Remove(b.object(pin.Sources["scenes"].SHA256))
	asked := b.count()
	err = b.fails(t, "refused GET https://tiles.example.com/c?q=REDACTED (it is not in the recording)", locked)
	var lockErr *project.LockError
	if !errors.As(err, &lockErr) || b.count() != asked {
		t.Errorf("%T, asked %d", err, b.count()-asked)
	}
}

func TestEverythingButNamedHostsIsOutOfReach(t *testing.T) {
	t.Parallel()
	b := newFetchBench(t)
	host := b.plain.Listener.Addr().String()
	b.edit(t, "cube.yaml", `params: {get: [`, fmt.Sprintf(`params: {must: false, dial: ["tcp!%s", "tcp!192.0.2.1:80", "udp!192.0.2.1:53", "tcp!data.example.com:80", "tcp!data.example.com:443"], get: ["http://evil.test/", "https://evil.test/", "http://data.example.com/away", "http://data.example.com:81/", `, host))
	b.must(t)
	text, _ := b.fetched(t)
	for _, want := range []string{
		"403 network: refused GET http://evil.test/ (the host is not among", "0 Get \"https://evil.test/\": Forbidden",
		"0 Get \"https://evil.test/\": Forbidden\n403 network: refused GET http://data.example.com:81/",
		host + " dial tcp " + host + ": connect: connection refused",
		"192.0.2.1:80 dial tcp 192.0.2.1:80: connect: network is unreachable",
		"192.0.2.1:53 dial udp 192.0.2.1:53: connect: network is unreachable",
		"data.example.com:80 no name\ndata.example.com:443 no name\n", "200 first /a",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if n := b.bench.count(&b.notices, "producer scenes: network: refused CONNECT evil.test:443"); n == 0 {
		t.Errorf("notices: %v", b.notices)
	}
	for _, at := range b.asked {
		if strings.Contains(at, "evil") {
			t.Errorf("asked %s", at)
		}
	}
}

func TestAServersFaultIsNoSource(t *testing.T) {
	t.Parallel()
	b := newFetchBench(t)
	b.set(func() {
		b.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/b" {
				return false
			}
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	b.fails(t, "producer scenes did not fetch its sources: exited with code 1; 0 unexpected EOF")
	if lock, err := config.LoadLock(b.path("cube.lock")); !errors.Is(err, fs.ErrNotExist) && len(lock.Fetches) > 0 {
		t.Errorf("%v %v", lock, err)
	}
	// One that asks to be run again is, and asks only for what it lacks.
	b.edit(t, "cube.yaml", "params: {", "params: {again: true, ")
	n := 0
	b.set(func() {
		b.asked = nil
		b.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/b" {
				n++
			}
			if r.URL.Path != "/b" || n > 2 {
				return false
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
	})
	b.must(t)
	if diff := cmp.Diff([]string{"data.example.com/a", "data.example.com/b", "data.example.com/b", "data.example.com/b", "tiles.example.com/c"}, b.asked); diff != "" {
		t.Errorf("asked: (-want +got)\n%s", diff)
	}
}

func TestAProducerThatMakesSomethingElseOfTheSameAnswersIsCaught(t *testing.T) {
	t.Parallel()
	b := newFetchBench(t)
	b.edit(t, "cube.yaml", "params: {", "params: {leak: true, ")
	b.fails(t, "producer scenes makes source scenes other bytes from the same answers")
}

func TestADamagedFetchIsBroughtInAgain(t *testing.T) {
	t.Parallel()
	b := newFetchBench(t)
	b.must(t)
	text, pin := b.fetched(t)
	p := b.open(t, b.here())
	prepared, err := p.Prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	object := b.object(pin.Sources["scenes"].SHA256)
	if err := os.Chmod(object, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(object, []byte("forged"), 0o644); err != nil {
		t.Fatal(err)
	}
	path, err := p.Source(t.Context(), prepared.Workspace.Sources["scenes.scenes"])
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != text {
		t.Errorf("%s", got)
	}
	// A forged answer is none, either.
	raw, _ := os.ReadFile(b.object(pin.Recording.SHA256))
	r, err := proxy.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	answer := b.object(r.Exchanges[0].Response.Body)
	os.Chmod(answer, 0o644)
	if err := os.WriteFile(answer, []byte("forged"), 0o644); err != nil {
		t.Fatal(err)
	}
	os.Remove(object)
	b.fails(t, "the copy in the cache was damaged", locked)
}

func TestNoCredentialIsWrittenDown(t *testing.T) {
	t.Parallel()
	b := newFetchBench(t)
	b.must(t)
	var said []byte
	err := filepath.WalkDir(b.cache, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			raw, err := os.ReadFile(path)
			said = append(said, raw...)
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	said = append(said, b.read(t, "cube.lock")...)
	notes, _ := json.Marshal([]any{b.notices, b.steps})
	said = append(said, notes...)
	for _, word := range []string{"t0ken", "s3cret", "Bearer"} {
		if strings.Contains(string(said), word) {
			t.Errorf("%s is written down", word)
		}
	}
}

func TestAProducerGetsNoNetworkByAskingAlone(t *testing.T) {
	t.Parallel()
	b := newFetchBench(t)
	b.edit(t, "cube.yaml", "    network: [data.example.com, tiles.example.com]\n", "")
	b.fails(t, `to let it, add to scenes: network: [data.example.com, tiles.example.com]`)
	if b.count() != 0 {
		t.Error("the network was asked")
	}
}
