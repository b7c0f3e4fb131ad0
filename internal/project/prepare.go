package project

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/images"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/source"
	"github.com/cubebuild/cube/internal/wholefile"
)

// Prepared is a workspace with everything that the targets need at hand.
type Prepared struct {
	Workspace graph.Workspace
	Plan      *graph.Plan
}

// preparation is what Prepare knows on its way.
type preparation struct {
	*Project
	producers map[string]*producer // by instance
	needed    []string             // instances
	repinned  map[string]bool      // images that were pinned otherwise when this began
}

// Variables lists what the workspace can make, reading contracts alone.
func (p *Project) Variables(ctx context.Context) ([]string, error) {
	pr, err := p.contracts(ctx)
	if err != nil {
		return nil, err
	}
	ws := pr.bare()
	return ws.Variables(), nil
}

// ErrUnready says that something is not at hand, and that it may not be made.
var ErrUnready = errors.New("not at hand")

// Prepare makes ready what the targets need: all variables where none is named.
func (p *Project) Prepare(ctx context.Context, targets ...string) (*Prepared, error) {
	pr, err := p.contracts(ctx)
	if err != nil {
		return nil, err
	}
	if !p.cfg.DryRun { // first: what killed builds left takes up room
		if err := errors.Join(p.Images.Sweep(ctx), p.Sources.Sweep()); err != nil {
			return nil, err
		}
	}
	bare := pr.bare()
	if len(targets) == 0 {
		targets = bare.Variables()
	}
	if pr.needed, err = graph.Closure(&bare, targets...); err != nil {
		return nil, err
	}
	if err := pr.images(ctx); err != nil {
		if errors.Is(err, images.ErrUnbuilt) {
			err = fmt.Errorf("%w: %w", ErrUnready, err)
		}
		return nil, err
	}
	if err := pr.sources(ctx); err != nil {
		return nil, err
	}
	if err := pr.indexes(ctx); err != nil {
		return nil, err
	}
	ws, err := config.Workspace(p.File, p.Lock, pr.resolved())
	if err != nil {
		return nil, err
	}
	fetched, err := pr.fetches(ctx, &ws)
	if err != nil {
		return nil, err
	}
	if fetched { // now what they fetched is pinned
		if ws, err = config.Workspace(p.File, p.Lock, pr.resolved()); err != nil {
			return nil, err
		}
	}
	if err := pr.checkExtents(&ws); err != nil {
		return nil, err
	}
	plan, err := graph.Resolve(ws, targets...)
	if err != nil {
		return nil, err
	}
	if !p.cfg.Locked && !p.cfg.DryRun {
		if err := p.Lock.Write(p.path(config.LockName)); err != nil {
			return nil, err
		}
	}
	return &Prepared{ws, plan}, nil
}

// Outline returns the workspace as its contracts alone tell it: who needs and
// makes what, by name. No image is made and no source looked at; grids and pins
// are not in it.
func (p *Project) Outline(ctx context.Context) (graph.Workspace, error) {
	pr, err := p.contracts(ctx)
	if err != nil {
		return graph.Workspace{}, err
	}
	return pr.bare(), nil
}

// contracts reads the contract of every instance.
func (p *Project) contracts(ctx context.Context) (*preparation, error) {
	pr := &preparation{Project: p, producers: map[string]*producer{}, repinned: map[string]bool{}}
	for i := range p.File.Producers {
		inst := &p.File.Producers[i]
		made, err := p.producer(ctx, inst)
		if err != nil {
			return nil, err
		}
		pr.producers[inst.Name] = made
	}
	return pr, nil
}

// bare is a workspace of names: who needs and makes what.
func (pr *preparation) bare() graph.Workspace {
	ws := graph.Workspace{Imports: pr.Lock.Pinned()}
	for _, inst := range pr.File.Producers {
		ws.Instances = append(ws.Instances, graph.Instance{Name: inst.Name, In: inst.In, Out: inst.Out, Sources: inst.Sources,
			Image: graph.Image{Ref: inst.Image}, Grid: inst.Grid, Manifest: pr.producers[inst.Name].manifest})
	}
	return ws
}

func (pr *preparation) resolved() map[string]config.ResolvedProducer {
	out := map[string]config.ResolvedProducer{}
	for _, name := range pr.needed {
		made := pr.producers[name]
		out[name] = config.ResolvedProducer{Manifest: made.manifest, Image: imageOf(made.image), Parts: made.parts}
	}
	return out
}

// imageOf is what an ActionID knows of an image.
func imageOf(i *images.Image) graph.Image {
	return graph.Image{Platform: i.Platform, DiffIDs: i.DiffIDs, Env: i.Env, User: i.User, Dir: i.WorkDir,
		Command: i.Command, Ref: i.Name, Config: i.Config, Manifest: i.Manifest}
}

