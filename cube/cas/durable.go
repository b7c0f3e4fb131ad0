package cas

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cubebuild/cube/graph"
)

// slack is how much older than its mark an object may seem to be: file times
// come from a coarser clock.
const slack = 2 * time.Second

// markLocked makes this process's mark unless it has one.
func (s *Store) markLocked() error {
	if s.mark != nil {
		return nil
	}
	boot, err := BootID()
	if err != nil {
		return err
	}
	dir := filepath.Join(s.dir, marksDir)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for {
		name := fmt.Sprintf("%d.%s.%s", time.Now().UnixNano(), boot, rand.Text()[:8])
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return err
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && named(f) {
			s.mark = f
			return s.syncDirs(marksDir)
		}
		f.Close() // somebody's Recover took it for a dead one's, and removed it
	}
}

// named reports whether f still has the name it was opened by.
func named(f *os.File) bool {
	a, errA := f.Stat()
	b, errB := os.Lstat(f.Name())
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// syncDirs makes the names in folders of the store durable.
func (s *Store) syncDirs(names ...string) error {
	if s.conf.NoSync {
		return nil
	}
	for _, n := range names {
		if err := SyncDir(filepath.Join(s.dir, n)); err != nil {
			return err
		}
	}
	return nil
}

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Sync makes everything durable that this Store put so far: the objects, then
// the folders that name them. What another process put and has not synced is
// among it: this one may have found it there, and name it.
func (s *Store) Sync(ctx context.Context) error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	others, err := s.unsettled(ctx)
	if err != nil {
		return fmt.Errorf("sync objects: %w", err)
	}
	if err := s.flush(ctx, others); err != nil {
		return fmt.Errorf("sync objects: %w", err)
	}
	s.mu.Lock()
	pending, mark := s.pending, s.mark
	s.pending = nil
	if s.writing > 0 {
		mark = nil // still needed
	} else {
		s.mark = nil
	}
	s.mu.Unlock()
	if err := s.flush(ctx, pending); err != nil {
		s.mu.Lock()
		s.pending = append(pending, s.pending...)
		s.mu.Unlock()
		if mark != nil {
			mark.Close() // the file stays: it says that these objects are in doubt
		}
		return fmt.Errorf("sync objects: %w", err)
	}
	if mark == nil {
		return nil
	}
	// Last: until here a power cut finds the mark.
	return errors.Join(os.Remove(mark.Name()), mark.Close())
}

