package images

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/cubebuild/cube/images/internal/deb"
	"github.com/cubebuild/cube/images/internal/wheel"
)

// lockfile is image.lock. It names what to fetch, and never where from.
type lockfile struct {
	Version   int                      `json:"version"`
	Platforms map[string]*platformLock `json:"platforms"`
}

// platformLock is what one platform's image is made of.
type platformLock struct {
	For    wanted `json:"for"` // the recipe's words that were resolved
	Debs   []pin  `json:"debs,omitempty"`
	Wheels []pin  `json:"wheels,omitempty"`
}

type wanted struct {
	Debs   []string `json:"debs,omitempty"`
	Wheels []string `json:"wheels,omitempty"`
}

// pin is one package or wheel, by content.
type pin struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	File    string `json:"file"`
	SHA256  string `json:"sha256"`
	Size    int64  `json:"size"`
}

const (
	lockVersion = 1
	maxLock     = 8 << 20
)

func (r *Recipe) wanted() wanted {
	w := wanted{Debs: slices.Clone(r.Debs), Wheels: slices.Clone(r.Wheels)}
	slices.Sort(w.Debs)
	slices.Sort(w.Wheels)
	w.Debs, w.Wheels = slices.Compact(w.Debs), slices.Compact(w.Wheels)
	return w
}

func (w wanted) empty() bool { return len(w.Debs) == 0 && len(w.Wheels) == 0 }

func (w wanted) equal(o wanted) bool {
	return slices.Equal(w.Debs, o.Debs) && slices.Equal(w.Wheels, o.Wheels)
}

