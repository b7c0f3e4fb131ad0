package source

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/cubebuild/cube/graph"
)

// The credentials and the answers of AWS's own example of a signed GET.
const (
	exampleKey    = "AKIAIOSFODNN7EXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

func TestARequestIsSignedAsAWSPublishedIt(t *testing.T) {
	t.Parallel()
	c := Open(Config{S3: S3{AccessKey: exampleKey, SecretKey: exampleSecret}})
	req, err := c.s3Request(t.Context(), "s3://examplebucket/test.txt", defaultRegion)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Host, req.Host = "examplebucket.s3.amazonaws.com", "" // the example is older than regions in names
	req.Header.Del("X-Amz-Checksum-Mode")                         // and than checksums
	req.Header.Set("Range", "bytes=0-9")
	if err := c.sign(t.Context(), req, c.region("examplebucket"), time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	want := "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, " +
		"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, " +
		"Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
	if got := req.Header.Get("Authorization"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAnObjectIsAskedForWhereItLies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s3        S3
		uri, want string
	}{
		{S3{}, "s3://bucket/a/b c.tif", "https://bucket.s3.us-east-1.amazonaws.com/a/b%20c.tif"},
		{S3{Region: "eu-west-1"}, "s3://dotted.bucket/x", "https://s3.eu-west-1.amazonaws.com/dotted.bucket/x"},
		{S3{Region: "cn-north-1"}, "s3://bucket/x", "https://bucket.s3.cn-north-1.amazonaws.com.cn/x"},
		{S3{}, "s3://bucket/x?versionId=a%2Fb", "https://bucket.s3.us-east-1.amazonaws.com/x?versionId=a%2Fb"},
		{S3{Endpoint: "http://minio:9000"}, "s3://bucket/x+(1)=é", "http://minio:9000/bucket/x%2B%281%29%3D%C3%A9"},
		{S3{Endpoint: "https://minio/base/", VirtualHost: true}, "s3://bucket/x", "https://bucket.minio/base/x"},
	} {
		cache := Open(Config{S3: c.s3})
		req, err := cache.s3Request(t.Context(), c.uri, cache.region("bucket"))
		if err != nil || req.URL.String() != c.want {
			t.Errorf("%s: got %v %v, want %s", c.uri, req, err, c.want)
		}
	}
	for _, uri := range []string{"s3://bucket", "s3://bucket/", "s3:///key", "s3://me@bucket/x", "s3://bucket:1/x", "s3://bucket/x?acl", "s3://bucket/x#y"} {
		if _, err := Open(Config{}).Pin(t.Context(), "", Want{URI: uri}); err == nil || !strings.Contains(err.Error(), "s3://bucket/key") {
			t.Errorf("%s: got %v", uri, err)
		}
	}
	if _, err := Open(Config{S3: S3{Endpoint: "file:///etc"}}).s3Request(t.Context(), "s3://bucket/x", defaultRegion); err == nil {
		t.Error("an endpoint of files was taken")
	}
}

// s3Server speaks S3 and holds one bucket. It refuses a request whose signature
// is not what the server makes of it itself with its secret; without a key all
// may read.
func s3Server(t *testing.T, s3 S3, objects map[string]string) (endpoint string) {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("data"); err != nil {
		t.Fatal(err)
	}
	for key, text := range objects {
		if _, err := backend.PutObject("data", key, map[string]string{}, strings.NewReader(text), int64(len(text)), nil); err != nil {
			t.Fatal(err)
		}
	}
	fake := gofakes3.New(backend).Server()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !signed(r, s3) {
			http.Error(w, "SignatureDoesNotMatch", http.StatusForbidden)
			return
		}
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func signed(r *http.Request, s3 S3) bool {
	got := r.Header.Get("Authorization")
	if s3.AccessKey == "" {
		return got == ""
	}
	date, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return false
	}
	again := r.Clone(context.Background())
	again.URL = &url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	for name := range again.Header {
		if !strings.Contains(got, strings.ToLower(name)) {
			again.Header.Del(name)
		}
	}
	c := Open(Config{S3: s3})
	return c.sign(r.Context(), again, c.region("data"), date) == nil && again.Header.Get("Authorization") == got
}

func TestObjectsAreFetchedFromAServerThatSpeaksS3(t *testing.T) {
	t.Parallel()
	objects := map[string]string{"plain.tif": "raster", "a folder/it's (one)+é.tif": "another"}
	keys := S3{AccessKey: exampleKey, SecretKey: exampleSecret, SessionToken: "a token", Region: "eu-north-1"}
	for name, s3 := range map[string]S3{"signed": keys, "public": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s3.Endpoint = s3Server(t, s3, objects)
			c := quick(Config{Dir: t.TempDir(), S3: s3})
			for key, text := range objects {
				p, err := c.Pin(t.Context(), "", Want{URI: "s3://data/" + strings.ReplaceAll(key, " ", "%20")})
				if err != nil || p.SHA256 != graph.Sum([]byte(text)) {
					t.Errorf("%s: %v %v", key, p, err)
				}
			}
			if _, err := c.Pin(t.Context(), "", Want{URI: "s3://data/absent"}); err == nil || !strings.Contains(err.Error(), "404") {
				t.Errorf("absent: %v", err)
			}
		})
	}
	wrong := keys
	wrong.Endpoint, wrong.SecretKey = s3Server(t, keys, objects), "another secret"
	_, err := quick(Config{Dir: t.TempDir(), S3: wrong}).Pin(t.Context(), "", Want{URI: "s3://data/plain.tif"})
	if err == nil || !strings.Contains(err.Error(), "403") || strings.Contains(err.Error(), "another secret") {
		t.Errorf("a wrong secret: %v", err)
	}
	_, err = quick(Config{Dir: t.TempDir(), S3: S3{Endpoint: wrong.Endpoint}}).Pin(t.Context(), "", Want{URI: "s3://data/plain.tif"})
	if err == nil || !strings.Contains(err.Error(), "403 Forbidden, and there are no credentials") {
		t.Errorf("no credentials: %v", err)
	}
}

