package images

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"crypto/sha256"

	"golang.org/x/sys/unix"
)

// inputs are the files and folders that a build reads, each looked at before
// it is read. For an embedded source there are none.
type inputs struct {
	dir    string // of the producer, absolute; "" when embedded
	stamps map[string]stamp
	err    error // the first that looking gave
}

func newInputs(dir string) *inputs {
	in := &inputs{stamps: make(map[string]stamp)}
	if dir != "" {
		in.dir, in.err = filepath.Abs(dir)
	}
	return in
}

// add notes a file or folder that is about to be read, by its path or its path
// from the producer directory.
func (in *inputs) add(p string) {
	if in.dir == "" || in.err != nil {
		return
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(in.dir, p)
	}
	if _, ok := in.stamps[p]; ok {
		return
	}
	s, err := look(p, time.Now())
	if err != nil {
		in.err = err
		return
	}
	in.stamps[p] = s
}

// all returns the stamps sorted by path.
func (in *inputs) all() ([]stamp, error) {
	out := make([]stamp, 0, len(in.stamps))
	for _, p := range sortedKeys(in.stamps) {
		out = append(out, in.stamps[p])
	}
	return out, in.err
}

// stamp is what a stat says of a file: if it is the same, so is the file,
// unless it was changed within the clock's grain of being looked at.
type stamp struct {
	Path  string `json:"p"`
	Size  int64  `json:"s"` // -1: it is not there
	MTime int64  `json:"m"`
	CTime int64  `json:"c"`
	Inode uint64 `json:"i"`
	Mode  uint32 `json:"o"`
	// Sum is the SHA-256 of a file's content, or of a folder's names.
	Sum string `json:"h"`
	// Racy says that the file had changed within grain of the look.
	Racy bool `json:"r,omitempty"`
}

// grain is more than the coarsest timestamps of a file system and the skew
// between a file server and its client.
const grain = 2 * time.Second

// stat fills in all but Sum.
func stat(path string, now time.Time) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return stamp{Path: path, Size: -1}, nil
		}
		return stamp{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	s := stamp{
		Path: path, Size: st.Size, MTime: st.Mtim.Nano(), CTime: st.Ctim.Nano(), Inode: st.Ino,
		Mode: st.Mode & (unix.S_IFMT | 0o111),
	}
	s.Racy = max(s.MTime, s.CTime) > now.Add(-grain).UnixNano()
	return s, nil
}

// look stats a file or folder and hashes it.
func look(path string, now time.Time) (stamp, error) {
	s, err := stat(path, now)
	if err != nil || s.Size < 0 {
		return s, err
	}
	s.Sum, err = contentSum(path, s.Mode&unix.S_IFMT == unix.S_IFDIR)
	return s, err
}

// contentSum hashes a file's content or a folder's names.
func contentSum(path string, dir bool) (string, error) {
	if !dir {
		sum, err := sumFile(path)
		return sum, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, e := range entries {
		h.Write([]byte(e.Name() + "\x00" + e.Type().String() + "\x00"))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func sumFile(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return sumOf(b), nil
}

// unchanged compares stamps with what is there now. A stat that differs, or
// that proves nothing, is settled by the content; fresh are then the stamps to
// remember instead, nil where they are the same.
func unchanged(stamps []stamp, now time.Time) (same bool, fresh []stamp) {
	for i, was := range stamps {
		is, err := stat(was.Path, now)
		if err != nil || is.Mode != was.Mode || (is.Size < 0) != (was.Size < 0) {
			return false, nil
		}
		if is.Size < 0 || !was.Racy && is.sameStat(was) {
			continue
		}
		is.Sum, err = contentSum(was.Path, is.Mode&unix.S_IFMT == unix.S_IFDIR)
		if err != nil || is.Sum != was.Sum {
			return false, nil
		}
		if fresh == nil {
			fresh = slices.Clone(stamps)
		}
		fresh[i] = is
	}
	return true, fresh
}

func (s stamp) sameStat(o stamp) bool {
	return s.Size == o.Size && s.MTime == o.MTime && s.CTime == o.CTime && s.Inode == o.Inode
}
