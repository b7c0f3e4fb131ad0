package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// The documents of the OCI image format, as far as they are used here.
type (
	descriptor struct {
		MediaType   string            `json:"mediaType"`
		Digest      string            `json:"digest"`
		Size        int64             `json:"size"`
		Annotations map[string]string `json:"annotations,omitempty"`
		Platform    *ociPlatform      `json:"platform,omitempty"`
	}
	ociPlatform struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
	}
	ociIndex struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType,omitempty"`
		Manifests     []descriptor `json:"manifests"`
	}
	ociManifest struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType,omitempty"`
		Config        descriptor        `json:"config"`
		Layers        []descriptor      `json:"layers"`
		Annotations   map[string]string `json:"annotations,omitempty"`
	}
	ociConfig struct {
		Created      string       `json:"created,omitempty"`
		Architecture string       `json:"architecture"`
		OS           string       `json:"os"`
		Config       ociRun       `json:"config"`
		RootFS       ociRootFS    `json:"rootfs"`
		History      []ociHistory `json:"history,omitempty"`
	}
	ociRun struct {
		User       string            `json:"User,omitempty"`
		Env        []string          `json:"Env,omitempty"`
		Entrypoint []string          `json:"Entrypoint,omitempty"`
		Cmd        []string          `json:"Cmd,omitempty"`
		WorkingDir string            `json:"WorkingDir,omitempty"`
		Labels     map[string]string `json:"Labels,omitempty"`
	}
	ociRootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	}
	ociHistory struct {
		Created    string `json:"created,omitempty"`
		CreatedBy  string `json:"created_by,omitempty"`
		EmptyLayer bool   `json:"empty_layer,omitempty"`
	}
)

const (
	refName     = "org.opencontainers.image.ref.name"
	created     = "1970-01-01T00:00:00Z"
	maxDocument = 8 << 20
)

// describe writes the config and the manifest of layers.
func (b *builder) describe(layers []Layer) (*Image, error) {
	cfg := b.config(layers)
	config, err := b.store.putBlob(marshal(cfg))
	if err != nil {
		return nil, err
	}
	m := ociManifest{SchemaVersion: 2, MediaType: mediaManifest,
		Config: descriptor{MediaType: mediaConfig, Digest: config, Size: int64(len(marshal(cfg)))}}
	for _, l := range layers {
		m.Layers = append(m.Layers, descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size})
	}
	if len(b.src.Label) > 0 {
		m.Annotations = map[string]string{ContractLabel: string(b.src.Label)}
	}
	manifest, err := b.store.putBlob(marshal(m))
	if err != nil {
		return nil, err
	}
	img := newImage(manifest, config, &m, cfg)
	img.Name = b.src.Name
	return img, nil
}

func (b *builder) config(layers []Layer) *ociConfig {
	r := &b.src.Recipe
	c := &ociConfig{Created: created, Architecture: b.platform.Arch, OS: b.platform.OS,
		Config: ociRun{User: r.User, Env: r.env(), Entrypoint: r.command(), WorkingDir: r.WorkDir},
		RootFS: ociRootFS{Type: "layers"}}
	if c.Config.User == "" {
		c.Config.User = "65534:65534"
	}
	if c.Config.WorkingDir == "" {
		c.Config.WorkingDir = "/cube/scratch"
	}
	if len(b.src.Label) > 0 {
		c.Config.Labels = map[string]string{ContractLabel: string(b.src.Label)}
	}
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, l.DiffID)
		c.History = append(c.History, ociHistory{Created: created, CreatedBy: "cube image build"})
	}
	return c
}

// newImage puts together what manifest and config say.
func newImage(manifest, config string, m *ociManifest, c *ociConfig) *Image {
	img := &Image{
		Config: config, Manifest: manifest, Platform: c.OS + "/" + c.Architecture,
		DiffIDs: c.RootFS.DiffIDs, Env: c.Config.Env, User: c.Config.User, WorkDir: c.Config.WorkingDir,
		Command: slices.Concat(c.Config.Entrypoint, c.Config.Cmd),
	}
	for i, l := range m.Layers {
		img.Layers = append(img.Layers, Layer{DiffID: c.RootFS.DiffIDs[i], Digest: l.Digest, Size: l.Size, MediaType: l.MediaType})
	}
	if label, ok := c.Config.Labels[ContractLabel]; ok {
		img.Label = []byte(label)
	}
	return img
}

// load reads the image of a manifest in the store.
func (s *Store) load(manifest string) (*Image, error) {
	b, err := s.blob(manifest, maxDocument)
	if err != nil {
		return nil, fmt.Errorf("read image manifest: %w", err)
	}
	var m ociManifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("read image manifest %s: %w", manifest, err)
	}
	if b, err = s.blob(m.Config.Digest, maxDocument); err != nil {
		return nil, fmt.Errorf("read image config: %w", err)
	}
	var c ociConfig
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("read image config %s: %w", m.Config.Digest, err)
	}
	if err := checkDocuments(&m, &c); err != nil {
		return nil, fmt.Errorf("image %s: %w", manifest, err)
	}
	return newImage(manifest, m.Config.Digest, &m, &c), nil
}

