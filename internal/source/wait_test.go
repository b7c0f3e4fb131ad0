package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cubebuild/cube/graph"
)

// pipes is a listener whose connections are in memory: while all wait for each
// other, the time of a test's bubble goes on, and none passes outside.
type pipes chan net.Conn

func (p pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p <- there:
		return here, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

const slowURI = "http://data.example/dem.tif"

// slow tells a story of waiting: a cache with the limits that users have, and a
// server at slowURI that counts how often it is asked.
func slow(t *testing.T, answer http.HandlerFunc, story func(t *testing.T, c *Cache, asked *atomic.Int64)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		asked := new(atomic.Int64)
		l := make(pipes)
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Add(1); answer(w, r) })}
		go srv.Serve(l)
		defer srv.Shutdown(context.Background()) // when its last answer has ended
		c := Open(Config{Dir: t.TempDir()})
		c.client.Transport.(*http.Transport).DialContext = l.dial
		story(t, c, asked)
	})
}

func TestATrickleIsWaitedFor(t *testing.T) {
	t.Parallel()
	const text = "a raster that comes slowly"
	slow(t, func(w http.ResponseWriter, r *http.Request) {
		for i := range len(text) {
			fmt.Fprint(w, text[i:i+1])
			w.(http.Flusher).Flush()
			time.Sleep(defaultWaits.idle / 3) // all of it takes longer than that
		}
	}, func(t *testing.T, c *Cache, asked *atomic.Int64) {
		p, err := c.Pin(t.Context(), "", Want{URI: slowURI})
		if err != nil || p.SHA256 != graph.Sum([]byte(text)) || asked.Load() != 1 {
			t.Errorf("%v %v, asked %d times", p, err, asked.Load())
		}
	})
}

func TestSilenceIsGivenUp(t *testing.T) {
	t.Parallel()
	slow(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "a part")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}, func(t *testing.T, c *Cache, asked *atomic.Int64) {
		began := time.Now()
		_, err := c.Pin(t.Context(), "", Want{URI: slowURI})
		if err == nil || !strings.Contains(err.Error(), "nothing came for 1m0s") || asked.Load() != attempts {
			t.Errorf("%v, asked %d times", err, asked.Load())
		}
		if took := time.Since(began); took < attempts*defaultWaits.idle || took > attempts*defaultWaits.idle+time.Minute {
			t.Errorf("after %v", took)
		}
		checkEmpty(t, c)
	})
}

func TestAServerThatNeverAnswersIsGivenUp(t *testing.T) {
	t.Parallel()
	slow(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, func(t *testing.T, c *Cache, asked *atomic.Int64) {
		if _, err := c.Pin(t.Context(), "", Want{URI: slowURI}); err == nil || !strings.Contains(err.Error(), "timeout") || asked.Load() != attempts {
			t.Errorf("got %v, asked %d times", err, asked.Load())
		}
	})
}

func TestADripIsGivenUp(t *testing.T) {
	t.Parallel()
	slow(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			fmt.Fprint(w, "x")
			w.(http.Flusher).Flush()
			time.Sleep(defaultWaits.idle / 2)
		}
	}, func(t *testing.T, c *Cache, _ *atomic.Int64) {
		if _, err := c.Pin(t.Context(), "", Want{URI: slowURI}); err == nil || !strings.Contains(err.Error(), "too slow") {
			t.Errorf("got %v", err)
		}
		checkEmpty(t, c)
	})
}

func TestABusyServerIsLeftAloneForAsLongAsItAsks(t *testing.T) {
	t.Parallel()
	var first, second time.Time
	slow(t, func(w http.ResponseWriter, r *http.Request) {
		if first.IsZero() {
			first = time.Now()
			w.Header().Set("Retry-After", "77")
			w.WriteHeader(429)
			return
		}
		second = time.Now()
		serveRaster(w, r)
	}, func(t *testing.T, c *Cache, asked *atomic.Int64) {
		wantRaster(t, c, slowURI)
		if waited := second.Sub(first); asked.Load() != 2 || waited != 77*time.Second {
			t.Errorf("asked %d times, the second %v after the first", asked.Load(), waited)
		}
	})
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "-7": 0, "x": 0, "99999999999999999999": 0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2025 03:05:05 GMT": 0} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestAServerMayNotAskToBeLeftAloneForEver(t *testing.T) {
	t.Parallel()
	slow(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "86400")
		w.WriteHeader(503)
	}, func(t *testing.T, c *Cache, asked *atomic.Int64) {
		began := time.Now()
		_, err := c.Pin(t.Context(), "", Want{URI: slowURI})
		if took := time.Since(began); err == nil || asked.Load() != attempts || took != (attempts-1)*defaultWaits.longer {
			t.Errorf("got %v, asked %d times, %v", err, asked.Load(), took)
		}
	})
}

func TestAFetchEndsBetweenAttemptsToo(t *testing.T) {
	t.Parallel()
	cause := errors.New("enough")
	slow(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) }, func(t *testing.T, c *Cache, asked *atomic.Int64) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(defaultWaits.pause/2, func() { cancel(cause) })
		if _, err := c.Pin(ctx, "", Want{URI: slowURI}); !errors.Is(err, cause) || asked.Load() != 1 {
			t.Errorf("got %v, asked %d times", err, asked.Load())
		}
	})
}

func TestAFetchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	slow(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, func(t *testing.T, c *Cache, _ *atomic.Int64) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Pin(ctx, "", Want{URI: slowURI}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
