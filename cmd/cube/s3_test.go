package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cubebuild/cube/internal/source"
	"github.com/google/go-cmp/cmp"
)

func TestS3IsReachedAsAWSToolsWouldBeTold(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	files := map[string]string{
		"credentials": "# keys\n[default]\naws_access_key_id = A\naws_secret_access_key=B\n[work]\naws_access_key_id = C\naws_secret_access_key = D=D\naws_session_token = E\n",
		"config":      "[default]\nregion = eu-west-1\n[profile work]\nregion = us-west-2\nendpoint_url = https://minio.example\n[profile inline]\naws_access_key_id = F\naws_secret_access_key = G\n",
	}
	if err := os.Mkdir(filepath.Join(home, ".aws"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(home, ".aws", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		env  map[string]string
		want source.S3
	}{
		"nothing":   {map[string]string{"HOME": t.TempDir()}, source.S3{}},
		"default":   {map[string]string{"HOME": home}, source.S3{Region: "eu-west-1", AccessKey: "A", SecretKey: "B"}},
		"a profile": {map[string]string{"HOME": home, "AWS_PROFILE": "work"}, source.S3{Endpoint: "https://minio.example", Region: "us-west-2", AccessKey: "C", SecretKey: "D=D", SessionToken: "E"}},
		"inline":    {map[string]string{"HOME": home, "AWS_PROFILE": "inline"}, source.S3{AccessKey: "F", SecretKey: "G"}},
		"variables": {map[string]string{"HOME": home, "AWS_ACCESS_KEY_ID": "H", "AWS_SECRET_ACCESS_KEY": "I", "AWS_DEFAULT_REGION": "x", "AWS_ENDPOINT_URL": "http://localhost:9000"},
			source.S3{Endpoint: "http://localhost:9000", Region: "x", AccessKey: "H", SecretKey: "I"}},
	} {
		a := &app{env: func(name string) string { return c.env[name] }}
		if diff := cmp.Diff(c.want, a.s3()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
