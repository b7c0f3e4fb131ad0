package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/spf13/cobra"
)

type lockOptions struct {
	projectFlags
	check bool
}

func newLockCommand(a *app) *cobra.Command {
	var o lockOptions
	c := &cobra.Command{
		Use:     "lock",
		Short:   "pin images and sources in cube.lock",
		GroupID: groupData,
		Long: `Lock writes what the names in cube.yaml stand for now: the digest of each
producer's image on this platform, the SHA-256 of each source and what it holds.
It keeps the pins of other platforms and of imports, drops what cube.yaml does not
name any more, and says what changed. A source of the network stays as it was
pinned unless --update fetches it anew, and so do the sources that a producer
fetches itself, with the recording of what it was answered. "cube build --locked"
then takes nothing else.`,
		Example: `  cube lock
  cube lock --update     # fetch the sources of the network anew
  cube lock --check      # in CI: exit 4 where cube.lock is not up to date`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runLock(c.Context(), a, o) },
	}
	f := c.Flags()
	f.BoolVar(&o.update, "update", false, "fetch the sources of the network anew")
	f.BoolVar(&o.check, "check", false, "change nothing; exit 4 where cube.lock is not up to date")
	f.BoolVar(&o.offline, "offline", false, "fetch nothing")
	return c
}

// pinChange is a difference between two locks.
type pinChange struct {
	Type  string `json:"type"` // pin
	Kind  string `json:"kind"` // image, source, recording or import
	Name  string `json:"name"`
	On    string `json:"platform,omitempty"`
	Old   string `json:"old,omitempty"`
	New   string `json:"new,omitempty"`
	Field string `json:"field,omitempty"` // what of it changed, where it is not its digest
}

func runLock(ctx context.Context, a *app, o lockOptions) error {
	if o.update && (o.check || o.offline) {
		return &usageError{errors.New("--update fetches and writes: it goes neither with --offline nor with --check")}
	}
	o.dryRun = true
	p, err := a.open(o.projectFlags, a.step)
	if err != nil {
		return err
	}
	path := filepath.Join(p.File.Dir(), config.LockName)
	before, err := config.LoadLockOrNew(path)
	if err != nil {
		return err
	}
	if _, err := p.Prepare(ctx); err != nil {
		return err
	}
	prune(p.Lock, p.File)
	changes := comparePins(before, p.Lock)
	if a.json {
		err = a.printLines(anySlice(changes)...)
	} else {
		err = a.printPins(changes)
	}
	if err != nil {
		return err
	}
	if !o.check {
		return p.Lock.Write(path)
	}
	if len(changes) > 0 {
		return &exitError{exitLocked, fmt.Errorf("%s is not up to date\n  bring it up to date with: cube lock", config.LockName)}
	}
	return nil
}

// prune drops the pins of what the workspace does not name.
func prune(lock *config.Lock, file *config.File) {
	used := map[string]bool{}
	for _, p := range file.Producers {
		used[p.Image] = true
	}
	maps.DeleteFunc(lock.Images, func(ref string, _ config.LockedImage) bool { return !used[ref] })
	maps.DeleteFunc(lock.Sources, func(name string, _ config.LockedSource) bool { return file.Source(name) == nil })
	maps.DeleteFunc(lock.Fetches, func(name string, _ config.LockedFetch) bool { return file.Producer(name) == nil })
	maps.DeleteFunc(lock.Salts, func(name string, _ int) bool { return file.Producer(name) == nil })
}

// comparePins says what differs between two locks, by kind and name.
func comparePins(before, after *config.Lock) []pinChange {
	var out []pinChange
	add := func(c pinChange) {
		if c.Type = "pin"; c.Old != c.New {
			out = append(out, c)
		}
	}
	for _, ref := range bothKeys(before.Images, after.Images) {
		old, now := before.Images[ref], after.Images[ref]
		for _, platform := range bothKeys(old.Platforms, now.Platforms) {
			add(pinChange{Kind: "image", Name: ref, On: platform, Old: old.Platforms[platform].Config, New: now.Platforms[platform].Config})
		}
	}
	for _, name := range bothKeys(before.Sources, after.Sources) {
		old, now := before.Sources[name], after.Sources[name]
		add(pinChange{Kind: "source", Name: name, Old: digestText(old.SHA256), New: digestText(now.SHA256)})
		add(pinChange{Kind: "source", Name: name, Field: "uri", Old: old.URI, New: now.URI})
		if old.SHA256 == now.SHA256 {
			add(pinChange{Kind: "source", Name: name, Field: "description", Old: inspected(old.Inspection), New: inspected(now.Inspection)})
		}
	}
	for _, name := range bothKeys(before.Fetches, after.Fetches) {
		old, now := before.Fetches[name], after.Fetches[name]
		add(pinChange{Kind: "recording", Name: name, Old: digestText(old.Recording.SHA256), New: digestText(now.Recording.SHA256)})
		for _, role := range bothKeys(old.Sources, now.Sources) {
			add(pinChange{Kind: "source", Name: config.FetchedName(name, role), Old: digestText(old.Sources[role].SHA256), New: digestText(now.Sources[role].SHA256)})
		}
		add(pinChange{Kind: "recording", Name: name, Field: "question", Old: digestText(old.Asked), New: digestText(now.Asked)})
	}
	for _, name := range bothKeys(before.Imports, after.Imports) {
		add(pinChange{Kind: "import", Name: name, Old: digestText(before.Imports[name].Version), New: digestText(after.Imports[name].Version)})
	}
	for _, name := range bothKeys(before.Holds, after.Holds) {
		add(pinChange{Kind: "hold", Name: name, Old: digestText(before.Holds[name].Version), New: digestText(after.Holds[name].Version)})
	}
	return out
}

func bothKeys[T any](a, b map[string]T) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}

func digestText(d graph.Digest) string {
	if d.IsZero() {
		return ""
	}
	return d.String()
}

// inspected is what a driver says of a source, in a line.
func inspected(in *graph.Inspection) string {
	if in == nil {
		return ""
	}
	return fmt.Sprintf("%d × %d cells of %s in %s", in.Height, in.Width, in.DType, in.CRS)
}

func (a *app) printPins(changes []pinChange) error {
	if len(changes) == 0 {
		_, err := fmt.Fprintf(a.stdout, "%s is up to date\n", config.LockName)
		return err
	}
	s := a.style(a.stdout)
	for _, c := range changes {
		if err := c.write(a.stdout, s); err != nil {
			return err
		}
	}
	return nil
}

// write prints a change as a line of a diff.
func (c pinChange) write(w io.Writer, s ui.Style) error {
	name := c.Kind + " " + c.Name
	if c.On != "" {
		name += " (" + c.On + ")"
	}
	if c.Field != "" {
		name += " " + c.Field
	}
	var err error
	switch {
	case c.Old == "":
		_, err = fmt.Fprintf(w, "%s %s: %s\n", s.Good("+"), name, shortPin(c.New))
	case c.New == "":
		_, err = fmt.Fprintf(w, "%s %s: %s\n", s.Bad("-"), name, shortPin(c.Old))
	default:
		_, err = fmt.Fprintf(w, "%s %s: %s → %s\n", s.Bold("~"), name, shortPin(c.Old), shortPin(c.New))
	}
	return err
}

// shortPin cuts a digest short.
func shortPin(s string) string {
	if d, err := graph.ParseDigest(s); err == nil {
		return d.Short()
	}
	return s
}
