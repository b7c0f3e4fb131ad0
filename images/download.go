package images

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// notDownloaded returns the pins whose bytes are not in the store.
func (s *Store) notDownloaded(pins []pin) []pin {
	var missing []pin
	for _, p := range pins {
		if st, err := os.Stat(s.path("downloads", p.SHA256)); err != nil || st.Size() != p.Size {
			missing = append(missing, p)
		}
	}
	return missing
}

// download has fetch bring files into an empty folder, and keeps those that
// are the pins, by content. A pin whose bytes did not come is [ErrDigest].
func (s *Store) download(pins []pin, fetch func(dir string) error) error {
	found, err := s.downloadAny(fetch)
	if err != nil {
		return err
	}
	for _, p := range pins {
		if f, ok := found[p.SHA256]; !ok || f.size != p.Size {
			return fmt.Errorf("%s %s: what was fetched does not have the SHA-256 %s: %w", p.Name, p.Version, p.SHA256, ErrDigest)
		}
	}
	return nil
}

type downloaded struct {
	file string
	size int64
}

// downloadAny keeps all that fetch brings, and returns it by SHA-256.
func (s *Store) downloadAny(fetch func(dir string) error) (map[string]downloaded, error) {
	dir, err := os.MkdirTemp(s.path("tmp"), "fetch-")
	if err != nil {
		return nil, err
	}
	defer removeAll(dir)
	if err := fetch(dir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	found := make(map[string]downloaded)
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name := filepath.Join(dir, e.Name())
		sum, size, err := hashFile(name)
		if err != nil {
			return nil, err
		}
		if err := os.Chmod(name, 0o644); err != nil {
			return nil, err
		}
		if err := os.Rename(name, s.path("downloads", sum)); err != nil {
			return nil, err
		}
		found[sum] = downloaded{e.Name(), size}
	}
	return found, nil
}

// hashFile hashes a file and flushes it to the disk.
func hashFile(name string) (sum string, size int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(h.Sum(nil)), size, f.Sync()
}
