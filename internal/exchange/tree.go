package exchange

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cubebuild/cube/graph"
)

// HashTree names the content of a folder, and its size: the SHA-256 of the lines
// that sha256sum would print for its files, in order of their names.
func HashTree(ctx context.Context, dir string) (digest graph.Digest, size int64, err error) {
	all := sha256.New()
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if !d.Type().IsRegular() {
			return nil
		}
		sum, n, err := hashFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		size += n
		_, err = fmt.Fprintf(all, "%s  %s\n", sum, filepath.ToSlash(rel))
		return err
	})
	return graph.Digest(all.Sum(nil)), size, err
}

func hashFile(path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), n, err
}
