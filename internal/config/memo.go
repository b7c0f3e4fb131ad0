package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/images"
	"github.com/cubebuild/cube/internal/wholefile"
)

// Memo remembers what came of texts that were read before, so that reading them
// again costs no parser and no schema compiler: of a producer.yaml its
// contract, of params what they are with their defaults, of parts of sources
// where they lie. Each is known by a digest of all that it was made from, and holds
// for one program only, so a memo can be slow but never wrong. Mistakes are not
// remembered.
//
// A memo is a file of JSON, sealed; one that is not there, is of another program or is
// damaged is as good as empty. Its methods may be called at once, and on nil.
type Memo struct {
	path, program string

	once       sync.Once
	mu         sync.Mutex
	have, used map[string]json.RawMessage
	dirty      bool
}

// memoFile is what the file holds.
type memoFile struct {
	Program string                     `json:"program"`
	Entries map[string]json.RawMessage `json:"entries"`
}

// maxMemo bounds what is read of the file.
const maxMemo = 16 << 20

// OpenMemo returns the memo of a file, which is read when it is first needed.
// The program is a text that differs from build to build of the program.
func OpenMemo(path, program string) *Memo { return &Memo{path: path, program: program} }

// Contract is what a producer.yaml says.
type Contract struct {
	Manifest graph.Manifest
	Label    []byte // of the manifest; see [Label]
	Recipe   images.Recipe
}

// LoadContract is LoadProducer, of which it takes what the memo knows.
func (m *Memo) LoadContract(dir fs.FS, name string) (*Contract, error) {
	text, err := readProducer(dir, name)
	if err != nil {
		return nil, err
	}
	var kept struct {
		Label  []byte // not as JSON, which would be written in another way
		Recipe images.Recipe
	}
	c := new(Contract)
	key := memoKey("contract", text)
	if m.get(key, &kept) && json.Unmarshal(kept.Label, &c.Manifest) == nil {
		c.Label, c.Recipe = kept.Label, kept.Recipe
		return c, nil
	}
	p, err := ParseProducer(name+"/"+ProducerName, text)
	if err != nil {
		return nil, err
	}
	label, err := Label(p.Manifest)
	if err != nil {
		return nil, err
	}
	kept.Label, kept.Recipe = label, p.Recipe
	m.put(key, kept)
	return &Contract{p.Manifest, label, p.Recipe}, nil
}

// params is applyParams, of which it takes what the memo knows.
func (m *Memo) params(manifest graph.Manifest, v any) (json.RawMessage, []problem, error) {
	if m == nil || len(manifest.Params) == 0 {
		return applyParams(manifest, v)
	}
	given, err := json.Marshal(v)
	if err != nil {
		return nil, nil, fmt.Errorf("params of %s: %w", manifest.Name, err)
	}
	var kept []byte
	key := memoKey("params", manifest.Params, given)
	if m.get(key, &kept) {
		return kept, nil, nil
	}
	raw, wrong, err := applyParams(manifest, v)
	if err == nil && len(wrong) == 0 {
		m.put(key, []byte(raw))
	}
	return raw, wrong, err
}

// Recall finds what was remembered of something that was made from these texts.
func (m *Memo) Recall(into any, what string, from ...[]byte) bool {
	return m.get(memoKey(what, from...), into)
}

// Remember notes what was made from these texts, and from nothing else.
func (m *Memo) Remember(v any, what string, from ...[]byte) { m.put(memoKey(what, from...), v) }

// memoKey is the digest of what something was made from.
func memoKey(what string, parts ...[]byte) string {
	b := []byte(what)
	for _, p := range parts {
		d := graph.Sum(p)
		b = append(b, d[:]...)
	}
	return graph.Sum(b).Hex()
}

func (m *Memo) load() {
	m.have, m.used = map[string]json.RawMessage{}, map[string]json.RawMessage{}
	sealed, err := readAtMost(m.path, maxMemo)
	text, _, whole := wholefile.Unseal(sealed)
	var f memoFile
	if err == nil && whole && json.Unmarshal(text, &f) == nil && f.Program == m.program && f.Entries != nil {
		m.have = f.Entries
	}
}

func (m *Memo) get(key string, into any) bool {
	if m == nil {
		return false
	}
	m.once.Do(m.load)
	m.mu.Lock()
	defer m.mu.Unlock()
	raw, ok := m.have[key]
	if !ok || json.Unmarshal(raw, into) != nil {
		return false
	}
	m.used[key] = raw
	return true
}

func (m *Memo) put(key string, v any) {
	if m == nil {
		return
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return
	}
	m.once.Do(m.load)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.have[key], m.used[key], m.dirty = raw, raw, true
}

// Save writes the file where there is something new to remember. Where most of
// what it remembers was of no use since it was opened, that is forgotten.
func (m *Memo) Save() error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirty {
		return nil
	}
	if len(m.have) > 2*len(m.used)+16 {
		m.have = maps.Clone(m.used)
	}
	text, err := json.Marshal(memoFile{m.program, m.have})
	if err != nil {
		return err
	}
	dir := filepath.Dir(m.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "new-")
	if err != nil {
		return err
	}
	_, err = f.Write(wholefile.Seal(text))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), m.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	m.dirty = false
	return nil
}
