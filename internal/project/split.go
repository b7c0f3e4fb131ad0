package project

import (
	"encoding/json"
	"sync"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/config"
)

// split is an indexed source whose list of parts is read when somebody needs more
// of it than what is remembered: a build with nothing to do does not.
type split struct {
	memo   *config.Memo
	text   []byte // the list, as JSON
	digest graph.Digest

	mu     sync.Mutex
	parts  []graph.Part // once read is true
	read   bool
	placed map[*graph.Vertex]*graph.Placed
}

// newSplit returns the split that a text with this digest tells of. A text that was
// read before is not read.
func newSplit(memo *config.Memo, text []byte, digest graph.Digest) (*split, error) {
	s := &split{memo: memo, text: text, digest: digest, placed: map[*graph.Vertex]*graph.Placed{}}
	var sound bool
	if memo.Recall(&sound, "parts", s.digest[:]) && sound {
		return s, nil
	}
	if _, err := s.list(); err != nil {
		return nil, err
	}
	memo.Remember(true, "parts", s.digest[:])
	return s, nil
}

// list returns the parts; s.mu is held, or nobody else has s.
func (s *split) list() ([]graph.Part, error) {
	if s.read {
		return s.parts, nil
	}
	if err := json.Unmarshal(s.text, &s.parts); err != nil {
		return nil, err
	}
	s.read, s.text = true, nil
	return s.parts, nil
}

// Key implements graph.Split.
func (s *split) Key(v *graph.Vertex) (key graph.PartsKey, err error) {
	placing, err := v.Placing()
	if err != nil {
		return key, err
	}
	if s.memo.Recall(&key, "places", s.digest[:], placing) {
		return key, nil
	}
	p, err := s.Place(v)
	if err != nil {
		return key, err
	}
	if key, err = p.Key(); err == nil {
		s.memo.Remember(key, "places", s.digest[:], placing)
	}
	return key, err
}

// Place implements graph.Split.
func (s *split) Place(v *graph.Vertex) (*graph.Placed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.placed[v]; p != nil {
		return p, nil
	}
	parts, err := s.list()
	if err != nil {
		return nil, err
	}
	p, err := v.Place(parts)
	if err == nil {
		s.placed[v] = p
	}
	return p, err
}
