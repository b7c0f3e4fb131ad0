package proxy

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cubebuild/cube/internal/source"
)

func TestAnAnswerThatGivesASecretBackIsNotKept(t *testing.T) {
	t.Parallel()
	const token = "t0ken/with+signs"
	long := strings.Repeat("x", 100_000)
	wrong := gzipped(token + long)
	wrong[len(wrong)-8] ^= 1 // of its checksum
	named := &bytes.Buffer{}
	z := gzip.NewWriter(named)
	z.Comment = token
	z.Close()
	for name, c := range map[string]struct{ coding, body string }{
		"as it is":             {"", `{"you": "` + token + `"}`},
		"late":                 {"", long + token + long},
		"in base64":            {"", "Basic " + base64.StdEncoding.EncodeToString([]byte("me:"+token))},
		"in hex":               {"", hex.EncodeToString([]byte(token))},
		"in a URL":             {"", "https://a.test/?key=t0ken%2Fwith%2Bsigns"},
		"in a path":            {"", "https://a.test/t0ken/with%2bsigns"},
		"in JSON":              {"", `{"you": "t0ken\/with+signs"}`},
		"in gzip":              {"gzip", string(gzipped(long + token + long))},
		"in short gzip":        {"gzip", string(gzipped(token))},
		"in gzip's comment":    {"gzip", named.String()},
		"in gzip's second":     {"x-gzip", string(gzipped(long)) + string(gzipped(token))},
		"at gzip's end":        {"gzip", string(gzipped(long)) + token},
		"in damaged gzip":      {"gzip", string(wrong)},
		"after damaged gzip":   {"gzip", string(wrong[:len(wrong)-8]) + "12345678" + string(gzipped(token))},
		"in a gzip that ends":  {"gzip", string(gzipped(token + long)[:60])},
		"in gzip by one name":  {" GZip ", string(gzipped(token))},
		"in gzip and identity": {"identity,GZIP", string(gzipped(token))},
		"in gzip, twice":       {"gzip, gzip", string(gzipped(string(gzipped(token))))},
		"beyond gzip's limit":  {"gzip", string(gzipped(strings.Repeat(long, 20) + token))},
		"in what is no gzip":   {"gzip", "whatever it is"},
		"unseen":               {"br", "whatever"},
		"unseen in two":        {"gzip, br", "whatever"},
		"among text":           {"", "login " + token},
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
			s := serve(t, Config{Hosts: Hosts{"a.test"}, Upstream: n.upstream(), Secrets: []string{token},
				Store: source.Open(source.Config{Dir: dir}), Limits: Limits{Body: 1 << 20}})
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

func gzipped(s string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, s)
	z.Close()
	return b.Bytes()
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

func TestAGzipWithoutASecretIsKeptAsItCame(t *testing.T) {
	t.Parallel()
	body := string(gzipped(strings.Repeat("x", 100_000))) + string(gzipped("the end"))
	n := newInternet(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		if r.URL.Path == "/none" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		io.WriteString(w, body)
	})
	s := serve(t, Config{Hosts: Hosts{"a.test"}, Upstream: n.upstream(), Secrets: []string{"t0ken"}})
	if got := s.get(t, "http://a.test/"); got != "200 "+body {
		t.Errorf("got %q", got)
	}
	if got := s.get(t, "http://a.test/none"); got != "404 " {
		t.Errorf("got %q", got)
	}
	s.hangUp()
	if err := s.Err(); err != nil || len(s.Recording().Exchanges) != 2 {
		t.Errorf("%v, %+v", err, s.Recording())
	}
}

// TestAGzipThatBreaksOffIsAFaultOfTheServer holds that it is not taken for one
// that hides something: it may come whole the next time.
func TestAGzipThatBreaksOffIsAFaultOfTheServer(t *testing.T) {
	t.Parallel()
	n := newInternet(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(gzipped(strings.Repeat("x", 100_000))[:60])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	s := serve(t, Config{Hosts: Hosts{"a.test"}, Upstream: n.upstream(), Secrets: []string{"t0ken"}})
	if got := s.get(t, "http://a.test/"); !strings.HasPrefix(got, "broken off") {
		t.Errorf("got %q", got)
	}
	s.hangUp()
	if err := s.Err(); err != nil || len(s.Recording().Exchanges) != 0 || !strings.Contains(s.log.String(), "broke off") {
		t.Errorf("%v, %+v, %s", err, s.Recording(), s.log)
	}
}

func TestAGzipWithoutEndIsGivenUpAtTheLimit(t *testing.T) {
	t.Parallel()
	const most = 1 << 20
	n := newInternet(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		for err := error(nil); err == nil; {
			_, err = z.Write(make([]byte, 1<<16))
		}
	})
	s := serve(t, Config{Hosts: Hosts{"a.test"}, Upstream: n.upstream(), Secrets: []string{"t0ken"}, Limits: Limits{Body: most}})
	s.get(t, "http://a.test/")
	s.hangUp()
	if err := s.Err(); !errors.Is(err, ErrSecret) || !strings.Contains(err.Error(), "it unpacks to more than 1048576 bytes") {
		t.Errorf("got %v", err)
	}
	if s.bytes > 2*most {
		t.Errorf("%d bytes were looked at", s.bytes)
	}
}

func TestASecretIsInNoHeaderThatIsKept(t *testing.T) {
	t.Parallel()
	const secret, word = "login me password s3cret/of+mine", "s3cret/of+mine"
	forms := []string{secret, word, url.QueryEscape(word), url.PathEscape(word), base64.StdEncoding.EncodeToString([]byte("me:" + word)), hex.EncodeToString([]byte(word))}
	n := newInternet(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-After")
		switch i := r.URL.Query().Get("i"); {
		case r.URL.Path == "/to":
			for _, name := range []string{"Etag", "Link", "Content-Disposition", "Www-Authenticate"} {
				w.Header().Set(name, `"`+strings.Join(forms, " ")+`"`)
			}
			io.WriteString(w, "data")
		default:
			at, _ := strconv.Atoi(i)
			http.Redirect(w, r, "/to?i="+i+"&q="+url.QueryEscape(forms[at]), http.StatusFound)
		}
		w.Header().Set("X-After", secret)
	})
	c := Config{Hosts: Hosts{"a.test"}, Upstream: n.upstream(), Secrets: []string{secret}, Store: source.Open(source.Config{Dir: t.TempDir()})}
	s := serve(t, c)
	for i := range forms {
		if got := s.get(t, fmt.Sprintf("https://a.test/?i=%d", i)); got != "200 data" {
			t.Fatal(got)
		}
	}
	s.hangUp()
	text, err := s.Recording().Encode()
	if err != nil || len(s.Recording().Exchanges) != 2*len(forms) {
		t.Fatalf("%v, %s", err, text)
	}
	for _, f := range append(forms, "s3cret", base64.StdEncoding.EncodeToString([]byte("me:s3cret"))[4:]) {
		if strings.Contains(string(text), f) {
			t.Errorf("%s is in %s", f, text)
		}
	}
	c.Replay, c.Known = true, s.Recording()
	replay := serve(t, c)
	for i := range forms {
		if got := replay.get(t, fmt.Sprintf("https://a.test/?i=%d", i)); got != "200 data" {
			t.Errorf("replayed: %s", got)
		}
	}
}

