package images

import (
	"bufio"
	"cmp"
	"context"
	"debug/buildinfo"
	"fmt"
	"io"
	"io/fs"
	"net/textproto"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cubebuild/cube/images/internal/deb"
	"github.com/cubebuild/cube/images/internal/wheel"
)

// Packages says what software is in an image, as the image itself shows it:
// what dpkg recorded, the metadata of Python distributions, and the modules
// that Go programs were built of. Sorted by kind, name and version.
func (s *Store) Packages(ctx context.Context, img *Image) ([]Package, error) {
	record := s.path("made", "packages-"+strings.TrimPrefix(img.Config, "sha256:"))
	if ps, ok := readRecord[[]Package](record); ok {
		return *ps, nil
	}
	dirs, err := s.Unpack(ctx, img)
	if err != nil {
		return nil, err
	}
	found := make(map[Package]bool)
	for _, dir := range dirs {
		if err := readPackages(ctx, dir, found); err != nil {
			return nil, fmt.Errorf("read the packages of image %s: %w", img.Config, err)
		}
	}
	ps := make([]Package, 0, len(found))
	for p := range found {
		ps = append(ps, p)
	}
	slices.SortFunc(ps, func(a, b Package) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
	return ps, s.writeRecord(record, ps)
}

const maxMetadata = 16 << 20

// readPackages reads one unpacked layer. What cannot be read as what its name
// says is passed over: it is not this program's to judge.
func readPackages(ctx context.Context, dir string, found map[Package]bool) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return ctx.Err()
		}
		if !d.Type().IsRegular() {
			return nil
		}
		readPackage(root, p, d, found)
		return nil
	})
}

func readPackage(root *os.Root, p string, d fs.DirEntry, found map[Package]bool) {
	switch dir, base := path.Split(p); {
	case p == "var/lib/dpkg/status", dir == "var/lib/dpkg/status.d/":
		readDebs(root, p, found)
	case base == "METADATA" && strings.HasSuffix(dir, ".dist-info/"), base == "PKG-INFO" && strings.HasSuffix(dir, ".egg-info/"):
		readPython(root, p, found)
	case mayBeGo(p, d):
		readGo(root, p, found)
	}
}

func openLimited(root *os.Root, p string) (io.Reader, func(), bool) {
	f, err := root.Open(p)
	if err != nil {
		return nil, nil, false
	}
	return io.LimitReader(f, maxMetadata), func() { f.Close() }, true
}

func readDebs(root *os.Root, p string, found map[Package]bool) {
	r, done, ok := openLimited(root, p)
	if !ok {
		return
	}
	defer done()
	stanzas, _ := deb.ParseStanzas(r)
	for _, s := range stanzas {
		if status := s["Status"]; status != "" && !strings.HasSuffix(status, " installed") {
			continue
		}
		if s["Package"] != "" && s["Version"] != "" {
			found[Package{Kind: "deb", Name: s["Package"], Version: s["Version"]}] = true
		}
	}
}

func readPython(root *os.Root, p string, found map[Package]bool) {
	r, done, ok := openLimited(root, p)
	if !ok {
		return
	}
	defer done()
	h, _ := textproto.NewReader(bufio.NewReader(r)).ReadMIMEHeader()
	if name, version := h.Get("Name"), h.Get("Version"); name != "" && version != "" {
		found[Package{Kind: "python", Name: wheel.Normalize(name), Version: version}] = true
	}
}

// mayBeGo reports whether a file is worth opening as a Go program: executable,
// and not among the libraries.
func mayBeGo(p string, d fs.DirEntry) bool {
	info, err := d.Info()
	if err != nil || info.Mode()&0o111 == 0 || info.Size() < 64<<10 {
		return false
	}
	return !strings.HasSuffix(p, ".so") && !strings.Contains(filepath.Base(p), ".so.") && !strings.HasSuffix(p, ".py")
}

func readGo(root *os.Root, p string, found map[Package]bool) {
	f, err := root.Open(p)
	if err != nil {
		return
	}
	defer f.Close()
	info, err := buildinfo.Read(f)
	if err != nil {
		return
	}
	found[Package{Kind: "go", Name: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")}] = true
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		found[Package{Kind: "go", Name: m.Path, Version: m.Version}] = true
	}
}