// images makes the images of the needed instances, each once, and pins them.
func (pr *preparation) images(ctx context.Context) error {
	built := map[string]*images.Image{}
	for _, name := range pr.needed {
		inst, made := pr.File.Producer(name), pr.producers[name]
		if err := pr.image(ctx, inst.Image, made, built); isMistake(err) {
			return err
		} else if err != nil {
			return fmt.Errorf("image of %s: %w", name, err)
		}
		if err := pr.pinImage(inst.Image, made.image); err != nil {
			return err
		}
		pr.mu.Lock()
		pr.imgs[made.image.Config] = made.image
		pr.mu.Unlock()
	}
	return nil
}

func (pr *preparation) image(ctx context.Context, ref string, made *producer, built map[string]*images.Image) error {
	if made.image != nil {
		return nil
	}
	if made.image = built[ref]; made.image != nil {
		return nil
	}
	opt := images.BuildOptions{Locked: pr.cfg.Locked, Known: pr.cfg.Known, Progress: func(e images.Event) {
		if e.Kind == images.EventNotice {
			pr.notice("%s: %s", e.Image, e.Text)
		} else if e.Kind == images.EventStep {
			pr.step("image %s: %s", e.Image, e.Text)
		}
	}}
	img, err := pr.Images.BuildCached(ctx, *made.source, opt)
	if err != nil {
		return InRecipe(ref, made.source, err)
	}
	made.image, built[ref] = img, img
	return pr.rewriteLock(made.source.Dir, img)
}

// InRecipe gives a mistake in a recipe that only the build could see its place
// in producer.yaml. Other errors stay.
func InRecipe(ref string, src *images.Source, err error) error {
	var mistake *images.RecipeError
	if src.Dir == "" || !errors.As(err, &mistake) {
		return err
	}
	file, parseErr := config.LoadProducer(src.FS, ref)
	if parseErr != nil {
		return err
	}
	return file.RecipeError(mistake)
}

// rewriteLock writes the lock that describes an image whose pins were gone
// over the producer's own, as the notices of the build have said.
func (pr *preparation) rewriteLock(dir string, img *images.Image) error {
	if dir == "" || len(img.Drifted) == 0 || len(img.Lock) == 0 {
		return nil
	}
	return writeFile(filepath.Join(dir, images.LockFile), img.Lock)
}

// pinImage holds an image to cube.lock, or writes it there.
func (pr *preparation) pinImage(ref string, img *images.Image) error {
	pinned, ok := pr.Lock.Images[ref]
	pin := config.PlatformPin{Config: img.Config, Manifest: img.Manifest, DiffIDs: img.DiffIDs}
	old, has := pinned.Platforms[img.Platform]
	if ok && has && old.Config == pin.Config {
		return nil
	}
	if pr.cfg.Locked {
		if !has {
			return &LockError{What: "image " + ref, Have: img.Config}
		}
		return &LockError{What: "image " + ref, Pinned: old.Config, Have: img.Config}
	}
	pr.repinned[ref] = has
	if pinned.Platforms == nil {
		pinned.Platforms = map[string]config.PlatformPin{}
	}
	pinned.Platforms[img.Platform] = pin
	pr.Lock.Images[ref] = pinned
	return nil
}

// LockError says that something is not as cube.lock pins it.
type LockError struct {
	What   string
	Pinned string // "": cube.lock does not pin it
	Have   string
	Why    string // in place of the two
}

func (e *LockError) Error() string {
	if e.Why != "" {
		return fmt.Sprintf("%s: not all that is asked for is in it: %s", e.What, e.Why)
	}
	if e.Pinned == "" {
		return fmt.Sprintf("%s: %s does not pin it", e.What, config.LockName)
	}
	return fmt.Sprintf("%s: %s pins %s, here it is %s", e.What, config.LockName, e.Pinned, e.Have)
}

// sources pins the sources of the needed instances, and of the grids that are
// like one, and has those described that a driver can describe.
func (pr *preparation) sources(ctx context.Context) error {
	for _, name := range pr.sourceNames() {
		src := pr.File.Source(name)
		if src == nil {
			continue // config.Workspace names the mistake
		}
		if err := pr.pinSource(ctx, src); err != nil {
			return err
		}
		if err := pr.inspect(ctx, src); err != nil {
			return err
		}
	}
	return nil
}

