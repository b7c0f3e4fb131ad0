package config

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/cubebuild/cube/internal/yamlfile"
)

func (r reader) sources(f *File, n *yamlfile.Node) {
	for _, e := range r.Entries(n, "sources") {
		f.Sources = append(f.Sources, r.source(r.name(e.Name), e.Value))
	}
}

// source reads a source: a map, or its URI alone.
func (r reader) source(name string, n *yamlfile.Node) Source {
	s := Source{Name: name}
	if n.Kind == yamlfile.String {
		s.URI = r.uri(n, r.String(n))
		return s
	}
	r.Fields(n, "a source", yamlfile.Fields{
		"uri":          func(uri *yamlfile.Node) { s.URI = r.uri(uri, r.filled(uri, n.Get("params"))) },
		"params":       func(*yamlfile.Node) {},
		"sha256":       yamlfile.Into(&s.SHA256, r.digest),
		"max_size":     yamlfile.Into(&s.MaxSize, r.size),
		"license":      yamlfile.Into(&s.License, r.String),
		"citation":     yamlfile.Into(&s.Citation, r.String),
		"native_res_m": yamlfile.Into(&s.Native, r.metres),
	}, "uri")
	return s
}

var (
	placeholder = regexp.MustCompile(`\{[^{}]*\}`)
	paramValue  = regexp.MustCompile(`^[A-Za-z0-9._~:+/-]+$`)
)

// filled is a URI with its params in their places: {name}. Without params it
// stays as it is.
func (r reader) filled(n, params *yamlfile.Node) string {
	uri := r.String(n)
	if params == nil {
		return uri
	}
	values := map[string]string{}
	for _, e := range r.Entries(params, "params") {
		v := r.Scalar(e.Value)
		if v != "" && (!paramValue.MatchString(v) || strings.Contains(v, "..")) {
			r.Errorf(e.Value, "%q cannot stand in a URI", clip(v)).Hint = "letters, digits and - . _ ~ : + /"
		}
		if !strings.Contains(uri, "{"+e.Key+"}") && uri != "" {
			r.Errorf(e.Name, "the uri has no {%s}", clip(e.Key)).Hint = "write {" + e.Key + "} where the value is to stand"
		}
		values[e.Key] = v
	}
	return placeholder.ReplaceAllStringFunc(uri, func(mark string) string {
		name := mark[1 : len(mark)-1]
		if strings.HasPrefix(name, "secret:") {
			return mark
		}
		v, ok := values[name]
		if !ok {
			r.Errorf(n, "the uri has {%s}, which is no param", clip(name)).Hint = "add it to params"
		}
		return v
	})
}

// uri checks a path relative to the workspace, or a file:, https:, http: or s3:
// URI.
func (r reader) uri(n *yamlfile.Node, s string) string {
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	switch {
	case strings.ContainsRune(s, '\\'):
		r.Errorf(n, "a path is written with /, not with \\")
	case err != nil:
		r.Errorf(n, "%q is neither a path nor a URI", clip(s))
	case u.Scheme == "" && strings.HasPrefix(s, "/"):
		r.Errorf(n, "a path must be relative to the workspace").Hint = "for a place elsewhere on this machine write file://" + path.Clean(s)
	case u.Scheme == "" && path.Clean(s) == ".":
		r.Errorf(n, "%q is a directory", clip(s))
	case u.Scheme == "file" && !path.IsAbs(u.Path):
		r.Errorf(n, "file: wants an absolute path").Hint = "leave file: out for a path relative to the workspace"
	case slices.Contains([]string{"https", "http", "s3"}, u.Scheme):
		return r.remoteURI(n, s, u)
	case u.Scheme == "" || u.Scheme == "file":
		return s
	default:
		r.Errorf(n, "%s: is no scheme that sources are read by", u.Scheme).Hint = "a path relative to the workspace, file:, https:, http: or s3:"
	}
	return ""
}

func (r reader) remoteURI(n *yamlfile.Node, s string, u *url.URL) string {
	_, bad, marked := strings.Cut(s, secretMark)
	switch {
	case u.Scheme == "s3" && (u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") == ""):
		r.Errorf(n, "s3 must name a bucket and a key, and no user").Hint = "write it like s3://bucket/folder/dem.tif"
	case u.Host == "" || u.User != nil:
		r.Errorf(n, "%s must name a host, and no user", u.Scheme)
	case marked && u.Scheme == "s3":
		r.Errorf(n, "an s3: URI has no secrets").Hint = "credentials of S3 come from AWS_ACCESS_KEY_ID and its like"
	case marked && (strings.Contains(u.Host, "{") || !strings.Contains(bad, "}")):
		r.Errorf(n, "a secret stands in the path or the query, as {secret:<name>}")
	default:
		return s
	}
	return ""
}

// secretMark begins a secret's place in a URI, which } ends.
const secretMark = "{secret:"

// SecretsOf lists the secrets that a URI names.
func SecretsOf(uri string) []string {
	var names []string
	for _, part := range strings.Split(uri, secretMark)[1:] {
		name, _, _ := strings.Cut(part, "}")
		names = append(names, name)
	}
	return names
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// secrets reads where the values of secrets are; the values themselves never
// stand in a workspace.
func (r reader) secrets(f *File, n *yamlfile.Node) {
	for _, e := range r.Entries(n, "secrets") {
		s := Secret{Name: r.name(e.Name)}
		r.Fields(e.Value, "a secret", yamlfile.Fields{
			"env":  yamlfile.Into(&s.Env, r.String),
			"file": yamlfile.Into(&s.File, r.String),
		})
		switch {
		case e.Value.Kind != yamlfile.Map:
		case (s.Env == "") == (s.File == ""):
			r.Errorf(e.Value, "a secret has env or file").Hint = "env: FIRMS_KEY names a variable of the environment, file: ~/.netrc a file; the value itself does not belong here"
		case s.Env != "" && !envName.MatchString(s.Env):
			r.Errorf(e.Value.Get("env"), "%q is no name of a variable", clip(s.Env)).Hint = "write its name, such as FIRMS_KEY, and not its value"
		}
		f.Secrets = append(f.Secrets, s)
	}
}

func secretNames(f *File) []string {
	var names []string
	for _, s := range f.Secrets {
		names = append(names, s.Name)
	}
	return names
}
