package images

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/cubebuild/cube/images/internal/layer"
)

// Unpack returns the folders of the image's layers, lowest first, unpacking
// those that are not yet. They are shared by all who unpack the same layer,
// and must not be written to. Their format is that of overlayfs.
//
// A layer that cannot be unpacked safely is refused with [ErrUnsafe], one that
// is not what its digest says with [ErrDigest]; neither leaves anything.
func (s *Store) Unpack(ctx context.Context, img *Image) ([]string, error) {
	dirs := make([]string, len(img.Layers))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for i, l := range img.Layers {
		if !validDigest(l.DiffID) || !validDigest(l.Digest) {
			return nil, fmt.Errorf("unpack layer %d: %w: not a digest", i, ErrDigest)
		}
		dirs[i] = s.layerPath(l.DiffID)
		if _, err := os.Stat(dirs[i]); err == nil {
			continue
		}
		g.Go(func() error { return s.unpackLayer(gctx, l) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return onceEach(dirs), nil
}

// onceEach leaves out a layer that comes again higher up, which shows all that
// the lower one would: overlayfs refuses a folder that is given twice.
func onceEach(dirs []string) []string {
	var out []string
	for i, d := range dirs {
		if !slices.Contains(dirs[i+1:], d) {
			out = append(out, d)
		}
	}
	return out
}

// unpackLayer unpacks one layer, once among all who want it.
func (s *Store) unpackLayer(ctx context.Context, l Layer) error {
	inUse, err := s.using(ctx)
	if err != nil {
		return err
	}
	defer inUse()
	unlock, err := s.lock(ctx, "unpack-"+strings.TrimPrefix(l.DiffID, "sha256:"))
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(s.layerPath(l.DiffID)); err == nil {
		return nil
	}
	dir, err := os.MkdirTemp(s.path("tmp"), "unpack-")
	if err != nil {
		return err
	}
	defer removeAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if err := s.unpackInto(ctx, dir, l); err != nil {
		return fmt.Errorf("unpack layer %s: %w", l.Digest, err)
	}
	return s.keepLayer(dir, l.DiffID)
}

// unpackInto unpacks a layer's blob and holds it to both of its digests.
func (s *Store) unpackInto(ctx context.Context, dir string, l Layer) error {
	f, err := os.Open(s.blobPath(l.Digest))
	if err != nil {
		return err
	}
	defer f.Close()
	limits := s.cfg.Limits.layer()
	packed, plain := sha256.New(), sha256.New()
	blob := io.TeeReader(io.LimitReader(f, l.Size+1), packed)
	ratio := layer.LimitRatio(bufio.NewReaderSize(blob, 256<<10), limits)
	z, done, err := openLayer(l.MediaType, ratio.Compressed())
	if err != nil {
		return err
	}
	defer done()
	tarred := io.TeeReader(ratio.Unpacked(z), plain)
	if err := layer.Unpack(ctx, tarred, dir, limits); err != nil {
		return err
	}
	// What follows the end of the archive counts in the digests, too.
	if _, err := io.Copy(io.Discard, tarred); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, ratio.Compressed()); err != nil {
		return err
	}
	if got := sumString(packed); got != l.Digest {
		return fmt.Errorf("its bytes have the digest %s: %w", got, ErrDigest)
	}
	if got := sumString(plain); got != l.DiffID {
		return fmt.Errorf("its content has the DiffID %s, not %s: %w", got, l.DiffID, ErrDigest)
	}
	return nil
}

// openLayer decompresses by media type.
func openLayer(mediaType string, r io.Reader) (io.Reader, func(), error) {
	nop := func() {}
	switch {
	case strings.HasSuffix(mediaType, "+gzip"), strings.HasSuffix(mediaType, ".tar.gzip"):
		z, err := gzip.NewReader(r)
		return z, nop, err
	case strings.HasSuffix(mediaType, "+zstd"):
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nop, err
		}
		return z, z.Close, nil
	case strings.HasSuffix(mediaType, ".tar"):
		return r, nop, nil
	}
	return nil, nop, fmt.Errorf("layers of type %q are not known", mediaType)
}