func checkDocuments(m *ociManifest, c *ociConfig) error {
	if len(m.Layers) != len(c.RootFS.DiffIDs) {
		return fmt.Errorf("%d layers, but %d DiffIDs", len(m.Layers), len(c.RootFS.DiffIDs))
	}
	for i, l := range m.Layers {
		if !validDigest(l.Digest) || !validDigest(c.RootFS.DiffIDs[i]) || l.Size < 0 {
			return fmt.Errorf("layer %d: bad digest or size", i)
		}
	}
	return nil
}

// readIndex reads index.json; a store without one is empty.
func (s *Store) readIndex() (*ociIndex, error) {
	b, err := os.ReadFile(s.path("index.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return &ociIndex{SchemaVersion: 2, MediaType: mediaIndex}, nil
	}
	if err != nil {
		return nil, err
	}
	var ix ociIndex
	if err := json.Unmarshal(b, &ix); err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path("index.json"), err)
	}
	return &ix, nil
}

// updateIndex changes index.json under its lock; change reports whether it
// did anything.
func (s *Store) updateIndex(ctx context.Context, change func(*ociIndex) bool) error {
	unlock, err := s.lock(ctx, "index")
	if err != nil {
		return err
	}
	defer unlock()
	ix, err := s.readIndex()
	if err != nil {
		return err
	}
	if !change(ix) {
		return nil
	}
	if ix.Manifests == nil {
		ix.Manifests = []descriptor{}
	}
	return s.writeFile(s.path("index.json"), marshal(ix))
}

// tag makes the image's name mean this image. What the name meant before keeps
// its place in the index, without a name, until GC.
func (s *Store) tag(ctx context.Context, img *Image) error {
	st, err := os.Stat(s.blobPath(img.Manifest))
	if err != nil {
		return err
	}
	// Being used is what keeps an image without a name from GC for a while.
	now := time.Now()
	if err := os.Chtimes(s.blobPath(img.Manifest), now, now); err != nil {
		return err
	}
	os, arch, _ := strings.Cut(img.Platform, "/")
	want := descriptor{MediaType: mediaManifest, Digest: img.Manifest, Size: st.Size(),
		Platform: &ociPlatform{Architecture: arch, OS: os}}
	if img.Name != "" {
		want.Annotations = map[string]string{refName: img.Name}
	}
	return s.updateIndex(ctx, func(ix *ociIndex) bool { return ix.set(want) })
}

// set puts want first, takes its name from others on the same platform, and
// drops it where it stands otherwise.
func (ix *ociIndex) set(want descriptor) bool {
	name := want.Annotations[refName]
	for i, d := range ix.Manifests {
		if d.Digest == want.Digest && d.Annotations[refName] == name {
			return false
		}
		if name != "" && d.Annotations[refName] == name && samePlatform(d.Platform, want.Platform) {
			ix.Manifests[i].Annotations = nil
		}
	}
	ix.Manifests = slices.DeleteFunc(ix.Manifests, func(d descriptor) bool {
		return d.Digest == want.Digest && d.Annotations[refName] == ""
	})
	ix.Manifests = append(ix.Manifests, want)
	slices.SortStableFunc(ix.Manifests, func(a, b descriptor) int {
		return strings.Compare(a.Annotations[refName], b.Annotations[refName])
	})
	return true
}

func samePlatform(a, b *ociPlatform) bool { return a == nil || b == nil || *a == *b }

// List returns the images of the store, those with a name last, by name.
func (s *Store) List(ctx context.Context) ([]*Image, error) {
	ix, err := s.readIndex()
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	var out []*Image
	for _, d := range ix.Manifests {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		img, err := s.load(d.Digest)
		if err != nil {
			return nil, fmt.Errorf("list images: %w", err)
		}
		img.Name = d.Annotations[refName]
		out = append(out, img)
	}
	return out, nil
}

// Get finds an image by its name, or by the digest of its config or manifest,
// whole or at least the first 6 hex digits. The error is [ErrNotFound] when
// there is none.
func (s *Store) Get(ctx context.Context, ref string) (*Image, error) {
	all, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	var found []*Image
	for _, img := range all {
		switch {
		case img.Name == ref && (img.Platform == HostPlatform().String() || len(found) == 0):
			found = []*Image{img}
		case img.Name != ref && (digestHas(img.Config, ref) || digestHas(img.Manifest, ref)):
			if !slices.ContainsFunc(found, func(f *Image) bool { return f.Manifest == img.Manifest }) {
				found = append(found, img)
			}
		}
		if img.Name == ref && img.Platform == HostPlatform().String() {
			return img, nil
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("image %q: %w in %s", ref, ErrNotFound, s.dir)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("image %q: it could be any of %d images: give more of the digest", ref, len(found))
}

// digestHas reports whether ref is the digest, or the beginning of its hex.
func digestHas(digest, ref string) bool {
	hex := strings.TrimPrefix(ref, "sha256:")
	return len(hex) >= 6 && strings.HasPrefix(strings.TrimPrefix(digest, "sha256:"), hex)
}

// Remove takes an image out of the index, by all of its names. Its bytes go
// with the next GC.
func (s *Store) Remove(ctx context.Context, ref string) error {
	img, err := s.Get(ctx, ref)
	if err != nil {
		return err
	}
	return s.updateIndex(ctx, func(ix *ociIndex) bool {
		n := len(ix.Manifests)
		ix.Manifests = slices.DeleteFunc(ix.Manifests, func(d descriptor) bool { return d.Digest == img.Manifest })
		return len(ix.Manifests) != n
	})
}
