package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/yamlfile"
)

// LockVersion is the version of cube.lock that is written. A lock of another
// version is refused with what to do.
const LockVersion = 1

// Lock is cube.lock: what the names in cube.yaml stood for when it was
// written. Nothing in it depends on the machine.
type Lock struct {
	Images  map[string]LockedImage  // by image, as cube.yaml has it
	Sources map[string]LockedSource // by name
	Fetches map[string]LockedFetch  // by instance
	Imports map[string]graph.Import // by variable
	Holds   map[string]graph.Import // by variable; versions that are used whatever their producers would make
	Salts   map[string]int          // by instance; raised by cube bump

	loaded []byte // what the file said, empty where there was none; nil where the lock was never loaded
}

// LockedImage pins an image, on each platform that it was locked for.
type LockedImage struct {
	Index     string                 `json:"index,omitempty"` // digest of the image index, where it came from a registry
	Platforms map[string]PlatformPin `json:"platforms"`       // by platform, such as linux/amd64
}

// PlatformPin pins an image on one platform. Digests are as OCI writes them.
type PlatformPin struct {
	Config   string   `json:"config"`
	Manifest string   `json:"manifest"`
	DiffIDs  []string `json:"diff_ids"`
}

// LockedSource pins a source. It holds only for the URI that it was made for.
type LockedSource struct {
	URI        string            `json:"uri"`
	SHA256     graph.Digest      `json:"sha256"`
	Size       int64             `json:"size"`
	Inspection *graph.Inspection `json:"inspection,omitempty"`
	Inspected  graph.Digest      `json:"inspected,omitzero"` // of what the driver was asked that gave the inspection
}

// LockedFetch pins what an instance's producer brought in over the network. It
// holds as long as the producer would be asked the same.
type LockedFetch struct {
	Asked     graph.Digest          `json:"asked"`   // see graph.Fetch
	Images    map[string]string     `json:"images"`  // config digest of the image that was asked, by platform
	Fetched   time.Time             `json:"fetched"` // UTC, in seconds; it decides nothing
	Recording LockedRecording       `json:"recording"`
	Sources   map[string]LockedFile `json:"sources"` // by role
}

// LockedRecording pins what the network answered.
type LockedRecording struct {
	SHA256    graph.Digest `json:"sha256"`
	Size      int64        `json:"size"`
	Exchanges int          `json:"exchanges"`
	Hosts     []string     `json:"hosts"` // that answered
}

// LockedFile pins a file that a producer made.
type LockedFile struct {
	SHA256 graph.Digest `json:"sha256"`
	Size   int64        `json:"size"`
	Ext    string       `json:"ext,omitempty"`
}

// NewLock returns a lock that pins nothing.
func NewLock() *Lock {
	return &Lock{Images: map[string]LockedImage{}, Sources: map[string]LockedSource{}, Fetches: map[string]LockedFetch{},
		Imports: map[string]graph.Import{}, Holds: map[string]graph.Import{}, Salts: map[string]int{}}
}

// lockLimits bound a lock: it grows with the workspace.
var lockLimits = yamlfile.Limits{Bytes: 16 << 20, Tokens: 4 << 20}

// LoadLock reads a lock. Where there is none it is an fs.ErrNotExist.
func LoadLock(path string) (*Lock, error) {
	data, err := readAtMost(path, int64(lockLimits.Bytes))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	l, err := ParseLock(path, data)
	if err == nil {
		l.loaded = data
	}
	return l, err
}

// LoadLockOrNew is LoadLock, and an empty lock where there is none.
func LoadLockOrNew(path string) (*Lock, error) {
	l, err := LoadLock(path)
	if errors.Is(err, fs.ErrNotExist) {
		l, err = NewLock(), nil
		l.loaded = []byte{}
	}
	return l, err
}

// ParseLock reads the text of a lock. Errors call it name.
func ParseLock(name string, data []byte) (*Lock, error) {
	doc, err := yamlfile.Parse(name, data, lockLimits)
	if err != nil {
		return nil, err
	}
	l, imports, holds := NewLock(), map[string]lockedImport{}, map[string]lockedHold{}
	r := reader{yamlfile.NewReport()}
	if err := lockVersion(r, doc.Root); err != nil {
		return nil, err
	}
	r.Fields(doc.Root, "the lock", yamlfile.Fields{
		"version": func(*yamlfile.Node) {},
		"images":  func(n *yamlfile.Node) { lockSection(r, n, "images", l.Images, checkImage) },
		"sources": func(n *yamlfile.Node) { lockSection(r, n, "sources", l.Sources, checkSource) },
		"fetches": func(n *yamlfile.Node) { lockSection(r, n, "fetches", l.Fetches, checkFetch) },
		"imports": func(n *yamlfile.Node) { lockSection(r, n, "imports", imports, checkImport) },
		"holds":   func(n *yamlfile.Node) { lockSection(r, n, "holds", holds, checkHold) },
		"salts":   func(n *yamlfile.Node) { lockSection(r, n, "salts", l.Salts, checkSalt) },
	})
	if err := r.Err(); err != nil {
		return nil, err
	}
	for name, im := range imports {
		l.Imports[name] = im.unlock(name)
	}
	for name, h := range holds {
		l.Holds[name] = h.unlock(name)
	}
	return l, nil
}

