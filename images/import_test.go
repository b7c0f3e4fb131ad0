package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

type tarEntry struct {
	tar.Header
	body string
}

func tarOf(t *testing.T, entries ...tarEntry) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size, e.Mode = int64(len(e.body)), 0o755
		if err := tw.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		io.WriteString(tw, e.body)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func text(name, body string) tarEntry {
	return tarEntry{tar.Header{Typeflag: tar.TypeReg, Name: name}, body}
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	zw.Write(b)
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// blob is a layer whose digests may be lies.
type blob struct {
	v1.Layer
	packed []byte
	plain  []byte // what the DiffID is of
	media  types.MediaType
}

func (b blob) DiffID() (v1.Hash, error) {
	sum := sha256.Sum256(b.plain)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}, nil
}

func layerOf(packed, plain []byte, media types.MediaType) blob {
	return blob{static.NewLayer(packed, media), packed, plain, media}
}

// ociLayout writes an image of layers as an OCI layout.
func ociLayout(t *testing.T, layers ...v1.Layer) string {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, l := range layers {
		var err error
		if img, err = mutate.Append(img, mutate.Addendum{Layer: l}); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cfg.OS, cfg.Architecture = "linux", HostPlatform().Arch
	cfg.Config = v1.Config{Entrypoint: []string{"/bin/model"}, Cmd: []string{"-v"}, Env: []string{"A=1"}, User: "1000"}
	if img, err = mutate.ConfigFile(img, cfg); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(img, layout.WithAnnotations(map[string]string{refName: "v1"})); err != nil {
		t.Fatal(err)
	}
	return dir
}

// tarred packs a folder as an archive.
func tarred(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	tw := tar.NewWriter(f)
	if err := errors.Join(tw.AddFS(os.DirFS(dir)), tw.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAnImageIsImportedFromALayoutOrAnArchiveOfOne(t *testing.T) {
	t.Parallel()
	low := tarOf(t, text("bin/model", "#!/bin/sh\n"), text("etc/old", "x"))
	mid := tarOf(t, text("etc/.wh.old", ""), text("etc/new", "y"))
	high := tarOf(t, text("data/table", "z"))
	var zst bytes.Buffer
	zw, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := zw.Write(high); err != nil {
		t.Fatal(err)
	}
	zw.Close()
	dir := ociLayout(t,
		layerOf(gzipped(t, low), low, types.OCILayer),
		layerOf(mid, mid, types.OCIUncompressedLayer),
		layerOf(zst.Bytes(), high, types.OCILayerZStd))
	var imgs []*Image
	for _, path := range []string{dir, tarred(t, dir)} {
		s := newStore(t)
		img, err := s.Import(t.Context(), path, "v1", "model", HostPlatform())
		if err != nil {
			t.Fatal(err)
		}
		imgs = append(imgs, img)
		dirs, err := s.Unpack(t.Context(), img)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(dirs[2], "data/table")); err != nil || string(b) != "z" {
			t.Errorf("data/table: %q, %v", b, err)
		}
		if st, err := os.Lstat(filepath.Join(dirs[1], "etc/old")); err != nil || st.Mode()&fs.ModeCharDevice == 0 {
			t.Errorf("etc/old is no whiteout: %v", err)
		}
		if got, err := s.Get(t.Context(), "model"); err != nil || got.Manifest != img.Manifest {
			t.Errorf("Get = %v, %v", got, err)
		}
	}
	if diff := cmp.Diff(imgs[0], imgs[1]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"/bin/model", "-v"}, imgs[0].Command); diff != "" {
		t.Error(diff)
	}
}

func TestAHostileImageIsRefusedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	good := tarOf(t, text("bin/model", "#!/bin/sh\n"))
	fine := layerOf(gzipped(t, good), good, types.OCILayer)
	zeros := tarOf(t, text("zeros", strings.Repeat("\x00", 80<<20)))
	escape := tarOf(t, text("../evil", "x"))
	other := tarOf(t, text("other", "a file of its own"))
	device := tarOf(t, tarEntry{tar.Header{Typeflag: tar.TypeChar, Name: "dev/mem", Devmajor: 1, Devminor: 1}, ""})
	for name, test := range map[string]struct {
		bad    v1.Layer
		damage func(t *testing.T, dir string)
		want   error
	}{
		"a layer that escapes": {bad: layerOf(gzipped(t, escape), escape, types.OCILayer), want: ErrUnsafe},
		"a device":             {bad: layerOf(gzipped(t, device), device, types.OCILayer), want: ErrUnsafe},
		"a gzip bomb":          {bad: layerOf(gzipped(t, zeros), zeros, types.OCILayer), want: ErrUnsafe},
		"a wrong DiffID":       {bad: layerOf(gzipped(t, good), escape, types.OCILayer), want: ErrDigest},
		"an unknown type":      {bad: layerOf([]byte("{}"), other, "application/json")},
		"gzip that is broken":  {bad: layerOf(gzipped(t, other)[:40], other, types.OCILayer)},
		"changed bytes": {bad: layerOf(gzipped(t, escape), escape, types.OCILayer), want: ErrDigest, damage: func(t *testing.T, dir string) {
			sum := sha256.Sum256(gzipped(t, escape))
			write(t, dir, map[string]string{"blobs/sha256/" + hex.EncodeToString(sum[:]): "others"})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := OpenStore(filepath.Join(t.TempDir(), "store"), Config{Limits: Limits{Bytes: 256 << 20}})
			if err != nil {
				t.Fatal(err)
			}
			dir := ociLayout(t, fine, test.bad)
			if test.damage != nil {
				test.damage(t, dir)
			}
			_, err = s.Import(t.Context(), dir, "", "bad", HostPlatform())
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("Import = %v, want %v", err, test.want)
			}
			for _, folder := range []string{"tmp", "blobs/sha256", "layers"} {
				if left, _ := os.ReadDir(s.path(folder)); len(left) != 0 {
					t.Errorf("left in %s: %v", folder, left)
				}
			}
			if _, err := os.Stat(filepath.Join(s.Dir(), "../evil")); err == nil {
				t.Error("it escaped")
			}
		})
	}
}

