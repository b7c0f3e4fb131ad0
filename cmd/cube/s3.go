package main

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"

	"github.com/cubebuild/cube/internal/source"
)

// s3 says how s3: sources are reached, as AWS's own tools would be told: by
// AWS_ACCESS_KEY_ID and its like, and by the profile AWS_PROFILE of the files
// credentials and config. Without any it is what is public.
func (a *app) s3() source.S3 {
	name := cmp.Or(a.env("AWS_PROFILE"), "default")
	credentials := a.awsFile("AWS_SHARED_CREDENTIALS_FILE", "credentials")
	section := "profile " + name
	if name == "default" {
		section = name
	}
	config := profile(a.awsFile("AWS_CONFIG_FILE", "config"), section)
	keys := profile(credentials, name)
	if keys["aws_access_key_id"] == "" {
		keys = config
	}
	s := source.S3{
		Endpoint: cmp.Or(a.env("AWS_ENDPOINT_URL_S3"), a.env("AWS_ENDPOINT_URL"), config["endpoint_url"]),
		Region:   cmp.Or(a.env("AWS_REGION"), a.env("AWS_DEFAULT_REGION"), config["region"]),
	}
	if a.env("AWS_ACCESS_KEY_ID") != "" {
		s.AccessKey, s.SecretKey, s.SessionToken = a.env("AWS_ACCESS_KEY_ID"), a.env("AWS_SECRET_ACCESS_KEY"), a.env("AWS_SESSION_TOKEN")
	} else {
		s.AccessKey, s.SecretKey, s.SessionToken = keys["aws_access_key_id"], keys["aws_secret_access_key"], keys["aws_session_token"]
	}
	return s
}

// awsFile reads a file that a variable names, or that lies in ~/.aws. What
// cannot be read says nothing.
func (a *app) awsFile(variable, name string) string {
	path := a.env(variable)
	if path == "" {
		path = filepath.Join(a.env("HOME"), ".aws", name)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 1<<20 {
		return ""
	}
	b, _ := os.ReadFile(path)
	return string(b)
}

// profile reads one section of a file of AWS's profiles: [name], and below it
// lines of key = value.
func profile(text, name string) map[string]string {
	out, inside := map[string]string{}, false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if section, ok := strings.CutPrefix(line, "["); ok {
			inside = strings.TrimSpace(strings.TrimSuffix(section, "]")) == name
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if inside && ok && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ";") {
			out[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
		}
	}
	return out
}
