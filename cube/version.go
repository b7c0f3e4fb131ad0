package cube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// Array is what can be read: a version, or one that is being built.
type Array interface {
	// Layout says what the array is.
	Layout() Layout
	// Ref returns the content of a chunk, by its indices, and whether it is
	// covered. Outside the array nothing is.
	Ref(ctx context.Context, ti, yi, xi int64) (ChunkRef, bool, error)
}

// Coverage says how much of an array there is.
type Coverage struct {
	Covered, Chunks int64
	Stored          int64 // chunks that are not all fill
	Bytes           int64 // of the stored chunks' objects, each as often as it is used
}

// Complete reports whether every chunk is covered.
func (c Coverage) Complete() bool { return c.Covered == c.Chunks }

// Version is an immutable content of a variable. Its methods may be called from
// many goroutines at once.
type Version struct {
	cube     *Cube
	digest   graph.Digest
	layout   Layout
	file     *File
	coverage Coverage
	pages    []pageInfo
	cache    pageCache
}

var _ Array = (*Version)(nil)

// manifest is a version's file.
type manifest struct {
	Format   string        `json:"format"`
	Digest   graph.Digest  `json:"digest"`
	Spec     graph.VarSpec `json:"spec"`
	Grid     *grid.Grid    `json:"grid,omitempty"`
	Chunk    *grid.Tiling  `json:"chunk,omitempty"`
	PageSize int           `json:"page_size,omitempty"`
	Pages    []pageInfo    `json:"pages,omitempty"`
	File     *File         `json:"file,omitempty"`
}

// pageInfo names a page: the digest of its values, and the object it lies in.
type pageInfo struct {
	Values  graph.Digest `json:"values"`
	Object  graph.Digest `json:"object"`
	Covered int64        `json:"covered"`
	Stored  int64        `json:"stored"`
	Bytes   int64        `json:"bytes"`
}

const (
	manifestFormat = "cube-version/1"
	maxManifest    = 512 << 20
	// brokenSuffix is added to the name of a manifest that is damaged itself or
	// names an object which is damaged or missing.
	brokenSuffix = ".broken"
)

// Digest names the version.
func (v *Version) Digest() graph.Digest { return v.digest }

// Layout says what the version's array is. Of a file only the spec is set. Name
// and long name are those that the version was first made under.
func (v *Version) Layout() Layout { return v.layout }

// Coverage says how much of its domain the version has.
func (v *Version) Coverage() Coverage { return v.coverage }

// File returns the content of a variable of kind file.
func (v *Version) File() (File, bool) {
	if v.file == nil {
		return File{}, false
	}
	return *v.file, true
}

// Holds reports whether the version is what a spec means, on a grid. Names and
// what else changes no value do not count.
func (v *Version) Holds(spec graph.VarSpec, g grid.Grid) bool {
	want := Layout{Spec: spec.WithDefaults(), Grid: g}.normal()
	have := v.layout.Spec.WithDefaults()
	if have.Kind == graph.File || want.Spec.Kind == graph.File {
		return have.Kind == want.Spec.Kind
	}
	return sameMeaning(want.Spec, have) && want.Grid == v.layout.Grid
}

// Ref implements Array.
func (v *Version) Ref(ctx context.Context, ti, yi, xi int64) (ChunkRef, bool, error) {
	if v.file != nil {
		return ChunkRef{}, false, nil
	}
	i := v.layout.Index(ti, yi, xi)
	if i < 0 {
		return ChunkRef{}, false, nil
	}
	p, err := v.page(ctx, int(i/pageSize))
	if err != nil {
		return ChunkRef{}, false, err
	}
	return p.refs[i%pageSize], p.covered[i%pageSize], nil
}