// lockedImport is how a lock writes an import.
type lockedImport struct {
	Spec    graph.VarSpec `json:"spec"`
	Grid    *grid.Grid    `json:"grid,omitempty"`
	Version graph.Digest  `json:"version"`
	Native  float64       `json:"native_res_m,omitempty"`
	Source  struct {
		URI      string       `json:"uri"`
		SHA256   graph.Digest `json:"sha256"`
		Size     int64        `json:"size"`
		License  string       `json:"license,omitempty"`
		Citation string       `json:"citation,omitempty"`
	} `json:"source"`
}

func lockImport(im graph.Import) lockedImport {
	l := lockedImport{Spec: im.Spec, Version: im.Version, Native: im.Native}
	if im.Grid != (grid.Grid{}) {
		l.Grid = &im.Grid
	}
	s := im.Source
	l.Source.URI, l.Source.SHA256, l.Source.Size, l.Source.License, l.Source.Citation = s.URI, s.SHA256, s.Size, s.License, s.Citation
	return l
}

func (l lockedImport) unlock(name string) graph.Import {
	s := l.Source
	im := graph.Import{Spec: l.Spec, Version: l.Version, Native: l.Native, Source: graph.Source{Name: name, URI: s.URI,
		SHA256: s.SHA256, Size: s.Size, Ext: Ext(s.URI), License: s.License, Citation: s.Citation, Native: l.Native}}
	if l.Grid != nil {
		im.Grid = *l.Grid
	}
	return im
}

// lockVersion refuses a lock of another version before anything else in it is
// looked at.
func lockVersion(r reader, root *yamlfile.Node) error {
	n := root.Get("version")
	if n == nil {
		r.Errorf(root, "this is no lock: it has no version").Hint = "to write it anew, run: cube lock"
	} else if v := r.Int(n, 0, 1<<31); v > LockVersion {
		r.Errorf(n, "the lock is of version %d; this cube reads version %d", v, LockVersion).Hint = "use a newer cube"
	} else if v != LockVersion && r.Len() == 0 {
		r.Errorf(n, "the lock is of version %d, which there never was", v).Hint = "to write it anew, run: cube lock"
	}
	return r.Err()
}

// lockSection reads a section, strictly, and checks each entry.
func lockSection[T any](r reader, n *yamlfile.Node, what string, into map[string]T, check func(string, T) error) {
	for _, e := range r.Entries(n, what) {
		var v T
		err := strictJSON(e.Value.JSON(), &v)
		if err == nil {
			err = check(e.Key, v)
		}
		if err != nil {
			r.Errorf(e.Value, "%s %s: %v", what, clip(e.Key), err).Hint = "to write the lock anew, run: cube lock"
			continue
		}
		into[e.Key] = v
	}
}