func TestALayerGivenTwiceIsMountedOnce(t *testing.T) {
	t.Parallel()
	a, b := tarOf(t, text("a", "1")), tarOf(t, text("a", "2"))
	one, two := layerOf(gzipped(t, a), a, types.OCILayer), layerOf(gzipped(t, b), b, types.OCILayer)
	s := newStore(t)
	img, err := s.Import(t.Context(), ociLayout(t, one, two, one), "", "x", HostPlatform())
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := s.Unpack(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{s.layerPath(img.DiffIDs[1]), s.layerPath(img.DiffIDs[2])}, dirs); diff != "" {
		t.Error(diff)
	}
}

func TestALayerInTheStoreThatRottedIsRefused(t *testing.T) {
	t.Parallel()
	s, src := newStore(t), goSource(t)
	img := build(t, s, src)
	if err := os.RemoveAll(s.layerPath(img.DiffIDs[0])); err != nil {
		t.Fatal(err)
	}
	name := s.blobPath(img.Layers[0].Digest)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Unpack(t.Context(), img); err == nil {
		t.Error("a changed blob was unpacked")
	}
	if left, _ := os.ReadDir(s.path("layers")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestImportRefusesWhatIsNotThere(t *testing.T) {
	t.Parallel()
	good := tarOf(t, text("a", "b"))
	dir := ociLayout(t, layerOf(gzipped(t, good), good, types.OCILayer))
	s := newStore(t)
	for name, call := range map[string]func() error{
		"another name":     func() error { _, err := s.Import(t.Context(), dir, "v2", "x", HostPlatform()); return err },
		"another platform": func() error { _, err := s.Import(t.Context(), dir, "", "x", Platform{"linux", "mips"}); return err },
		"no layout":        func() error { _, err := s.Import(t.Context(), t.TempDir(), "", "x", HostPlatform()); return err },
		"no archive": func() error {
			f := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(f, []byte("hello"), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := s.Import(t.Context(), f, "", "x", HostPlatform())
			return err
		},
	} {
		if call() == nil {
			t.Errorf("%s: imported", name)
		}
	}
}
