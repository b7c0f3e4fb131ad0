package images

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Import takes an image into the store from an OCI image layout: a folder, or
// a tar archive of one. Of several images the one with the name ref is taken,
// or the only one for the platform where ref is empty; it is stored as name.
// Every blob is held to its digest; the layers are unpacked at once, so that
// what could not be run is refused here.
func (s *Store) Import(ctx context.Context, path, ref, name string, p Platform) (*Image, error) {
	unlock, err := s.using(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	one, err := s.lock(ctx, "import")
	if err != nil {
		return nil, err
	}
	defer one()
	in := &importer{store: s, platform: p}
	img, err := in.from(ctx, path, ref)
	if err != nil {
		in.undo()
		return nil, fmt.Errorf("import image %s: %w", path, err)
	}
	img.Name = name
	return img, s.tag(ctx, img)
}

// importer is one import going on.
type importer struct {
	store    *Store
	root     *os.Root // of the layout
	platform Platform
	added    []string // paths of blobs and layers that were not in the store before
}

// undo takes away what a refused import has brought.
func (in *importer) undo() {
	for _, path := range in.added {
		removeAll(path)
	}
}

func (in *importer) from(ctx context.Context, path, ref string) (*Image, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		tmp, err := os.MkdirTemp(in.store.path("tmp"), "import-")
		if err != nil {
			return nil, err
		}
		defer removeAll(tmp)
		if err := untarLayout(ctx, path, tmp, in.store.cfg.Limits.layer().Bytes); err != nil {
			return nil, err
		}
		path = tmp
	}
	if in.root, err = os.OpenRoot(path); err != nil {
		return nil, err
	}
	defer in.root.Close()
	return in.image(ctx, ref)
}

// untarLayout takes the documents and blobs out of an archive, by the names
// that a layout has, and nothing else.
func untarLayout(ctx context.Context, archive, dir string, limit int64) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.MkdirAll(filepath.Join(dir, "blobs/sha256"), 0o755); err != nil {
		return err
	}
	tr := tar.NewReader(f)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("it is neither an OCI layout nor a tar archive of one: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name := strings.TrimPrefix(h.Name, "./")
		hex, blob := strings.CutPrefix(name, "blobs/sha256/")
		wanted := name == "index.json" || name == "oci-layout" || blob && validDigest("sha256:"+hex)
		if h.Typeflag != tar.TypeReg || !wanted {
			continue
		}
		if limit -= h.Size; limit < 0 {
			return fmt.Errorf("%w: too large", ErrUnsafe)
		}
		if err := copyOut(filepath.Join(dir, name), tr); err != nil {
			return err
		}
	}
}

func copyOut(name string, r io.Reader) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

func (in *importer) image(ctx context.Context, ref string) (*Image, error) {
	b, err := in.document("index.json")
	if err != nil {
		return nil, err
	}
	d, err := in.choose(b, ref, 0)
	if err != nil {
		return nil, err
	}
	var m ociManifest
	if b, err = in.blob(d.Digest); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if _, err := in.blob(m.Config.Digest); err != nil {
		return nil, err
	}
	for _, l := range m.Layers {
		if err := in.copyBlob(ctx, l.Digest); err != nil {
			return nil, err
		}
	}
	img, err := in.store.load(d.Digest)
	if err != nil {
		return nil, err
	}
	if img.Platform != in.platform.String() {
		return nil, fmt.Errorf("it is for %s, not for %s", img.Platform, in.platform)
	}
	for _, diffID := range img.DiffIDs {
		in.adds(in.store.layerPath(diffID))
	}
	_, err = in.store.Unpack(ctx, img)
	return img, err
}

func (in *importer) document(name string) ([]byte, error) {
	f, err := in.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err == nil && len(b) > maxDocument {
		err = fmt.Errorf("%s: larger than %d bytes", name, maxDocument)
	}
	return b, err
}

// choose finds the manifest in an index, through indexes within it.
func (in *importer) choose(index []byte, ref string, depth int) (descriptor, error) {
	var ix ociIndex
	if err := json.Unmarshal(index, &ix); err != nil {
		return descriptor{}, fmt.Errorf("index: %w", err)
	}
	var found []descriptor
	for _, d := range ix.Manifests {
		if depth == 0 && ref != "" && d.Annotations[refName] != ref && d.Digest != ref {
			continue
		}
		if d.Platform != nil && *d.Platform != (ociPlatform{in.platform.Arch, in.platform.OS}) {
			continue
		}
		found = append(found, d)
	}
	switch {
	case len(found) == 0:
		return descriptor{}, fmt.Errorf("it holds no image %s for %s: %w", ref, in.platform, ErrNotFound)
	case len(found) > 1:
		return descriptor{}, fmt.Errorf("it holds %d images for %s: say which", len(found), in.platform)
	}
	if !strings.Contains(found[0].MediaType, "index") && !strings.Contains(found[0].MediaType, "manifest.list") {
		return found[0], nil
	}
	if depth > 2 {
		return descriptor{}, errors.New("indexes within indexes")
	}
	b, err := in.checked(found[0].Digest)
	if err != nil {
		return descriptor{}, err
	}
	return in.choose(b, "", depth+1)
}

// checked reads a document of the layout and holds it to its digest.
func (in *importer) checked(digest string) ([]byte, error) {
	if !validDigest(digest) {
		return nil, fmt.Errorf("%q is not a sha256 digest", digest)
	}
	b, err := in.document("blobs/sha256/" + strings.TrimPrefix(digest, "sha256:"))
	if err != nil {
		return nil, err
	}
	if digestOf(b) != digest {
		return nil, fmt.Errorf("blob %s: %w", digest, ErrDigest)
	}
	return b, nil
}

// blob takes a document into the store.
func (in *importer) blob(digest string) ([]byte, error) {
	b, err := in.checked(digest)
	if err != nil {
		return nil, err
	}
	in.adds(in.store.blobPath(digest))
	_, err = in.store.putBlob(b)
	return b, err
}

// copyBlob takes a layer into the store, under its name only if it is right.
func (in *importer) copyBlob(ctx context.Context, digest string) error {
	if !validDigest(digest) {
		return fmt.Errorf("%q is not a sha256 digest", digest)
	}
	if _, err := os.Stat(in.store.blobPath(digest)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	src, err := in.root.Open("blobs/sha256/" + strings.TrimPrefix(digest, "sha256:"))
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.CreateTemp(in.store.path("tmp"), "blob-")
	if err != nil {
		return err
	}
	defer os.Remove(dst.Name())
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(dst, h), src)
	err = errors.Join(err, dst.Chmod(0o644), dst.Sync(), dst.Close(), ctx.Err())
	if err != nil {
		return err
	}
	if got := sumString(h); got != digest {
		return fmt.Errorf("layer %s has the digest %s: %w", digest, got, ErrDigest)
	}
	in.adds(in.store.blobPath(digest))
	return os.Rename(dst.Name(), in.store.blobPath(digest))
}

// adds notes what is about to be stored, unless it is there.
func (in *importer) adds(path string) {
	if _, err := os.Lstat(path); err != nil {
		in.added = append(in.added, path)
	}
}
