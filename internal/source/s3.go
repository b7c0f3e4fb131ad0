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

// askS3 asks for an object, and again where AWS says that its bucket is in another
// region.
func (c *Cache) askS3(ctx context.Context, w Want, part *partial) (*http.Response, error) {
	bucket, _, _, err := parseS3(w.URI)
	if err != nil {
		return nil, &finalError{err}
	}
	region := c.region(bucket)
	resp, err := c.sendS3(ctx, w, part, region)
	if err != nil {
		return nil, err
	}
	if moved := c.moved(resp, region); moved != "" {
		c.found.Store(bucket, moved)
		resp.Body.Close()
		return c.sendS3(ctx, w, part, moved)
	}
	return resp, nil
}

func (c *Cache) sendS3(ctx context.Context, w Want, part *partial, region string) (*http.Response, error) {
	req, err := c.s3Request(ctx, w.URI, region)
	if err != nil {
		return nil, &finalError{err}
	}
	part.ask(req.Header)
	if err := c.sign(ctx, req, region, time.Now()); err != nil {
		return nil, &finalError{err}
	}
	return c.send(req)
}

// s3Request makes a GET of an object in a region, not yet signed.
func (c *Cache) s3Request(ctx context.Context, uri, region string) (*http.Request, error) {
	bucket, key, version, err := parseS3(uri)
	if err != nil {
		return nil, err
	}
	u, err := c.s3URL(bucket, key, region)
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
func (c *Cache) s3URL(bucket, key, region string) (*url.URL, error) {
	s := &c.cfg.S3
	endpoint, virtual := s.Endpoint, s.VirtualHost
	if endpoint == "" {
		endpoint, virtual = awsEndpoint(region), !strings.Contains(bucket, ".")
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

// awsEndpoint is where AWS serves a region: those of China have a domain of their
// own.
func awsEndpoint(region string) string {
	domain := "amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		domain += ".cn"
	}
	return "https://s3." + region + "." + domain
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

// region is where requests for a bucket are signed for.
func (c *Cache) region(bucket string) string {
	if r, ok := c.found.Load(bucket); ok {
		return r.(string)
	}
	if c.cfg.S3.Region != "" {
		return c.cfg.S3.Region
	}
	return defaultRegion
}

// moved is the region that AWS says a bucket is in, where that is another than was
// asked, or "".
func (c *Cache) moved(resp *http.Response, asked string) string {
	r := resp.Header.Get("X-Amz-Bucket-Region")
	refused := resp.StatusCode >= 300 && resp.StatusCode < 500
	if !refused || c.cfg.S3.Endpoint != "" || !plainRegion(r) || r == asked {
		return ""
	}
	return r
}

func plainRegion(r string) bool {
	return r != "" && len(r) < 40 && strings.Trim(r, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// sign signs a request for a region by AWS's Signature Version 4, where there are
// credentials.
func (c *Cache) sign(ctx context.Context, req *http.Request, region string, now time.Time) error {
	s := &c.cfg.S3
	if s.AccessKey == "" {
		return nil
	}
	credentials := aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey, SessionToken: s.SessionToken}
	return v4.NewSigner().SignHTTP(ctx, credentials, req, emptyPayload, "s3", region, now,
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
}