// TestABucketIsFollowedToItsRegion holds that AWS is asked again where it says that
// a bucket is, each bucket for itself, also where many are asked for at once.
func TestABucketIsFollowedToItsRegion(t *testing.T) {
	t.Parallel()
	where := map[string]string{"far": "eu-west-1", "farther": "ap-south-1", "near": "us-east-1"}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bucket, rest, _ := strings.Cut(r.Host, ".s3.")
		region, scope := where[bucket], strings.Split(r.Header.Get("Authorization"), "/")
		if rest != region+".amazonaws.com" || len(scope) < 3 || scope[2] != region {
			w.Header().Set("X-Amz-Bucket-Region", region)
			w.WriteHeader(http.StatusMovedPermanently)
			return
		}
		_, _ = io.WriteString(w, bucket+r.URL.Path)
	}))
	defer srv.Close()
	c := quick(Config{Dir: t.TempDir(), S3: S3{AccessKey: exampleKey, SecretKey: exampleSecret}})
	transport := c.client.Transport.(*http.Transport)
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // it is no AWS
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, srv.Listener.Addr().String())
	}
	var all sync.WaitGroup
	for bucket := range where {
		for i := range 8 {
			all.Go(func() {
				p, err := c.Pin(t.Context(), "", Want{URI: fmt.Sprintf("s3://%s/%d", bucket, i)})
				if err != nil || p.SHA256 != graph.Sum(fmt.Appendf(nil, "%s/%d", bucket, i)) {
					t.Errorf("%s: %v %v", bucket, p, err)
				}
			})
		}
	}
	all.Wait()
}

func TestAnObjectIsGoneOnWith(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("raster ", 50_000)
	s3 := S3{AccessKey: exampleKey, SecretKey: exampleSecret}
	s3.Endpoint = s3Server(t, s3, map[string]string{"dem.tif": text})
	c := quick(Config{Dir: t.TempDir(), S3: s3})
	asked := cutting(t, c, 100_000)
	p, err := c.Pin(t.Context(), "", Want{URI: "s3://data/dem.tif"})
	if err != nil || p.SHA256 != graph.Sum([]byte(text)) || asked.Load() != 4 {
		t.Errorf("%v %v, asked %d times", p, err, asked.Load())
	}
}