// strictJSON decodes a JSON tree into a struct and refuses unknown fields.
func strictJSON(tree, into any) error {
	raw, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

func checkImage(name string, im LockedImage) error {
	if name == "" || len(im.Platforms) == 0 {
		return errors.New("pins no platform")
	}
	for _, p := range slices.Sorted(maps.Keys(im.Platforms)) {
		pin := im.Platforms[p]
		for _, d := range append([]string{pin.Config, pin.Manifest}, pin.DiffIDs...) {
			if err := checkOCIDigest(d); err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
		}
	}
	if im.Index == "" {
		return nil
	}
	return checkOCIDigest(im.Index)
}

// checkOCIDigest checks that text is a SHA-256 as OCI writes it.
func checkOCIDigest(s string) error {
	d, err := graph.ParseDigest(s)
	if err == nil && d.String() != s {
		err = fmt.Errorf("digest %q: want sha256: before it", clip(s))
	}
	return err
}

func checkSource(name string, s LockedSource) error {
	switch {
	case !plainName.MatchString(name):
		return errors.New("is not a name")
	case s.URI == "":
		return errors.New("has no uri")
	case s.SHA256.IsZero():
		return errors.New("has no sha256")
	case s.Size < 0:
		return errors.New("has a negative size")
	}
	return nil
}

func checkFetch(name string, f LockedFetch) error {
	switch {
	case !plainName.MatchString(name):
		return errors.New("is not a name")
	case f.Asked.IsZero() || f.Recording.SHA256.IsZero():
		return errors.New("has no digest of what was asked, or of its recording")
	case f.Recording.Size < 0 || f.Recording.Exchanges < 0:
		return errors.New("has a negative size")
	case len(f.Images) == 0 || len(f.Sources) == 0:
		return errors.New("names no image or no source")
	case !f.Fetched.Equal(f.Fetched.UTC().Truncate(time.Second)):
		return errors.New("was fetched at a time that is not in whole seconds")
	}
	for platform, image := range f.Images {
		if err := checkOCIDigest(image); err != nil {
			return fmt.Errorf("%s: %w", clip(platform), err)
		}
	}
	for role, s := range f.Sources {
		if !plainName.MatchString(role) || s.SHA256.IsZero() || s.Size < 0 || !plainExt(s.Ext) {
			return fmt.Errorf("source %s is not pinned", clip(role))
		}
	}
	return nil
}

func checkImport(name string, im lockedImport) error {
	c := &checker{}
	c.output([]string{name}, im.Spec)
	switch {
	case !variableName.MatchString(name):
		return errors.New("is not a name")
	case len(c.problems) > 0:
		return c.problems[0]
	case im.Version.IsZero():
		return errors.New("has no version")
	case im.Spec.Name != name:
		return fmt.Errorf("is of another variable, %q", clip(im.Spec.Name))
	case im.Native < 0 || im.Source.Size < 0:
		return errors.New("has a negative size")
	case im.Spec.WithDefaults().Kind == graph.File:
		return nil
	case im.Grid == nil:
		return errors.New("has no grid")
	}
	return im.Grid.Valid()
}

// lockedHold is how a lock writes a version that is held.
type lockedHold struct {
	Spec    graph.VarSpec `json:"spec"`
	Grid    *grid.Grid    `json:"grid,omitempty"`
	Version graph.Digest  `json:"version"`
	Native  float64       `json:"native_res_m,omitempty"`
}

func (h lockedHold) unlock(name string) graph.Import {
	im := lockedImport{Spec: h.Spec, Grid: h.Grid, Version: h.Version, Native: h.Native}.unlock(name)
	im.Source, im.Held = graph.Source{}, true
	return im
}

func lockHold(im graph.Import) lockedHold {
	l := lockImport(im)
	return lockedHold{l.Spec, l.Grid, l.Version, l.Native}
}

func checkHold(name string, h lockedHold) error {
	return checkImport(name, lockedImport{Spec: h.Spec, Grid: h.Grid, Version: h.Version, Native: h.Native})
}

func checkSalt(name string, salt int) error {
	if salt < 1 {
		return fmt.Errorf("salt %d must be positive", salt)
	}
	return nil
}

// lockHeader is what every lock begins with.
const lockHeader = `# Written by "cube lock". It pins the images, sources and imports of cube.yaml;
# commit it. Do not edit it: "cube lock" writes it anew.
`

// Pinned are the versions that stand for variables: the imports, and before them
// those that are held.
func (l *Lock) Pinned() map[string]graph.Import {
	out := maps.Clone(l.Imports)
	maps.Copy(out, l.Holds)
	return out
}

// Encode writes the lock as text: the same lock, the same bytes.
func (l *Lock) Encode() ([]byte, error) {
	imports := make(map[string]lockedImport, len(l.Imports))
	for name, im := range l.Imports {
		imports[name] = lockImport(im)
	}
	holds := make(map[string]lockedHold, len(l.Holds))
	for name, im := range l.Holds {
		holds[name] = lockHold(im)
	}
	root := yamlfile.NewMap()
	root.Set("version", yamlfile.NewNumber(fmt.Sprint(LockVersion)))
	for _, s := range []struct {
		key   string
		count int
		value any
	}{
		{"images", len(l.Images), l.Images}, {"sources", len(l.Sources), l.Sources}, {"fetches", len(l.Fetches), l.Fetches},
		{"imports", len(l.Imports), imports}, {"holds", len(l.Holds), holds}, {"salts", len(l.Salts), l.Salts},
	} {
		if s.count == 0 {
			continue
		}
		raw, err := json.Marshal(s.value)
		if err != nil {
			return nil, fmt.Errorf("lock: %s: %w", s.key, err)
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var tree any
		if err := d.Decode(&tree); err != nil {
			return nil, fmt.Errorf("lock: %s: %w", s.key, err)
		}
		root.Set(s.key, yamlfile.FromJSON(tree))
	}
	return append([]byte(lockHeader), yamlfile.Encode(root)...), nil
}