// parseLock reads an image.lock and checks every field that becomes a path or
// an argument.
func parseLock(b []byte) (*lockfile, error) {
	if len(b) > maxLock {
		return nil, fmt.Errorf("larger than %d bytes", maxLock)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var l lockfile
	if err := dec.Decode(&l); err != nil {
		return nil, err
	}
	if l.Version != lockVersion {
		return nil, fmt.Errorf("version %d is not known to this program, which reads %d", l.Version, lockVersion)
	}
	for name, p := range l.Platforms {
		if known, err := ParsePlatform(name); err != nil || known.String() != name {
			return nil, fmt.Errorf("%q is not a platform", name)
		}
		if p == nil {
			return nil, fmt.Errorf("%s: empty", name)
		}
		for _, pin := range slices.Concat(p.Debs, p.Wheels) {
			if err := pin.check(); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return &l, nil
}

func (p pin) check() error {
	sum, err := hex.DecodeString(p.SHA256)
	switch {
	case err != nil || len(sum) != 32 || strings.ToLower(p.SHA256) != p.SHA256:
		return fmt.Errorf("%s: sha256 %q is not 64 lower-case hex digits", p.Name, p.SHA256)
	case p.File != path.Base(p.File) || strings.HasPrefix(p.File, "."):
		return fmt.Errorf("%s: file %q is not a file name", p.Name, p.File)
	case !plainWord(p.Name) || !plainWord(p.Version):
		return fmt.Errorf("%q %q: not a name and a version", p.Name, p.Version)
	case p.Size < 0:
		return fmt.Errorf("%s: size %d", p.Name, p.Size)
	}
	return nil
}

// plainWord reports whether s can be an argument of apt and pip with no
// meaning beyond itself.
func plainWord(s string) bool {
	if s == "" || s[0] == '-' || len(s) > 255 {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("+-._:~!", r))
	}) < 0
}

// encode writes the lock, one pin a line, so that a change of one is a change
// of one line.
func (l *lockfile) encode() []byte {
	var b bytes.Buffer
	line := func(v any) string { return string(bytes.TrimSuffix(marshal(v), []byte("\n"))) }
	pins := func(name string, ps []pin, last bool) {
		fmt.Fprintf(&b, "      %q: [", name)
		for i, p := range ps {
			sep := ","
			if i == len(ps)-1 {
				sep = "\n      "
			}
			fmt.Fprintf(&b, "\n        %s%s", line(p), sep)
		}
		b.WriteString("]")
		if !last {
			b.WriteString(",")
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "{\n  \"version\": %d,\n  \"platforms\": {\n", l.Version)
	names := sortedKeys(l.Platforms)
	for i, name := range names {
		p := l.Platforms[name]
		fmt.Fprintf(&b, "    %q: {\n      \"for\": %s,\n", name, line(p.For))
		pins("debs", p.Debs, false)
		pins("wheels", p.Wheels, true)
		b.WriteString("    }")
		if i < len(names)-1 {
			b.WriteString(",")
		}
		b.WriteString("\n")
	}
	b.WriteString("  }\n}\n")
	return b.Bytes()
}

// marshal is JSON with "<" and ">" as they are. It is for values that cannot
// fail: of strings, numbers, slices and maps.
func marshal(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("images: encode %T: %v", v, err))
	}
	return b.Bytes()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// readLock reads the source's image.lock; nil where there is none.
func (s *Source) readLock() (*lockfile, error) {
	b, err := fs.ReadFile(s.FS, LockFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", s.where(), err)
	}
	l, err := parseLock(b)
	if err != nil {
		return nil, &LockError{Where: s.where(), Reason: "cannot be read: " + err.Error()}
	}
	return l, nil
}

// Lock resolves the recipe's packages and wheels for this machine's platform
// as they are to be had now, and returns the image.lock that pins them. What
// an existing image.lock says of other platforms is kept. It writes nothing
// into the producer directory. For a recipe with neither debs nor wheels it
// returns nil: there is nothing to pin.
func (s *Store) Lock(ctx context.Context, src Source, opt BuildOptions) ([]byte, error) {
	if err := src.validate(); err != nil {
		return nil, err
	}
	if src.Recipe.wanted().empty() {
		return nil, nil
	}
	if err := opt.checkPlatform(); err != nil {
		return nil, wrapWhere(&src, err)
	}
	unlock, err := s.using(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	old, err := src.readLock()
	var bad *LockError
	if err != nil && !errors.As(err, &bad) {
		return nil, err
	}
	b := s.newBuilder(src, opt)
	defer b.close()
	l, err := b.resolve(ctx, true)
	if err != nil {
		return nil, err
	}
	return mergeLock(old, opt.platform(), l).encode(), nil
}

// mergeLock returns old with one platform's part replaced.
func mergeLock(old *lockfile, p Platform, l *platformLock) *lockfile {
	out := &lockfile{Version: lockVersion, Platforms: map[string]*platformLock{p.String(): l}}
	if old != nil {
		for name, pl := range old.Platforms {
			if name != p.String() {
				out.Platforms[name] = pl
			}
		}
	}
	return out
}

// drifts compares two locks, old first.
func drifts(kind string, old, now []pin) []Drift {
	before := make(map[string]pin, len(old))
	for _, p := range old {
		before[p.Name] = p
	}
	var ds []Drift
	for _, p := range now {
		if was := before[p.Name]; was.SHA256 != p.SHA256 {
			ds = append(ds, Drift{Kind: kind, Name: p.Name, Pinned: was.Version, Found: p.Version})
		}
		delete(before, p.Name)
	}
	for _, name := range sortedKeys(before) {
		ds = append(ds, Drift{Kind: kind, Name: name, Pinned: before[name].Version})
	}
	return ds
}

func debPins(ps []deb.Pin) []pin {
	out := make([]pin, len(ps))
	for i, p := range ps {
		out[i] = pin{Name: p.Name, Version: p.Version, File: p.File, SHA256: p.SHA256, Size: p.Size}
	}
	return out
}

func aptPins(ps []pin) []deb.Pin {
	out := make([]deb.Pin, len(ps))
	for i, p := range ps {
		out[i] = deb.Pin{Name: p.Name, Version: p.Version, File: p.File, SHA256: p.SHA256, Size: p.Size}
	}
	return out
}

func pipPins(ps []pin) []wheel.Pin {
	out := make([]wheel.Pin, len(ps))
	for i, p := range ps {
		out[i] = wheel.Pin{Name: p.Name, Version: p.Version, File: p.File, SHA256: p.SHA256, Size: p.Size}
	}
	return out
}
