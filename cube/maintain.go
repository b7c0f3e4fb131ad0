package cube

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/cubebuild/cube/cube/cas"
	"github.com/cubebuild/cube/graph"
)

// GCConfig says what GC keeps beside the heads.
type GCConfig struct {
	// Versions are kept with all that they name, such as those of snapshots.
	Versions []graph.Digest
	// Kept, where it is set, names further ones. It is called while nobody else
	// may use the cube: what a build wrote down that ended just before is known.
	Kept func(ctx context.Context) ([]graph.Digest, error)
	// Objects are kept, such as those that a pin names.
	Objects []graph.Digest
	// Result says of an entry of the results log which objects it needs. One
	// that needs an object that is freed, or that Result has an error for, is
	// deleted. Where it is nil all entries stay.
	Result func(key graph.Digest, value []byte) (needs []graph.Digest, err error)
	// Alone, where it is set, is called when all else is freed and while nobody
	// else may use the cube: to free what another package keeps in it.
	Alone func() error
	// DryRun says what would be freed and frees nothing.
	DryRun bool
}

// Freed is what GC freed.
type Freed struct {
	Versions, Results, Objects int64
	Bytes                      int64 // of objects and logs
}

// GC frees what neither a head nor conf keeps: versions, results of actions of
// which an object is gone, and objects. It takes the cube for itself: while a
// build is using it, GC says ErrBusy, and a build that begins meanwhile waits.
// A Cube that was used or has written since it was opened counts as a build; see
// Use.
// Killed at any instant it leaves a cube in which everything that is reachable
// is there: what names something goes before what it names.
func (c *Cube) GC(ctx context.Context, conf GCConfig) (Freed, error) {
	unlock, err := c.Exclusive()
	if err != nil {
		return Freed{}, fmt.Errorf("gc: %w", err)
	}
	defer unlock()
	g := collection{c: c, conf: conf, live: map[graph.Digest]struct{}{}, keep: map[graph.Digest]bool{}}
	err = g.run(ctx)
	if err == nil && conf.Alone != nil {
		err = conf.Alone()
	}
	if err != nil {
		return g.freed, fmt.Errorf("gc: %w", err)
	}
	return g.freed, nil
}

