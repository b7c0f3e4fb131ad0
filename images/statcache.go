package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// remembered is the record of a build: from what, and what came out.
type remembered struct {
	Key    string  `json:"key"` // of recipe, label and platform
	Locked bool    `json:"locked"`
	Image  Image   `json:"image"`
	Inputs []stamp `json:"inputs"`
}

// BuildCached is Build where that is needed. Where the recipe is the same and
// no file that the last build read has changed, it costs the reading of one
// small file and a stat for each of those. A stat is a hint: a file that was
// changed within two seconds of being looked at is hashed again. An embedded
// source is known by the hash of its files.
func (s *Store) BuildCached(ctx context.Context, src Source, opt BuildOptions) (*Image, error) {
	key, place, err := buildKey(&src, opt)
	if err != nil {
		return nil, wrapWhere(&src, err)
	}
	record := s.path("stat", place)
	if img := s.remember(record, key, opt.Locked); img != nil {
		return img, nil
	}
	if opt.Known {
		return nil, wrapWhere(&src, ErrUnbuilt)
	}
	return s.buildAndRemember(ctx, src, opt, record, key)
}

// buildKey returns a digest of what the build is told, and the name of the
// record: one for each producer directory and platform.
func buildKey(src *Source, opt BuildOptions) (key, place string, err error) {
	told := []any{makingVersion, src.Name, src.Recipe, src.Label, opt.platform()}
	if src.Recipe.Serve { // another program may bring another module
		text, err := serveModule.ReadFile(serveName)
		if err != nil {
			return "", "", err
		}
		told = append(told, sumOf(text))
	}
	key = sumOf(marshal(told))
	if src.Dir == "" {
		place, err = sumFS(src.FS)
	} else {
		place, err = filepath.Abs(src.Dir)
	}
	if err != nil {
		return "", "", err
	}
	return key, sumOf([]byte(place + "\x00" + opt.platform().String() + "\x00" + src.Name)), nil
}

// sumFS hashes the names, modes and contents of an embedded source.
func sumFS(fsys fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		h.Write([]byte(p + "\x00" + sumOf(b) + "\x00"))
		return nil
	})
	return "fs:" + hex.EncodeToString(h.Sum(nil)), err
}

// remember returns the image of the record, if it still stands.
func (s *Store) remember(record, key string, locked bool) *Image {
	r, ok := readRecord[remembered](record)
	if !ok || r.Key != key || locked && !r.Locked {
		return nil
	}
	for _, d := range r.Image.DiffIDs {
		if _, err := os.Stat(s.layerPath(d)); err != nil || !validDigest(d) {
			return nil
		}
	}
	now := time.Now()
	same, fresh := unchanged(r.Inputs, now)
	if !same || !s.stillUsed(r.Image.Manifest, now) {
		return nil
	}
	if fresh != nil {
		r.Inputs = fresh
		s.writeRecord(record, r) // only to be faster: the next call tries again
	}
	return &r.Image
}

// stillUsed tells GC, once a day, that the image is in use, and reports
// whether it is there.
func (s *Store) stillUsed(manifest string, now time.Time) bool {
	st, err := os.Stat(s.blobPath(manifest))
	if err != nil {
		return false
	}
	if now.Sub(st.ModTime()) > 24*time.Hour {
		return os.Chtimes(s.blobPath(manifest), now, now) == nil
	}
	return true
}

// buildAndRemember builds, and keeps the record if no input changed while the
// build read it.
func (s *Store) buildAndRemember(ctx context.Context, src Source, opt BuildOptions, record, key string) (*Image, error) {
	img, in, err := s.build(ctx, src, opt)
	if err != nil {
		return nil, err
	}
	before, err := in.all()
	if err != nil {
		return nil, wrapWhere(&src, err)
	}
	if same, _ := unchanged(before, time.Now()); !same {
		return img, nil
	}
	r := remembered{Key: key, Locked: len(img.Drifted) == 0 && img.Lock == nil, Image: *img, Inputs: before}
	return img, s.writeRecord(record, r)
}
