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
// made of it, tile by tile: one action. Beside it others, with as many edges of
// which each has a leaf of its own, after one leaf has changed. What the one
// tile's own program takes, run bare, is taken off ours, and what the one
// edge's command takes off theirs.
func changed(ctx context.Context, l *lab) ([]comparison, error) {
	e, err := l.editable(ctx, max(10, int(100*math.Sqrt(min(1, l.scale)))))
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(e.dir)
	work, err := newPayload(ctx, l)
	if err != nil {
		return nil, err
	}
	e.work = work.bare()
	var rows []comparison
	for _, p := range l.peers(ctx, "one changed cell beside ") {
		c, err := e.beside(ctx, p)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", p.name, err)
		}
		rows = append(rows, c)
	}
	return rows, nil
}

// beside has ours and a peer build after one change, by turns.
func (e *editable) beside(ctx context.Context, p peer) (c comparison, err error) {
	l := e.lab
	c = comparison{ours: fmt.Sprintf("`cube build` after one cell of %d tiles changed, less the tile's own work", e.tiles),
		theirs: fmt.Sprintf("%s, one leaf of %d changed, less the edge's own work", p.what, e.tiles), unit: "ms"}
	if p.name == "ninja" {
		c.limit = 2
	}
	defer func() { err = errors.Join(err, l.forget(ctx, p)) }()
	edges, err := l.prepare(ctx, p, e.tiles, own)
	if err != nil {
		return c, err
	}
	rounds := l.rounds(20, 3)
	if p.rounds > 0 {
		rounds = min(rounds, p.rounds)
	}
	for round := range rounds + 1 {
		ours, theirs, err := e.round(ctx, p, edges, round)
		if err != nil {
			return c, err
		}
		if round > 0 { // the first warms up
			c.a, c.b = append(c.a, ours), append(c.b, theirs)
		}
	}
	return c, nil
}

// round changes a cell and a leaf, and returns what the builds that follow
// take, less the own work of what they run, in ms.
func (e *editable) round(ctx context.Context, p peer, edges string, round int) (ours, theirs float64, err error) {
	leaf := filepath.Join(edges, own.name(round*37%e.tiles))
	if err := errors.Join(e.edit(ctx), os.WriteFile(leaf, []byte(strconv.Itoa(round)), 0o644)); err != nil {
		return 0, 0, err
	}
	a, err := e.lab.oneAction(ctx, e.dir)
	if err != nil {
		return 0, 0, err
	}
	b, err := e.lab.time(ctx, edges, p.argv...)
	if err != nil {
		return 0, 0, err
	}
	mine, err := e.lab.oneAfterTheOther(ctx, 20, e.work)
	if err != nil {
		return 0, 0, err
	}
	touch := []string{"/bin/sh", "-c", "touch " + e.lab.path("touched")}
	its, err := e.lab.oneAfterTheOther(ctx, 20, touch)
	const least = 0.1 // ms: what noise may leave of a difference
	return max(least, a.ms()-mine.ms()), max(least, b.ms()-its.ms()), err
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
	work  []string // what a tile's own program is, run bare
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
