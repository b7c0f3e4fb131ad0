package source

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// racy is how long before it is read a file must have been changed for its
// times to tell of a later change.
const racy = 2 * time.Second

// stats remembers what files hashed to. It is a hint: what cannot be read is
// forgotten.
type stats struct {
	path, temp string

	once  sync.Once
	mu    sync.Mutex
	files map[string]stat
	dirty bool
}

type stat struct {
	Size  int64  `json:"size"`
	MTime int64  `json:"mtime"`
	CTime int64  `json:"ctime"`
	Inode uint64 `json:"inode"`
	Dev   uint64 `json:"dev"`
	Racy  bool   `json:"racy,omitempty"`
	Pin   Pin    `json:"pin"`
}

func openStats(path, temp string) *stats { return &stats{path: path, temp: temp} }

func statOf(info os.FileInfo) stat {
	s := stat{Size: info.Size(), MTime: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.CTime, s.Inode, s.Dev = st.Ctim.Nano(), st.Ino, uint64(st.Dev)
	}
	return s
}

func sameStat(a, b os.FileInfo) bool { return statOf(a) == statOf(b) }

func (s *stats) load() {
	s.once.Do(func() {
		b, err := os.ReadFile(s.path)
		if err != nil || json.Unmarshal(b, &s.files) != nil || s.files == nil {
			s.files = map[string]stat{}
		}
	})
}

// get returns what a file hashed to, if nothing says that it has changed.
func (s *stats) get(path string, info os.FileInfo) (Pin, bool) {
	s.load()
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.files[abs(path)]
	pin, now := known.Pin, statOf(info)
	if !ok || known.Racy {
		return Pin{}, false
	}
	known.Pin = Pin{}
	return pin, known == now
}

func (s *stats) put(path string, info os.FileInfo, read time.Time, p Pin) {
	s.load()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := statOf(info)
	st.Racy = read.Sub(info.ModTime()) < racy || read.Sub(time.Unix(0, st.CTime)) < racy
	st.Pin = p
	s.files[abs(path)] = st
	s.dirty = true
}

func abs(path string) string {
	if a, err := filepath.Abs(path); err == nil {
		return a
	}
	return path
}

// maxStats is how many files are remembered that may be gone.
const maxStats = 1024

// prune forgets files that are gone, once there are many.
func (s *stats) prune() {
	if len(s.files) <= maxStats {
		return
	}
	for path := range s.files {
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			delete(s.files, path)
		}
	}
}

// save replaces the file at once; of two processes that do, one's hints are lost.
func (s *stats) save() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty {
		return nil
	}
	s.prune()
	b, err := json.Marshal(s.files)
	if err != nil {
		return err
	}
	f, err := createTemp(s.temp)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = f.Write(b); err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		return errors.Join(err, ignoreNotExist(os.Remove(f.Name())))
	}
	s.dirty = false
	return nil
}
