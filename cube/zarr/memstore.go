package zarr

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
)

// A MemStore is a Store in memory. Its zero value is empty and ready for use.
type MemStore struct {
	mu     sync.RWMutex
	values map[string][]byte
}

var _ Store = (*MemStore)(nil)

// Get implements Reader.
func (s *MemStore) Get(ctx context.Context, key string, dst []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return dst, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	value, ok := s.values[key]
	if !ok {
		return dst, fmt.Errorf("get %s: %w", key, ErrNotExist)
	}
	return append(dst, value...), nil
}

// Set implements Writer.
func (s *MemStore) Set(ctx context.Context, key string, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkKey(key); err != nil {
		return fmt.Errorf("set: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values == nil {
		s.values = make(map[string][]byte)
	}
	s.values[key] = bytes.Clone(value)
	return nil
}

// Delete implements Deleter.
func (s *MemStore) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.values, key)
	return nil
}

// List implements Lister.
func (s *MemStore) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := ctx.Err(); err != nil {
			yield("", err)
			return
		}
		for _, name := range s.names(prefix) {
			if !yield(name, nil) {
				return
			}
		}
	}
}

func (s *MemStore) names(prefix string) []string {
	if prefix != "" {
		prefix += "/"
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var names []string
	for key := range s.values {
		rest, ok := strings.CutPrefix(key, prefix)
		if !ok {
			continue
		}
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			rest = rest[:i+1]
		}
		names = append(names, rest)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