// Refs calls f with each covered chunk, in C order.
func (v *Version) Refs(ctx context.Context, f func(ti, yi, xi int64, r ChunkRef) error) error {
	for n := range v.pages {
		p, err := v.page(ctx, n)
		if err != nil {
			return err
		}
		for i, r := range p.refs {
			if !p.covered[i] {
				continue
			}
			ti, yi, xi := v.layout.At(int64(n*pageSize + i))
			if err := f(ti, yi, xi, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *Version) page(ctx context.Context, n int) (*page, error) {
	return v.cache.get(ctx, n, func() (*page, error) {
		p, err := v.cube.loadPage(ctx, v.pages[n].Object)
		if err == nil && (len(p.refs) != v.layout.pageLen(n) || p.digest() != v.pages[n].Values) {
			err = fmt.Errorf("does not fit its manifest: %w", ErrFormat)
		}
		if err != nil {
			err = fmt.Errorf("version %s: page %d: %w", v.digest.Short(), n, err)
			return nil, v.cube.doubtful(v, err)
		}
		return p, nil
	})
}

// pageLen is the number of chunks of page n.
func (l Layout) pageLen(n int) int {
	return int(min(pageSize, l.Chunks()-int64(n)*pageSize))
}

// pageCount is the number of pages.
func (l Layout) pageCount() int { return int((l.Chunks() + pageSize - 1) / pageSize) }

// LoadVersion reads the version with this digest, or says ErrNotExist. The
// manifest is checked against the digest; its pages are when they are needed.
func (c *Cube) LoadVersion(_ context.Context, d graph.Digest) (*Version, error) {
	path := c.Path("versions", d.Hex())
	b, err := readFile(path, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = readFile(path+brokenSuffix, maxManifest)
	}
	if err != nil {
		return nil, fmt.Errorf("version %s: %w", d.Short(), err)
	}
	v, err := parseManifest(b)
	if err == nil && v.digest != d {
		err = fmt.Errorf("manifest is of %s: %w", v.digest, ErrFormat)
	}
	if err != nil {
		if !anotherFormat(b) {
			c.doubtVersion(d)
		}
		return nil, fmt.Errorf("version %s: %w", d.Short(), err)
	}
	v.cube = c
	return v, nil
}

// anotherFormat reports whether a manifest is one that another program wrote,
// rather than damaged.
func anotherFormat(manifest []byte) bool {
	var m struct {
		Format string `json:"format"`
	}
	name, _, _ := strings.Cut(manifestFormat, "/")
	return json.Unmarshal(manifest, &m) == nil && strings.HasPrefix(m.Format, name+"/") && m.Format != manifestFormat
}

// doubtVersion has HasVersion not count a version until it is made again, nor
// any view be trusted. What can be read of it still can.
func (c *Cube) doubtVersion(d graph.Digest) {
	c.doubtViews()
	path := c.Path("versions", d.Hex())
	_ = os.Rename(path, path+brokenSuffix)
}

// HasVersion reports whether a version is there and nothing of it is known to be
// damaged or missing. Its manifest is not read.
func (c *Cube) HasVersion(d graph.Digest) bool {
	_, err := os.Stat(c.Path("versions", d.Hex()))
	return err == nil
}

// readFile reads a regular file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: more than %d bytes: %w", path, limit, ErrFormat)
	}
	return b, err
}

// parseManifest reads a manifest and checks that it has the digest it claims.
func parseManifest(b []byte) (*Version, error) {
	var m manifest
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return nil, fmt.Errorf("manifest: %w: %v", ErrFormat, err)
	}
	if _, err := dec.Token(); err != io.EOF || m.Format != manifestFormat {
		return nil, fmt.Errorf("manifest of format %.40q: %w", m.Format, ErrFormat)
	}
	v := &Version{layout: Layout{Spec: m.Spec}, digest: m.Digest, file: m.File, pages: m.Pages}
	var err error
	if m.Spec.Kind == graph.File {
		err = v.checkFile(m)
	} else {
		err = v.checkArray(m)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return v, nil
}

func (v *Version) checkFile(m manifest) error {
	if m.File == nil || m.Grid != nil || m.Chunk != nil || m.Pages != nil || m.File.Size < 0 {
		return fmt.Errorf("no file: %w", ErrFormat)
	}
	v.coverage = Coverage{Covered: 1, Chunks: 1, Stored: 1, Bytes: m.File.Size}
	d, err := fileDigest(*m.File)
	return errors.Join(err, v.is(d))
}

func (v *Version) checkArray(m manifest) error {
	if m.File != nil || m.Grid == nil || m.Chunk == nil || m.PageSize != pageSize {
		return fmt.Errorf("no array of pages of %d chunks: %w", pageSize, ErrFormat)
	}
	v.layout = Layout{m.Spec, *m.Grid, *m.Chunk}
	if n := v.layout.normal(); n.Grid != v.layout.Grid || n.Chunk != v.layout.Chunk {
		return fmt.Errorf("static with time: %w", ErrFormat)
	}
	if err := v.layout.Valid(); err != nil {
		return fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if len(m.Pages) != v.layout.pageCount() {
		return fmt.Errorf("%d pages, want %d: %w", len(m.Pages), v.layout.pageCount(), ErrFormat)
	}
	v.coverage.Chunks = v.layout.Chunks()
	values := make([]graph.Digest, len(m.Pages))
	for i, p := range m.Pages {
		if p.Covered < 0 || p.Covered > int64(v.layout.pageLen(i)) || p.Stored < 0 || p.Stored > p.Covered || p.Bytes < 0 {
			return fmt.Errorf("page %d covers %d chunks: %w", i, p.Covered, ErrFormat)
		}
		values[i] = p.Values
		v.coverage.add(p)
	}
	d, err := arrayDigest(v.layout, values)
	return errors.Join(err, v.is(d))
}

func (c *Coverage) add(p pageInfo) {
	c.Covered += p.Covered
	c.Stored += p.Stored
	c.Bytes += p.Bytes
}

func (v *Version) is(d graph.Digest) error {
	if d != v.digest {
		return fmt.Errorf("has digest %s and says %s: %w", d, v.digest, ErrFormat)
	}
	return nil
}

// save writes the version's manifest. One that is there already, and names the
// same objects, stays: a head or a lock may name it, and then it is durable.
func (c *Cube) save(v *Version) error {
	path := c.Path("versions", v.digest.Hex())
	there, same := v.saved(path)
	if !same {
		if err := v.write(path, there && !c.conf.NoSync); err != nil {
			return err
		}
	}
	if err := removeLeft(path + brokenSuffix); err != nil {
		return err
	}
	c.mu.Lock()
	c.manifests = append(c.manifests, path)
	c.mu.Unlock()
	return nil
}

// saved reports whether a manifest is there, and whether it names the same.
func (v *Version) saved(path string) (there, same bool) {
	b, err := readFile(path, maxManifest)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist), false
	}
	old, err := parseManifest(b)
	return true, err == nil && old.digest == v.digest && slices.Equal(old.pages, v.pages)
}

