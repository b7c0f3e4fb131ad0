package images

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"github.com/cubebuild/cube/images/internal/layer"
)

const (
	// makingVersion is part of every layer's key: it is raised when the same
	// ingredients make another layer.
	makingVersion = 1

	mediaLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaIndex    = "application/vnd.oci.image.index.v1+json"

	gzipLevel = 3
)

// makeKey is the key of a layer: what kind it is and all that goes into it.
func makeKey(kind string, parts any) string {
	return digestOf(marshal([]any{"cube layer", makingVersion, kind, parts}))[len("sha256:"):]
}

// made returns the layer that has been made under key, if it is still whole.
func (s *Store) made(key string) (Layer, bool) {
	l, ok := readRecord[Layer](s.path("made", key))
	if !ok || !validDigest(l.Digest) || !validDigest(l.DiffID) {
		return Layer{}, false
	}
	if st, err := os.Stat(s.blobPath(l.Digest)); err != nil || st.Size() != l.Size {
		return Layer{}, false
	}
	if _, err := os.Stat(s.layerPath(l.DiffID)); err != nil {
		return Layer{}, false
	}
	return *l, true
}

// makeLayer returns the layer of that key, made by fill in an empty folder if
// it has not been made yet. Of several callers at once, in any process, one
// makes it and the others wait.
func (s *Store) makeLayer(ctx context.Context, key string, fill func(ctx context.Context, dir string) error) (Layer, error) {
	if l, ok := s.made(key); ok {
		return l, nil
	}
	unlock, err := s.lock(ctx, "layer-"+key)
	if err != nil {
		return Layer{}, err
	}
	defer unlock()
	if l, ok := s.made(key); ok {
		return l, nil
	}
	dir, err := os.MkdirTemp(s.path("tmp"), "layer-")
	if err != nil {
		return Layer{}, err
	}
	defer removeAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return Layer{}, err
	}
	if err := fill(ctx, dir); err != nil {
		return Layer{}, err
	}
	l, blob, err := s.pack(ctx, dir)
	if err != nil {
		return Layer{}, err
	}
	defer os.Remove(blob)
	if err := s.keepLayer(dir, l.DiffID); err != nil {
		return Layer{}, err
	}
	if err := os.Rename(blob, s.blobPath(l.Digest)); err != nil {
		return Layer{}, err
	}
	return l, s.writeRecord(s.path("made", key), l)
}

// pack writes the folder as a blob, under a temporary name: tar, gzip, both
// digests in one pass.
func (s *Store) pack(ctx context.Context, dir string) (l Layer, blob string, err error) {
	f, err := os.CreateTemp(s.path("tmp"), "blob-")
	if err != nil {
		return Layer{}, "", err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	packed, plain := sha256.New(), sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(f, packed), 256<<10)
	zw, err := gzip.NewWriterLevel(out, gzipLevel)
	if err != nil {
		return Layer{}, "", err
	}
	tarred := bufio.NewWriterSize(io.MultiWriter(zw, plain), 256<<10)
	err = layer.Write(ctx, tarred, dir)
	for _, finish := range []func() error{tarred.Flush, zw.Close, out.Flush, func() error { return f.Chmod(0o644) }} {
		if err == nil {
			err = finish()
		}
	}
	if err != nil {
		return Layer{}, "", fmt.Errorf("write layer: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return Layer{}, "", err
	}
	l = Layer{DiffID: sumString(plain), Digest: sumString(packed), Size: st.Size(), MediaType: mediaLayer}
	return l, f.Name(), nil
}

// keepLayer gives an unpacked layer its final name, once all that the file
// system holds, a blob just written included, is on the disk. Where another was faster, theirs stays.
func (s *Store) keepLayer(dir, diffID string) error {
	if err := syncFS(dir); err != nil {
		return err
	}
	err := os.Rename(dir, s.layerPath(diffID))
	if err != nil {
		if _, there := os.Stat(s.layerPath(diffID)); there == nil {
			return nil
		}
	}
	return err
}

// syncFS flushes the file system that holds dir: one call for thousands of
// small files.
func syncFS(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
