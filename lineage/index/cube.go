package index

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/catalog"
	"github.com/cubebuild/cube/graph"
)

// headMark is the mark of a variable: the version that was its head, and since
// when.
const headMark = "head:"

// Cube returns a source that feeds a cube's heads and versions. A version that
// gc freed keeps its row until its variable moves.
func Cube(c *cube.Cube) catalog.Source { return &versions{c} }

type versions struct{ cube *cube.Cube }

// Feed implements [catalog.Source].
func (s *versions) Feed(ctx context.Context, b *catalog.Batch) error {
	heads, err := s.cube.Heads(ctx)
	if err != nil {
		return err
	}
	if !moved(b, heads) {
		return nil
	}
	for _, variable := range slices.Sorted(maps.Keys(heads)) {
		mark, h := headMark+variable, heads[variable]
		if m, ok := b.Mark(mark); ok && m == markOf(h) {
			continue
		}
		if err := s.variable(ctx, b, variable); err != nil {
			return err
		}
		b.SetMark(mark, markOf(h))
	}
	return replaceHeads(b, heads)
}

func markOf(h cube.Head) catalog.Mark {
	return catalog.Mark{At: h.Time, State: h.Version.String()}
}

// moved reports whether a head is not what its mark says.
func moved(b *catalog.Batch, heads map[string]cube.Head) bool {
	marks := b.Marks(headMark)
	for variable, h := range heads {
		if m, ok := marks[headMark+variable]; !ok || m != markOf(h) {
			return true
		}
	}
	return len(marks) != len(heads)
}

// replaceHeads makes the heads anew, and forgets variables that have none.
func replaceHeads(b *catalog.Batch, heads map[string]cube.Head) error {
	if err := b.ForgetHeads(); err != nil {
		return err
	}
	for variable, h := range heads {
		if err := b.Add(catalog.Head{Variable: variable, Version: h.Version}); err != nil {
			return err
		}
	}
	for mark := range b.Marks(headMark) {
		variable := strings.TrimPrefix(mark, headMark)
		if _, ok := heads[variable]; ok {
			continue
		}
		if err := b.ForgetVersions(variable); err != nil {
			return err
		}
		b.DropMark(mark)
	}
	return nil
}

// variable makes a variable's rows anew: one for each version that it has had
// and that is still there.
func (s *versions) variable(ctx context.Context, b *catalog.Batch, variable string) error {
	history, err := s.cube.History(ctx, variable)
	if err != nil {
		return err
	}
	if err := b.ForgetVersions(variable); err != nil {
		return err
	}
	seen := map[graph.Digest]bool{}
	for _, h := range history {
		if seen[h.Version] {
			continue
		}
		seen[h.Version] = true
		v, err := s.cube.LoadVersion(ctx, h.Version)
		if errors.Is(err, cube.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := b.Add(row(variable, h, v)); err != nil {
			return err
		}
	}
	return nil
}

func row(variable string, h cube.Head, v *cube.Version) catalog.Version {
	l := v.Layout()
	r := catalog.Version{Variable: variable, Version: h.Version, Spec: l.Spec, Grid: l.Grid, Native: h.Native,
		Complete: v.Coverage().Complete(), Bytes: valueBytes(l), Created: time.Unix(h.Time, 0)}
	if f, ok := v.File(); ok {
		r.Complete, r.Bytes = true, f.Size
	}
	return r
}

// valueBytes is the size of an array's values.
func valueBytes(l cube.Layout) int64 {
	if l.Spec.Kind == graph.File {
		return 0
	}
	n := int64(l.Spec.DType.Size())
	for _, size := range graph.ShapeOf(l.Spec, l.Grid.Box) {
		n *= size
	}
	return n
}