func TestThePartsOfASecretThatAreSecretsCount(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		secret, body string
		leaks        bool
	}{
		"a password of a .netrc":   {"machine a.test login me password s3cret-of-mine", "it is s3cret-of-mine", true},
		"a host of a .netrc":       {"machine a.test login me password s3cret-of-mine", "see a.test for your password", false},
		"a text of JSON":           {`{"account": {"keys": ["s3cret-of-mine"]}}`, "it is s3cret-of-mine", true},
		"a name of JSON":           {`{"client_secret": "s3cret-of-mine"}`, "client_secret?", false},
		"a key of several lines":   {`{"key": "-----BEGIN\nMIIEvAIBADAN\n"}`, `{"key": "-----BEGIN\nMIIEvAIBADAN\n"}`, true},
		"a domain that is allowed": {`{"domain": "example.org", "key": "s3cret-of-mine"}`, "https://example.org/", false},
		"short words":              {"open sesame", "open, sesame", false},
		"short words as they are":  {"open sesame", "I said open sesame", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newInternet(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, c.body) })
			s := serve(t, Config{Hosts: Hosts{"a.test", "data.example.org"}, Upstream: n.upstream(), Secrets: []string{c.secret}})
			s.get(t, "http://a.test/")
			s.hangUp()
			if err := s.Err(); errors.Is(err, ErrSecret) != c.leaks || len(s.Recording().Exchanges) == 1 == c.leaks {
				t.Errorf("%v, %+v", err, s.Recording())
			}
		})
	}
}

// FuzzLook gives a body to a proxy, in pieces: what it passes holds no secret, as it
// came and as any reader of gzip unpacks it, and what it does not pass holds one or
// does not unpack.
func FuzzLook(f *testing.F) {
	const token = "t0ken/with+signs"
	f.Add([]byte("a t0ken/with+signs"), false, uint8(3))
	f.Add([]byte("nothing"), false, uint8(1))
	f.Add(gzipped("a t0ken/with+signs"), true, uint8(7))
	f.Add(append(gzipped("nothing"), gzipped("t0ken%2Fwith%2Bsigns")...), true, uint8(0))
	f.Add(append(gzipped("nothing"), "t0ken"...), true, uint8(255))
	f.Add(gzipped(strings.Repeat("x", 1<<17)), true, uint8(9))
	f.Fuzz(func(t *testing.T, body []byte, packed bool, size uint8) {
		const most = 1 << 16
		p, err := New(Config{Secrets: []string{token}, Limits: Limits{Body: most}})
		if err != nil {
			t.Fatal(err)
		}
		codings := []string{"identity"}
		if packed {
			codings = []string{"gzip"}
		}
		l := p.look(codings)
		defer l.stop()
		read, err := io.ReadAll(&looked{&inPieces{body, int(size) + 1}, l})
		text := body
		if packed {
			z, bad := gzip.NewReader(bytes.NewReader(body))
			if bad == nil {
				text, bad = io.ReadAll(io.LimitReader(z, most+1))
			}
			if bad != nil && len(body) > 0 || len(text) > most {
				if err == nil {
					t.Errorf("passed what does not unpack: %v, %d bytes", bad, len(text))
				}
				return
			}
		}
		leaks := p.kept.Redact(string(body)) != string(body) || p.kept.Redact(string(text)) != string(text)
		if leaks != errors.Is(err, ErrSecret) || !leaks && (err != nil || !bytes.Equal(read, body)) {
			t.Errorf("%q: leaks %v, got %v", body, leaks, err)
		}
	})
}

// inPieces reads so many bytes at a time.
type inPieces struct {
	left []byte
	size int
}

func (r *inPieces) Read(b []byte) (int, error) {
	if len(r.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), r.size)], r.left)
	r.left = r.left[n:]
	return n, nil
}
