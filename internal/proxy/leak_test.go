package proxy

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cubebuild/cube/internal/source"
)

func TestAnAnswerThatGivesASecretBackIsNotKept(t *testing.T) {
	t.Parallel()
	const token = "t0ken/with+signs"
	gzipped := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, s)
		z.Close()
		return b.String()
	}
	long := strings.Repeat("x", 100_000)
	for name, c := range map[string]struct{ coding, body string }{
		"as it is":   {"", `{"you": "` + token + `"}`},
		"late":       {"", long + token + long},
		"in base64":  {"", "Basic " + base64.StdEncoding.EncodeToString([]byte("me:"+token))},
		"in hex":     {"", hex.EncodeToString([]byte(token))},
		"in a URL":   {"", "https://a.test/?key=t0ken%2Fwith%2Bsigns"},
		"in gzip":    {"gzip", gzipped(long + token + long)},
		"unseen":     {"br", "whatever"},
		"among text": {"", "login " + token},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newInternet(t, func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Accept-Encoding"); got != "identity" {
					t.Errorf("it was asked for %q", got)
				}
				if c.coding != "" {
					w.Header().Set("Content-Encoding", c.coding)
				}
				for i := 0; i < len(c.body); i += 7777 {
					io.WriteString(w, c.body[i:min(len(c.body), i+7777)])
				}
			})
			dir := t.TempDir()
			s := serve(t, Config{Hosts: Hosts{"a.test"}, Upstream: n.upstream(), Secrets: []string{token}, Store: source.Open(source.Config{Dir: dir})})
			if resp, err := s.client.Get("http://a.test/me"); err == nil {
				body, err := io.ReadAll(resp.Body)
				if err == nil {
					t.Errorf("the driver was given all of it: %d bytes", len(body))
				}
				resp.Body.Close()
			}
			s.hangUp()
			if err := s.Err(); !errors.Is(err, ErrSecret) || !strings.Contains(err.Error(), "http://a.test/me") || strings.Contains(err.Error(), token) {
				t.Errorf("got %v", err)
			}
			if r := s.Recording(); len(r.Exchanges) != 0 {
				t.Errorf("recorded %+v", r.Exchanges)
			}
			for path, b := range contents(t, dir) {
				t.Errorf("%s is kept: %.100q", path, b)
			}
		})
	}
}

// contents are the files below a folder.
func contents(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			out[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAnAnswerWithoutASecretIsKeptAsItIs(t *testing.T) {
	t.Parallel()
	const netrc = "machine a.test login somebody password s3cret-of-mine"
	n := newInternet(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "a.test asks for a password and a machine; s3cret of whom?")
	})
	s := serve(t, Config{Hosts: Hosts{"a.test"}, Upstream: n.upstream(), Secrets: []string{netrc}})
	resp, err := s.client.Get("https://a.test/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || !strings.HasSuffix(string(b), "of whom?") {
		t.Errorf("%q, %v", b, err)
	}
	s.hangUp()
	if err := s.Err(); err != nil || len(s.Recording().Exchanges) != 1 {
		t.Errorf("%v, %+v", err, s.Recording())
	}
}
