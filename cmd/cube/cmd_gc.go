package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/images"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/spf13/cobra"
)

type gcOptions struct {
	keep   int
	dryRun bool
	images bool
	age    time.Duration
}

// freedVersions and freedImages are the lines of cube gc --json.
type freedVersions struct {
	Type     string `json:"type"` // gc
	What     string `json:"what"` // cube
	Versions int64  `json:"versions"`
	Results  int64  `json:"results"`
	Objects  int64  `json:"objects"`
	Bytes    int64  `json:"bytes"`
	DryRun   bool   `json:"dry_run"`
}

type freedImages struct {
	Type      string `json:"type"` // gc
	What      string `json:"what"` // images
	Images    int    `json:"images"`
	Layers    int    `json:"layers"`
	Downloads int    `json:"downloads"`
	Bytes     int64  `json:"bytes"`
}

func newGCCommand(a *app) *cobra.Command {
	var o gcOptions
	c := &cobra.Command{
		Use:     "gc",
		Short:   "free what no variable needs any more",
		GroupID: groupMachine,
		Long: `Gc frees versions that are no variable's newest, with the results and chunks that
only they need: to have such a version again, its actions run again. What cube.lock
pins stays. It waits for no build: while one is going on it says so and does
nothing.`,
		Example: `  cube gc --dry-run
  cube gc --keep 3                 # the three newest versions of each variable stay
  cube gc --images --age 720h      # images not used for 30 days, for all workspaces`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runGC(c.Context(), a, o) },
	}
	f := c.Flags()
	f.IntVar(&o.keep, "keep", 1, "how many of each variable's newest versions stay")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "say what would be freed")
	f.BoolVar(&o.images, "images", false, "also free images and downloads that were not used for long")
	f.DurationVar(&o.age, "age", 30*24*time.Hour, "with --images: how long is long")
	c.MarkFlagsMutuallyExclusive("dry-run", "images")
	return c
}

func runGC(ctx context.Context, a *app, o gcOptions) error {
	if o.keep < 1 {
		return &usageError{errors.New("--keep: at least 1; a variable goes with cube rm")}
	}
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	if g.cube != nil {
		if err := g.collect(ctx, o); err != nil {
			return err
		}
	}
	if !o.images {
		return nil
	}
	freed, err := g.proj.Images.GC(ctx, images.GCOptions{Age: o.age, Keep: g.keptImages()})
	if err != nil {
		return err
	}
	if a.json {
		return a.printLines(freedImages{"gc", "images", freed.Images, freed.Layers, freed.Downloads, freed.Bytes})
	}
	_, err = fmt.Fprintf(a.stdout, "freed %s: %s, %s, %s\n", ui.Bytes(freed.Bytes), plural(freed.Images, "image"),
		plural(freed.Layers, "layer"), plural(freed.Downloads, "download"))
	return err
}

// keptImages are the images that cube.lock pins.
func (g *gallery) keptImages() []string {
	var keep []string
	for _, img := range g.proj.Lock.Images {
		for _, pin := range img.Platforms {
			keep = append(keep, pin.Config)
		}
	}
	return keep
}

// collect frees what the cube does not need.
func (g *gallery) collect(ctx context.Context, o gcOptions) error {
	conf := cube.GCConfig{Result: solve.ResultObjects, DryRun: o.dryRun,
		Kept: func(ctx context.Context) ([]graph.Digest, error) { return g.keptVersions(ctx, o.keep) }}
	if !o.dryRun {
		conf.Alone = g.collectCheckpoints
	}
	freed, err := g.cube.GC(ctx, conf)
	switch {
	case errors.Is(err, cube.ErrBusy):
		return fmt.Errorf("%w: try again when it is over", err)
	case errors.Is(err, cube.ErrNotExist):
		return fmt.Errorf("%w\n  nothing was freed; what is missing is made anew by: cube build", err)
	case err != nil:
		return err
	}
	a := g.app
	if a.json {
		return a.printLines(freedVersions{"gc", "cube", freed.Versions, freed.Results, freed.Objects, freed.Bytes, o.dryRun})
	}
	verb := "freed"
	if o.dryRun {
		verb = "would free"
	}
	_, err = fmt.Fprintf(a.stdout, "%s %s: %s, %s, %s\n", verb, ui.Bytes(freed.Bytes), plural(int(freed.Versions), "version"),
		plural(int(freed.Results), "result"), plural(int(freed.Objects), "object"))
	return err
}

// keptVersions are the versions that stay, beside those of the heads: what
// cube.lock pins, what failed actions read, and so many of each variable.
func (g *gallery) keptVersions(ctx context.Context, newest int) ([]graph.Digest, error) {
	lock, err := config.LoadLockOrNew(filepath.Join(g.proj.File.Dir(), config.LockName))
	if err != nil {
		return nil, err
	}
	kept := append(importedVersions(lock), g.letterVersions()...)
	heads, err := g.cube.Heads(ctx)
	if err != nil {
		return nil, err
	}
	for name := range heads {
		versions, err := g.versions(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, h := range versions[max(0, len(versions)-newest):] {
			if g.cube.HasVersion(h.Version) {
				kept = append(kept, h.Version)
			}
		}
	}
	return kept, nil
}

// letterVersions are the versions that actions read which failed: they are what
// such an action's inputs are laid out from again.
func (g *gallery) letterVersions() (out []graph.Digest) {
	for l, err := range solve.DeadLetters(g.cube).All() {
		if err != nil {
			continue
		}
		for _, w := range l.Windows {
			if !w.Version.IsZero() && g.cube.HasVersion(w.Version) {
				out = append(out, w.Version)
			}
		}
	}
	return out
}

// staleCheckpoint is how long a checkpoint stays whose action neither failed
// for good nor succeeded: its build was killed, and never taken up again.
const staleCheckpoint = 7 * 24 * time.Hour

// collectCheckpoints drops the checkpoints that no attempt will go on from.
func (g *gallery) collectCheckpoints() error {
	letters := map[graph.ActionID]bool{}
	ids, err := solve.DeadLetters(g.cube).IDs()
	if err != nil {
		return err
	}
	for _, id := range ids {
		letters[id] = true
	}
	_, err = g.cube.CollectCheckpoints(func(id graph.ActionID, changed time.Time) (bool, error) {
		done, err := solve.HasResult(g.cube, id)
		return !done && (letters[id] || time.Since(changed) < staleCheckpoint), err
	})
	return err
}
