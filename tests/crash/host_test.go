package crash

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// farSize is how many bytes the source has that is fetched.
const farSize = 1 << 20

// far is one of the contents that it can have.
func far(number byte) []byte {
	b := make([]byte, farSize)
	_, _ = rand.NewChaCha8([32]byte{number, 1}).Read(b)
	return b
}

func farSum(number byte) [sha256.Size]byte { return sha256.Sum256(far(number)) }

// host serves sources. It takes a tenth of a second for each, and where it is
// hostile it does so in all the ways that servers fail.
type host struct {
	*httptest.Server

	mu      sync.Mutex
	rng     *rand.Rand
	hostile bool
	serving int            // answers that are under way
	did     map[string]int // faults, and fetches that went on where they broke off
}

func newHost(t *testing.T, rng *rand.Rand) *host {
	h := &host{rng: rng, did: map[string]int{}}
	h.Server = httptest.NewServer(h)
	t.Cleanup(func() {
		h.CloseClientConnections() // of processes that are stopped, perhaps
		h.Close()
	})
	return h
}

func (h *host) set(hostile bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hostile = hostile
}

// busy reports whether a fetch is under way.
func (h *host) busy() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.serving > 0
}

// took returns what the host did since it was last asked.
func (h *host) took() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	did := h.did
	h.did = map[string]int{}
	return did
}

// faults are what a hostile host does.
var faults = []string{"", "", "", "an error of the server", "a server that is too busy", "a connection cut", "a silence", "a silence, and a connection cut",
	"a flipped bit", "another part than was asked for", "a file cut short", "an endless redirect", "an endless body"}

// fault begins an answer, and chooses what is to be wrong with it.
func (h *host) fault() (what string, at int, end func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serving++
	if h.hostile {
		what, at = faults[h.rng.IntN(len(faults))], h.rng.IntN(farSize)
	}
	if what != "" {
		h.did[what]++
	}
	return what, at, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.serving--
	}
}

// ServeHTTP serves /seed-<number>.bin.
func (h *host) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var number byte
	if _, err := fmt.Sscanf(r.URL.Path, "/seed-%d.bin", &number); err != nil {
		http.NotFound(rw, r)
		return
	}
	what, at, end := h.fault()
	defer end()
	switch what {
	case "an error of the server":
		http.Error(rw, "no", http.StatusInternalServerError)
	case "a server that is too busy":
		rw.Header().Set("Retry-After", "1")
		http.Error(rw, "later", http.StatusServiceUnavailable)
	case "an endless redirect":
		http.Redirect(rw, r, r.URL.Path, http.StatusFound)
	case "an endless body":
		for zeros := make([]byte, 64<<10); r.Context().Err() == nil; {
			if _, err := rw.Write(zeros); err != nil {
				return
			}
		}
	default:
		h.serve(rw, r, number, what, at)
	}
}

// serve sends a source, or the rest of it, piece by piece.
func (h *host) serve(rw http.ResponseWriter, r *http.Request, number byte, what string, at int) {
	body, first := far(number), 0
	etag := fmt.Sprintf(`"%d"`, number)
	if n, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &first); n != 1 || err != nil || first >= farSize || r.Header.Get("If-Range") != etag {
		first = 0
	}
	rw.Header().Set("ETag", etag)
	if what == "a flipped bit" {
		body[at] ^= 1
	}
	if what == "a file cut short" {
		body = body[:max(at, first+1)]
	}
	rw.Header().Set("Content-Length", fmt.Sprint(len(body)-first))
	if first > 0 {
		from := first
		if what == "another part than was asked for" {
			from--
		}
		rw.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(body)-1, len(body)))
		rw.WriteHeader(http.StatusPartialContent)
		h.mu.Lock()
		h.did["a fetch went on"]++
		h.mu.Unlock()
	}
	h.send(rw, r, body[first:], what, at-first)
}

// send writes a body, in sixteen pieces of the whole, until it is cut at an offset.
func (h *host) send(rw http.ResponseWriter, r *http.Request, body []byte, what string, at int) {
	for sent := 0; sent < len(body) && r.Context().Err() == nil; {
		end := min(sent+farSize/16, len(body))
		reached := at >= sent && at < end
		if reached && strings.Contains(what, "a silence") {
			select {
			case <-r.Context().Done():
			case <-time.After(300 * time.Millisecond):
			}
		}
		if reached && strings.Contains(what, "a connection cut") {
			_, _ = rw.Write(body[sent:at])
			_ = http.NewResponseController(rw).Flush()
			panic(http.ErrAbortHandler)
		}
		if _, err := rw.Write(body[sent:end]); err != nil {
			return
		}
		_ = http.NewResponseController(rw).Flush()
		sent = end
		time.Sleep(6 * time.Millisecond)
	}
}