func (v *Version) write(path string, durable bool) error {
	m := manifest{Format: manifestFormat, Digest: v.digest, Spec: v.layout.Spec, File: v.file}
	if v.file == nil {
		m.Grid, m.Chunk, m.PageSize, m.Pages = &v.layout.Grid, &v.layout.Chunk, pageSize, v.pages
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return writeFile(path, append(b, '\n'), durable)
}

// NewFileVersion makes the version whose content is a file that was put.
func (c *Cube) NewFileVersion(ctx context.Context, spec graph.VarSpec, f File) (*Version, error) {
	if spec.Kind != graph.File {
		return nil, fmt.Errorf("version of %s: kind %q is no file", spec.Name, spec.Kind)
	}
	if err := c.Use(ctx); err != nil {
		return nil, err
	}
	d, err := fileDigest(f)
	if err != nil {
		return nil, fmt.Errorf("version of %s: %w", spec.Name, err)
	}
	v := &Version{cube: c, digest: d, layout: Layout{Spec: spec}, file: &f,
		coverage: Coverage{Covered: 1, Chunks: 1, Stored: 1, Bytes: f.Size}}
	if err := c.save(v); err != nil {
		return nil, fmt.Errorf("version of %s: %w", spec.Name, err)
	}
	return v, nil
}
