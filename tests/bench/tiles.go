//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/project"
)

// tiles builds 10,000 tiles and then nothing, beside other programs with as
// many edges and nothing to do; and a million tiles beside the ten thousand.
func tiles(ctx context.Context, l *lab) ([]comparison, error) {
	side := max(10, int(100*math.Sqrt(min(1, l.scale))))
	few, err := l.filled(ctx, "tiles", side)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(few)
	var rows []comparison
	for _, p := range l.peers(ctx, "nothing to do beside ") {
		c, err := l.nothingBeside(ctx, p, few, side*side)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", p.name, err)
		}
		rows = append(rows, c)
	}
	many, err := l.filled(ctx, "many-tiles", 10*side)
	if err != nil {
		return rows, err
	}
	defer os.RemoveAll(many)
	c := comparison{ours: fmt.Sprintf("nothing to do for %d tiles", 100*side*side), theirs: fmt.Sprintf("nothing to do for %d tiles", side*side), unit: "ms", limit: 1.5}
	c.note, err = l.inTurns(ctx, &c, l.rounds(50, 3), []string{l.cube, "build", "step"}, many, []string{l.cube, "build", "step"}, few)
	return append(rows, c), err
}

// nothingBeside has ours and a peer find that there is nothing to do.
func (l *lab) nothingBeside(ctx context.Context, p peer, dir string, n int) (c comparison, err error) {
	c = comparison{ours: fmt.Sprintf("`cube build` with nothing to do, %d tiles", n), theirs: fmt.Sprintf("%s with nothing to do, %d edges", p.what, n), unit: "ms", limit: p.limit}
	defer func() { err = errors.Join(err, l.forget(ctx, p)) }()
	edges, err := l.prepare(ctx, p, n, shared)
	if err != nil {
		return c, err
	}
	rounds := l.rounds(50, 3)
	if p.rounds > 0 {
		rounds = min(rounds, p.rounds)
	}
	c.note, err = l.inTurns(ctx, &c, rounds, []string{l.cube, "build", "step"}, dir, p.argv, edges)
	return c, err
}

// inTurns runs ours and theirs by turns, and says how much memory ours took.
func (l *lab) inTurns(ctx context.Context, c *comparison, rounds int, ours []string, here string, theirs []string, there string) (string, error) {
	var rss int64
	for round := range rounds + 2 { // two warm up
		a, err := l.time(ctx, here, ours...)
		if err != nil {
			return "", err
		}
		b, err := l.time(ctx, there, theirs...)
		if err != nil {
			return "", err
		}
		if round >= 2 {
			c.a, c.b, rss = append(c.a, a.ms()), append(c.b, b.ms()), max(rss, a.rss)
		}
	}
	return fmt.Sprintf("at most %d MiB resident", rss>>20), nil
}

// filled is the trivial workspace with side × side tiles, built by the engine
// in this process, with a backend that computes in place of containers: the
// cube is what `cube build` would have made of such values, and sooner.
func (l *lab) filled(ctx context.Context, name string, side int) (string, error) {
	dir, err := l.trivial(name, side, side)
	if err != nil {
		return "", err
	}
	if err := l.makeImages(ctx); err != nil {
		return "", err
	}
	l.log("tiles: making %d of them", side*side)
	if err := l.fill(ctx, dir, inPlace{}, "step"); err != nil {
		return "", err
	}
	return dir, l.upToDate(ctx, dir)
}

// upToDate checks that the program, too, finds nothing to do.
func (l *lab) upToDate(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, l.cube, "build", "step")
	cmd.Dir, cmd.Env = dir, l.env
	out, err := cmd.Output()
	if err == nil && !strings.Contains(string(out), "up to date") {
		err = fmt.Errorf("it should find nothing to do, and says: %s", tail(out))
	}
	return err
}

// fill builds a variable with a backend in this process, and shows it.
func (l *lab) fill(ctx context.Context, dir string, backend solve.Backend, target string) error {
	defer debug.FreeOSMemory() // see forgetPeak
	p, err := project.Open(project.Config{Dir: dir, Cache: l.path("cache", "cube"), Notice: func(string) {}, Step: func(string) {}})
	if err != nil {
		return err
	}
	defer p.Close()
	prepared, err := p.Prepare(ctx, target)
	if err != nil {
		return err
	}
	c, err := p.Cube()
	if err != nil {
		return err
	}
	if _, err := solve.Run(ctx, &prepared.Workspace, prepared.Plan, solve.Config{Cube: c, Backend: backend, Provider: p, Workers: 2}); err != nil {
		return err
	}
	return c.View(ctx)
}

// inPlace computes a number for each tile. Nine of ten tiles are nodata: a
// million files would measure the file system.
type inPlace struct{}

func (inPlace) Run(_ context.Context, a containers.Action) (*containers.Result, error) {
	r := &containers.Result{Outputs: map[string]containers.Output{}}
	for role, o := range a.Outputs {
		v := float32(math.NaN())
		if tile := o.Box.Y.Lo/8*1000 + o.Box.X.Lo/8; tile%10 == 0 {
			v = float32(tile)
		}
		var values []byte
		for range o.Box.Cells() {
			values = binary.LittleEndian.AppendUint32(values, math.Float32bits(v))
		}
		r.Outputs[role] = containers.Output{Values: values}
	}
	return r, nil
}
