package proxy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/credential"
)

// RecordingVersion is the version of [Recording]; a reader refuses others.
const RecordingVersion = 1

// ErrRecording says that bytes are no recording.
var ErrRecording = errors.New("not a recording")

// Recording is what a driver asked of the network and was answered. It holds no
// credentials and no times.
type Recording struct {
	Version   int        `json:"version"`
	Exchanges []Exchange `json:"exchanges"` // by request, equal ones as they came
}

// Exchange is one request and what was answered.
type Exchange struct {
	Request  Request  `json:"request"`
	Response Response `json:"response"`
}

// Request is what a request is known by.
type Request struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"` // normal, without credentials
	Headers map[string]string `json:"headers,omitempty"`
	Body    graph.Digest      `json:"body,omitzero"` // of its bytes without credentials; zero: it had none
}

// Response is an answer. Its body is kept by its digest.
type Response struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    graph.Digest      `json:"body,omitzero"` // zero: it had none
	Size    int64             `json:"size,omitempty"`
}

// requestHeaders are those that choose among a server's answers.
var requestHeaders = []string{"Accept", "Accept-Encoding", "Accept-Language", "Content-Type", "If-Match", "If-Modified-Since",
	"If-None-Match", "If-Range", "If-Unmodified-Since", "Range"}

// responseHeaders are those that say what an answer is, and where else to ask.
// Content-Length is recorded of answers to HEAD; of others it is the body's.
var responseHeaders = []string{"Accept-Ranges", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Range", "Content-Type", "Etag", "Last-Modified", "Link", "Location", "Www-Authenticate"}

// Methods that a driver may use. It brings data in, and changes nothing.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost}

// Bounds of a recording that is read.
const (
	maxRecording = 256 << 20 // bytes
	maxText      = 64 << 10  // of a URL or a header
)

// Encode is the recording as canonical JSON: the same exchanges, the same bytes.
func (r *Recording) Encode() ([]byte, error) {
	b, err := graph.Canonical(r)
	if err != nil {
		return nil, fmt.Errorf("encode recording: %w", err)
	}
	return b, nil
}

// Decode reads what Encode wrote. It is an ErrRecording where it is anything
// else, also where it is the same in other bytes.
func Decode(b []byte) (*Recording, error) {
	if len(b) > maxRecording {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrRecording, maxRecording)
	}
	var r Recording
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecording, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more follows it", ErrRecording)
	}
	if r.Version != RecordingVersion {
		return nil, fmt.Errorf("%w: version %d; this cube reads version %d", ErrRecording, r.Version, RecordingVersion)
	}
	for i := range r.Exchanges {
		if err := r.Exchanges[i].check(); err != nil {
			return nil, fmt.Errorf("%w: exchange %d: %w", ErrRecording, i, err)
		}
	}
	if same, err := r.Encode(); err != nil || !bytes.Equal(same, b) {
		return nil, fmt.Errorf("%w: its bytes are not canonical", ErrRecording)
	}
	return &r, nil
}

func (e *Exchange) check() error {
	u, err := url.Parse(e.Request.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || len(e.Request.URL) > maxText:
		return errors.New("its URL is none")
	case credential.Redact(e.Request.URL) != e.Request.URL:
		return errors.New("a credential is in its URL")
	case !slices.Contains(methods, e.Request.Method):
		return errors.New("its method is none that a driver may use")
	case e.Response.Status < 200 || e.Response.Status > 599 || mayPass(e.Response.Status):
		return fmt.Errorf("status %d", e.Response.Status)
	case e.Response.Size < 0 || (e.Response.Size == 0) != e.Response.Body.IsZero():
		return errors.New("its body's size is wrong")
	}
	if err := checkHeaders(e.Request.Headers, requestHeaders); err != nil {
		return err
	}
	return checkHeaders(e.Response.Headers, append(slices.Clone(responseHeaders), "Content-Length"))
}

func checkHeaders(have map[string]string, allowed []string) error {
	for name, value := range have {
		if !slices.Contains(allowed, name) || len(value) > maxText || strings.ContainsAny(value, "\r\n\x00") {
			return errors.New("a header that is not recorded")
		}
	}
	return nil
}

// mayPass reports whether an answer may be another at once: it is none to keep.
func mayPass(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

// key is the request's text, by which it is looked up and sorted.
func (r *Request) key() string {
	b, err := graph.Canonical(r)
	if err != nil { // of strings and a digest it has a form
		panic(err)
	}
	return string(b)
}

// numbered is an exchange with the place at which its request came.
type numbered struct {
	Exchange
	key    string
	number int
}

// newRecording puts exchanges in their order.
func newRecording(all []numbered) *Recording {
	slices.SortFunc(all, func(a, b numbered) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.number, b.number))
	})
	r := &Recording{Version: RecordingVersion, Exchanges: make([]Exchange, len(all))}
	for i := range all {
		r.Exchanges[i] = all[i].Exchange
	}
	return r
}

// Merge returns the exchanges of both, where a request is in both the first's.
func Merge(first, then *Recording) *Recording {
	var all []numbered
	seen := map[string]bool{}
	for _, r := range []*Recording{first, then} {
		if r == nil {
			continue
		}
		own := map[string]bool{}
		for i, e := range r.Exchanges {
			if key := e.Request.key(); !seen[key] {
				all, own[key] = append(all, numbered{e, key, i}), true
			}
		}
		maps.Copy(seen, own)
	}
	return newRecording(all)
}

// Hosts are the hosts that answered, each once, in alphabetical order.
func (r *Recording) Hosts() []string {
	var hosts []string
	for i := range r.Exchanges {
		if u, err := url.Parse(r.Exchanges[i].Request.URL); err == nil {
			hosts = append(hosts, u.Host)
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}