// Exclusive takes the cube for the caller alone until it calls unlock: while a
// build is using it, Exclusive says ErrBusy, and one that begins meanwhile
// waits. A Cube that was used or has written since it was opened counts as a build;
// see Use.
func (c *Cube) Exclusive() (unlock func(), err error) {
	f, err := os.OpenFile(c.Path("lock"), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if !tryLock(f) {
		f.Close()
		return nil, ErrBusy
	}
	return func() { f.Close() }, nil
}

// collection is one run of GC.
type collection struct {
	c     *Cube
	conf  GCConfig
	keep  map[graph.Digest]bool // versions
	live  map[graph.Digest]struct{}
	freed Freed
}

func (g *collection) run(ctx context.Context) error {
	if err := g.mark(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{g.versions, g.results, g.objects} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// mark finds all versions and objects that are kept.
func (g *collection) mark(ctx context.Context) error {
	heads, err := g.c.Heads(ctx)
	if err != nil {
		return err
	}
	for _, h := range heads {
		g.keep[h.Version] = true
	}
	versions := g.conf.Versions
	if g.conf.Kept != nil {
		kept, err := g.conf.Kept(ctx)
		if err != nil {
			return err
		}
		versions = append(kept, versions...)
	}
	for _, d := range versions {
		g.keep[d] = true
	}
	for _, d := range g.conf.Objects {
		g.live[d] = struct{}{}
	}
	for d := range g.keep {
		v, err := g.c.LoadVersion(ctx, d)
		if errors.Is(err, ErrNotExist) {
			continue
		}
		if err == nil {
			err = v.objects(ctx, func(o graph.Digest, _ int64) { g.live[o] = struct{}{} })
		}
		if err != nil {
			return err // what is kept must be known before anything is freed
		}
	}
	return nil
}

// objects calls f with every object that a version names, some more than once. A
// page that is damaged or gone hides what it names: that is an error.
func (v *Version) objects(ctx context.Context, f func(graph.Digest, int64)) error {
	if v.file != nil {
		f(v.file.Object, v.file.Size)
		return nil
	}
	for _, p := range v.pages {
		f(p.Object, 0)
	}
	return v.Refs(ctx, func(_, _, _ int64, r ChunkRef) error {
		if !r.Object.IsZero() {
			f(r.Object, r.Size)
		}
		return nil
	})
}

func (g *collection) versions(context.Context) error {
	entries, err := readDir(g.c.Path("versions"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		d, err := graph.ParseDigest(strings.TrimSuffix(e.Name(), brokenSuffix))
		if err != nil || g.keep[d] {
			continue
		}
		g.freed.Versions++
		if g.conf.DryRun {
			continue
		}
		if err := removeLeft(g.c.Path("versions", e.Name())); err != nil {
			return err
		}
	}
	if g.conf.DryRun || g.freed.Versions == 0 || g.c.conf.NoSync {
		return nil
	}
	return cas.SyncDir(g.c.Path("versions"))
}

// results drops the entries that need an object that is about to be freed.
func (g *collection) results(ctx context.Context) error {
	if g.conf.Result == nil {
		return nil
	}
	dead := int64(0)
	keep := func(key graph.Digest, value []byte) bool {
		objects, err := g.conf.Result(key, value)
		ok := err == nil && !slices.ContainsFunc(objects, func(o graph.Digest) bool { _, live := g.live[o]; return !live })
		if !ok {
			dead++
		}
		return ok
	}
	err := g.c.results.Range(ctx, func(key graph.Digest, value []byte) error { keep(key, value); return nil })
	g.freed.Results = dead
	if err != nil || dead == 0 || g.conf.DryRun {
		return err
	}
	shed, err := g.c.results.Compact(ctx, keep)
	g.freed.Bytes += shed
	return err
}

func (g *collection) objects(ctx context.Context) error {
	err := g.c.objects.Walk(ctx, func(d graph.Digest, info fs.FileInfo) error {
		if _, live := g.live[d]; live {
			return nil
		}
		g.freed.Objects++
		g.freed.Bytes += info.Size()
		if g.conf.DryRun {
			return nil
		}
		return g.c.objects.Remove(d)
	})
	if err != nil || g.conf.DryRun {
		return err
	}
	return g.c.objects.RemoveDamaged()
}

// Problem is one thing that Fsck found wrong.
type Problem struct {
	What   string // "heads", "version" or "object"
	Digest graph.Digest
	Detail string
}

// String is a sentence.
func (p Problem) String() string { return fmt.Sprintf("%s %s: %s", p.What, p.Digest.Short(), p.Detail) }

// Fsck reads everything that the heads and further versions reach, and every
// object, and calls report with what is wrong. Damaged objects are moved away,
// so that the next build makes them again. It returns the number of problems.
func (c *Cube) Fsck(ctx context.Context, versions []graph.Digest, report func(Problem)) (int, error) {
	n := 0
	found := func(what string, d graph.Digest, err error) {
		n++
		report(Problem{what, d, err.Error()})
	}
	if err := c.verifyObjects(ctx, found); err != nil {
		return n, fmt.Errorf("fsck: %w", err)
	}
	heads, err := c.Heads(ctx)
	if err != nil {
		found("heads", graph.Digest{}, err)
	}
	all := map[graph.Digest]bool{}
	for _, h := range heads {
		all[h.Version] = true
	}
	for _, d := range versions {
		all[d] = true
	}
	for _, d := range slices.SortedFunc(maps.Keys(all), func(a, b graph.Digest) int { return strings.Compare(a.Hex(), b.Hex()) }) {
		if err := c.verifyVersion(ctx, d); err != nil {
			if ctx.Err() != nil {
				return n, fmt.Errorf("fsck: %w", ctx.Err())
			}
			found("version", d, err)
		}
	}
	if n > 0 {
		c.doubtViews()
	}
	return n, nil
}

func (c *Cube) verifyObjects(ctx context.Context, found func(string, graph.Digest, error)) error {
	return c.objects.Walk(ctx, func(d graph.Digest, _ fs.FileInfo) error {
		err := c.objects.Verify(ctx, d)
		var corrupt *cas.CorruptError
		if errors.As(err, &corrupt) {
			found("object", d, err)
			return nil
		}
		return err
	})
}

// verifyVersion says the first thing that a version lacks.
func (c *Cube) verifyVersion(ctx context.Context, d graph.Digest) error {
	v, err := c.LoadVersion(ctx, d)
	if err != nil {
		return err
	}
	missing := func(o graph.Digest, size int64) error {
		n, err := c.objects.Size(o)
		if err == nil && n != size {
			err = fmt.Errorf("object %s has %d bytes, want %d: %w", o.Short(), n, size, ErrFormat)
		}
		return c.doubtful(v, err)
	}
	if v.file != nil {
		return missing(v.file.Object, v.file.Size)
	}
	return v.Refs(ctx, func(_, _, _ int64, r ChunkRef) error {
		if r.Object.IsZero() {
			return nil
		}
		return missing(r.Object, r.Size)
	})
}

// Usage is the disk space of one variable's head.
type Usage struct {
	Apparent int64 // decoded, as a reader sees it
	Stored   int64 // of the objects that it uses
	Unique   int64 // of those, what no other head uses: freed if it were removed
}

// DiskUse returns the space that each head takes.
func (c *Cube) DiskUse(ctx context.Context) (map[string]Usage, error) {
	heads, err := c.Heads(ctx)
	if err != nil {
		return nil, err
	}
	users := map[graph.Digest]int{}
	sizes := map[string]map[graph.Digest]int64{}
	out := map[string]Usage{}
	for n, h := range heads {
		v, err := c.LoadVersion(ctx, h.Version)
		if err != nil {
			return nil, fmt.Errorf("disk use of %s: %w", n, err)
		}
		sizes[n] = map[graph.Digest]int64{}
		err = v.objects(ctx, func(o graph.Digest, size int64) {
			if _, twice := sizes[n][o]; !twice {
				users[o]++
			}
			sizes[n][o] = size
		})
		if err != nil {
			return nil, fmt.Errorf("disk use of %s: %w", n, err)
		}
		out[n] = Usage{Apparent: apparent(v)}
	}
	for n, objects := range sizes {
		u := out[n]
		for o, size := range objects {
			u.Stored += size
			if users[o] == 1 {
				u.Unique += size
			}
		}
		out[n] = u
	}
	return out, nil
}

func apparent(v *Version) int64 {
	if v.file != nil {
		return v.file.Size
	}
	return v.layout.Bytes(v.layout.Domain())
}
