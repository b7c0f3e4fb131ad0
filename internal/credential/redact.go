// Package credential keeps credentials out of what is written down: records,
// recordings, logs and errors.
package credential

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Hidden stands where a credential stood.
const Hidden = "REDACTED"

// secretKeys are words in the names of query parameters that hold credentials.
var secretKeys = []string{"key", "token", "secret", "password", "passwd", "pwd", "signature", "credential", "auth", "session"}

// secretNames are whole names of such parameters, too short to be looked for
// within others; plainNames are harmless ones that hold such a word.
var (
	secretNames = []string{"sig", "sas", "jwt", "appid", "pass"}
	plainNames  = []string{"keyword", "keywords", "author", "authors", "authority"}
)

// urls finds addresses within text.
var urls = regexp.MustCompile(`[a-zA-Z][a-zA-Z0-9+.-]*://[^\s"'<>]+`)

// hexKey is a path segment that looks like an access key.
var hexKey = regexp.MustCompile(`^[0-9a-fA-F]{32}$`)

// Redact takes credentials out of the addresses in s: user and password, query
// parameters such as token, api_key or a signature, and access keys of 32 hex
// digits within the path of an API. The rest stays as it is.
func Redact(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	return urls.ReplaceAllStringFunc(s, redactURL)
}

// RedactAll returns the words, each as Redact returns it.
func RedactAll(words []string) []string {
	out := slices.Clone(words)
	for i := range out {
		out[i] = Redact(out[i])
	}
	return out
}

func redactURL(s string) string {
	scheme, rest, _ := strings.Cut(s, "://")
	rest, fragment, hasFragment := strings.Cut(rest, "#")
	rest, query, hasQuery := strings.Cut(rest, "?")
	host, path, hasPath := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		host = Hidden + host[at:]
	}
	out := scheme + "://" + host
	if hasPath {
		out += "/" + redactPath(path)
	}
	if hasQuery {
		out += "?" + redactQuery(query)
	}
	if hasFragment {
		out += "#" + redactQuery(fragment)
	}
	return out
}

// redactPath hides access keys that an API wants in its path.
func redactPath(path string) string {
	segments := strings.Split(path, "/")
	if !slices.Contains(segments, "api") {
		return path
	}
	for i, s := range segments {
		if hexKey.MatchString(s) {
			segments[i] = Hidden
		}
	}
	return strings.Join(segments, "/")
}

func redactQuery(query string) string {
	pairs := strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' })
	for i, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if ok && value != "" && secret(name) {
			pairs[i] = name + "=" + Hidden
		}
	}
	return strings.Join(pairs, "&")
}

func secret(name string) bool {
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	name = strings.ToLower(name)
	if slices.Contains(secretNames, name) || slices.Contains(plainNames, name) {
		return slices.Contains(secretNames, name)
	}
	return slices.ContainsFunc(secretKeys, func(k string) bool { return strings.Contains(name, k) })
}
