package project

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/images"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/source"
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
	ws, err := config.Workspace(p.File, p.Lock, pr.resolved())
	if err != nil {
		return nil, err
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
	pr := &preparation{Project: p, producers: map[string]*producer{}}
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
	ws := graph.Workspace{Imports: pr.Lock.Imports}
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
		out[name] = config.ResolvedProducer{Manifest: made.manifest, Image: imageOf(made.image)}
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
		if err := pr.image(ctx, inst.Image, made, built); err != nil {
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
		return err
	}
	made.image, built[ref] = img, img
	return pr.rewriteLock(made.source.Dir, img)
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
}

func (e *LockError) Error() string {
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
	pin, err := pr.Sources.Pin(ctx, pr.File.Dir(), src.URI, want)
	if pr.cfg.Locked && src.SHA256.IsZero() && errors.Is(err, source.ErrChanged) {
		return &LockError{What: "source " + src.Name, Pinned: want.String(), Have: pin.SHA256.String()}
	}
	if err != nil {
		return pr.sourceError(src, err)
	}
	if ok && locked.SHA256 == pin.SHA256 && locked.Size == pin.Size {
		return nil
	}
	if ok && locked.SHA256 != pin.SHA256 {
		pr.notice("source %s changed: %s → %s", src.Name, locked.SHA256.Short(), pin.SHA256.Short())
	}
	pr.Lock.Sources[src.Name] = config.LockedSource{URI: src.URI, SHA256: pin.SHA256, Size: pin.Size}
	return nil
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
	return pr.File.Errorf([]string{"sources", src.Name, "uri"}, hint, "source %s: %v", src.Name, err)
}

// inspect has a driver describe a source, once for each content.
func (pr *preparation) inspect(ctx context.Context, src *config.Source) error {
	locked := pr.Lock.Sources[src.Name]
	if locked.Inspection != nil {
		return nil
	}
	inst, role := pr.inspector(src.Name)
	if inst == nil {
		return nil
	}
	made := pr.producers[inst.Name]
	if err := pr.image(ctx, inst.Image, made, map[string]*images.Image{}); err != nil {
		return fmt.Errorf("image of %s: %w", inst.Name, err)
	}
	whole, err := config.Instance(pr.File, inst.Name, config.ResolvedProducer{Manifest: made.manifest})
	if err != nil {
		return err
	}
	shared := graph.Shared{KeyVersion: graph.KeyVersion, Params: whole.Params, CPUs: 1,
		Engine:  graph.EngineVersions{Staging: graph.StagingVersion},
		Sources: map[string]graph.SourceKey{role: {SHA256: locked.SHA256, Ext: config.Ext(src.URI)}}}
	image := imageOf(made.image)
	shared.Image = &image
	found, err := pr.inspection(ctx, inst, shared, role)
	if f := (*containers.Failure)(nil); errors.As(err, &f) {
		return pr.File.Errorf([]string{"sources", src.Name}, "", "source %s: %s cannot read it: %v", src.Name, inst.Image, err)
	}
	if err != nil {
		return err
	}
	if pr.cfg.Locked {
		return &LockError{What: "description of source " + src.Name}
	}
	locked.Inspection = found
	pr.Lock.Sources[src.Name] = locked
	return nil
}

// inspector finds an instance whose producer can describe the source: one that
// is needed, or any.
func (pr *preparation) inspector(name string) (*config.Producer, string) {
	var inst *config.Producer
	var found string
	for i := range pr.File.Producers {
		p := &pr.File.Producers[i]
		for _, need := range pr.producers[p.Name].manifest.Sources {
			if !need.Inspect || p.Sources[need.Name] != name {
				continue
			}
			if inst == nil || slices.Contains(pr.needed, p.Name) {
				inst, found = p, need.Name
			}
		}
	}
	return inst, found
}

// inspection returns what a driver says of a source, from the user's cache
// where it has been asked before.
func (pr *preparation) inspection(ctx context.Context, inst *config.Producer, shared graph.Shared, role string) (*graph.Inspection, error) {
	request, err := graph.InspectRequest(shared)
	if err != nil {
		return nil, err
	}
	digest, _, err := shared.Digest()
	if err != nil {
		return nil, err
	}
	id, _, err := graph.Action{Shared: digest, Request: graph.Sum(request)}.ID()
	if err != nil {
		return nil, err
	}
	kept := filepath.Join(pr.cfg.Cache, "inspections", id.Hex()+".json")
	if b, err := os.ReadFile(kept); err == nil {
		return parseInspection(b)
	}
	if pr.cfg.Known {
		return nil, ErrUnready
	}
	pr.step("describe source %s", inst.Sources[role])
	b, err := pr.runInspect(ctx, inst, shared, request, role)
	if err != nil {
		return nil, err
	}
	found, err := parseInspection(b)
	if err != nil {
		return nil, err
	}
	return found, writeFile(kept, b)
}

func (pr *preparation) runInspect(ctx context.Context, inst *config.Producer, shared graph.Shared, request []byte, role string) ([]byte, error) {
	made := pr.producers[inst.Name]
	layers, err := pr.Images.Unpack(ctx, made.image)
	if err != nil {
		return nil, err
	}
	x, err := pr.Executor(ctx)
	if err != nil {
		return nil, err
	}
	key := shared.Sources[role]
	path, err := pr.Source(ctx, graph.Source{Name: inst.Sources[role], SHA256: key.SHA256})
	if err != nil {
		return nil, err
	}
	var log bytes.Buffer
	result, err := x.Run(ctx, containers.Action{Name: "inspect-" + inst.Name, Layers: layers, Image: *shared.Image,
		Request: request, CPUs: 1, Log: &log, Outputs: graph.InspectOutputs(),
		Limits:  inst.Resources.Or(made.manifest.Capabilities.Resources).WithDefaults(),
		Sources: []containers.SourceFile{{Path: path, Target: graph.SourceDir + "/" + role + "/data" + key.Ext}}})
	if err != nil {
		if s := lastLine(log.Bytes()); s != "" {
			return nil, fmt.Errorf("%w: %s", err, s)
		}
		return nil, err
	}
	defer result.Close()
	return io.ReadAll(io.LimitReader(result.Outputs[graph.InspectionRole].File, 1<<20))
}

// lastLine is the last line of a log that says anything.
func lastLine(log []byte) string {
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	return string(bytes.TrimSpace(lines[len(lines)-1]))
}

// parseInspection reads what a producer wrote; it is hostile.
func parseInspection(b []byte) (*graph.Inspection, error) {
	var in graph.Inspection
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return nil, &containers.Failure{Kind: containers.FailedOutput, Detail: fmt.Sprintf("description of the source: %v", err)}
	}
	return &in, nil
}

// writeFile writes a file whole or not at all.
func writeFile(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(b); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
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
				return pr.File.Errorf([]string{"grids", name}, fmt.Sprintf("source %s covers %s", src, extent(own)),
					"grid %s (%s) lies outside source %s", name, extent(g), src)
			}
		}
	}
	return nil
}

func extent(g grid.Grid) string {
	b := g.Bounds()
	return fmt.Sprintf("%g, %g to %g, %g in %s", b.West, b.South, b.East, b.North, g.Lattice.CRS)
}