// unsettled lists the objects that others may have put and not synced: those
// that are not older than their marks.
func (s *Store) unsettled(ctx context.Context) ([]graph.Digest, error) {
	if s.conf.NoSync {
		return nil, nil
	}
	marks, err := os.ReadDir(filepath.Join(s.dir, marksDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	s.mu.Lock()
	own := ""
	if s.mark != nil {
		own = filepath.Base(s.mark.Name())
	}
	s.mu.Unlock()
	var first time.Time
	others := false
	for _, m := range marks {
		since, _ := parseMark(m.Name())
		if m.Name() != own && (!others || since.Before(first)) {
			first, others = since, true
		}
	}
	if !others {
		return nil, nil
	}
	return s.since(ctx, first.Add(-slack))
}

// flush makes objects and the names that they have durable.
func (s *Store) flush(ctx context.Context, objects []graph.Digest) error {
	if s.conf.NoSync || len(objects) == 0 {
		return nil
	}
	paths := make([]string, len(objects))
	folders := map[string]bool{".": true}
	for i, d := range objects {
		paths[i] = s.Path(d)
		folders[d.Hex()[:2]] = true
	}
	if len(paths) > fewObjects && journalsTogether(s.dir) {
		return s.flushTogether(ctx, paths)
	}
	if err := eachFile(ctx, paths, (*os.File).Sync); err != nil {
		return err
	}
	for f := range folders {
		if err := s.syncDirs(f); err != nil {
			return err
		}
	}
	return nil
}

// fewObjects are synced one by one.
const fewObjects = 4

// flushTogether writes all data back and then has the file system commit its
// journal, which holds sizes and names, once: a file that was made after all of
// them cannot be durable before them.
func (s *Store) flushTogether(ctx context.Context, paths []string) error {
	if err := eachFile(ctx, paths, writeBack); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, ".sync-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString("\n")
	return errors.Join(err, f.Sync(), f.Close(), removeLeft(f.Name()))
}

func removeLeft(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// eachFile opens files, some at once, and does something to each. One that is
// not there any more was collected, or moved away as damaged.
func eachFile(ctx context.Context, paths []string, do func(*os.File) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, p := range paths {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			f, err := os.Open(p)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			return errors.Join(do(f), f.Close())
		})
	}
	return g.Wait()
}

// Recovered is what Recover found.
type Recovered struct {
	// Unclean says that a writer's objects may have been lost in a power cut.
	Unclean bool
	// Damaged are the objects that had to be moved away. Only those that are
	// still there are known: a missing one shows when it is asked for.
	Damaged []graph.Digest
}

// Recover sweeps what dead writers left: temporary files are removed; objects
// that were not synced before the machine went down are verified, and those of
// a killed process synced in its place. It costs a few system calls where there
// is nothing to do, and may run beside other processes.
func (s *Store) Recover(ctx context.Context) (Recovered, error) {
	var r Recovered
	left, err := filepath.Glob(filepath.Join(s.dir, ".sync-*"))
	if err != nil {
		return r, fmt.Errorf("recover objects: %w", err)
	}
	for _, path := range left {
		_ = os.Remove(path) // a living one's does not need its name
	}
	marks, err := os.ReadDir(filepath.Join(s.dir, marksDir))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(marks) == 0 {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("recover objects: %w", err)
	}
	boot, err := BootID()
	if err != nil {
		return r, fmt.Errorf("recover objects: %w", err)
	}
	for _, m := range marks {
		if err := s.recoverMark(ctx, m.Name(), boot, &r); err != nil {
			return r, fmt.Errorf("recover objects: %w", err)
		}
	}
	return r, nil
}

// recoverMark does what one mark asks for, unless its process lives.
func (s *Store) recoverMark(ctx context.Context, name, boot string, r *Recovered) error {
	path := filepath.Join(s.dir, marksDir, name)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil // alive
	}
	since, itsBoot := parseMark(name)
	if err := s.sweepTemp(name); err != nil {
		return err
	}
	objects, err := s.since(ctx, since.Add(-slack))
	if err != nil {
		return err
	}
	if itsBoot != boot {
		r.Unclean = true
		if objects, err = s.verify(ctx, objects, r); err != nil {
			return err
		}
	}
	if err := s.flush(ctx, objects); err != nil {
		return err
	}
	return removeLeft(path)
}

// parseMark reads a mark's name. One that says nothing is of no boot and as old
// as can be.
func parseMark(name string) (time.Time, string) {
	parts := strings.Split(name, ".")
	if len(parts) != 3 {
		return time.Time{}, ""
	}
	n, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, ""
	}
	return time.Unix(0, n), parts[1]
}

// sweepTemp removes the temporary files of one mark's process.
func (s *Store) sweepTemp(mark string) error {
	dir := filepath.Join(s.dir, tempDir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), mark+".") {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// since lists the objects that are not older than t.
func (s *Store) since(ctx context.Context, t time.Time) (out []graph.Digest, err error) {
	err = s.Walk(ctx, func(d graph.Digest, info fs.FileInfo) error {
		if !info.ModTime().Before(t) {
			out = append(out, d)
		}
		return nil
	})
	return out, err
}

// verify returns those of the objects that are whole.
func (s *Store) verify(ctx context.Context, objects []graph.Digest, r *Recovered) (whole []graph.Digest, err error) {
	for _, d := range objects {
		var corrupt *CorruptError
		switch err := s.Verify(ctx, d); {
		case err == nil:
			whole = append(whole, d)
		case errors.As(err, &corrupt):
			r.Damaged = append(r.Damaged, d)
		case errors.Is(err, fs.ErrNotExist):
		default:
			return nil, err
		}
	}
	return whole, nil
}
