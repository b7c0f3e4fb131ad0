//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cubebuild/cube/containers"
)

// changed changes one cell of a variable of 10,000 tiles and builds what is
// made of it, tile by tile: one action. Beside it ninja, with as many edges of
// which each has a leaf of its own, after one leaf has changed. What the one
// tile's own program takes, run bare, is taken off ours, and what the one
// edge's command takes off ninja's.
func changed(ctx context.Context, l *lab) ([]comparison, error) {
	ninja, ok := l.find("ninja", "one changed cell beside ninja")
	if !ok {
		return nil, nil
	}
	side := max(10, int(100*math.Sqrt(min(1, l.scale))))
	n := side * side
	e, err := l.editable(ctx, side)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(e.dir)
	p := peer{name: "ninja", argv: []string{ninja}, write: writeNinja}
	edges, err := l.prepare(ctx, p, n, own)
	if err != nil {
		return nil, err
	}
	work, err := newPayload(ctx, l)
	if err != nil {
		return nil, err
	}
	c := comparison{ours: fmt.Sprintf("`cube build` after one cell of %d tiles changed, less the tile's own work", n),
		theirs: fmt.Sprintf("`ninja` after one leaf of %d changed, less the edge's own work", n), unit: "ms", limit: 2}
	const least = 0.1 // ms: what noise may leave of a difference
	for round := range l.rounds(20, 3) + 1 {
		leaf := filepath.Join(edges, own.name(round*37%n))
		if err := errors.Join(e.edit(ctx), os.WriteFile(leaf, []byte(strconv.Itoa(round)), 0o644)); err != nil {
			return nil, err
		}
		a, err := l.oneAction(ctx, e.dir)
		if err != nil {
			return nil, err
		}
		b, err := l.time(ctx, edges, p.argv...)
		if err != nil {
			return nil, err
		}
		ours, err := l.oneAfterTheOther(ctx, 20, work.bare())
		if err != nil {
			return nil, err
		}
		theirs, err := l.oneAfterTheOther(ctx, 20, []string{"/bin/sh", "-c", "touch " + filepath.Join(l.dir, "touched")})
		if err != nil {
			return nil, err
		}
		if round > 0 { // the first warms up
			c.a, c.b = append(c.a, max(least, a.ms()-ours.ms())), append(c.b, max(least, b.ms()-theirs.ms()))
			c.note = fmt.Sprintf("the own work is %s and %s ms in the last round", figure(ours.ms()), figure(theirs.ms()))
		}
	}
	return []comparison{c}, l.forget(ctx, p)
}

// oneAction is the cost of a build of step, which must run one action.
func (l *lab) oneAction(ctx context.Context, dir string) (cost, error) {
	c, out, err := l.run(ctx, dir, l.env, l.cube, "build", "step")
	if err == nil && !strings.Contains(out, "built step: 1 ran") {
		err = fmt.Errorf("one action should have run: %s", tail([]byte(out)))
	}
	return c, err
}

// editable is the trivial workspace with a first variable in tiles of which
// single cells can be changed.
type editable struct {
	lab   *lab
	dir   string
	edits int
	tiles int
}

// What is written in the workspace, and what an editable one says instead.
const (
	wholeBase    = "{cost: cpu, tiles: false, memory: 256MiB, timeout: 30s}"
	tiledBase    = "{cost: cpu, tiles: true, memory: 256MiB, timeout: 30s}\nparams: {type: object, properties: {edits: {type: integer, default: 0}}}"
	baseInstance = "base: ./producers/base"
)

func (l *lab) editable(ctx context.Context, side int) (*editable, error) {
	dir, err := l.trivial("changed", side, side)
	if err != nil {
		return nil, err
	}
	e := &editable{lab: l, dir: dir, tiles: side * side}
	err = errors.Join(replace(filepath.Join(dir, "producers", "base", "producer.yaml"), wholeBase, tiledBase),
		replace(filepath.Join(dir, "cube.yaml"), baseInstance, e.instance()))
	if err != nil {
		return nil, err
	}
	if err := l.makeImages(ctx); err != nil {
		return nil, err
	}
	l.log("changed: making %d tiles twice", e.tiles)
	return e, errors.Join(l.fill(ctx, dir, withEdits{e.tiles, side}, "step"), l.upToDate(ctx, dir))
}

func (e *editable) instance() string {
	return fmt.Sprintf("base: {image: ./producers/base, params: {edits: %d}}", e.edits)
}

// edit changes one more cell of the first variable, and no tile of the other.
func (e *editable) edit(ctx context.Context) error {
	before := e.instance()
	e.edits++
	if err := replace(filepath.Join(e.dir, "cube.yaml"), before, e.instance()); err != nil {
		return err
	}
	return e.lab.fill(ctx, e.dir, withEdits{e.tiles, int(math.Sqrt(float64(e.tiles)))}, "base")
}

// withEdits computes in place, as inPlace does, but that in some tiles, one for
// each edit, the first cell has the edit's number.
type withEdits struct{ tiles, side int }

func (w withEdits) Run(ctx context.Context, a containers.Action) (*containers.Result, error) {
	r, err := inPlace{}.Run(ctx, a)
	var request struct{ Params struct{ Edits int } }
	if err := errors.Join(err, json.Unmarshal(a.Request, &request)); err != nil {
		return nil, err
	}
	for role, o := range a.Outputs {
		tile := int(o.Box.Y.Lo/8)*w.side + int(o.Box.X.Lo/8)
		for edit := 1; edit <= request.Params.Edits; edit++ {
			if edit*37%w.tiles == tile {
				binary.LittleEndian.PutUint32(r.Outputs[role].Values, math.Float32bits(float32(edit)))
			}
		}
	}
	return r, nil
}

// replace changes a text in a file that has it.
func replace(file, old, new string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	changed := strings.Replace(string(text), old, new, 1)
	if !strings.Contains(string(text), old) {
		return fmt.Errorf("%s does not say %q", file, old)
	}
	return os.WriteFile(file, []byte(changed), 0o644)
}