func (pr *preparation) sourceNames() []string {
	var names []string
	for _, inst := range pr.needed {
		for _, src := range pr.File.Producer(inst).Sources {
			names = append(names, src)
		}
	}
	for _, g := range pr.File.Grids {
		if g.Like != "" {
			names = append(names, g.Like)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (pr *preparation) pinSource(ctx context.Context, src *config.Source) error {
	locked, ok := pr.Lock.Sources[src.Name]
	ok = ok && locked.URI == src.URI
	want := src.SHA256
	if pr.cfg.Locked && !ok {
		return &LockError{What: "source " + src.Name}
	}
	if ok && want.IsZero() && (pr.cfg.Locked || source.IsRemote(src.URI) && !pr.cfg.Update) {
		want = locked.SHA256
	}
	if source.IsRemote(src.URI) {
		pr.step("source %s", src.Name)
	}
	pin, err := pr.pin(ctx, source.Want{URI: src.URI, SHA256: want, MaxSize: src.MaxSize}, locked)
	if pr.cfg.Locked && src.SHA256.IsZero() && errors.Is(err, source.ErrChanged) {
		return &LockError{What: "source " + src.Name, Pinned: want.String(), Have: pin.SHA256.String()}
	}
	if err != nil {
		return pr.sourceError(src, err)
	}
	if ok && locked.SHA256 == pin.SHA256 && locked.Size == pin.Size {
		return nil
	}
	if pr.cfg.Locked {
		return &LockError{What: "source " + src.Name, Pinned: locked.SHA256.String(), Have: pin.SHA256.String()}
	}
	if ok && locked.SHA256 != pin.SHA256 {
		pr.notice("source %s changed: %s → %s", src.Name, locked.SHA256.Short(), pin.SHA256.Short())
	}
	pr.Lock.Sources[src.Name] = config.LockedSource{URI: src.URI, SHA256: pin.SHA256, Size: pin.Size}
	return nil
}

// pin has a source be on this machine. Who only looks needs none of its bytes: where
// it is pinned and not here, it is what it is pinned to.
func (pr *preparation) pin(ctx context.Context, want source.Want, locked config.LockedSource) (source.Pin, error) {
	pin, err := pr.Sources.Pin(ctx, pr.File.Dir(), want)
	if absent := errors.Is(err, source.ErrOffline) || errors.Is(err, fs.ErrNotExist); !absent || !pr.cfg.Known || want.SHA256.IsZero() {
		return pin, err
	}
	pin = source.Pin{SHA256: want.SHA256}
	if locked.SHA256 == want.SHA256 {
		pin.Size = locked.Size
	}
	return pin, nil
}

func (pr *preparation) sourceError(src *config.Source, err error) error {
	hint := ""
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("source %s: %w", src.Name, err) // no mistake in cube.yaml
	case errors.Is(err, source.ErrOffline):
		hint = "a folder that holds the file may stand in for the network: CUBE_SOURCES"
	case errors.Is(err, source.ErrChanged) && pr.cfg.Locked:
		hint = "if the change is meant: cube lock"
	}
	place := []string{"sources", src.Name, "uri"}
	if errors.Is(err, source.ErrChanged) && !src.SHA256.IsZero() {
		place[2] = "sha256"
	}
	mistake := pr.File.Errorf(place, hint, "source %s: %v", src.Name, err)
	if errors.Is(err, source.ErrAbsent) {
		return &AbsentError{mistake}
	}
	return mistake
}

// AbsentError says that whoever has a source did not give it. It shows the place
// that names the source, which may be right.
type AbsentError struct{ at error }

func (e *AbsentError) Error() string { return e.at.Error() }
func (e *AbsentError) Unwrap() error { return e.at }

// writeFile writes a file whole or not at all.
func writeFile(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return wholefile.Write(path, b)
}

// checkExtents refuses a grid that lies wholly outside of a source that is to
// be brought onto it.
func (pr *preparation) checkExtents(ws *graph.Workspace) error {
	for i := range ws.Instances {
		inst := &ws.Instances[i]
		name := inst.Grid
		if name == "" {
			name = graph.DefaultGrid
		}
		g, ok := ws.Grids[name]
		if !ok {
			continue // Resolve says so
		}
		for _, src := range inst.Sources {
			in := pr.Lock.Sources[src].Inspection
			if in == nil || in.CRS == "" {
				continue
			}
			crs, err := grid.ParseCRS(in.CRS)
			if err != nil {
				continue // the driver knows more systems than the engine
			}
			own, err := grid.Like(crs, in.Transform, in.Width, in.Height)
			if err != nil {
				continue // rotated or upside down: the driver's business
			}
			if box, err := grid.Cover(g.Lattice, g.Box.Static(), own, 0); err == nil && box.Empty() {
				return pr.File.Errorf(pr.gridPath(name), fmt.Sprintf("source %s covers %s", src, extent(own)),
					"grid %s (%s) lies outside source %s", name, extent(g), src)
			}
		}
	}
	return nil
}

// gridPath is where cube.yaml declares a grid: the default one may stand alone.
func (pr *preparation) gridPath(name string) []string {
	if name == graph.DefaultGrid && pr.File.At("grid") != pr.File.At() {
		return []string{"grid"}
	}
	return []string{"grids", name}
}

func extent(g grid.Grid) string {
	b := g.Bounds()
	return fmt.Sprintf("%g, %g to %g, %g in %s", b.West, b.South, b.East, b.North, g.Lattice.CRS)
}
