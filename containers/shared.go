package containers

import (
	"context"
	"errors"
	"os"

	"github.com/cubebuild/cube/graph"
)

// worthSharing is the size of the smallest window that is shared: a smaller one
// is written sooner than it is mounted.
const worthSharing = 1 << 20

// sharedWindow is a window on disk that actions are shown. It stays when nobody
// uses it, until its room is wanted.
type sharedWindow struct {
	key     graph.Digest
	users   int
	release func()        // of its room
	ready   chan struct{} // closed when it is made
	dir     string
	err     error
}

// share returns the directory of the window with this key, which write makes
// where it is not there. It stays until leave is called. There is none, and
// leave is nil, for a window that is small, that no action has been given
// before, since most never come again, or that there is no room for: nobody
// waits for disk while he has a window that others may wait for.
func (s *Staging) share(ctx context.Context, key graph.Digest, size int64, write func(dir string) error) (dir string, leave func(), err error) {
	if size < worthSharing || size > s.conf.Disk || key.IsZero() {
		return "", nil, nil
	}
	w, mine := s.join(key)
	if w == nil {
		return "", nil, nil
	}
	if mine {
		w.err = s.make(w, size, write)
		if w.err != nil {
			s.forget(w)
		}
		close(w.ready)
	}
	select {
	case <-w.ready:
	case <-ctx.Done():
		s.leave(w)
		return "", nil, context.Cause(ctx)
	}
	if w.err != nil {
		s.leave(w)
		if mine && !errors.Is(w.err, errNoRoom) {
			return "", nil, w.err
		}
		return "", nil, nil // this action has a copy of its own
	}
	return w.dir, func() { s.leave(w) }, nil
}

// join counts one more user of a window; mine is true for the one who is to
// make it.
func (s *Staging) join(key graph.Digest) (w *sharedWindow, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w = s.windows[key]; w == nil {
		place := &s.once[key[0]]
		if *place != key {
			*place = key
			return nil, false
		}
		w, mine = &sharedWindow{key: key, ready: make(chan struct{})}, true
		s.windows[key] = w
	}
	if w.users == 0 && !mine {
		s.unused = deleteWindow(s.unused, w)
	}
	w.users++
	return w, mine
}

func (s *Staging) make(w *sharedWindow, size int64, write func(string) error) error {
	release, ok := s.atOnce(size)
	if !ok {
		return errNoRoom
	}
	var err error
	if w.dir, err = s.dir("window-"); err == nil {
		err = write(w.dir)
	}
	if err != nil {
		if w.dir != "" {
			removeAll(w.dir)
		}
		release()
		return err
	}
	w.release = release
	return os.Chmod(w.dir, 0o755) // others read it
}

// forget has the next action make the window anew.
func (s *Staging) forget(w *sharedWindow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.windows, w.key)
}

// leave counts a user out.
func (s *Staging) leave(w *sharedWindow) {
	s.mu.Lock()
	if w.users--; w.users == 0 && s.windows[w.key] == w {
		s.unused = append(s.unused, w)
	}
	wanted := s.wanting > 0
	s.mu.Unlock()
	if wanted {
		s.evict()
	}
}

// evict removes the window that nobody has used for longest; false where all are
// in use.
func (s *Staging) evict() bool {
	s.mu.Lock()
	if len(s.unused) == 0 {
		s.mu.Unlock()
		return false
	}
	w := s.unused[0]
	s.unused = s.unused[1:]
	delete(s.windows, w.key)
	s.mu.Unlock()
	removeAll(w.dir)
	w.release()
	return true
}

var errNoRoom = errors.New("no room")

func deleteWindow(list []*sharedWindow, w *sharedWindow) []*sharedWindow {
	for i, o := range list {
		if o == w {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}
