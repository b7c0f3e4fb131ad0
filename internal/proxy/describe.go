package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/credential"
)

// maxRequestBody bounds what a driver may send with a request: it asks.
const maxRequestBody = 16 << 20

// place returns the host and port that a URL names, in lower case and without
// the dot that may end a name.
func place(u *url.URL) (host, port string) {
	host, port = strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return host, port
}

// normal is a URL as it is sent: an absolute one without user, fragment, and a
// port that goes without saying.
func normal(u *url.URL) *url.URL {
	n := *u
	host, port := place(u)
	if n.Host = host; port != map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		n.Host = net.JoinHostPort(host, port)
	}
	if n.Path == "" {
		n.Path = "/"
	}
	n.User, n.Fragment, n.RawFragment, n.ForceQuery = nil, "", "", false
	return &n
}

// describe says what a request is known by, and reads its body.
func (p *Proxy) describe(u *url.URL, r *http.Request) (Request, []byte, error) {
	d := Request{Method: r.Method, URL: p.hide(signed(u).String()), Headers: p.headers(r.Header, requestHeaders)}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequestBody+1))
	if err != nil {
		return d, nil, err
	}
	if len(body) > maxRequestBody {
		return d, nil, fmt.Errorf("it sends more than %d bytes", maxRequestBody)
	}
	if len(d.URL) > maxText {
		return d, nil, errors.New("its URL is too long")
	}
	if len(body) > 0 {
		d.Body = graph.Sum(p.hideBytes(body))
	}
	return d, body, nil
}

// signed hides what a signature made anew for each request brings into a query:
// its time and its scope.
func signed(u *url.URL) *url.URL {
	pairs := strings.Split(u.RawQuery, "&")
	for i, pair := range pairs {
		name, _, ok := strings.Cut(pair, "=")
		lower := strings.ToLower(name)
		if ok && (strings.HasPrefix(lower, "x-amz-") || strings.HasPrefix(lower, "x-goog-")) {
			pairs[i] = name + "=" + credential.Hidden
		}
	}
	n := *u
	n.RawQuery = strings.Join(pairs, "&")
	return &n
}

// headers picks those headers of a message that are recorded.
func (p *Proxy) headers(h http.Header, names []string) map[string]string {
	var out map[string]string
	for _, name := range names {
		value := p.hide(strings.Join(h.Values(name), ", "))
		if value == "" || len(value) > maxText {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = value
	}
	return out
}

// hide takes the known secrets, and what looks like a credential in a URL, out
// of a text.
func (p *Proxy) hide(s string) string {
	if p.kept != nil {
		s = p.kept.Redact(s)
	}
	return credential.Redact(s)
}

func (p *Proxy) hideBytes(b []byte) []byte {
	if p.kept == nil {
		return b
	}
	return []byte(p.kept.Redact(string(b)))
}
