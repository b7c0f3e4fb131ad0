package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// S3 says how s3: sources are reached. The zero value is AWS's own service,
// without credentials: it reads what is public.
type S3 struct {
	Endpoint     string // of a server that speaks S3, such as https://minio.example:9000; "": AWS
	Region       string // "": us-east-1, and then where AWS says that the bucket is
	AccessKey    string // "": requests are not signed
	SecretKey    string
	SessionToken string
	// VirtualHost puts the bucket before an Endpoint's host; it stands in the
	// path otherwise. AWS always has it in the host where the name allows that.
	VirtualHost bool
}

const defaultRegion = "us-east-1"

// emptyPayload is the SHA-256 of no bytes, which a GET sends.
const emptyPayload = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func isS3(uri string) bool { return hasScheme(uri, "s3://") }

// parseS3 takes a URI s3://bucket/key?versionId=… apart.
func parseS3(uri string) (bucket, key, version string, err error) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", "", "", fmt.Errorf("not a URI: %w", withoutURL(err))
	}
	bucket, key = u.Host, strings.TrimPrefix(u.Path, "/")
	query := u.Query()
	version = query.Get("versionId")
	query.Del("versionId")
	if bucket == "" || key == "" || u.User != nil || u.Port() != "" || u.Fragment != "" || len(query) > 0 {
		return "", "", "", errors.New("an s3: URI is s3://bucket/key, and may end in ?versionId=…")
	}
	return bucket, key, version, nil
}

// s3Request makes a GET of an object, not yet signed.
func (c *Cache) s3Request(ctx context.Context, uri string) (*http.Request, error) {
	bucket, key, version, err := parseS3(uri)
	if err != nil {
		return nil, err
	}
	u, err := c.s3URL(bucket, key)
	if err != nil {
		return nil, err
	}
	if version != "" {
		u.RawQuery = "versionId=" + url.QueryEscape(version)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Amz-Checksum-Mode", "ENABLED")
	req.Header.Set("X-Amz-Content-Sha256", emptyPayload)
	return req, nil
}

// s3URL is where an object lies. The key is escaped as signatures want it.
func (c *Cache) s3URL(bucket, key string) (*url.URL, error) {
	s := &c.cfg.S3
	endpoint, virtual := s.Endpoint, s.VirtualHost
	if endpoint == "" {
		endpoint, virtual = "https://s3."+c.region()+".amazonaws.com", !strings.Contains(bucket, ".")
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the S3 endpoint is no http: or https: URI")
	}
	path := strings.TrimSuffix(u.Path, "/")
	if virtual {
		u.Host = bucket + "." + u.Host
	} else {
		path += "/" + bucket
	}
	u.Path, u.RawPath = path+"/"+key, path+"/"+escapeKey(key)
	return u, nil
}

// escapeKey escapes all but the letters that AWS leaves alone, and slashes.
func escapeKey(key string) string {
	var b strings.Builder
	for _, c := range []byte(key) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.~/", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// region is where requests are signed for.
func (c *Cache) region() string {
	if r := c.found.Load(); r != nil {
		return *r
	}
	if c.cfg.S3.Region != "" {
		return c.cfg.S3.Region
	}
	return defaultRegion
}

// movedRegion notes in which region AWS says that a bucket is, and reports
// whether that is another than was asked.
func (c *Cache) movedRegion(resp *http.Response) bool {
	r := resp.Header.Get("X-Amz-Bucket-Region")
	refused := resp.StatusCode >= 300 && resp.StatusCode < 500
	if !refused || c.cfg.S3.Endpoint != "" || !plainRegion(r) || r == c.region() {
		return false
	}
	c.found.Store(&r)
	return true
}

func plainRegion(r string) bool {
	return r != "" && len(r) < 40 && strings.Trim(r, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// sign signs a request by AWS's Signature Version 4, where there are
// credentials.
func (c *Cache) sign(ctx context.Context, req *http.Request, now time.Time) error {
	s := &c.cfg.S3
	if s.AccessKey == "" {
		return nil
	}
	credentials := aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey, SessionToken: s.SessionToken}
	return v4.NewSigner().SignHTTP(ctx, credentials, req, emptyPayload, "s3", c.region(), now,
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
}
