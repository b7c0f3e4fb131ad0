package lineage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/cubebuild/cube/graph"
)

// index knows in which line of which run each version was made. It reads only
// the beginnings of lines, and each line once.
type index struct {
	mu       sync.Mutex
	read     map[string]int64 // by run: how far vertices.ndjson was read
	made     map[madeKey][]place
	derived  map[graph.Digest][]place
	instance map[instanceKey][]place
}

type madeKey struct {
	variable string
	version  graph.Digest
}

type instanceKey struct{ instance, grid string }

// place is a line of a run's vertices.ndjson. The first place of a list is the
// oldest.
type place struct {
	run    string
	offset int64
}

// ByVersion returns the first vertex that made a version of a variable, and its
// run. It is [ErrNoRecord] where no run tells of it.
func (s *Store) ByVersion(variable string, version graph.Digest) (Vertex, Run, error) {
	v, run, err := s.find(first, func(x *index) []place { return x.made[madeKey{variable, version}] })
	if err != nil {
		err = fmt.Errorf("%s version %s: %w", variable, version.Short(), err)
	}
	return v, run, err
}

// LastByVersion is ByVersion for the last vertex that made the version.
func (s *Store) LastByVersion(variable string, version graph.Digest) (Vertex, Run, error) {
	v, run, err := s.find(last, func(x *index) []place { return x.made[madeKey{variable, version}] })
	if err != nil {
		err = fmt.Errorf("%s version %s: %w", variable, version.Short(), err)
	}
	return v, run, err
}

// ByDerivation returns the last vertex with a derivation key, and its run.
func (s *Store) ByDerivation(key graph.Digest) (Vertex, Run, error) {
	v, run, err := s.find(last, func(x *index) []place { return x.derived[key] })
	if err != nil {
		err = fmt.Errorf("derivation %s: %w", key.Short(), err)
	}
	return v, run, err
}

// Last returns the newest record of an instance on a grid, and its run.
func (s *Store) Last(instance, grid string) (Vertex, Run, error) {
	v, run, err := s.find(last, func(x *index) []place { return x.instance[instanceKey{instance, grid}] })
	if err != nil {
		err = fmt.Errorf("instance %s: %w", instance, err)
	}
	return v, run, err
}

func first(p []place) place { return p[0] }
func last(p []place) place  { return p[len(p)-1] }

// find brings the index up to date and reads the record at the place that pick
// chooses among those that look finds.
func (s *Store) find(pick func([]place) place, look func(*index) []place) (Vertex, Run, error) {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	if err := s.index.update(s); err != nil {
		return Vertex{}, Run{}, err
	}
	found := look(&s.index)
	if len(found) == 0 {
		return Vertex{}, Run{}, ErrNoRecord
	}
	at := pick(found)
	run, err := s.Summary(at.run)
	if err != nil {
		return Vertex{}, Run{}, err
	}
	for v, err := range s.VerticesFrom(at.run, at.offset) {
		return v.Record, run, err
	}
	return Vertex{}, Run{}, ErrNoRecord
}

// forget has the next update read all runs again.
func (x *index) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.read = nil
}

// update reads the lines that were added since.
func (x *index) update(s *Store) error {
	ids, err := s.IDs()
	if err != nil {
		return err
	}
	if x.read == nil || !x.appendable(s, ids) {
		x.read, x.made = map[string]int64{}, map[madeKey][]place{}
		x.derived, x.instance = map[graph.Digest][]place{}, map[instanceKey][]place{}
	}
	for _, id := range ids {
		if err := x.scan(s, id); err != nil {
			return err
		}
	}
	return nil
}

// appendable reports whether only the newest run that was read has grown, so
// that what is added keeps the order.
func (x *index) appendable(s *Store, ids []string) bool {
	known, grown := 0, false
	for _, id := range ids {
		read, ok := x.read[id]
		if ok {
			known++
		}
		if grown && ok {
			return false
		}
		fi, err := os.Stat(s.dir + "/" + id + "/" + verticesFile)
		grown = grown || !ok || err == nil && fi.Size() > read
	}
	return known == len(x.read)
}

func (x *index) scan(s *Store, id string) error {
	path, err := s.path(id, verticesFile)
	if err != nil {
		return err
	}
	x.read[id] += 0 // a run without vertices is known, too
	for l, err := range fileLines(path, x.read[id]) {
		var damage *DamageError
		if errors.As(err, &damage) {
			break
		}
		if err != nil {
			return fmt.Errorf("index runs: %w", err)
		}
		x.add(place{id, l.offset}, l.text)
		x.read[id] = l.end()
	}
	return nil
}

// add indexes a line; one that is no record is passed over, and complained of
// by those who read it.
func (x *index) add(at place, text []byte) {
	h, ok := readHead(text)
	if !ok {
		return
	}
	for _, o := range h.outputs {
		if !o.Version.IsZero() {
			k := madeKey{o.Variable, o.Version}
			x.made[k] = append(x.made[k], at)
		}
	}
	if !h.derivation.IsZero() {
		x.derived[h.derivation] = append(x.derived[h.derivation], at)
	}
	k := instanceKey{h.instance, h.grid}
	x.instance[k] = append(x.instance[k], at)
}

// head is what the beginning of a vertex says.
type head struct {
	instance, grid string
	derivation     graph.Digest
	outputs        []Output
}

// readHead reads the head of a line {"digest":…,"vertex":{…}} and stops where
// it has all.
func readHead(text []byte) (h head, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if !enter(dec, "vertex") {
		return h, false
	}
	fields := map[string]any{"instance": &h.instance, "grid": &h.grid, "derivation": &h.derivation, "outputs": &h.outputs}
	for len(fields) > 0 && dec.More() {
		name, err := dec.Token()
		if err != nil {
			return h, false
		}
		var skip json.RawMessage
		into, want := fields[name.(string)]
		if !want {
			into = &skip
		}
		if dec.Decode(into) != nil {
			return h, false
		}
		delete(fields, name.(string))
	}
	return h, true
}

// enter moves dec into the object that is the value of key in the outer one.
func enter(dec *json.Decoder, key string) bool {
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return false
		}
		if name == key {
			t, err := dec.Token()
			return err == nil && t == json.Delim('{')
		}
		var skip json.RawMessage
		if dec.Decode(&skip) != nil {
			return false
		}
	}
	return false
}
