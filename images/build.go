package images

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Build makes the image of a producer, or finds that it is there. It compiles
// and hashes the producer's files every time; [Store.BuildCached] is the one
// to call where nothing may have changed.
//
// Errors: a [*RecipeError] for a mistake in the recipe; a [*LockError] or
// [*DriftError] where a Locked build has no fitting image.lock, or one whose
// pins are gone; [ErrTool] where this machine lacks a program.
func (s *Store) Build(ctx context.Context, src Source, opt BuildOptions) (*Image, error) {
	img, _, err := s.build(ctx, src, opt)
	return img, err
}

// build is Build, and says which files it read.
func (s *Store) build(ctx context.Context, src Source, opt BuildOptions) (*Image, *inputs, error) {
	if err := src.validate(); err != nil {
		return nil, nil, err
	}
	if err := opt.checkPlatform(); err != nil {
		return nil, nil, wrapWhere(&src, err)
	}
	unlock, err := s.using(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	b := s.newBuilder(src, opt)
	defer b.close()
	img, err := b.build(ctx)
	if err != nil {
		return nil, nil, wrapWhere(&src, err)
	}
	return img, b.inputs, nil
}

// wrapWhere names the source, unless the error does so itself.
func wrapWhere(src *Source, err error) error {
	var drift *DriftError
	var lock *LockError
	if errors.As(err, &drift) || errors.As(err, &lock) {
		return err
	}
	return fmt.Errorf("image %s: %w", src.where(), err)
}

// builder is one build going on.
type builder struct {
	store    *Store
	src      Source
	opt      BuildOptions
	platform Platform
	inputs   *inputs

	debsLayer Layer // once made
	python    python
	relocked  *platformLock // what was resolved in place of the lock
	drifted   []Drift
	closers   []func()
}

func (s *Store) newBuilder(src Source, opt BuildOptions) *builder {
	return &builder{store: s, src: src, opt: opt, platform: opt.platform(), inputs: newInputs(src.Dir)}
}

func (b *builder) close() {
	for _, c := range b.closers {
		c()
	}
}

func (b *builder) event(kind EventKind, took time.Duration, format string, args ...any) {
	if b.opt.Progress != nil {
		b.opt.Progress(Event{Kind: kind, Image: b.src.Name, Text: fmt.Sprintf(format, args...), Took: took})
	}
}

// step reports a piece of work and how long it took.
func (b *builder) step(do func() error, format string, args ...any) error {
	start := time.Now()
	b.event(EventStep, 0, format, args...)
	if err := do(); err != nil {
		return err
	}
	b.event(EventDone, time.Since(start), format, args...)
	return nil
}

func (b *builder) build(ctx context.Context) (*Image, error) {
	pins, old, err := b.pins(ctx)
	if err != nil {
		return nil, err
	}
	var layers []Layer
	if b.src.Recipe.base() == "debian" {
		if pins.Debs, err = b.addDebs(ctx, pins.Debs); err != nil {
			return nil, err
		}
		layers = append(layers, b.debsLayer)
	}
	if len(pins.Wheels) > 0 {
		l, taken, err := b.addWheels(ctx, pins.Debs, pins.Wheels)
		if err != nil {
			return nil, err
		}
		pins.Wheels = taken
		layers = append(layers, l)
	}
	code, err := b.addCode(ctx)
	if err != nil {
		return nil, err
	}
	img, err := b.describe(append(layers, code))
	if err != nil {
		return nil, err
	}
	if img.Drifted = b.drifted; len(b.drifted) > 0 || b.relocked != nil {
		img.Lock = mergeLock(old, b.platform, pins).encode()
	}
	return img, b.store.tag(ctx, img)
}

// pins returns what to build of: the lock's part for this platform, or what is
// resolved now where there is no fitting one and the build is not locked.
func (b *builder) pins(ctx context.Context) (*platformLock, *lockfile, error) {
	want := b.src.Recipe.wanted()
	if want.empty() {
		return &platformLock{}, nil, nil
	}
	b.inputs.add(LockFile)
	lock, err := b.src.readLock()
	if err != nil {
		return nil, nil, err
	}
	reason := ""
	switch {
	case lock == nil:
		reason = "is missing"
	case lock.Platforms[b.platform.String()] == nil:
		reason = "does not pin " + b.platform.String()
	case !lock.Platforms[b.platform.String()].For.equal(want):
		reason = "was written for other debs or wheels than the recipe names"
	default:
		pl := *lock.Platforms[b.platform.String()]
		return &pl, lock, nil
	}
	if b.opt.Locked {
		return nil, nil, &LockError{Where: b.src.where(), Reason: reason}
	}
	b.event(EventNotice, 0, "%s %s: using the packages that are there today; %s", LockFile, reason, mend(b.src.where()))
	b.relocked, err = b.resolve(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	pl := *b.relocked
	return &pl, lock, nil
}

// drift records that pins are gone and others were taken, or refuses it.
func (b *builder) drift(ds []Drift) {
	b.drifted = append(b.drifted, ds...)
	b.event(EventNotice, 0, "%s pins what is no longer to be had; taken instead: %s; %s", LockFile, joinDrifts(ds), mend(b.src.where()))
}
