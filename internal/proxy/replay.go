package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"

	"github.com/cubebuild/cube/internal/source"
)

// replay answers a request from what is known, and reports whether it did. A
// body that is not at hand is fetched again where that is allowed.
func (p *Proxy) replay(ctx context.Context, w http.ResponseWriter, a *asked) bool {
	known, turn := p.known[a.key], a.turn
	if len(known) == 0 {
		return false
	}
	e := known[min(turn, len(known)-1)]
	var body io.Reader = http.NoBody
	if !e.Response.Body.IsZero() {
		path, err := p.cfg.Store.Find(ctx, e.Response.Body, e.Request.URL)
		missing := errors.Is(err, source.ErrDamaged) || errors.Is(err, fs.ErrNotExist)
		if missing && !p.cfg.Replay {
			return false
		}
		var f *os.File
		if err == nil {
			f, err = os.Open(path)
		}
		if err != nil {
			p.fail(fmt.Errorf("answer of %s to replay: %w", e.Request.URL, err))
			http.Error(w, "network: an answer is not at hand", http.StatusBadGateway)
			return true
		}
		defer f.Close()
		body = f
	}
	if turn < len(known) {
		p.record(e, a.key, turn)
	}
	length := e.Response.Size
	if a.Method == http.MethodHead {
		length = -1 // as it is recorded
	}
	setHeaders(w.Header(), e.Response.Headers)
	writeHead(w, e.Response.Status, length)
	_, _ = io.Copy(w, body) // a driver that is gone wants no more
	return true
}

func setHeaders(h http.Header, recorded map[string]string) {
	for name, value := range recorded {
		h.Set(name, value)
	}
}

// writeHead gives a driver the head of an answer, whose body has a length, or
// one of -1 where it is not known or goes without saying. It adds nothing of
// this moment, and nothing that was guessed.
func writeHead(w http.ResponseWriter, status int, length int64) {
	h := w.Header()
	h["Date"] = nil
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil
	}
	if length >= 0 && status != http.StatusNotModified && status != http.StatusNoContent {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	w.WriteHeader(status)
}
